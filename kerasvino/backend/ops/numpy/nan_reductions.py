"""Reductions that leave NaN out: neutral elements take its place, or it is not counted."""

from __future__ import annotations

import math

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import convert_to_tensor, result_type, to_dtype
from kerasvino.backend.ops.numpy import reductions as r
from kerasvino.primitives import compare
from kerasvino.primitives import reduce as p
from kerasvino.primitives.arithmetic import divide, multiply, square, subtract
from kerasvino.primitives.elementwise import sqrt
from kerasvino.primitives.unbroadcast import constant_like

__all__ = [
    "nanargmax", "nanargmin", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum",
    "nanvar",
]  # fmt: skip


def without_nan(x, neutral):
    """`x` with `neutral` in the place of NaN."""
    if not dtypes.is_float(x.dtype):
        return x
    return compare.select(compare.isnan(x), constant_like(neutral, x), x)


def nansum(x, axis=None, keepdims=False):
    return r.sum(without_nan(convert_to_tensor(x), 0), axis, keepdims)


def nanprod(x, axis=None, keepdims=False):
    return r.prod(without_nan(convert_to_tensor(x), 1), axis, keepdims)


def _extreme(x, axis, keepdims, reduce, neutral):
    x = convert_to_tensor(x)
    if not dtypes.is_float(x.dtype):
        return reduce(x, axis, keepdims)
    found = reduce(without_nan(x, neutral), axis, keepdims)
    # of nothing but NaN: NaN
    empty = r.all(compare.isnan(x), axis, keepdims)
    return compare.select(empty, constant_like(math.nan, x), found)


def nanmax(x, axis=None, keepdims=False):
    return _extreme(x, axis, keepdims, r.max, -math.inf)


def nanmin(x, axis=None, keepdims=False):
    return _extreme(x, axis, keepdims, r.min, math.inf)


def _position(x, axis, keepdims, find, neutral):
    """The place of the extreme number; -1 where there is nothing but NaN."""
    x = convert_to_tensor(x)
    if not dtypes.is_float(x.dtype):
        return find(x, axis, keepdims)
    missing = compare.isnan(x)
    found = find(without_nan(x, neutral), axis, keepdims)
    empty = r.all(missing, axis, keepdims)
    if axis is None and keepdims:
        empty = r.all(missing, None, True)
    return compare.select(empty, constant_like(-1, found), found)


def nanargmax(x, axis=None, keepdims=False):
    return _position(x, axis, keepdims, r.argmax, -math.inf)


def nanargmin(x, axis=None, keepdims=False):
    return _position(x, axis, keepdims, r.argmin, math.inf)


def _wide(x):
    """The operand in the dtype to compute in, and the dtype of the result."""
    x = convert_to_tensor(x)
    dtype = result_type(x.dtype, float)
    return to_dtype(x, "float32" if dtype in ("float16", "bfloat16") else dtype), dtype


def _present(x):
    """1 for each number, 0 for NaN."""
    return to_dtype(compare.logical_not(compare.isnan(x)), x.dtype)


def _mean(values, present, axes, keepdims):
    """The mean of the values that are present; the others are 0."""
    total = p.reduce_sum(values, axis=axes, keepdims=keepdims)
    return divide(total, p.reduce_sum(present, axis=axes, keepdims=keepdims))


def nanmean(x, axis=None, keepdims=False):
    x, dtype = _wide(x)
    axes = r.reduced_axes(x, axis)
    return to_dtype(_mean(without_nan(x, 0), _present(x), axes, bool(keepdims)), dtype)


def _variance(x, axis, keepdims):
    axes, present, values = r.reduced_axes(x, axis), _present(x), without_nan(x, 0)
    # no NaN enters a product, where its gradient would spread
    distance = multiply(subtract(values, _mean(values, present, axes, True)), present)
    return _mean(square(distance), present, axes, bool(keepdims))


def nanvar(x, axis=None, keepdims=False):
    x, dtype = _wide(x)
    return to_dtype(_variance(x, axis, keepdims), dtype)


def nanstd(x, axis=None, keepdims=False):
    x, dtype = _wide(x)
    return to_dtype(sqrt(_variance(x, axis, keepdims)), dtype)
