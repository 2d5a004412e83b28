"""Square constants whose transpose is a weight as well."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino
from kerasvino.backend.jit import jit

SIZE = 8
RNG = np.random.default_rng(0)
W, WIDE = (RNG.normal(size=(SIZE, n * SIZE)).astype("float32") for n in (1, 3))
X = RNG.normal(size=(3, SIZE)).astype("float32")


def forth_and_back(x, w):
    return ops.matmul(ops.sin(ops.matmul(x, w)), ops.transpose(w))


def back_and_forth(x, w):
    return ops.matmul(ops.sin(ops.matmul(x, ops.transpose(w))), w)


def of_a_slice(x, w):
    return forth_and_back(x, ops.convert_to_tensor(WIDE)[:, SIZE : 2 * SIZE])


def in_a_loop(x, w):
    return ops.fori_loop(0, 3, lambda i, x: forth_and_back(x, w), x)


def in_a_branch(x, w):
    return ops.cond(ops.sum(x) < 1e9, lambda: forth_and_back(x, w), lambda: x)


def of_rank_three(x, w):
    return ops.matmul(ops.sin(ops.matmul(x[None], w[None])), ops.transpose(w[None], (0, 2, 1)))


CASES = [forth_and_back, back_and_forth, of_a_slice, in_a_loop, in_a_branch, of_rank_three]


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["variable", "array", "argument"])
def test_a_matrix_and_its_transpose(function, kind):
    weights = keras.Variable(W) if kind == "variable" else ops.convert_to_tensor(W)
    wanted = function(ops.convert_to_tensor(X), ops.convert_to_tensor(W))
    if kind == "argument":
        found = jit(function)(X, W)
    else:
        found = jit(lambda x: function(x, ops.convert_to_tensor(weights)))(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


LAYERS = {
    "dense": (lambda: layers.Dense(4, "tanh"), 2),
    "convolution": (lambda: layers.Conv2D(4, 3, padding="same"), 4),
    "pointwise": (lambda: layers.Conv2D(4, 1), 4),
    "grouped": (lambda: layers.Conv2D(4, 3, groups=2, padding="same"), 4),
    "transposed": (lambda: layers.Conv2DTranspose(4, 3, padding="same"), 4),
    "separable": (lambda: layers.SeparableConv2D(4, 3, padding="same"), 4),
    "one axis": (lambda: layers.Conv1D(4, 3, padding="same"), 3),
    "recurrent": (lambda: layers.SimpleRNN(4, return_sequences=True), 3),
}


@pytest.mark.parametrize(("make", "rank"), LAYERS.values(), ids=LAYERS)
def test_gradient_through_frozen_weights(make, rank):
    model = keras.Sequential([make(), make()])
    x = ops.convert_to_tensor(RNG.normal(size=(*(2, 6, 6)[: rank - 1], 4)).astype("float32"))
    model(x)

    def loss(x):
        return ops.sum(ops.sin(model(x)))

    wanted = kerasvino.grad(loss)(x)
    np.testing.assert_allclose(jit(kerasvino.grad(loss))(x), wanted, rtol=1e-4, atol=1e-5)
