"""Batch inference by two one-thread actors of Ray Data beside plain `predict` with two threads.

    python benchmarks/ray_data.py [--rows 96] [--rounds 3] [--json FILE]

ResNet50 on images of 224 x 224. Also the memory that one and two actors take together (pages that
are shared counted once), and the time of single requests through Ray Serve beside calls from
threads of one process. The data set is made once, in Ray's object store, so that both read memory.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import kerasvino.ray

import keras  # isort: skip
import numpy as np
import psutil
import ray
from ray import serve

MEBIBYTE = 2**20
BATCH = 8


class Measured(kerasvino.ray.Predictor):
    """A Predictor that says which process it is."""

    def __call__(self, batch):
        found = super().__call__(batch)
        return {
            "row": found["row"],
            "score": found["predictions"],
            "pid": found["row"] * 0 + os.getpid(),
        }


def _memory(pids) -> float:
    """Mebibytes of processes together, with shared pages counted once."""
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / MEBIBYTE


def _watched(pids: set, peak: list, over: threading.Event):
    while not over.wait(0.2):
        try:
            peak.append(_memory(pids))
        except (psutil.NoSuchProcess, RuntimeError):  # it has just ended, or the set has grown
            continue


def by_actors(path, dataset, rows, actors) -> tuple[float, np.ndarray, float]:
    """(rows per second once warm, the scores in order, mebibytes of the actors)."""
    done = dataset.map_batches(
        Measured,
        fn_constructor_kwargs=kerasvino.ray.arguments(str(path), inputs="image", keep=True),
        batch_size=BATCH, num_cpus=1, compute=ray.data.ActorPoolStrategy(size=actors),
    )  # fmt: skip
    seen: dict = {}
    pids: set = set()
    peak: list = []
    over = threading.Event()
    threading.Thread(target=_watched, args=(pids, peak, over), daemon=True).start()
    times = []
    for batch in done.iter_batches(batch_size=BATCH, prefetch_batches=0):
        times.append(time.perf_counter())
        pids |= set(map(int, batch["pid"]))
        for row, score in zip(batch["row"], batch["score"], strict=True):
            seen[int(row)] = score
    over.set()
    # the first batches wait for the actors to load and compile
    skipped = 2 * actors
    rate = (len(times) - 1 - skipped) * BATCH / (times[-1] - times[skipped])
    return rate, np.stack([seen[n] for n in range(rows)]), max(peak, default=float("nan"))


def latencies(call, requests, clients) -> dict:
    """Milliseconds of single requests from several clients at a time."""
    x = np.random.default_rng(1).random((224, 224, 3), dtype="float32")

    def one(_):
        start = time.perf_counter()
        call(x)
        return 1e3 * (time.perf_counter() - start)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(4 * clients)))
        times = sorted(pool.map(one, range(requests)))
    return {"p50": times[len(times) // 2], "p99": times[int(0.99 * (len(times) - 1))]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--json")
    given = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.data.DataContext.get_current().enable_progress_bars = False
    keras.utils.set_random_seed(0)
    kerasvino.config.set(threads=2)
    model = keras.applications.ResNet50(weights=None)
    x = np.random.default_rng(0).random((given.rows, 224, 224, 3), dtype="float32")
    found: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.keras")
        model.save(path)
        model.predict(x[: 2 * BATCH], BATCH, verbose=0)
        dataset = ray.data.from_items([{"row": n} for n in range(given.rows)])
        reference = ray.put(x)
        dataset = dataset.map_batches(
            lambda batch: {**batch, "image": ray.get(reference)[batch["row"]]}, batch_size=BATCH
        ).materialize()
        plain, pairs = [], []
        for _ in range(given.rounds):
            start = time.perf_counter()
            expected = model.predict(x, BATCH, verbose=0)
            plain.append(given.rows / (time.perf_counter() - start))
            rate, scores, two = by_actors(path, dataset, given.rows, 2)
            pairs.append(rate)
        _, _, one = by_actors(path, dataset, given.rows, 1)
        found = {
            "predict": statistics.median(plain),
            "two actors": statistics.median(pairs),
            "ratio": statistics.median(pairs) / statistics.median(plain),
            "difference": float(np.abs(scores - expected).max()),
            "memory of one": one,
            "memory of two": two,
            "memory ratio": two / one,
        }
        print(json.dumps(found, indent=1), flush=True)
        threads = latencies(lambda image: model.predict_on_batch(image[None]), given.requests, 4)
        kerasvino.config.set(threads=1)
        application = kerasvino.ray.deployment(
            str(path), batch_sizes=(1, 4), ray_actor_options={"num_cpus": 1}
        )
        handle = serve.run(application, route_prefix=None)
        serving = latencies(lambda image: handle.remote(image).result(), given.requests, 4)
        found |= {"threads": threads, "Ray Serve": serving}
        print(json.dumps({"threads": threads, "Ray Serve": serving}, indent=1))
        serve.shutdown()
    ray.shutdown()
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
