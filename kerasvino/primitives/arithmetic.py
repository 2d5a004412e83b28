"""Primitives of arithmetic: ring operations, division, remainders, powers, extremes."""

from __future__ import annotations

import math

import numpy as np
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.floating import in_f32, magnitude
from kerasvino.nodes.lowering import const, convert, element, is_float, is_integer, ov
from kerasvino.primitives import compare, layout
from kerasvino.primitives.compare import where
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.operators import define
from kerasvino.primitives.unbroadcast import unbroadcast

__all__ = [
    "absolute", "add", "binary", "binary_vjp", "clip", "divide", "floor_divide", "fmod", "maximum",
    "minimum", "mod", "multiply", "negative", "power", "sign", "square", "subtract",
]  # fmt: skip


def binary_vjp(vjp):
    """A rule of two broadcasting operands.

    `vjp(g, x, y, out)` gives the cotangents of both in the shape of the result, None for zero.
    """

    def rule(g, inputs, output):
        cotangents = vjp(g, *inputs, output)
        return tuple(
            None if d is None else unbroadcast(d, x)
            for d, x in zip(cotangents, inputs, strict=True)
        )

    return rule


def binary(name, lower, vjp=None, impl=None, wide=False):
    """A primitive of two broadcasting operands of one dtype; its `vjp` is as in `binary_vjp`."""
    return Primitive(
        name, impl=impl or getattr(np, name), lower=lower, wide=wide, layout=layout.elementwise,
        vjp=vjp and binary_vjp(vjp),
    )  # fmt: skip


def _unary(name, lower, vjp, dtype=None):
    return Primitive(
        name, impl=getattr(np, name), lower=lower, layout=layout.elementwise, dtype=dtype,
        vjp=vjp and (lambda g, inputs, output: (vjp(g, inputs[0]),)),
    )  # fmt: skip


def _by_kind(floats, integers, booleans=None):
    """A lowering: `floats(*operands)`, or `integers(*operands in i32, kind)` wrapped to `kind`."""

    def lower(*operands):
        kind = element(operands[0])
        if is_float(operands[0]):
            return floats(*operands)
        if is_integer(operands[0]):
            return integer.narrow(integers(*map(integer.widen, operands), kind), kind)
        if booleans is None:
            raise TypeError("there is no such arithmetic of booleans; cast them to int32.")
        return booleans(*operands)

    return lower


def _ring(operation, booleans=None):
    """A lowering of what is exact on i32, whatever the sign and width of the operands."""
    return _by_kind(operation, lambda *operands: operation(*operands[:-1]), booleans)


# -- ring operations

add = binary("add", _ring(ov.add, ov.logical_or), lambda g, x, y, out: (g, g))
subtract = binary("subtract", _ring(ov.subtract), lambda g, x, y, out: (g, -g))
multiply = binary(
    "multiply", _ring(ov.multiply, ov.logical_and),
    lambda g, x, y, out: (g * y, g * x),
)  # fmt: skip
negative = _unary(
    "negative",
    _by_kind(ov.negative, lambda x, kind: ov.subtract(integer.i32(0), x)),
    lambda g, x: -g,
)
square = _unary(
    "square", _ring(lambda x: ov.multiply(x, x), lambda x: x),
    lambda g, x: g * (2 * x),
)  # fmt: skip

# -- sign


def _absolute_integers(x, kind):
    return x if integer.is_unsigned(kind) else magnitude(x)


def _sign_integers(x, kind):
    # u32 of 2**31 and more is negative in i32: its square tells it from 0
    s = integer.sign(x)
    return ov.multiply(s, s) if kind == Type.u32 else s


_REAL = {"complex64": "float32", "complex128": "float64"}
absolute = _unary(
    "absolute", _by_kind(magnitude, _absolute_integers, lambda x: x), None,
    dtype=lambda inputs, attrs: _REAL.get(inputs[0], inputs[0]),
)  # fmt: skip
sign = _unary("sign", _by_kind(ov.sign, _sign_integers), lambda g, x: None)

# -- extremes


def _extreme_floats(before):
    # OpenVINO's own drop a NaN in one of the operands.
    return lambda x, y: ov.select(ov.not_equal(x, x), x, ov.select(before(x, y), x, y))


