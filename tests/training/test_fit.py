"""fit and train_on_batch: what Keras defines, compiled and eagerly."""

import keras
import numpy as np
import pytest
from keras import layers


def regression(rows=64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype("float32")
    return x, (x @ [[1.0], [-2.0], [0.5]] + 0.3).astype("float32")


def linear(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "mse", **options})
    return model


def gradient_descent(x, y, w, b, steps, rate=0.1):
    """Weights after `steps` full-batch steps of gradient descent on the mean squared error."""
    losses = []
    for _ in range(steps):
        error = x @ w + b - y
        losses.append((error**2).mean())
        w = w - rate * 2 * x.T @ error / len(x)
        b = b - rate * 2 * error.mean(0)
    return w, b, losses


@pytest.mark.parametrize("eagerly", [False, True])
def test_fit_is_gradient_descent(eagerly):
    model, (x, y) = linear(run_eagerly=eagerly), regression()
    w, b, losses = gradient_descent(x, y, *model.get_weights(), steps=12)
    history = model.fit(x, y, batch_size=64, epochs=12, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-4)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-4, atol=1e-5)
    assert int(model.optimizer.iterations) == 12


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_train_on_batch_and_fit_agree(steps_per_execution):
    one, other = linear(), linear(steps_per_execution=steps_per_execution)
    x, y = regression(20)
    for start in (0, 8, 16):
        one.train_on_batch(x[start : start + 8], y[start : start + 8])
    other.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_one_row_through_attention_and_a_recurrent_layer():
    """A step that the CPU plugin (OpenVINO 2026.4) compiles only where it fuses less."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((5,), dtype="int32")
    x = layers.Embedding(12, 3, mask_zero=True)(ids)
    x = layers.Average()([layers.Attention()([x, keras.ops.cos(x)]), x])
    model = keras.Model(ids, layers.LSTM(3)(x))
    model.compile("sgd", "log_cosh")
    data = np.ones((1, 5), "int32"), np.ones((1, 3), "float32")
    first, second = (model.train_on_batch(*data) for _ in range(2))
    assert second < first
