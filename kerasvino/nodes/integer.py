"""Exact integer arithmetic for lowerings: every integer is computed as i32, its type put on last.

OpenVINO's CPU plugin saturates 8-bit arithmetic, leaves 16-bit intermediates unwrapped, takes u32
for signed in all but the ring operations, computes i64 as i32, and sends i32 through float32 in
comparisons, division, power, relu and reductions. Exact on i32 are: add, subtract, multiply,
maximum, minimum, the bitwise operations, comparison with 0, and whatever only moves data. Select is
not, once it is fused with the comparison that decides. So `widen` the operands, compute with
those, `narrow` the result.

A u32 value is carried as the i32 of the same bits. A u32 Constant in a graph would be clipped to
2**31 - 1, an i32 one is exact.
"""

from __future__ import annotations

import numpy as np
from openvino import Output, Type

from kerasvino.nodes.lowering import const, convert, ov

__all__ = [
    "divmod_floor", "divmod_unsigned", "equal", "flip_sign", "i32", "is_small", "is_unsigned",
    "less", "narrow", "not_equal", "power", "select", "sign", "to_f32", "widen", "width",
]  # fmt: skip

_SMALL = (Type.i8, Type.i16, Type.u8, Type.u16)
_UNSIGNED = (Type.u8, Type.u16, Type.u32, Type.u64)


def i32(value: int) -> Output:
    """An i32 Constant; of the same bits where `value` is an unsigned 32-bit number."""
    return const(np.asarray(value & 0xFFFFFFFF, np.uint32).view(np.int32), Type.i32)


def is_small(kind: Type) -> bool:
    """Whether float32 holds every value of `kind` exactly (8 and 16 bits)."""
    return kind in _SMALL


def width(kind: Type) -> int:
    """Number of bits that a graph computes `kind` in."""
    return min(kind.bitwidth, 32)


def is_unsigned(kind: Type) -> bool:
    return kind in _UNSIGNED


def widen(x: Output) -> Output:
    """An integer or boolean operand as i32, of the same bits where it has 32 or more."""
    return convert(x, Type.i32)


def narrow(x, kind: Type) -> Output:
    """An i32 value as `kind`, wrapped as NumPy's conversion does."""
    if kind == Type.i16:
        low = ov.bitwise_and(ov.add(x, i32(0x8000)), i32(0xFFFF))
        x = ov.subtract(low, i32(0x8000))
    elif kind == Type.u16:
        x = ov.bitwise_and(x, i32(0xFFFF))
    return convert(x if isinstance(x, Output) else x.output(0), kind)


def to_f32(x: Output, kind: Type) -> Output:
    """A widened integer of `kind` as the nearest f32."""
    if kind != Type.u32:
        return convert(x, Type.f32)
    # Halves of 16 bits are exact, their sum rounds once.
    low = ov.convert(ov.bitwise_and(x, i32(0xFFFF)), "f32")
    return ov.add(ov.multiply(_high_half(x), const(65536, Type.f32)), low).output(0)


def _high_half(x):
    """Upper 16 bits of u32 in i32, as f32: exact, as the masked number has 16 significant bits."""
    high = ov.multiply(
        ov.convert(ov.bitwise_and(x, i32(0xFFFF0000)), "f32"), const(2**-16, Type.f32)
    )
    return ov.select(ov.less(high, const(0, Type.f32)), ov.add(high, const(65536, Type.f32)), high)


# -- order, of i32


def flip_sign(x: Output) -> Output:
    """Maps the order of u32 in i32 to that of i32, and back."""
    return ov.bitwise_xor(x, i32(0x80000000)).output(0)


def equal(x: Output, y: Output) -> Output:
    return ov.equal(ov.bitwise_xor(x, y), i32(0)).output(0)


def not_equal(x: Output, y: Output) -> Output:
    return ov.not_equal(ov.bitwise_xor(x, y), i32(0)).output(0)


