"""Primitives of arithmetic: ring operations, division, remainders, powers, extremes."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives import compare, integer, layout
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import const, element, is_float, is_integer, ov
from kerasvino.primitives.unbroadcast import constant_like, unbroadcast

__all__ = [
    "absolute", "add", "divide", "floor_divide", "fmod", "maximum", "minimum", "mod", "multiply",
    "negative", "power", "sign", "square", "subtract",
]  # fmt: skip


def wide(operation):
    """A lowering of an operation that is exact on i32: on integers of any width, wrapping."""

    def lower(*operands):
        if not is_integer(operands[0]):
            return operation(*operands)
        kind = element(operands[0])
        return integer.narrow(operation(*map(integer.widen, operands)).output(0), kind)

    return lower


def _binary(name, lower, vjp, impl=None):
    def rule(g, inputs, output):
        x, y = inputs
        dx, dy = vjp(g, x, y, output)
        return (
            None if dx is None else unbroadcast(dx, x),
            None if dy is None else unbroadcast(dy, y),
        )

    return Primitive(
        name, impl=impl or getattr(np, name), lower=lower, layout=layout.elementwise, vjp=rule
    )


add = _binary("add", wide(lambda x, y: ov.add(x, y)), lambda g, x, y, out: (g, g))
subtract = _binary(
    "subtract", wide(lambda x, y: ov.subtract(x, y)), lambda g, x, y, out: (g, negative(g))
)
multiply = _binary(
    "multiply", wide(lambda x, y: ov.multiply(x, y)),
    lambda g, x, y, out: (multiply(g, y), multiply(g, x)),
)  # fmt: skip
# Of floats.
divide = _binary(
    "divide", lambda x, y: ov.divide(x, y),
    lambda g, x, y, out: (divide(g, y), negative(divide(multiply(g, out), y))),
)  # fmt: skip


def _nan_of(x, y, value):
    """`value`, or NaN where an operand is: OpenVINO's maximum and minimum drop one of them."""
    kept = ov.select(ov.not_equal(y, y), y, value)
    return ov.select(ov.not_equal(x, x), x, kept)


def _extreme(name, operation, before):
    def lower(x, y):
        if is_float(x):
            return _nan_of(x, y, operation(x, y))
        if not is_integer(x):
            return (ov.logical_or if name == "maximum" else ov.logical_and)(x, y)
        if integer.unsigned(element(x)):
            found = operation(*(integer.flip_sign(integer.widen(v)) for v in (x, y)))
            return integer.narrow(integer.flip_sign(found.output(0)), element(x))
        return integer.narrow(operation(integer.widen(x), integer.widen(y)).output(0), element(x))

    def vjp(g, x, y, out):
        # Equal operands share the gradient.
        half, zero = multiply(g, constant_like(0.5, g)), constant_like(0, g)
        same = compare.equal(x, y)
        first = compare.select(before(x, y), g, zero)
        second = compare.select(before(y, x), g, zero)
        return compare.select(same, half, first), compare.select(same, half, second)

    return _binary(name, lower, vjp)


maximum = _extreme("maximum", lambda x, y: ov.maximum(x, y), compare.greater)
minimum = _extreme("minimum", lambda x, y: ov.minimum(x, y), compare.less)


# -- of one operand


def _unary(name, lower, vjp, impl=None):
    return Primitive(
        name, impl=impl or getattr(np, name), lower=lower, layout=layout.elementwise,
        vjp=lambda g, inputs, output: (vjp(g, inputs[0], output),),
    )  # fmt: skip


def _lower_negative(x):
    if is_float(x):
        return ov.multiply(x, const(-1, x))
    return integer.narrow(ov.subtract(integer.i32(0), integer.widen(x)).output(0), element(x))


negative = _unary("negative", _lower_negative, lambda g, x, out: negative(g))


def _lower_absolute(x):
    if is_float(x):
        return ov.abs(x)
    if not is_integer(x) or element(x).get_type_name()[0] == "u":
        return x
    return integer.narrow(ov.abs(integer.widen(x)).output(0), element(x))


absolute = _unary("absolute", _lower_absolute, lambda g, x, out: multiply(g, sign(x)))


def _lower_sign(x):
    if is_float(x):
        return _nan_of(x, x, ov.sign(x))
    wide = integer.widen(x)
    if element(x).get_type_name()[0] == "u":
        positive = ov.not_equal(wide, integer.i32(0)).output(0)
        return integer.narrow(ov.convert(positive, "i32").output(0), element(x))
    bounded = ov.maximum(ov.minimum(wide, integer.i32(1)), integer.i32(-1))
    return integer.narrow(bounded.output(0), element(x))


sign = Primitive(
    "sign", impl=np.sign, lower=_lower_sign, layout=layout.elementwise,
    vjp=lambda g, inputs, output: (None,),
)  # fmt: skip

square = _unary(
    "square", wide(lambda x: ov.multiply(x, x)),
    lambda g, x, out: multiply(g, multiply(constant_like(2, x), x)),
)  # fmt: skip


# -- division with remainder, powers


def _floats_or_integers(floats, integers):
    def lower(x, y):
        if is_float(x):
            return floats(x, y)
        kind = element(x)
        return integer.narrow(integers(integer.widen(x), integer.widen(y), kind), kind)

    return lower


def _floor_divide_floats(x, y):
    return ov.floor(ov.divide(x, y))


def _mod_floats(x, y):
    return ov.subtract(x, ov.multiply(_floor_divide_floats(x, y), y))


def _fmod_floats(x, y):
    return ov.mod(x, y)


floor_divide = Primitive(
    "floor_divide", impl=np.floor_divide, layout=layout.elementwise,
    lower=_floats_or_integers(
        _floor_divide_floats, lambda x, y, kind: integer.divmod_floor(x, y)[0]
    ),
    vjp=lambda g, inputs, output: (None, None),
)  # fmt: skip
mod = _binary(
    "mod",
    _floats_or_integers(_mod_floats, lambda x, y, kind: integer.divmod_floor(x, y)[1]),
    lambda g, x, y, out: (g, negative(multiply(g, floor_divide(x, y)))),
)
fmod = _binary(
    "fmod", _floats_or_integers(_fmod_floats, lambda x, y, kind: integer.divmod_floor(x, y)[1]),
    lambda g, x, y, out: (g, negative(multiply(g, divide(subtract(x, out), y)))),
)  # fmt: skip


def _power_vjp(g, x, y, out):
    from kerasvino.primitives.elementwise import log

    one, zero = constant_like(1, x), constant_like(0, x)
    dx = multiply(
        g, multiply(y, power(x, compare.select(compare.equal(y, zero), one, subtract(y, one))))
    )
    safe = compare.select(compare.greater(x, zero), x, one)
    dy = multiply(g, multiply(out, log(safe)))
    return dx, dy


power = _binary("power", lambda x, y: ov.power(x, y), _power_vjp)
