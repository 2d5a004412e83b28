"""Functions that make tensors: constants, ranges and grids."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import config, standardize_dtype
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, result_type, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import (
    add,
    divide,
    floor_divide,
    maximum,
    multiply,
    subtract,
)
from kerasvino.backend.ops.numpy.elementwise import ceil
from kerasvino.backend.ops.numpy.shaping import lengths
from kerasvino.primitives import shape as p
from kerasvino.primitives.core import is_traced
from kerasvino.primitives.create import iota
from kerasvino.tensor import Tensor

__all__ = [
    "arange", "empty", "empty_like", "full", "full_like", "meshgrid", "ones", "ones_like", "zeros",
    "zeros_like",
]  # fmt: skip


def dtype_or(dtype, default=None):
    return standardize_dtype(dtype) if dtype is not None else default or config.floatx()


def hosted(array, dtype):
    return Tensor._wrap(np.asarray(array).astype(dtypes.numpy_dtype(dtype), copy=False))


# -- constants


def full(shape, fill_value, dtype=None):
    """`keras.ops.full`; entries of `shape` and `fill_value` may be tensors."""
    value = convert_to_tensor(fill_value, dtype_or(dtype))
    return p.broadcast_to(value, shape=lengths(shape))


def zeros(shape, dtype=None):
    """`keras.ops.zeros`; entries of `shape` may be tensors."""
    shape = lengths(shape)
    if is_traced(shape):
        return full(shape, 0, dtype)
    return Tensor._wrap(np.zeros(shape, dtypes.numpy_dtype(dtype_or(dtype))))


def ones(shape, dtype=None):
    """`keras.ops.ones`; entries of `shape` may be tensors."""
    shape = lengths(shape)
    if is_traced(shape):
        return full(shape, 1, dtype)
    return Tensor._wrap(np.ones(shape, dtypes.numpy_dtype(dtype_or(dtype))))


empty = zeros


def full_like(x, fill_value, dtype=None):
    """`keras.ops.full_like`."""
    x = convert_to_tensor(x)
    return full(p.lengths(x), fill_value, dtype_or(dtype, x.dtype))


def zeros_like(x, dtype=None):
    """`keras.ops.zeros_like`."""
    x = convert_to_tensor(x)
    return zeros(p.lengths(x), dtype_or(dtype, x.dtype))


def ones_like(x, dtype=None):
    """`keras.ops.ones_like`."""
    x = convert_to_tensor(x)
    return ones(p.lengths(x), dtype_or(dtype, x.dtype))


empty_like = zeros_like


# -- ranges


def arange(start, stop=None, step=None, dtype=None):
    """`keras.ops.arange`; the bounds may be tensors."""
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    bounds = [
        v if isinstance(v, (int, float)) else convert_to_tensor(v) for v in (start, stop, step)
    ]
    if dtype is None:
        dtype = result_type(*[getattr(v, "dtype", type(v)) for v in bounds])
    dtype = standardize_dtype(dtype)
    if not is_traced(bounds):
        start, stop, step = (v.item() if isinstance(v, Tensor) else v for v in bounds)
        return hosted(np.arange(start, stop, step), dtype)
    return _traced_range(*bounds, dtype)


def _traced_range(start, stop, step, dtype):
    extent = subtract(stop, start)
    if dtypes.is_integer(extent.dtype) and _is(1, step):
        count = extent
    elif dtypes.is_integer(extent.dtype) and isinstance(step, int):
        count = floor_divide(add(extent, step - (1 if step > 0 else -1)), step)
    else:
        count = cast(ceil(divide(extent, step)), "int32")
    kind = dtype if dtypes.is_float(dtype) else "int32"
    places = to_dtype(iota(size=maximum(count, 0)), kind)
    if not _is(1, step):
        places = multiply(places, cast(step, kind))
    if not _is(0, start):
        places = add(places, cast(start, kind))
    return to_dtype(places, dtype)


def _is(number, bound) -> bool:
    return isinstance(bound, (int, float)) and bound == number


def meshgrid(*x, indexing="xy"):
    """`keras.ops.meshgrid`: a list."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"Valid values for `indexing` are 'xy' and 'ij'; given: {indexing!r}.")
    xs = [p.reshape(convert_to_tensor(t), shape=(-1,)) for t in x]
    places = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        places[:2] = 1, 0
    sizes = [None] * len(xs)
    for t, place in zip(xs, places, strict=True):
        sizes[place] = p.lengths(t)[0]
    grids = []
    for t, place in zip(xs, places, strict=True):
        t = p.expand_dims(t, axis=tuple(a for a in range(len(xs)) if a != place))
        grids.append(p.broadcast_to(t, shape=tuple(sizes)))
    return grids
