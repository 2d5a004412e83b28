"""The primitive `unique`, whose results are as long as there are different elements."""

from __future__ import annotations

import numpy as np
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.lowering import convert, element, ints, is_float, ov, scalar_dim, shape_of
from kerasvino.nodes.ordering import ascending
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.sort import host_keys

__all__ = ["unique"]


def _impl(x, *, axis):
    values, *others = np.unique(
        host_keys(x), return_index=True, return_inverse=True, return_counts=True, axis=axis,
        equal_nan=False,
    )  # fmt: skip
    places = [other.astype(np.int32) for other in others]
    places[1] = places[1].reshape(x.shape if axis is None else -1)
    return values.astype(x.dtype, copy=False), *places


def _lower_flat(x):
    """From the sorted elements: each that differs from the one before it begins a new group.

    OpenVINO's Unique mixes up what stands beside NaN.
    """
    flat = ov.reshape(x, ints([-1]), special_zero=False).output(0)
    order = ascending(flat, 0)
    ordered = ov.gather(flat, order, ints(0)).output(0)
    length = convert(scalar_dim(flat, 0), Type.i32)
    places = ov.range(integer.i32(0), length, integer.i32(1), "i32")
    before = ov.maximum(ov.subtract(places, integer.i32(1)), integer.i32(0))
    previous = ov.gather(ordered, before, ints(0)).output(0)
    if is_float(x):
        differs = ov.not_equal(ordered, previous)
    else:
        differs = integer.not_equal(integer.widen(ordered), integer.widen(previous))
    begins = ov.logical_or(differs, ov.equal(places, integer.i32(0)))
    starts = ov.reshape(ov.non_zero(begins, "i32"), ints([-1]), special_zero=False)
    ends = ov.concat(
        [
            ov.slice(starts, ints([1]), ints([2**31 - 1]), ints([1]), ints([0])),
            ov.unsqueeze(length, ints(0)),
        ],
        0,
    )
    group = ov.subtract(ov.cum_sum(ov.convert(begins, "i32"), ints(0)), integer.i32(1))
    inverse = ov.scatter_elements_update(places, order, group, ints(0))
    index = ov.gather(order, starts, ints(0))
    return (
        ov.gather(flat, index, ints(0)),
        index,
        ov.reshape(inverse, shape_of(x), special_zero=False),
        ov.subtract(ends, starts),
    )


def _lower(x, *, axis):
    if axis is None:
        return _lower_flat(x)
    kind, wide = element(x), x
    if not is_float(x):
        wide = integer.widen(x)
        wide = integer.flip_sign(wide) if kind == Type.u32 else wide
    _, index, inverse, counts = ov.unique(
        wide, ints(axis), sorted=True, index_element_type="i32", count_element_type="i32"
    ).outputs()
    return ov.gather(x, index, ints(axis)), index, inverse, counts


# x; axis: an int, or None for the elements -> the different slices along axis in lexicographic
# order, no NaN equal to another; as int32 where each is first, which one stands at each place, how
# often each occurs.
unique = Primitive(
    "unique", impl=_impl, lower=_lower, multiple=True,
    dtype=lambda inputs, attrs: (inputs[0], "int32", "int32", "int32"),
    nondifferentiable="its length depends on values; gather the elements at the indices instead",
)  # fmt: skip
