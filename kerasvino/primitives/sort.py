"""Primitives of order: sort, argsort, top_k, searchsorted.

`axis` is an int, not negative. NaN is larger than every number, and equal elements keep their
order.
"""

from __future__ import annotations

import math

import numpy as np
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.lowering import (
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
)
from kerasvino.nodes.ordering import (
    ascending,
    number_keys,
    sorted_values,
    stable_top,
    with_largest,
)
from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive

__all__ = ["argsort", "host_keys", "searchsorted", "sort", "top_k"]


# -- sort and argsort


def host_keys(x):
    """`x`, or float32 for the dtypes whose NaN NumPy does not know."""
    return x if x.dtype.isbuiltin == 1 else x.astype(np.float32)


def _sort_impl(x, *, axis):
    return np.sort(host_keys(x), axis=axis, kind="stable").astype(x.dtype, copy=False)


def _sort_lower(x, *, axis):
    kind, values = element(x), sorted_values(x, axis)
    if is_float(x):
        return convert(values, kind)
    if kind == Type.boolean:
        return ov.not_equal(values, integer.i32(0))
    return integer.narrow(integer.flip_sign(values) if kind == Type.u32 else values, kind)


def _put_back(g, x, order, axis):
    """Cotangents of elements picked along an axis, added up in their places in x."""
    from kerasvino.primitives.indexing import take_along_axis

    return take_along_axis.vjp(g, (x, order), None, axis=axis)[0]


def _sort_vjp(g, inputs, output, *, axis):
    return (_put_back(g, inputs[0], argsort(inputs[0], axis=axis), axis),)


# x of any ordered dtype.
sort = Primitive(
    "sort", impl=_sort_impl, vjp=_sort_vjp, layout=layout.axis_rule("axis"),
    lower=_sort_lower,
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
    order = stable_top(x, k, axis)
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
    length = None
    if not dims(keys)[0]:  # the plugin leaves the places in nothing as they were in memory
        length = ov.convert(scalar_dim(keys, 0), "i32")
        keys = with_largest(keys, 0)
    flat = ov.reshape(wanted, ints([-1]), special_zero=False)
    found = ov.convert(ov.search_sorted(keys, flat, side == "right"), "i32")
    if length is not None:
        found = ov.minimum(found, length)
    return ov.reshape(found, shape_of(wanted), special_zero=False)


def _searchsorted_lower(sequence, values, *, side):
    keys, wanted = number_keys(sequence), number_keys(values)
    if not is_float(values):
        return _places(keys, wanted, side)
    # NaN belongs behind the numbers: before the NaN of the sequence, or after.
    count = ov.convert(ov.reduce_sum(_are_numbers(keys), ints([0]), keep_dims=False), "i32")
    keys = ov.select(_are_nan(keys), const(math.inf, keys), keys).output(0)
    found = ov.minimum(_places(keys, wanted, side), count)
    behind = count if side == "left" else ov.convert(scalar_dim(sequence, 0), "i32")
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
