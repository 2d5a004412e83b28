"""Square constants whose transpose is a weight as well."""

import keras
import numpy as np
import pytest
from keras import ops

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


def test_gradient_through_frozen_weights():
    model = keras.Sequential([keras.layers.Dense(SIZE, "tanh") for _ in range(3)])
    model(X)

    def loss(x):
        return ops.sum(model(x) ** 2)

    wanted = kerasvino.grad(loss)(ops.convert_to_tensor(X))
    np.testing.assert_allclose(jit(kerasvino.grad(loss))(X), wanted, rtol=1e-4, atol=1e-5)
