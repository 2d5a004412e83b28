"""A training loop of your own: a GradientTape, an optimizer, and `kerasvino.jit` around the step.

    python examples/custom_loop.py [--steps 300]

Fits a circle: is a point of the plane within it?
"""

from __future__ import annotations

import argparse

import kerasvino  # before keras: selects the backend

import keras  # isort: skip
import numpy as np
from keras import ops

BATCH = 64


def points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [count, 2] of a square, and 1 for those within the circle."""
    x = np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype("float32")
    return x, (np.square(x).sum(axis=1, keepdims=True) < 0.5).astype("float32")


def main() -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)]
    )
    optimizer = keras.optimizers.Adam(1e-2)
    loss_of = keras.losses.BinaryCrossentropy(from_logits=True)
    accuracy = keras.metrics.BinaryAccuracy(threshold=0.0)

    @kerasvino.jit  # compiled as one program: forward, backward, update and metric
    def step(x, y):
        with kerasvino.GradientTape() as tape:
            logits = model(x, training=True)
            loss = loss_of(y, logits)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        accuracy.update_state(y, logits)
        return loss

    x, y = points(4096, seed=0)
    for number in range(steps):
        rows = np.arange(number * BATCH, (number + 1) * BATCH) % len(x)
        loss = step(x[rows], y[rows])
        if number % 100 == 99:
            print(f"step {number + 1}: loss {float(loss):.3f}, accuracy {accuracy.result():.3f}")
            accuracy.reset_state()

    later_x, later_y = points(1000, seed=1)
    right = float(ops.mean((model.predict(later_x, verbose=0) > 0) == (later_y > 0)))
    print(f"accuracy on new points: {right:.3f}")
    return right


if __name__ == "__main__":
    main()
