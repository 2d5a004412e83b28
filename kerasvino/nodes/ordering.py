"""Orders for lowerings, made of OpenVINO's TopK.

TopK with `stable` compares every element with each of the k best, so a sort with it is quadratic;
without it equal elements come in any order. So elements are first sorted as they come, which
numbers the groups of equal ones, and then by group and position, of which no two are equal.
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
)

__all__ = [
    "ascending", "number_keys", "sorted_values", "stable_top", "with_largest",
]  # fmt: skip

_LARGEST = float(np.finfo(np.float32).max)
_END = 2**31 - 1
# Up to this many comparisons the stable TopK is one quick node.
_FEW = 4096
# Along an axis of unknown length there are fewer elements than 2 to this power.
_BITS = 20

# -- keys


def number_keys(x):
    """Numbers that the plugin orders as `x`, in i32 or f32; NaN stays."""
    if is_float(x):
        return convert(x, Type.f32)
    wide = integer.widen(x)
    return integer.flip_sign(wide) if element(x) == Type.u32 else wide


def _without_nan(x, axis):
    """Keys in whose order NaN comes last.

    It takes the place of infinity, which is the largest finite number in the presence of NaN.
    """
    keys = number_keys(x)
    if not is_float(x):
        return keys
    infinity = const(math.inf, keys)
    missing = ov.not_equal(keys, keys)
    spoiled = ov.reduce_logical_or(missing, ints([axis]), keep_dims=True)
    demoted = ov.logical_and(spoiled, ov.equal(keys, infinity))
    keys = ov.select(demoted, const(_LARGEST, keys), keys)
    return ov.select(missing, infinity, keys).output(0)


def with_largest(keys, axis):
    """The keys with the largest number of their dtype as one more element of an axis."""
    none, after = ([int(a == axis) * n for a in range(rank(keys))] for n in (0, 1))
    if is_float(keys):
        return ov.pad(keys, ints(none), ints(after), "constant", const(math.inf, keys)).output(0)
    # OpenVINO's Pad rounds an i32 value to f32, which the smallest one is exact in.
    smallest = integer.i32(-(2**31))
    padded = ov.pad(ov.bitwise_not(keys), ints(none), ints(after), "constant", smallest)
    return ov.bitwise_not(padded).output(0)


def _padded(keys, axis, sort):
    """`sort(keys)` along an axis of any length, 0 too, on which TopK fails."""
    if dims(keys)[axis] is not None:
        return sort(keys)
    result = sort(with_largest(keys, axis))
    return ov.slice(result, ints([0]), ints([-1]), ints([1]), ints([axis])).output(0)


def _positions(x, axis):
    """0, 1, … along an axis, of rank of x."""
    order = ov.range(ints(0), scalar_dim(x, axis), ints(1), "i32")
    along = [-1 if a == axis else 1 for a in range(rank(x))]
    return ov.reshape(order, ints(along), special_zero=False).output(0)


# -- sorts


def _top(keys, count, axis, mode, stable=False):
    """(values, indices as i32) of the first `count` in an order."""
    return ov.topk(keys, count, axis, mode, "value", "i32", stable=stable).outputs()


def _sorted(keys, axis):
    return _top(keys, scalar_dim(keys, axis), axis, "min")[0]


def sorted_values(x, axis):
    """`x` sorted along an axis, NaN last, as the numbers of `number_keys`."""
    keys = number_keys(x)
    if not is_float(x):
        return _padded(keys, axis, lambda k: _sorted(k, axis))
    missing = ov.not_equal(keys, keys)
    keys = ov.select(missing, const(math.inf, keys), keys).output(0)
    values = _padded(keys, axis, lambda k: _sorted(k, axis))
    count = ov.reduce_sum(ov.convert(missing, "f32"), ints([axis]), keep_dims=True)
    numbers = ov.subtract(ov.convert(scalar_dim(x, axis), "i32"), ov.convert(count, "i32"))
    inside = integer.less(_positions(x, axis), numbers.output(0))
    return ov.select(inside, values, const(math.nan, keys)).output(0)


def _groups(values, axis):
    """For sorted values the number of different ones before each, as i32."""
    before = ov.maximum(
        ov.subtract(ov.range(ints(0), scalar_dim(values, axis), ints(1), "i32"), integer.i32(1)),
        integer.i32(0),
    )
    previous = ov.gather(values, before, ints(axis)).output(0)
    differ = ov.not_equal if is_float(values) else integer.not_equal
    return ov.cum_sum(ov.convert(differ(values, previous), "i32"), ints(axis)).output(0)


def _stable_order(keys, axis, mode):
    """Indices that sort the keys, equal ones in their order."""
    known, length = dims(keys)[axis], scalar_dim(keys, axis)
    if known is not None and known * known <= _FEW:
        return _top(keys, length, axis, mode, stable=True)[1]
    values, order = _top(keys, length, axis, mode)
    groups = _groups(values, axis)
    if known is not None and known * known < 2**31:
        offsets = ov.multiply(groups, integer.i32(known))
        # groups are in order already: each keeps its place
        return ov.subtract(_sorted(ov.add(offsets, order).output(0), axis), offsets).output(0)
    ranks = ov.scatter_elements_update(order, order, groups, ints(axis)).output(0)
    return _by_digits(ranks, axis, _BITS if known is None else (known - 1).bit_length())


def _by_digits(ranks, axis, bits):
    """Indices that sort numbers of `bits` bits: by the lowest digit, then by the higher ones.

    A digit is such that with the position beside it 31 bits suffice.
    """
    width, order = 31 - bits, None
    length = convert(scalar_dim(ranks, axis), Type.i32)
    positions = _positions(ranks, axis)
    for shift in range(0, bits, width):
        digit = ov.bitwise_right_shift(ranks, integer.i32(shift)) if shift else ranks
        digit = ov.bitwise_and(digit, integer.i32((1 << width) - 1))
        keys = ov.add(ov.multiply(digit, length), positions).output(0)
        _, step = _top(keys, scalar_dim(ranks, axis), axis, "min")
        ranks = ov.gather_elements(ranks, step, axis).output(0)
        order = step if order is None else ov.gather_elements(order, step, axis).output(0)
    return order


def ascending(x, axis):
    """Indices that sort `x`, NaN last, equal elements in their order."""
    keys = _without_nan(x, axis)
    return _padded(keys, axis, lambda k: _stable_order(k, axis, "min"))


# -- the largest


def stable_top(x, count, axis):
    """Indices of the `count` largest elements, downwards, NaN first, equal ones in their order."""
    keys, known = _without_nan(x, axis), dims(x)[axis]
    if known is not None and known * count <= _FEW:
        return _top(keys, ints(count), axis, "max", stable=True)[1]
    least = ov.slice(
        _top(keys, ints(count), axis, "max")[0], ints([-1]), ints([_END]), ints([1]), ints([axis])
    ).output(0)
    places = _chosen(keys, least, count, axis)
    # in the order of positions, so that a stable sort of them by value is that of all
    order = _stable_order(ov.gather_elements(keys, places, axis).output(0), axis, "max")
    return ov.gather_elements(places, order, axis).output(0)


def _chosen(keys, least, count, axis):
    """Indices, upwards, of what is above `least` and of the first equal to it: `count` in all."""
    if is_float(keys):
        above, equal = ov.less(least, keys), ov.equal(keys, least)
    else:
        above, equal = integer.less(least, keys), integer.equal(keys, least)
    more = ov.reduce_sum(ov.convert(above, "f32"), ints([axis]), keep_dims=True)
    left = ov.subtract(integer.i32(count), ov.convert(more, "i32")).output(0)
    nth = ov.cum_sum(ov.convert(equal, "i32"), ints(axis)).output(0)
    first = ov.logical_and(equal, ov.logical_not(integer.less(left, nth)))
    chosen = ov.logical_or(above, first)
    places = integer.select(chosen, _positions(keys, axis), integer.i32(_END))
    return _top(places, ints(count), axis, "min")[0]
