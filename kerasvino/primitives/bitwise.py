"""Primitives on the bits of integers: logic and shifts."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives import integer, layout
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import element, is_integer, ov

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


def _lower_left_shift(x, y):
    shifted = ov.bitwise_left_shift(integer.widen(x), integer.widen(y))
    return integer.narrow(shifted.output(0), element(x))


def _lower_right_shift(x, y):
    shifted = ov.bitwise_right_shift(integer.widen(x), integer.widen(y))
    return integer.narrow(shifted.output(0), element(x))


left_shift = _bitwise("left_shift", _lower_left_shift, np.left_shift)
right_shift = _bitwise("right_shift", _lower_right_shift, np.right_shift)
