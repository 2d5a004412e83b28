"""Classifiers of real images lose little of their accuracy."""

import pathlib

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import kerasvino
from kerasvino.runtime import narrow

DIGITS = pathlib.Path(__file__).parents[2] / "examples" / "digits"


@pytest.mark.skipif(narrow.weight_bits("CPU") is None, reason="no right kernels for bytes")
@pytest.mark.parametrize("name", ["cnn_jax", "cnn_torch"])
def test_accuracy_on_images_that_nobody_saw(name):
    digits = load_digits()
    images, labels = (digits.images / 16).astype("float32")[..., None], digits.target
    held_out = np.load(DIGITS / f"{name}.npz")["held_out"]
    training = np.setdiff1d(np.arange(len(labels)), held_out)
    model = keras.saving.load_model(DIGITS / f"{name}.keras")

    def accuracy():
        logits = model.predict(images[held_out], verbose=0)
        return (logits.argmax(-1) == labels[held_out]).mean()

    exact = accuracy()
    kerasvino.quantize(model, images[training], verbose=False)
    assert "int8" in kerasvino.quantization(model).layers.values()
    assert exact - accuracy() <= 0.006
