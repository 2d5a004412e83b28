"""Reductions: sums, products, extremes, means and variances, logic, positions."""

from __future__ import annotations

import builtins
import operator

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import convert_to_tensor, result_type, to_dtype
from kerasvino.primitives import arithmetic as a
from kerasvino.primitives import reduce as p
from kerasvino.primitives.compare import not_equal
from kerasvino.primitives.complex_parts import conjugate, real
from kerasvino.primitives.elementwise import sqrt
from kerasvino.primitives.shape import reshape, squeeze
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "max", "mean", "min",
    "prod", "ptp", "std", "sum", "var",
]  # fmt: skip


def reduced_axes(x: Tensor, axis) -> tuple[int, ...]:
    """The axes that `axis` (None for all, an int, or a sequence) names, none of them negative.

    Raises:
        ValueError: an axis is out of range or named twice.
    """
    if axis is None:
        return tuple(range(x.ndim))
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    found = []
    for each in map(operator.index, axes):
        if not -x.ndim <= each < x.ndim:
            raise ValueError(f"axis {each} is out of bounds for a tensor of shape {x.shape}.")
        found.append(each % x.ndim)
    if len(set(found)) < len(found):
        raise ValueError(f"`axis` names an axis twice: {axis}, for a tensor of shape {x.shape}.")
    return tuple(found)


def accumulated(dtype: str) -> str:
    """Keras's dtype of sums and products: at least 32 bits for integers."""
    if dtype in ("bool", "int8", "int16"):
        return "int32"
    return "uint32" if dtype in ("uint8", "uint16") else dtype


def averaged(dtype: str) -> str:
    """Keras's dtype of means: floats stay, integers become the default float."""
    return dtype if dtypes.TABLE[dtype].kind in "fc" else result_type(dtype, float)


def sum(x, axis=None, keepdims=False):
    x = convert_to_tensor(x)
    # the primitive counts booleans itself
    x = x if x.dtype == "bool" else to_dtype(x, accumulated(x.dtype))
    return p.reduce_sum(x, axis=reduced_axes(x, axis), keepdims=bool(keepdims))


def prod(x, axis=None, keepdims=False, dtype=None):
    x = convert_to_tensor(x)
    x = to_dtype(x, accumulated(x.dtype) if dtype is None else dtype)
    return p.reduce_prod(x, axis=reduced_axes(x, axis), keepdims=bool(keepdims))


def _empty(x, axes) -> bool:
    return builtins.any(x.shape[axis] == 0 for axis in axes)


def _extreme(x, axis, keepdims, initial, reduce, combine, name):
    x = convert_to_tensor(x)
    axes = reduced_axes(x, axis)
    if 0 in x.shape and _empty(x, axes):
        if initial is None:
            raise ValueError(f"`{name}` of no elements (shape {x.shape}) needs `initial`.")
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        kept = shape if keepdims else tuple(n for i, n in enumerate(x.shape) if i not in axes)
        return convert_to_tensor(np.full(kept, initial), x.dtype)
    found = reduce(x, axis=axes, keepdims=bool(keepdims))
    return found if initial is None else combine(found, convert_to_tensor(initial, x.dtype))


def max(x, axis=None, keepdims=False, initial=None):
    return _extreme(x, axis, keepdims, initial, p.reduce_max, a.maximum, "max")


def min(x, axis=None, keepdims=False, initial=None):
    return _extreme(x, axis, keepdims, initial, p.reduce_min, a.minimum, "min")


def amax(x, axis=None, keepdims=False):
    return max(x, axis, keepdims)


def amin(x, axis=None, keepdims=False):
    return min(x, axis, keepdims)


def ptp(x, axis=None, keepdims=False):
    x = convert_to_tensor(x)
    return a.subtract(max(x, axis, keepdims), min(x, axis, keepdims))


def mean(x, axis=None, keepdims=False):
    x = convert_to_tensor(x)
    axes, dtype = reduced_axes(x, axis), averaged(x.dtype)
    wide = "float32" if dtypes.TABLE[x.dtype].kind in "iub" and dtype != "float64" else dtype
    return to_dtype(p.reduce_mean(to_dtype(x, wide), axis=axes, keepdims=bool(keepdims)), dtype)


def var(x, axis=None, keepdims=False):
    """The mean squared distance from the mean."""
    x = convert_to_tensor(x)
    dtype = averaged(x.dtype)
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    x = to_dtype(x, wide)
    axes = reduced_axes(x, axis)
    if dtypes.TABLE[wide].kind == "c":
        centred = a.subtract(x, p.reduce_mean(x, axis=axes, keepdims=True))
        squares = real(a.multiply(centred, conjugate(centred)))
        return p.reduce_mean(squares, axis=axes, keepdims=bool(keepdims))
    found = p.mean_and_variance(x, axis=axes)[1]
    if not keepdims and axes:
        found = squeeze(found, axis=axes)
    return to_dtype(found, dtype)


def std(x, axis=None, keepdims=False):
    return sqrt(var(x, axis, keepdims))


def _booleans(x):
    x = convert_to_tensor(x)
    return x if x.dtype == "bool" else not_equal(x, constant_like(0, x))


def all(x, axis=None, keepdims=False):
    x = _booleans(x)
    return p.reduce_all(x, axis=reduced_axes(x, axis), keepdims=bool(keepdims))


def any(x, axis=None, keepdims=False):
    x = _booleans(x)
    return p.reduce_any(x, axis=reduced_axes(x, axis), keepdims=bool(keepdims))


def count_nonzero(x, axis=None):
    x = _booleans(x)
    return p.reduce_sum(x, axis=reduced_axes(x, axis), keepdims=False)


def _position(x, axis, keepdims, find, name):
    x = convert_to_tensor(x)
    if axis is None:
        flat, along = reshape(x, shape=(-1,)), 0
    else:
        flat, (along,) = x, reduced_axes(x, axis)
    if flat.shape[along] == 0:
        raise ValueError(f"`{name}` of no elements: the axis to search has length 0.")
    found = find(flat, axis=along, keepdims=bool(keepdims) and axis is not None)
    return reshape(found, shape=(1,) * x.ndim) if keepdims and axis is None else found


def argmax(x, axis=None, keepdims=False):
    return _position(x, axis, keepdims, p.argmax, "argmax")


def argmin(x, axis=None, keepdims=False):
    return _position(x, axis, keepdims, p.argmin, "argmin")
