"""Makes the weights of a network, and records what Keras on another backend predicts with them.

    KERAS_BACKEND=torch python benchmarks/reference.py NETWORK EDGE COUNT FOLDER

Writes the randomised weights to FOLDER/model.weights.h5 and to FOLDER/reference.npz the inputs `x`
of shape (COUNT, EDGE, EDGE, 3) and the `logits` of each, computed alone. `_common.reference` runs
it, for the benchmarks and for the tests of parity.
"""

from __future__ import annotations

import pathlib
import sys

import keras
import numpy as np
from _common import WEIGHTS, build, randomise, samples


def main(network: str, edge: str, count: str, folder: str) -> None:
    model = build(keras, network, int(edge))
    x = samples(network, int(edge), int(count))
    randomise(keras, model, samples(network, int(edge), 8, seed=2))
    model.save_weights(pathlib.Path(folder, WEIGHTS))
    logits = [model.predict_on_batch(x[i : i + 1]) for i in range(len(x))]
    np.savez(pathlib.Path(folder, "reference.npz"), x=x, logits=np.concatenate(logits))


if __name__ == "__main__":
    main(*sys.argv[1:])
