"""Activations: functions of each element, and glu."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import canonicalize_axis
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.ops.numpy.arithmetic import clip
from kerasvino.backend.ops.numpy.elementwise import floating, in_float32, unary
from kerasvino.primitives import activation as p
from kerasvino.primitives import arithmetic as a
from kerasvino.primitives import compare
from kerasvino.primitives import elementwise as e
from kerasvino.primitives.indexing import END, slice_
from kerasvino.primitives.shape import dimension
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "celu", "elu", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh",
    "leaky_relu", "log_sigmoid", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
    "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink",
    "threshold",
]  # fmt: skip


def _float(x) -> Tensor:
    x = convert_to_tensor(x)
    wanted = floating(x.dtype)
    return x if wanted == x.dtype else convert_to_tensor(x, wanted)


def _plus(x, number):
    return a.add(x, constant_like(number, x))


def _times(x, number):
    return a.multiply(x, constant_like(number, x))


# -- piecewise linear

relu = unary("relu", p.relu)
relu6 = unary("relu6", lambda x: p.relu6(x) if dtypes.is_float(x.dtype) else clip(x, 0, 6))
hard_sigmoid = unary("hard_sigmoid", p.hard_sigmoid, floating)
hard_silu = unary("hard_silu", p.hard_silu, floating)
hard_tanh = unary("hard_tanh", lambda x: clip(x, -1, 1))


def leaky_relu(x, negative_slope=0.2):
    """x where it is positive, `negative_slope * x` elsewhere."""
    return p.leaky_relu(_float(x), negative_slope=float(negative_slope))


def _sparse_sigmoid(x):
    return _times(_plus(clip(x, -1, 1), 1), 0.5)


sparse_sigmoid = unary("sparse_sigmoid", in_float32(_sparse_sigmoid), floating)


def hard_shrink(x, threshold=0.5):
    """x where its magnitude exceeds `threshold`, 0 elsewhere."""
    x = _float(x)
    kept = compare.greater(a.absolute(x), constant_like(threshold, x))
    return compare.select(kept, x, constant_like(0, x))


def soft_shrink(x, threshold=0.5):
    """x moved towards 0 by `threshold`, 0 where it would cross it."""
    x = _float(x)
    limit = constant_like(threshold, x)
    kept = compare.greater(a.absolute(x), limit)
    moved = a.subtract(x, a.multiply(a.sign(x), limit))
    return compare.select(kept, moved, constant_like(0, x))


def threshold(x, threshold, default_value):
    """x where it exceeds `threshold`, `default_value` elsewhere."""
    x = convert_to_tensor(x)
    kept = compare.greater(x, constant_like(threshold, x))
    return compare.select(kept, x, constant_like(default_value, x))


# -- of exponentials

sigmoid = unary("sigmoid", e.sigmoid, floating)
tanh = unary("tanh", e.tanh, floating)
softplus = unary("softplus", p.softplus, floating)
silu = unary("silu", p.silu, floating)
selu = unary("selu", p.selu, floating)
log_sigmoid = unary("log_sigmoid", lambda x: a.negative(p.softplus(a.negative(x))), floating)
tanh_shrink = unary("tanh_shrink", in_float32(lambda x: a.subtract(x, e.tanh(x))), floating)


def elu(x, alpha=1.0):
    """x where it is positive, `alpha * (exp(x) - 1)` elsewhere."""
    return p.elu(_float(x), alpha=float(alpha))


def celu(x, alpha=1.0):
    """x where it is positive, `alpha * (exp(x / alpha) - 1)` elsewhere."""

    def compute(x):
        falling = _times(e.expm1(_times(a.minimum(x, constant_like(0, x)), 1 / alpha)), alpha)
        return compare.select(compare.greater(x, constant_like(0, x)), x, falling)

    return in_float32(compute)(_float(x))


def gelu(x, approximate=True):
    """x times the normal distribution's cumulative function at x; `approximate`: by tanh."""
    return p.gelu(_float(x), approximate=bool(approximate))


# -- rational and polynomial

softsign = unary("softsign", in_float32(lambda x: a.divide(x, _plus(a.absolute(x), 1))), floating)


def _sparse_plus(x):
    zero, one = constant_like(0, x), constant_like(1, x)
    bent = _times(a.square(_plus(x, 1)), 0.25)
    middle = compare.select(compare.less(x, one), bent, x)
    return compare.select(compare.less_equal(x, constant_like(-1, x)), zero, middle)


sparse_plus = unary("sparse_plus", in_float32(_sparse_plus), floating)


def squareplus(x, b=4):
    """(x + sqrt(x**2 + b)) / 2."""

    def compute(x):
        return _times(a.add(x, e.sqrt(_plus(a.square(x), b))), 0.5)

    return in_float32(compute)(_float(x))


def glu(x, axis=-1):
    """The first half of x along `axis` times the sigmoid of the second.

    Raises ValueError for an axis of odd length.
    """
    x = _float(x)
    axis = canonicalize_axis(axis, x.ndim)
    length = x.shape[axis]
    if length is not None and length % 2:
        raise ValueError(
            f"glu halves axis {axis}, so its length must be even; the shape is {x.shape}."
        )
    if length is None:
        half = a.floor_divide(dimension(x, axis=axis), Tensor._wrap(np.asarray(2, np.int32)))
    else:
        half = length // 2
    first, second = (
        slice_(x, axis=(axis,), starts=(start,), stops=(stop,), steps=(1,))
        for start, stop in ((0, half), (half, END))
    )
    return a.multiply(first, e.sigmoid(second))
