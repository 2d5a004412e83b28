"""Primitives of order: sort, argsort, top_k, searchsorted.

`axis` is an int, not negative. NaN is larger than every number, and equal elements keep their
order.
"""

from __future__ import annotations

import math

import numpy as np
from openvino import Type

from kerasvino.primitives import integer, layout
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import (
    const,
    convert,
    dims,
    element,
    ints,
    is_float,
    ov,
    rank,
    scalar_dim,
    shape_of,
)  # fmt: skip

__all__ = ["argsort", "ascending", "host_keys", "searchsorted", "sort", "top_k"]


# -- helpers of lowerings

_LARGEST = float(np.finfo(np.float32).max)


def _number_keys(x):
    """Numbers that the plugin orders as `x`, in i32 or f32; NaN stays."""
    if is_float(x):
        return convert(x, Type.f32)
    wide = integer.widen(x)
    return integer.flip_sign(wide) if element(x) == Type.u32 else wide


def _keys(x, axis):
    """Numbers in whose order NaN comes last.

    It takes the place of infinity, which is the largest finite number in the presence of NaN.
    """
    keys = _number_keys(x)
    if not is_float(x):
        return keys
    infinity = const(math.inf, keys)
    missing = ov.not_equal(keys, keys)
    spoiled = ov.reduce_logical_or(missing, ints([axis]), keep_dims=True)
    demoted = ov.logical_and(spoiled, ov.equal(keys, infinity))
    keys = ov.select(demoted, const(_LARGEST, keys), keys)
    return ov.select(missing, infinity, keys).output(0)


def _length(x, axis):
    known = dims(x)[axis]
    return ints(known) if known is not None else scalar_dim(x, axis)


def _topmost(keys, count, axis, mode):
    """Indices of the first `count` in an order, equal ones in theirs."""
    return ov.topk(keys, count, axis, mode, "value", "i32", stable=True).output(1)


def _with_largest(keys, axis):
    """The keys with the largest number of their dtype as one more element of an axis."""
    none, after = ([int(a == axis) * n for a in range(rank(keys))] for n in (0, 1))
    if is_float(keys):
        return ov.pad(keys, ints(none), ints(after), "constant", const(math.inf, keys)).output(0)
    # OpenVINO's Pad rounds an i32 value to f32, which the smallest one is exact in.
    smallest = integer.i32(-(2**31))
    padded = ov.pad(ov.bitwise_not(keys), ints(none), ints(after), "constant", smallest)
    return ov.bitwise_not(padded).output(0)


def ascending(x, axis):
    """Of a lowering: the indices that sort `x`, NaN last, equal elements in their order."""
    keys = _keys(x, axis)
    if dims(x)[axis] is not None:
        return _topmost(keys, _length(x, axis), axis, "min")
    # OpenVINO's TopK fails on an axis of length 0: one more element is put behind all others.
    keys = _with_largest(keys, axis)
    order = _topmost(keys, _length(keys, axis), axis, "min")
    return ov.slice(order, ints([0]), ints([-1]), ints([1]), ints([axis])).output(0)


# -- sort and argsort


def host_keys(x):
    """`x`, or float32 for the dtypes whose NaN NumPy does not know."""
    return x if x.dtype.isbuiltin == 1 else x.astype(np.float32)


def _sort_impl(x, *, axis):
    return np.sort(host_keys(x), axis=axis, kind="stable").astype(x.dtype, copy=False)


def _put_back(g, x, order, axis):
    """Cotangents of elements picked along an axis, added up in their places in x."""
    from kerasvino.primitives.indexing import take_along_axis

    return take_along_axis.vjp(g, (x, order), None, axis=axis)[0]


def _sort_vjp(g, inputs, output, *, axis):
    return (_put_back(g, inputs[0], argsort(inputs[0], axis=axis), axis),)


# x of any ordered dtype.
sort = Primitive(
    "sort", impl=_sort_impl, vjp=_sort_vjp, layout=layout.axis_rule("axis"),
    lower=lambda x, *, axis: ov.gather_elements(x, ascending(x, axis), axis),
)  # fmt: skip
# The indices, int32.
argsort = Primitive(
    "argsort", dtype="int32", nondifferentiable="integer result", layout=layout.axis_rule("axis"),
    impl=lambda x, *, axis: np.argsort(host_keys(x), axis=axis, kind="stable").astype(np.int32),
    lower=lambda x, *, axis: ascending(x, axis),
)  # fmt: skip


# -- top_k


def _descending(x):
    """Indices that sort the last axis of an array downwards, equal elements in their order."""
    turned = np.argsort(host_keys(x)[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    return x.shape[-1] - 1 - turned


def _top_k_impl(x, *, k):
    order = _descending(x)[..., :k]
    return np.take_along_axis(x, order, -1), order.astype(np.int32)


def _top_k_lower(x, *, k):
    axis = rank(x) - 1
    order = _topmost(_keys(x, axis), ints(k), axis, "max")
    return ov.gather_elements(x, order, axis), order


def _top_k_vjp(grads, inputs, outputs, *, k):
    return (_put_back(grads[0], inputs[0], outputs[1], inputs[0].ndim - 1),)


# x; k > 0, at most the length of the last axis -> the largest elements, downwards; their indices.
top_k = Primitive(
    "top_k", impl=_top_k_impl, lower=_top_k_lower, vjp=_top_k_vjp, multiple=True,
    dtype=lambda inputs, attrs: (inputs[0], "int32"),
)  # fmt: skip


# -- searchsorted


def _places(keys, wanted, side):
    """Of finite or infinite numbers."""
    flat = ov.reshape(wanted, ints([-1]), special_zero=False)
    found = ov.convert(ov.search_sorted(keys, flat, side == "right"), "i32")
    return ov.reshape(found, shape_of(wanted), special_zero=False)


def _searchsorted_lower(sequence, values, *, side):
    keys, wanted = _number_keys(sequence), _number_keys(values)
    if not is_float(values):
        return _places(keys, wanted, side)
    # NaN belongs behind the numbers: before the NaN of the sequence, or after.
    count = ov.convert(ov.reduce_sum(_are_numbers(keys), ints([0]), keep_dims=False), "i32")
    keys = ov.select(_are_nan(keys), const(math.inf, keys), keys)
    found = ov.minimum(_places(keys, wanted, side), count)
    behind = count if side == "left" else ov.convert(_length(sequence, 0), "i32")
    return integer.select(_are_nan(wanted), behind, found)


def _are_nan(x):
    return ov.not_equal(x, x)


def _are_numbers(x):
    return ov.convert(ov.equal(x, x), "f32")


# sequence: sorted, of rank 1; values: of any shape and the same dtype -> places, int32.
searchsorted = Primitive(
    "searchsorted", lower=_searchsorted_lower, dtype="int32", nondifferentiable="integer result",
    impl=lambda sequence, values, *, side: np.searchsorted(
        host_keys(sequence), host_keys(values), side
    ).astype(np.int32),
)  # fmt: skip
