"""Exact integer arithmetic for lowerings: every integer is computed as i32, its label put on last.

OpenVINO's CPU plugin saturates 8-bit arithmetic, leaves 16-bit intermediates unwrapped, takes u32
for signed in all but the ring operations, computes i64 as i32, and sends i32 through float32 in
comparisons, division, power, relu and reductions. Exact on i32 are: add, subtract, multiply,
negative, absolute, maximum, minimum, sign, the bitwise operations, select, comparison with 0, and
whatever only moves data. So `widen` operands, compute with those, `narrow` the result.
"""

from __future__ import annotations

import numpy as np
from openvino import Output, Type

from kerasvino.primitives.lowering import const, convert, ov

__all__ = [
    "divmod_floor", "equal", "flip_sign", "less", "narrow", "not_equal", "unsigned", "widen",
]  # fmt: skip

_SIGNED = (Type.i8, Type.i16, Type.i32, Type.i64)
_WIDE = (Type.i32, Type.i64, Type.u64)


def i32(value: int) -> Output:
    """An i32 Constant; of the same bits when `value` is an unsigned 32-bit number."""
    return const(np.asarray(value & 0xFFFFFFFF, np.uint32).view(np.int32), Type.i32)


def unsigned(kind: Type) -> bool:
    """Whether values of `kind` may exceed the signed range of 32 bits."""
    return kind == Type.u32


def widen(x: Output) -> Output:
    """An integer or boolean operand as i32 of the same bits (sign-extended where narrower)."""
    return convert(x, Type.i32)


def narrow(x: Output, kind: Type) -> Output:
    """An i32 value as `kind`, wrapped as NumPy's conversion does."""
    if kind == Type.i16:
        low = ov.bitwise_and(ov.add(x, i32(0x8000)), i32(0xFFFF))
        x = ov.subtract(low, i32(0x8000)).output(0)
    elif kind == Type.u16:
        x = ov.bitwise_and(x, i32(0xFFFF)).output(0)
    return convert(x.output(0) if not isinstance(x, Output) else x, kind)


def flip_sign(x: Output) -> Output:
    """Maps unsigned order to signed order (and back): flips the top bit of i32."""
    return ov.bitwise_xor(x, i32(0x80000000)).output(0)


def equal(x: Output, y: Output) -> Output:
    return ov.equal(ov.bitwise_xor(x, y), i32(0)).output(0)


def not_equal(x: Output, y: Output) -> Output:
    return ov.not_equal(ov.bitwise_xor(x, y), i32(0)).output(0)


def less(x: Output, y: Output) -> Output:
    """x < y of i32 operands, both signed."""
    return not_equal(ov.maximum(x, y).output(0), x)


def divmod_floor(x: Output, y: Output) -> tuple[Output, Output]:
    """Quotient rounded towards minus infinity and remainder of the divisor's sign, of i32 operands.

    Both are 0 where the divisor is 0, and the quotient -2**31 / -1 wraps, as in NumPy. A float32
    estimate of the quotient leaves a remainder small enough for a second one to be off by at most
    one, which the signs of the remainders then correct.
    """
    sign, zero, one = _sign, i32(0), i32(1)
    is_zero = ov.equal(y, zero)
    y = ov.select(is_zero, one, y)
    divisor = ov.convert(y, "f32")
    limit = 2147483520.0  # the largest float32 below 2**31
    estimate = ov.clamp(ov.divide(ov.convert(x, "f32"), divisor), -limit, limit)
    quotient = ov.convert(estimate, "i32")
    rest = ov.subtract(x, ov.multiply(quotient, y))
    again = ov.convert(ov.floor(ov.divide(ov.convert(rest, "f32"), divisor)), "i32")
    rest = ov.subtract(rest, ov.multiply(again, y))
    quotient = ov.add(quotient, again)
    below = ov.convert(ov.less(ov.multiply(sign(rest), sign(y)), zero), "i32")
    rest = ov.add(rest, ov.multiply(below, y))
    quotient = ov.subtract(quotient, below)
    beyond = ov.multiply(sign(ov.subtract(rest, y)), sign(y))
    above = ov.logical_and(ov.greater_equal(beyond, zero), ov.not_equal(rest, zero))
    above = ov.convert(above, "i32")
    rest = ov.subtract(rest, ov.multiply(above, y))
    quotient = ov.add(quotient, above)
    quotient, rest = (ov.select(is_zero, zero, part).output(0) for part in (quotient, rest))
    return quotient, rest


def _sign(x):
    return ov.maximum(ov.minimum(x, i32(1)), i32(-1))