def less(x: Output, y: Output) -> Output:
    return not_equal(ov.maximum(x, y).output(0), x)


def sign(x) -> Output:
    return ov.maximum(ov.minimum(x, i32(1)), i32(-1)).output(0)


def select(condition, x, y) -> Output:
    return ov.add(y, ov.multiply(ov.convert(condition, "i32"), ov.subtract(x, y))).output(0)


# -- division with remainder


def divmod_floor(x: Output, y: Output) -> tuple[Output, Output]:
    """Quotient rounded towards minus infinity and remainder of the divisor's sign, of i32.

    Both are 0 where the divisor is 0, and -2**31 // -1 wraps, as in NumPy. A float32 estimate of
    the quotient leaves a remainder small enough for a second one to be off by at most one.
    """
    s = sign(y)
    nonzero = ov.multiply(s, s)
    y = ov.add(y, ov.subtract(i32(1), nonzero))
    divisor = ov.convert(y, "f32")
    limit = 2147483520.0  # the largest float32 below 2**31
    estimate = ov.clamp(ov.divide(ov.convert(x, "f32"), divisor), -limit, limit)
    quotient = ov.convert(estimate, "i32")
    rest = ov.subtract(x, ov.multiply(quotient, y))
    # Rounded up but for less than the estimate's error, so that the rest ends below or just at 0.
    again = ov.add(ov.divide(ov.convert(rest, "f32"), divisor), const(0.999, Type.f32))
    again = ov.convert(ov.floor(again), "i32")
    rest = ov.subtract(rest, ov.multiply(again, y))
    wrong = ov.minimum(ov.multiply(sign(rest), sign(y)), i32(0))
    quotient = ov.add(ov.add(quotient, again), wrong)
    rest = ov.subtract(rest, ov.multiply(wrong, y))
    return ov.multiply(quotient, nonzero).output(0), ov.multiply(rest, nonzero).output(0)


def divmod_unsigned(x: Output, y: Output) -> tuple[Output, Output]:
    """Quotient and remainder of u32 carried in i32; both 0 where the divisor is 0.

    Each round subtracts a multiple of the divisor that is estimated in float32 and never too large,
    so that the rest stays a u32; three leave less than twice the divisor.
    """
    is_zero = ov.equal(y, i32(0)).output(0)
    y = ov.add(y, ov.convert(is_zero, "i32")).output(0)
    divisor = to_f32(y, Type.u32)
    quotient, rest = i32(0), x
    for _ in range(3):
        estimate = ov.multiply(
            ov.divide(to_f32(rest, Type.u32), divisor), const(1 - 2**-20, Type.f32)
        )
        step = ov.convert(ov.minimum(estimate, const(2147483520.0, Type.f32)), "i32")
        quotient = ov.add(quotient, step).output(0)
        rest = ov.subtract(rest, ov.multiply(step, y)).output(0)
    last = ov.convert(ov.logical_not(less(flip_sign(rest), flip_sign(y))), "i32")
    quotient = ov.add(quotient, last)
    rest = ov.subtract(rest, ov.multiply(last, y))
    nonzero = ov.convert(ov.logical_not(is_zero), "i32")
    return ov.multiply(quotient, nonzero).output(0), ov.multiply(rest, nonzero).output(0)


def power(x: Output, y: Output, bits: int) -> Output:
    """x**y by squaring, wrapped to i32, where y has no more than `bits` bits (32: not negative)."""
    result, one = i32(1), i32(1)
    for bit in range(bits):
        taken = ov.bitwise_and(y, i32(1 << bit))
        chosen = ov.minimum(taken, one) if bit < 31 else _is_set(taken)
        # the square where the bit is set, else 1
        result = ov.multiply(result, ov.add(one, ov.multiply(chosen, ov.subtract(x, one))))
        if bit + 1 < bits:
            x = ov.multiply(x, x)
    return result.output(0)


def _is_set(x):
    """1 where x is not 0, else 0."""
    s = sign(x)
    return ov.multiply(s, s)
