"""int8 weights: what they cost in accuracy, and what they give in size and time.

    python examples/quantize.py [--units 512] [--epochs 5]

Trains a classifier of handwritten digits, quantizes a copy of it, and prints both side by side.
Needs scikit-learn, for the digits.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time

import kerasvino  # noqa: F401 - before keras: selects the backend

import keras  # isort: skip
import numpy as np
from sklearn.datasets import load_digits


def digits() -> tuple[np.ndarray, ...]:
    """Training images [n, 64] and labels, then those that are held out."""
    data = load_digits()
    x, y = (data.data / 16).astype("float32"), data.target
    return x[:1400], y[:1400], x[1400:], y[1400:]


def described(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Accuracy, size of the weights file in MB, and milliseconds of a call with one image."""
    accuracy = float((model.predict(x, verbose=0).argmax(axis=1) == y).mean())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.weights.h5")
        model.save_weights(path)
        size = os.path.getsize(path) / 1e6
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        model.predict_on_batch(x[:1])
        seconds.append(time.perf_counter() - start)
    return accuracy, size, 1e3 * statistics.median(seconds)


def main() -> tuple[float, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    keras.utils.set_random_seed(0)
    x, y, later_x, later_y = digits()
    hidden = [keras.layers.Dense(given.units, "relu") for _ in range(3)]
    model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(x, y, epochs=given.epochs, verbose=2)

    small = keras.models.clone_model(model)
    small.set_weights(model.get_weights())
    small.quantize("int8")

    found = {"float32": described(model, later_x, later_y)}
    found["int8"] = described(small, later_x, later_y)
    for name, (accuracy, size, ms) in found.items():
        print(f"{name:8} accuracy {accuracy:.3f}, weights {size:.2f} MB, {ms:.2f} ms")
    return found["float32"][0], found["int8"][0]


if __name__ == "__main__":
    main()
