"""Resident memory over eager operations, predictions and steps of training.

    python benchmarks/memory.py [--role bundled] [--limit 16] [--json FILE]

Each phase first runs a tenth of its calls, in which programs are compiled and pools are filled;
growth is counted from there. Ends with code 1 when it exceeds the limit.
"""

from __future__ import annotations

import gc
import os
import sys

import numpy as np
import psutil
from _common import ROLES, import_keras, parser, report

MEBIBYTE = 2**20


def eager_calls(keras):
    """A function of the call's number: one operation of many, on fresh arrays."""
    ops, random = keras.ops, np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 8, 8)).astype("float32")
    table = (
        lambda x: ops.add(x, x),
        lambda x: ops.softmax(x),
        lambda x: ops.sum(ops.multiply(x, 2.0), axis=-1),
        lambda x: ops.ravel(x),
        lambda x: ops.matmul(x, ops.transpose(x)),
        lambda x: ops.concatenate([x, x], axis=0)[::2],
        lambda x: ops.cast(ops.argmax(x, axis=-1), "int64"),
        lambda x: ops.conv(ops.reshape(x, (1, 32, -1, 8)), kernel, padding="same"),
    )

    def call(number: int) -> None:
        x = ops.convert_to_tensor(random.normal(size=(64, 64)).astype("float32"))
        ops.convert_to_numpy(table[number % len(table)](x))

    return call


def predict_calls(keras):
    """A function of the call's number: predictions by one model, of batches of 1 to 4."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    return lambda number: model.predict(x[: 1 + number % 4], verbose=0)


def training_calls(keras):
    """A function of the call's number: one step of training a small convolutional model."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 12, 12, 3)).astype("float32")
    y = random.integers(0, 10, 16)
    return lambda number: model.train_on_batch(x, y)


def phase(call, count: int) -> list[int]:
    """Resident bytes after each tenth of `count` calls, first after an uncounted tenth."""
    process, tenth = psutil.Process(), count // 10
    found, number = [], 0
    for _ in range(11):
        for _ in range(tenth):
            call(number)
            number += 1
        gc.collect()
        found.append(process.memory_info().rss)
    return found


def main() -> int:
    arguments = parser(__doc__.splitlines()[0], ())
    arguments.add_argument("--eager", type=int, default=10_000, help="eager operations")
    arguments.add_argument("--predicts", type=int, default=1_000, help="predictions")
    arguments.add_argument("--steps", type=int, default=2_000, help="steps of training")
    arguments.add_argument("--limit", type=float, default=16, help="MiB that a phase may grow")
    options = arguments.parse_args()
    role = options.role or "kerasvino"
    os.environ["KERAS_BACKEND"] = ROLES[role][0]
    keras = import_keras(role)
    phases = {
        f"{options.eager:,} eager operations": (eager_calls(keras), options.eager),
        f"{options.predicts:,} predictions": (predict_calls(keras), options.predicts),
    }
    if role != "bundled":  # which does not train
        phases[f"{options.steps:,} steps of training"] = (training_calls(keras), options.steps)
    rows, data, worst = [], [], 0.0
    for name, (call, count) in phases.items():
        resident = [value / MEBIBYTE for value in phase(call, count)]
        growth = resident[-1] - resident[0]
        worst = max(worst, growth)
        rows.append([name, *(f"{value:.1f}" for value in resident[::2]), f"{growth:+.1f}"])
        data.append({"phase": name, "mebibytes": resident, "growth": growth})
    columns = ["MiB resident", "start", *(f"{part}/5" for part in range(1, 6)), "growth"]
    report(f"Memory, {ROLES[role][2]}", columns, rows, options.json, data)
    if worst > options.limit:
        print(f"Memory grew by {worst:.1f} MiB; the limit is {options.limit:g}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
