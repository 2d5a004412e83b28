"""Programs on the virtual devices over the CPU, and threads that share one model."""

import threading

import keras
import numpy as np
import pytest
from keras import layers

import kerasvino

VIRTUAL = ["auto", "auto:cpu", "hetero:cpu", "multi:cpu", "batch:cpu"]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input((16, 16, 3)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(),
        layers.BatchNormalization(), layers.GlobalAveragePooling2D(), layers.Dense(4),
    ])  # fmt: skip


X = np.random.default_rng(0).normal(size=(11, 16, 16, 3)).astype("float32")


@pytest.mark.parametrize("device", VIRTUAL)
def test_predict_in_one_batch_and_in_ragged_ones(model, device):
    expected = model.predict(X, verbose=0)
    with keras.device(device):
        for size in (32, 4):
            found = model.predict(X, batch_size=size, verbose=0)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", VIRTUAL)
def test_weights_and_state(device):
    dense = layers.Dense(2, kernel_initializer="ones")
    counted = keras.Sequential([keras.Input((3,)), dense, layers.Dropout(0.5, seed=1)])
    with keras.device(device):
        x = np.ones((2, 3), "float32")
        np.testing.assert_allclose(counted.predict(x, verbose=0), np.full((2, 2), 3.0), rtol=1e-6)
        dense.kernel.assign(dense.kernel * 2)
        np.testing.assert_allclose(counted.predict(x, verbose=0), np.full((2, 2), 6.0), rtol=1e-6)
        draw = kerasvino.jit(lambda x: counted(x, training=True))
        draws = [draw(x).numpy() for _ in range(8)]
        assert len({d.tobytes() for d in draws}) > 1


@pytest.mark.parametrize("device", VIRTUAL)
def test_evaluate_and_fit(device):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(8, activation="relu"), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    x = np.random.default_rng(1).normal(size=(64, 3)).astype("float32")
    y = x.sum(1, keepdims=True)
    with keras.device(device):
        before = model.evaluate(x, y, verbose=0)
        model.fit(x, y, batch_size=16, epochs=5, verbose=0)
        assert model.evaluate(x, y, verbose=0) < before


def test_a_throughput_program_gives_the_same(model):
    expected = model.predict(X, verbose=0)
    with kerasvino.config.using(performance="throughput", threads=2):
        found = model.predict(X, batch_size=2, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_threads_predict_on_one_model(model):
    inputs = [X[i : i + 1] for i in range(len(X))]
    expected = [model.predict_on_batch(x) for x in inputs]
    wrong, start = [], threading.Barrier(8)

    def work(seed):
        order = np.random.default_rng(seed).integers(0, len(inputs), 50)
        start.wait()
        for i in order:
            if not np.array_equal(model.predict_on_batch(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_use_each_seed_once():
    noise = keras.Sequential([keras.Input((64,)), layers.GaussianNoise(1.0, seed=3)])
    draw = kerasvino.jit(lambda x: noise(x, training=True))
    x, seen, lock = np.zeros((1, 64), "float32"), [], threading.Lock()

    def work():
        for _ in range(20):
            value = draw(x).numpy().tobytes()
            with lock:
                seen.append(value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 80
