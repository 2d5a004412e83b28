"""NaN and infinities: what a compiled model makes of them is what it makes eagerly."""

import functools

import numpy as np
import pytest
from keras import Input, Model, activations, layers, ops

import kerasvino

VALUES = np.float32([np.nan, np.inf, -np.inf, 0, 1, -1, 3.5, -3.5, 30, -30, 0.5, -0.5])
ALONE = np.stack([np.where(np.arange(12) == 5, v, np.linspace(-2, 2, 12)) for v in VALUES])

# Part of a convolution's kernel these turn NaN into 0, and gelu, of a product's too, may make NaN
# of inf, as README's table of limits says.
FUSED = ("relu", "relu6", "hard_sigmoid", "relu(max_value)", "hard_silu", "relu(negative_slope)")

_NAMES = (
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6",
    "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus",
    "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink", "threshold",
)  # fmt: skip
_ACTIVATIONS = {name: layers.Activation(name) for name in _NAMES if name != "threshold"} | {
    "gelu(exact)": lambda x: ops.gelu(x, approximate=False),
    "gelu(tanh)": lambda x: ops.gelu(x, approximate=True),
    "relu(max_value)": lambda x: activations.relu(x, max_value=2.0),
    "relu(negative_slope)": lambda x: activations.relu(x, negative_slope=0.1, threshold=0.5),
    "threshold": lambda x: ops.threshold(x, 0.5, 0.1),
    "softmax(0)": lambda x: ops.softmax(x, axis=0),
    "clip": lambda x: ops.clip(x, -2, 2),
    "maximum": lambda x: ops.maximum(x, 0.0),
    "minimum": lambda x: ops.minimum(x, 1.0),
    "normalize": lambda x: ops.normalize(x, axis=-1),
    "max_pool": lambda x: ops.max_pool(x[..., None], 2) if len(x.shape) == 2 else x,
    "average_pool": lambda x: ops.average_pool(x[..., None], 2) if len(x.shape) == 2 else x,
    "layer_normalization": lambda x: ops.layer_normalization(x),
    "rms_normalization": lambda x: ops.rms_normalization(x),
    "top_k": lambda x: ops.top_k(x, 3)[0],
    "top_k(indices)": lambda x: ops.top_k(x, 3)[1],
    "norm": lambda x: ops.norm(x, axis=-1),
}
_REDUCTIONS = {
    name: functools.partial(getattr(ops, name), axis=-1)
    for name in (
        "max", "min", "mean", "sum", "prod", "var", "std", "logsumexp", "argmax", "argmin", "sort",
        "argsort", "cumsum", "cumprod", "median",
    )
}  # fmt: skip
FUNCTIONS = _ACTIVATIONS | _REDUCTIONS


def _dense(dtype):
    x = Input((1,), dtype=dtype)
    return x, lambda: layers.Dense(12, kernel_initializer="ones", dtype=dtype)(x), VALUES[:, None]


def _convolved(dtype):
    x = Input((2, 2, 1), dtype=dtype)
    values = np.tile(VALUES.reshape(12, 1, 1, 1), (1, 2, 2, 1))
    return x, lambda: layers.Conv2D(12, 1, kernel_initializer="ones", dtype=dtype)(x), values


def _alone(dtype):
    x = Input((12,), dtype=dtype)
    return x, lambda: x, ALONE


def _summed(dtype):
    x = Input((12,), dtype=dtype)
    return x, lambda: ops.multiply(x, 0.5) + x, ALONE


def _both(model, x):
    """What a model predicts eagerly and compiled."""
    found = []
    for eager in (True, False):
        model.compile(run_eagerly=eager)
        found.append([np.asarray(y, np.float64) for y in model.predict(x, verbose=0)])
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("place", [_alone, _dense, _convolved, _summed])
def test_functions_of_what_is_not_finite(place, dtype):
    """One model with every function, each behind a layer of its own, which it may be fused into."""
    x, before, values = place(dtype)
    model = Model(x, [function(before()) for function in FUNCTIONS.values()])
    with np.errstate(all="ignore"):
        values = values.astype(kerasvino.dtypes.numpy_dtype(dtype))
    tolerance = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 4e-3}[dtype]
    differ = []
    for name, eager, compiled in zip(FUNCTIONS, *_both(model, values), strict=True):
        if place is _convolved and dtype == "float32" and name in FUSED:
            eager = np.where(np.isnan(eager), compiled, eager)
        if place in (_convolved, _dense) and dtype == "float32" and "gelu" in name:
            eager = np.where(np.isposinf(eager) & np.isnan(compiled), np.nan, eager)
        if not np.allclose(eager, compiled, tolerance, tolerance, equal_nan=True):
            differ.append(name)
    assert not differ


def test_a_fused_activation_is_the_only_one_that_loses_a_nan():
    """What README's table of limits says, in the words of numbers."""
    x = Input((2, 2, 1))
    before = layers.Conv2D(3, 1)
    names = ("relu", "relu6", "hard_sigmoid")
    model = Model(x, [layers.Activation(name)(before(x)) for name in names])
    nan = np.full((1, 2, 2, 1), np.nan, np.float32)
    eager, compiled = _both(model, nan)
    assert all(np.isnan(y).all() for y in eager)
    assert not any(np.isnan(y).any() for y in compiled)


def test_rows_of_a_softmax_with_nan_are_nan_in_attention_too():
    x = Input((4, 8))
    model = Model(x, layers.MultiHeadAttention(2, 4)(x, x))
    values = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
    values[0, 1, 3] = np.nan
    (eager,), (compiled,) = ([np.asarray(y)] for y in (model(values), kerasvino.jit(model)(values)))
    np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=1e-6)
    assert np.isnan(compiled[0]).all() and not np.isnan(compiled[1]).any()


def test_cross_entropy_of_a_row_with_nan_is_nan():
    logits = np.float32([[1, np.nan, 3], [1, 2, 3], [1, np.inf, 2]])
    labels = np.int32([0, 1, 2])

    def loss(labels, logits):
        return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)

    compiled = np.asarray(kerasvino.jit(loss)(labels, logits))
    np.testing.assert_allclose(compiled, np.asarray(loss(labels, logits)), rtol=1e-5)
    assert np.isnan(compiled).tolist() == [True, False, True]
