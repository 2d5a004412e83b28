"""Primitives of order: sort, argsort, top_k, searchsorted.

`axis` is an int, not negative. NaN is larger than every number, and equal elements keep their
order.
"""

from __future__ import annotations

import math

import numpy as np
from openvino import Type

from kerasvino.primitives import integer
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import (
    const, convert, dims, element, ints, is_float, ov, rank, scalar_dim,
)  # fmt: skip

__all__ = ["argsort", "searchsorted", "sort", "top_k"]


# -- helpers of lowerings


def _keys(x):
    """Numbers of the plugin's own order, as i32 or f32 with NaN as infinity, and where NaN is."""
    if is_float(x):
        wide = convert(x, Type.f32)
        missing = ov.not_equal(wide, wide).output(0)
        return ov.select(missing, const(math.inf, wide), wide).output(0), missing
    wide = integer.widen(x)
    return (integer.flip_sign(wide) if element(x) == Type.u32 else wide), None


def _length(x, axis):
    known = dims(x)[axis]
    return const(known, Type.i64) if known is not None else scalar_dim(x, axis)


def _order(keys, axis, mode):
    """Indices that sort `keys`, equal ones in their order."""
    return ov.topk(
        keys, _length(keys, axis), axis, mode, "value", index_element_type="i32", stable=True
    ).output(1)


def _ascending(x, axis):
    """Indices that sort `x`, NaN last."""
    keys, missing = _keys(x)
    order = _order(keys, axis, "min")
    if missing is None:
        return order
    # a second, stable pass puts NaN behind infinity
    flags = ov.gather_elements(ov.convert(missing, "i32"), order, axis)
    return ov.gather_elements(order, _order(flags.output(0), axis, "min"), axis).output(0)


# -- sort and argsort


def _host_keys(x):
    """`x`, or float32 for the dtypes whose NaN NumPy does not know."""
    return x if x.dtype.isbuiltin == 1 else x.astype(np.float32)


def _sort_impl(x, *, axis):
    return np.sort(_host_keys(x), axis=axis, kind="stable").astype(x.dtype, copy=False)


def _sort_vjp(g, inputs, output, *, axis):
    from kerasvino.primitives.indexing import take_along_axis

    # the inverse permutation brings the cotangents back
    back = argsort(argsort(inputs[0], axis=axis), axis=axis)
    return (take_along_axis(g, back, axis=axis),)


# x of any ordered dtype.
sort = Primitive(
    "sort", impl=_sort_impl, vjp=_sort_vjp,
    lower=lambda x, *, axis: ov.gather_elements(x, _ascending(x, axis), axis),
)  # fmt: skip
# The indices, int32.
argsort = Primitive(
    "argsort", dtype="int32", nondifferentiable="integer result",
    impl=lambda x, *, axis: np.argsort(_host_keys(x), axis=axis, kind="stable").astype(np.int32),
    lower=lambda x, *, axis: _ascending(x, axis),
)  # fmt: skip


# -- top_k


def _descending(x):
    """Indices that sort the last axis of an array downwards, equal elements in their order."""
    turned = np.argsort(_host_keys(x)[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    return x.shape[-1] - 1 - turned


def _top_k_impl(x, *, k):
    order = _descending(x)[..., :k]
    return np.take_along_axis(x, order, -1), order.astype(np.int32)


def _top_k_lower(x, *, k):
    axis = rank(x) - 1
    keys, missing = _keys(x)
    if missing is None:
        top = ov.topk(
            keys, const(k, Type.i64), axis, "max", "value", index_element_type="i32", stable=True
        ).output(1)
    else:
        flags = ov.convert(missing, "i32").output(0)
        order = _order(keys, axis, "max")
        behind = ov.gather_elements(flags, order, axis).output(0)
        order = ov.gather_elements(order, _order(behind, axis, "max"), axis)
        top = ov.slice(order, ints([0]), ints([k]), ints([1]), ints([axis])).output(0)
    return ov.gather_elements(x, top, axis), top


def _top_k_vjp(grads, inputs, outputs, *, k):
    from kerasvino.primitives.indexing import take_along_axis

    axis = inputs[0].ndim - 1
    primitive = take_along_axis.vjp
    return (primitive(grads[0], (inputs[0], outputs[1]), outputs[0], axis=axis)[0],)


# x; k > 0, at most the length of the last axis -> the largest elements, downwards; their indices.
top_k = Primitive(
    "top_k", impl=_top_k_impl, lower=_top_k_lower, vjp=_top_k_vjp, multiple=True,
    dtype=lambda inputs, attrs: (inputs[0], "int32"),
)  # fmt: skip


# -- searchsorted


def _searchsorted_lower(sequence, values, *, side):
    keys, _ = _keys(sequence)
    wanted, missing = _keys(values)
    flat = ov.reshape(wanted, ints([-1]), special_zero=False)
    found = ov.search_sorted(keys, flat, right_mode=side == "right")
    found = ov.reshape(ov.convert(found, "i32"), ov.shape_of(wanted), special_zero=False)
    if missing is None:
        return found
    # NaN belongs behind the numbers: before the NaN of the sequence, or after
    behind = ov.convert(_length(keys, 0), "i32")
    if side == "left":
        numbers = ov.convert(ov.equal(convert(sequence, Type.f32), convert(sequence, Type.f32)), "f32")
        behind = ov.convert(ov.reduce_sum(numbers, ints([0]), keep_dims=False), "i32")
    return ov.select(missing, behind, found)


# sequence: sorted, of rank 1; values: of any shape and the same dtype -> places, int32.
searchsorted = Primitive(
    "searchsorted", lower=_searchsorted_lower, dtype="int32", nondifferentiable="integer result",
    impl=lambda sequence, values, *, side: np.searchsorted(
        _host_keys(sequence), _host_keys(values), side
    ).astype(np.int32),
)  # fmt: skip
