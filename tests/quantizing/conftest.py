"""Small models that are calibrated."""

import keras
import numpy as np
import pytest
from keras import layers

import kerasvino


def convolutional():
    """Convolutions of three kinds, normalization, a residual, a dense layer."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 8), name="image")
    x = layers.Conv2D(32, 3, padding="same", use_bias=False, name="first")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    x = layers.Add(name="sum")([x, layers.Conv2D(32, 1, name="second")(y)])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3, activation="relu", name="third")(x))
    return keras.Model(image, layers.Dense(16, name="scores")(x), name="small")


def rows(count=24, shape=(16, 16, 8), seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


@pytest.fixture(autouse=True)
def _all_in_int8(request, monkeypatch):
    """What is faster depends on the machine: here all is rounded, unless a test measures."""
    if "measured" in request.keywords:
        return
    from kerasvino import quantizing

    def chosen(ranges, trials, report=None):
        kinds = dict.fromkeys(
            (name.rpartition("/")[0] for name in ranges.products), "f32"
        ) | dict.fromkeys((w.node.rpartition("/")[0] for w in ranges.weights), "int8")
        return quantizing.dataclasses.replace(ranges, layers=kinds, seconds={"f32": 1.0})

    monkeypatch.setattr(quantizing, "chosen", chosen)


@pytest.fixture
def model():
    return convolutional()


@pytest.fixture
def quantized(model):
    assert kerasvino.quantize(model, rows(), verbose=False) is model
    return model
