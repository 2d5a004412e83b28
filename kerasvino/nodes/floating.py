"""Float arithmetic for lowerings where OpenVINO's own is not what it says (see `integer` too)."""

from __future__ import annotations

import functools
import math

from openvino import Node, Output, Type

from kerasvino.nodes.lowering import const, convert, element, ov

__all__ = [
    "in_f32",
    "magnitude",
    "polynomial",
    "round_bf16",
    "round_f8",
    "round_f16",
    "rounded_operand",
]


def magnitude(x):
    """|x| of floats or i32.

    The CPU plugin drops an Abs of rank 1 that derives from constants or shapes without being one.
    """
    rank = x.get_output_partial_shape(0).rank if isinstance(x, Node) else x.get_partial_shape().rank
    if rank.is_static and rank.get_length() != 1:
        return ov.abs(x)
    zero = const(0, x)
    return ov.select(ov.less_equal(x, zero), ov.subtract(zero, x), x)


def round_bf16(x):
    """f32 rounded to the nearest bf16, ties to even, and still f32.

    A conversion to bf16 truncates on processors without bf16 instructions, and everywhere where
    shapes are dynamic. Adding and taking off a multiple leaves 8 bits; scaled where that overflows.
    """
    size = magnitude(x)
    big = ov.less(const(2.0**100, x), size)
    scaled = ov.select(big, ov.multiply(x, const(2.0**-64, x)), x)
    high = _leading(scaled, 8)
    high = ov.select(big, ov.multiply(high, const(2.0**64, x)), high)
    return _marked(ov.select(ov.less(size, const(math.inf, x)), high, x))


def _leading(x, bits):
    """f32 rounded to `bits` significant bits, ties to even (T. J. Dekker's splitting)."""
    t = ov.multiply(x, const(2.0 ** (24 - bits) + 1.0, x))
    return ov.subtract(t, ov.subtract(t, x))


# Significant bits, smallest normal number and distance of those below it.
_F8 = {Type.f8e4m3: (4, 2.0**-6, 2.0**-9), Type.f8e5m2: (3, 2.0**-14, 2.0**-16)}
_F16 = (11, 2.0**-14, 2.0**-24)
_NARROW = (Type.f16, Type.bf16, *_F8)


def round_f8(x, kind):
    """f32 rounded to the nearest number of the f8 type `kind`, ties to even, and still f32.

    A conversion goes through f16, and so rounds twice. What is past the largest number stays, for
    the conversion to make of it what the type has.
    """
    return _marked(_rounded(x, _F8[kind], 2.0**17, x))


def round_f16(x):
    """f32 rounded to the nearest f16, ties to even, and still f32.

    The CPU plugin holds f16 as f32: conversions inside a graph leave all digits.
    """
    infinite = ov.multiply(x, const(math.inf, x))
    return _marked(_rounded(x, _F16, 65520.0, infinite), "multiple")


def _rounded(x, digits, end, outside):
    """x rounded to `digits` where |x| is less than `end`, else `outside`."""
    bits, normal, step = digits
    size = magnitude(x)
    small = ov.multiply(ov.round(ov.divide(x, const(step, x)), "half_to_even"), const(step, x))
    value = ov.select(ov.less(size, const(normal, x)), small, _leading(x, bits))
    return ov.select(ov.less(size, const(end, x)), value, outside)


def _marked(selection, outside="itself"):
    """The selection that ends a rounding, with a mark that `rounded_operand` knows."""
    selection.get_rt_info()[f"kerasvino_rounded_{outside}"] = True
    return selection


def rounded_operand(node: Node) -> Output | None:
    """What a rounding takes of which `node` is the last one; else None."""
    marks = node.get_rt_info()
    if "kerasvino_rounded_itself" in marks:
        return node.input_value(2)
    if "kerasvino_rounded_multiple" in marks:
        return node.input_value(2).get_node().input_value(0)
    return None


def in_f32(lower, exact=False):
    """A lowering that computes narrow floats in f32 and rounds a result of floats once at the end.

    The type of the first operand decides, and all operands of that type are converted. With `exact`
    the result is one of the operands and needs no rounding.
    """

    @functools.wraps(lower)
    def lowering(*operands, **attrs):
        kind = element(operands[0])
        if kind not in _NARROW:
            return lower(*operands, **attrs)
        wide = [convert(x, Type.f32) if element(x) == kind else x for x in operands]
        result = lower(*wide, **attrs)
        for given, x in zip(operands, wide, strict=True):
            if result is x:  # nothing was computed
                return given
        result = result if isinstance(result, Output) else result.output(0)
        if element(result) != Type.f32:
            return result
        if kind == Type.bf16 and not exact:
            result = round_bf16(result).output(0)
        if kind in _F8 and not exact:
            result = round_f8(result, kind).output(0)
        return convert(result, kind)

    return lowering


def polynomial(x, coefficients):
    """Horner's scheme, highest power first."""
    value = const(coefficients[0], x)
    for coefficient in coefficients[1:]:
        value = ov.add(ov.multiply(value, x), const(coefficient, x))
    return value
