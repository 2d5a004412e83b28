"""Primitives on the bits of integers: logic and shifts."""

from __future__ import annotations

import numpy as np
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.lowering import element, is_integer, ov
from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive

__all__ = [
    "bitwise_and", "bitwise_invert", "bitwise_or", "bitwise_xor", "left_shift", "right_shift",
]  # fmt: skip


def _bitwise(name, lower, impl):
    return Primitive(
        name, impl=impl, lower=lower, layout=layout.elementwise, nondifferentiable="integer result"
    )


def _logic(bits, logical):
    """Of integers bit by bit, of booleans logically."""

    def lower(*operands):
        if not is_integer(operands[0]):
            return logical(*operands)
        return integer.narrow(bits(*map(integer.widen, operands)).output(0), element(operands[0]))

    return lower


bitwise_and = _bitwise("bitwise_and", _logic(ov.bitwise_and, ov.logical_and), np.bitwise_and)
bitwise_or = _bitwise("bitwise_or", _logic(ov.bitwise_or, ov.logical_or), np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", _logic(ov.bitwise_xor, ov.logical_xor), np.bitwise_xor)
bitwise_invert = _bitwise("bitwise_invert", _logic(ov.bitwise_not, ov.logical_not), np.invert)


def _in_range(y):
    """1 where y is a number of bits that i32 can be shifted by, else 0."""
    return ov.convert(ov.equal(ov.bitwise_and(y, integer.i32(-32)), integer.i32(0)), "i32")


def _lower_left_shift(x, y):
    kind, x, y = element(x), integer.widen(x), integer.widen(y)
    # a product, as OpenVINO's shifts cost fifty times as much
    power = integer.power(integer.i32(2), ov.bitwise_and(y, integer.i32(31)).output(0), bits=5)
    return integer.narrow(ov.multiply(ov.multiply(x, power), _in_range(y)), kind)


def _lower_right_shift(x, y):
    kind, x, y = element(x), integer.widen(x), integer.widen(y)
    one, valid = integer.i32(1), _in_range(y)
    if not integer.is_unsigned(kind):
        # by 31 where there are not so many bits, which leaves those of the sign
        by = ov.add(integer.i32(31), ov.multiply(valid, ov.subtract(y, integer.i32(31))))
        return integer.narrow(ov.bitwise_right_shift(x, by), kind)
    if kind == Type.u32:
        # logical: by one bit first, which makes room for a sign
        none = ov.convert(ov.equal(y, integer.i32(0)), "i32")
        half = ov.bitwise_and(ov.bitwise_right_shift(x, one), integer.i32(0x7FFFFFFF))
        by = ov.multiply(ov.subtract(y, one), ov.subtract(valid, none))
        shifted = ov.bitwise_right_shift(half, by)
        x = ov.add(shifted, ov.multiply(none, ov.subtract(x, shifted)))
    else:
        x = ov.bitwise_right_shift(x, ov.multiply(y, valid))
    return integer.narrow(ov.multiply(x, valid), kind)


# By y bits; out of range (negative, or the width and more) all bits are shifted out.
left_shift = _bitwise("left_shift", _lower_left_shift, np.left_shift)
right_shift = _bitwise("right_shift", _lower_right_shift, np.right_shift)
