"""A batch job: 10,000 rows through a model in several processes, fed by Ray Data.

    pip install "ray[data]"
    python examples/ray_batch.py [--actors 2]

Each process loads the model once, in the constructor. It runs on kerasvino because this one does.
"""

from __future__ import annotations

import argparse
import os
import tempfile

import kerasvino  # before keras: selects the backend

import keras  # isort: skip
import numpy as np
import ray

ROWS, FEATURES = 10_000, 32


class Predictor:
    """What Ray starts in each process."""

    def __init__(self, path: str, threads: int):
        kerasvino.config.set(threads=threads)
        self.model = keras.saving.load_model(path)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**batch, "score": self.model.predict_on_batch(batch["x"])[:, 0]}


def main() -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actors", type=int, default=2)
    actors = parser.parse_args().actors
    keras.utils.set_random_seed(0)
    layers = [keras.Input((FEATURES,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    x = np.random.default_rng(0).random((ROWS, FEATURES), dtype="float32")

    ray.init(num_cpus=actors, include_dashboard=False, logging_level="warning")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        data = ray.data.from_items([{"x": values, "row": n} for n, values in enumerate(x)])
        done = data.map_batches(
            Predictor,
            fn_constructor_kwargs={"path": path, "threads": 1},
            batch_size=512,
            compute=ray.data.ActorPoolStrategy(size=actors),
        )
        found = sorted((row["row"], row["score"]) for row in done.take_all())
    ray.shutdown()
    scores = np.array([score for _, score in found], "float32")
    difference = float(np.abs(scores - model.predict(x, verbose=0)[:, 0]).max())
    print(f"{len(scores):,} rows; the largest difference from one process is {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