def _extreme_integers(operation):
    def integers(x, y, kind):
        if kind != Type.u32:
            return operation(x, y)
        return integer.flip_sign(operation(integer.flip_sign(x), integer.flip_sign(y)))

    return integers


def _extreme(name, floats, integers, booleans, before):
    def vjp(g, x, y, out):
        # Equal operands share the gradient.
        half, same = g * 0.5, compare.equal(x, y)
        first = where(same, half, where(before(x, y), g, 0))
        second = where(same, half, where(before(y, x), g, 0))
        return first, second

    lower = _by_kind(_extreme_floats(floats), _extreme_integers(integers), booleans)
    return binary(name, lower, vjp, wide="exact")


maximum = _extreme(
    "maximum", lambda x, y: ov.less_equal(y, x), ov.maximum, ov.logical_or, compare.greater
)
minimum = _extreme(
    "minimum", lambda x, y: ov.less_equal(x, y), ov.minimum, ov.logical_and, compare.less
)


def _clip_impl(x, *, low, high):
    return np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high))


def _lower_clip(x, *, low, high):
    kind = element(x)

    def integers(x, kind):
        limits = (0, 2**32 - 1) if kind == Type.u32 else (-(2**31), 2**31 - 1)
        least, most = (integer.i32(min(max(v, limits[0]), limits[1])) for v in (low, high))
        flip = integer.flip_sign if kind == Type.u32 else lambda v: v
        return flip(ov.minimum(ov.maximum(flip(x), flip(least)), flip(most)))

    def floats(x):
        # not by the column `wide`: the bounds are as the dtype of x holds them. A NaN is neither
        # below nor above.
        least, most = (convert(const(v, kind), Type.f32) for v in (low, high))
        x = ov.select(ov.less(x, least), least, x)
        return ov.select(ov.less(most, x), most, x)

    return _by_kind(in_f32(floats, exact=True), integers)(x)


def _clip_vjp(g, inputs, output, *, low, high):
    (x,) = inputs
    return (where(compare.logical_and(x >= low, x <= high), g, 0),)


# x; low, high: numbers that the dtype holds (rounded, if floats), no NaN.
clip = Primitive(
    "clip", impl=_clip_impl, lower=_lower_clip, layout=layout.elementwise, vjp=_clip_vjp
)

# -- division

# Of floats. The CPU plugin truncates a quotient of bfloat16 on processors without AVX-512.
divide = binary("divide", ov.divide, lambda g, x, y, out: (g / y, -(g * out / y)), wide="lower")


def _split(x):
    """x as a sum of two numbers of 12 bits (Veltkamp), whose products float32 holds exactly."""
    t = ov.multiply(x, const(4097.0, x))
    high = ov.subtract(t, ov.subtract(t, x))
    return high, ov.subtract(x, high)


def _minus_product(r, q, b):
    """r - q * b with the rounding error of the product (Dekker) taken off."""
    product = ov.multiply(q, b)
    (q1, q2), (b1, b2) = _split(q), _split(b)
    error = ov.subtract(ov.multiply(q1, b1), product)
    error = ov.add(ov.add(error, ov.multiply(q1, b2)), ov.multiply(q2, b1))
    error = ov.add(error, ov.multiply(q2, b2))
    return ov.subtract(ov.subtract(r, product), error)


def _remainder(x, y):
    """The remainder of float32 x by y with the sign of x: exact for quotients up to 2**44.

    OpenVINO's mod is off by as much as the divisor, since its division is inexact.
    """
    zero, infinity = const(0.0, x), const(math.inf, x)
    b = magnitude(y)
    # Where the splitting would overflow, both are scaled down.
    scale = ov.select(ov.less(const(2.0**100, x), b), const(2.0**-40, x), const(1.0, x))
    r, divisor = ov.multiply(magnitude(x), scale), ov.multiply(b, scale)
    for _ in range(2):
        quotient = ov.minimum(ov.floor(ov.divide(r, divisor)), const(3e38, x))
        r = _minus_product(r, quotient, divisor)
    r = ov.select(ov.less(r, zero), ov.add(r, divisor), r)
    r = ov.select(ov.less_equal(divisor, r), ov.subtract(r, divisor), r)
    inside = ov.logical_and(ov.less_equal(zero, r), ov.less(r, divisor))
    r = ov.divide(ov.select(inside, r, zero), scale)
    r = ov.select(ov.less(x, zero), ov.negative(r), r)
    r = ov.select(ov.equal(b, infinity), x, r)
    valid = ov.logical_and(ov.less(magnitude(x), infinity), ov.less(zero, b))
    return ov.select(valid, r, const(math.nan, x))


