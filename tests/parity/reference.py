"""What Keras on another backend predicts: run as a script with KERAS_BACKEND set.

    KERAS_BACKEND=torch python tests/parity/reference.py NETWORK EDGE COUNT FOLDER

Writes the randomised weights to FOLDER/model.weights.h5 and to FOLDER/reference.npz the images, of
shape (COUNT, EDGE, EDGE, 3), and the logits of each.
"""

from __future__ import annotations

import pathlib
import sys

import keras
import numpy as np

from benchmarks._common import build, images, randomise

network, edge, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = build(keras, network, edge)
x = images(count, edge)
randomise(keras, model, x)
model.save_weights(pathlib.Path(folder, "model.weights.h5"))
logits = np.concatenate([model.predict_on_batch(x[i : i + 1]) for i in range(count)])
np.savez(pathlib.Path(folder, "reference.npz"), x=x, logits=logits)
