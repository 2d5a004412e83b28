"""Logic and shifts of the bits of integers."""

from __future__ import annotations

from kerasvino import dtypes
from kerasvino.backend.keras_private import standardize_dtype
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.elementwise import unary
from kerasvino.primitives import bitwise as p
from kerasvino.primitives.float_bits import bitcast

__all__ = [
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "left_shift", "right_shift", "view",
]  # fmt: skip


def _bits(name, *values):
    """Operands in their promoted dtype, which has bits to work on."""
    tensors = promote(*values)
    dtype = tensors[0].dtype
    if dtypes.TABLE[dtype].kind not in "iub":
        raise TypeError(f"`{name}` takes integers or booleans; the promoted dtype is {dtype}.")
    return tensors


def bitwise_and(x, y):
    """`keras.ops.bitwise_and`."""
    return p.bitwise_and(*_bits("bitwise_and", x, y))


def bitwise_or(x, y):
    """`keras.ops.bitwise_or`."""
    return p.bitwise_or(*_bits("bitwise_or", x, y))


def bitwise_xor(x, y):
    """`keras.ops.bitwise_xor`."""
    return p.bitwise_xor(*_bits("bitwise_xor", x, y))


def bitwise_left_shift(x, y):
    """`keras.ops.bitwise_left_shift`."""
    return p.left_shift(*_bits("bitwise_left_shift", x, y))


def bitwise_right_shift(x, y):
    """`keras.ops.bitwise_right_shift`: arithmetic for signed, logical for unsigned integers."""
    return p.right_shift(*_bits("bitwise_right_shift", x, y))


left_shift, right_shift = bitwise_left_shift, bitwise_right_shift
bitwise_invert = unary("bitwise_invert", lambda x: p.bitwise_invert(*_bits("bitwise_invert", x)))
bitwise_not = bitwise_invert


def view(x, dtype=None):
    """`keras.ops.view`: the same bytes as another dtype, the last axis longer or shorter for it.

    In a graph only between integers of one width. Raises ValueError where the bytes of the last
    axis do not make up whole elements.
    """
    x = convert_to_tensor(x)
    dtype = x.dtype if dtype is None else standardize_dtype(dtype)
    old, new = dtypes.TABLE[x.dtype], dtypes.TABLE[dtype]
    if old.bits == new.bits and old.kind in "iu" and new.kind in "iu":
        return to_dtype(x, dtype)
    if x.dtype == dtype:
        return x
    return bitcast(x, dtype=dtype)