def _crosses(rest, y):
    """Whether a remainder is on the other side of 0 than the divisor."""
    zero = const(0.0, y)
    return ov.logical_and(
        ov.not_equal(rest, zero), ov.not_equal(ov.less(rest, zero), ov.less(y, zero))
    )


def _mod_floats(x, y):
    rest = _remainder(x, y)
    return ov.select(_crosses(rest, y), ov.add(rest, y), rest)


def _floor_divide_floats(x, y):
    rest = _remainder(x, y)
    quotient = ov.round(ov.divide(ov.subtract(x, rest), y), "half_to_even")
    quotient = ov.subtract(quotient, ov.convert(_crosses(rest, y), "f32"))
    return ov.select(ov.equal(y, const(0.0, y)), ov.divide(x, y), quotient)


def _divmod_integers(part):
    def integers(x, y, kind):
        rule = integer.divmod_unsigned if kind == Type.u32 else integer.divmod_floor
        return rule(x, y)[part]

    return integers


def _fmod_integers(x, y, kind):
    if integer.is_unsigned(kind):
        return _divmod_integers(1)(x, y, kind)
    rest = integer.divmod_floor(x, y)[1]
    # less the divisor where that gave the remainder the other sign than the dividend's
    opposite = ov.minimum(ov.multiply(integer.sign(x), integer.sign(rest)), integer.i32(0))
    return ov.add(rest, ov.multiply(opposite, y))


floor_divide = binary(
    "floor_divide", _by_kind(_floor_divide_floats, _divmod_integers(0)),
    lambda g, x, y, out: (None, None), wide="lower",
)  # fmt: skip
# The remainder has the sign of the divisor (mod) or of the dividend (fmod).
mod = binary(
    "mod", _by_kind(_mod_floats, _divmod_integers(1)),
    lambda g, x, y, out: (g, -(g * floor_divide(x, y))), wide="lower",
)  # fmt: skip


fmod = binary("fmod", _by_kind(_remainder, _fmod_integers), wide="lower")

# -- powers


def _power_impl(x, y):
    if x.dtype.kind != "i" or not (y < 0).any():
        return np.power(x, y)
    # As XLA has it: 1 / x**-y rounded towards zero, and 0 for x = 0.
    odd = (1 - 2 * (y & 1)).astype(x.dtype)
    inverse = np.where(x == 1, 1, np.where(x == -1, odd, 0)).astype(x.dtype)
    return np.where(y < 0, inverse, np.power(x, np.maximum(y, 0)))


def _power_integers(x, y, kind):
    if integer.is_unsigned(kind):
        return integer.power(x, y, integer.width(kind))
    zero, one = integer.i32(0), integer.i32(1)
    result = integer.power(x, ov.maximum(y, zero).output(0), integer.width(kind) - 1)
    odd = ov.subtract(one, ov.multiply(ov.bitwise_and(y, one), integer.i32(2))).output(0)
    inverse = integer.select(integer.equal(x, integer.i32(-1)), odd, zero)
    inverse = integer.select(integer.equal(x, one), one, inverse)
    return integer.select(ov.less(y, zero), inverse, result)


power = binary("power", _by_kind(ov.power, _power_integers), impl=_power_impl)

# -- as Python's operators

define(
    {"neg": negative},
    {
        "add": add, "sub": subtract, "mul": multiply, "truediv": divide,
        "eq": compare.equal, "ne": compare.not_equal, "lt": compare.less,
        "le": compare.less_equal, "gt": compare.greater, "ge": compare.greater_equal,
    },
)  # fmt: skip
