"""Logic and shifts of the bits of integers."""

from __future__ import annotations

from kerasvino.backend.core.convert import promote
from kerasvino.backend.numpy.arithmetic import binary
from kerasvino.backend.numpy.elementwise import unary
from kerasvino.primitives import bitwise as p

__all__ = [
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "left_shift", "right_shift",
]  # fmt: skip


def bitwise_and(x, y):
    """`keras.ops.bitwise_and`."""
    return p.bitwise_and(*promote(x, y))


def bitwise_or(x, y):
    """`keras.ops.bitwise_or`."""
    return p.bitwise_or(*promote(x, y))


def bitwise_xor(x, y):
    """`keras.ops.bitwise_xor`."""
    return p.bitwise_xor(*promote(x, y))


def bitwise_left_shift(x, y):
    """`keras.ops.bitwise_left_shift`."""
    return p.left_shift(*promote(x, y))


def bitwise_right_shift(x, y):
    """`keras.ops.bitwise_right_shift`: arithmetic for signed, logical for unsigned integers."""
    return p.right_shift(*promote(x, y))


left_shift, right_shift = bitwise_left_shift, bitwise_right_shift
bitwise_invert = unary("bitwise_invert", p.bitwise_invert)
bitwise_not = unary("bitwise_not", p.bitwise_invert)
