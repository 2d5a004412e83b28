"""Resident memory over two thousand steps of training."""

import gc

import keras
import numpy as np
import psutil
from keras import layers

from kerasvino import GradientTape


def resident():
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def growth(step, warm, count):
    for _ in range(warm):
        step()
    before = resident()
    for _ in range(count):
        step()
    return resident() - before


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 16)).astype("float32"), rng.integers(0, 4, 8)


def small():
    model = keras.Sequential(
        [
            keras.Input((16,)),
            layers.Dense(256, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.1),
            layers.Dense(4, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_compiled_steps_keep_nothing():
    model, (x, y) = small(), data()
    # the weights and the optimizer's state are 80 KiB: kept from each step, they were 160 MiB
    assert growth(lambda: model.train_on_batch(x, y), 200, 2000) < 8


def test_eager_steps_keep_nothing():
    weight = keras.Variable(np.zeros((256, 256), "float32"))
    x = keras.ops.ones((4, 256))
    losses = []

    def step():
        with GradientTape() as tape:
            loss = keras.ops.mean((keras.ops.matmul(x, weight) - 1) ** 2)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))
        losses.append(loss)

    # 256 KiB of gradient in each step
    assert growth(step, 50, 300) < 8
