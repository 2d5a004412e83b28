"""How far does a call travel? The calls of kerasvino's functions in three trips, and their files.

    python benchmarks/trips.py

The table of docs/architecture.md. Counted are calls of Python functions of this package on the
calling thread (`sys.setprofile`), and the files that these functions are in.
"""

from __future__ import annotations

import os
import sys

import kerasvino  # before keras: this selects the backend

# isort: split
import keras
import numpy as np

PACKAGE = os.path.dirname(kerasvino.__file__) + os.sep


def counted(trip) -> tuple[int, int]:
    """(calls, files) of a run of `trip`."""
    files: list[str] = []

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            files.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        trip()
    finally:
        sys.setprofile(None)
    return len(files), len(set(files))


def two_layers() -> keras.Sequential:
    """Two Dense layers over four features."""
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((4,)), *layers])


def main() -> None:
    """Prints a line for each trip."""
    random = np.random.default_rng(0)
    x, y = random.random((32, 4), "float32"), random.random((32, 1), "float32")
    tensor, model, trained = keras.ops.convert_to_tensor(x), two_layers(), two_layers()
    for _ in range(3):
        model.predict(x, verbose=0)
    trained.compile("adam", "mse")
    trips = {
        "ops.ravel(x), eager": lambda: keras.ops.ravel(tensor),
        "model.predict(x), compiled before": lambda: model.predict(x, verbose=0),
        "the first model.fit(x, y), Adam": lambda: trained.fit(x, y, batch_size=16, verbose=0),
    }
    print(f"kerasvino {kerasvino.__version__}, Keras {keras.__version__}: calls, files")
    for name, trip in trips.items():
        print("{:35} {:7,} {:3}".format(name, *counted(trip)))


if __name__ == "__main__":
    main()
