"""Primitives that apply a function of floats to each element."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from kerasvino.primitives import layout
from kerasvino.primitives.arithmetic import add, divide, multiply, negative, square, subtract
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import const, ov
from kerasvino.primitives.unbroadcast import constant_like

__all__ = [
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cbrt", "ceil", "cos", "cosh",
    "exp", "exp2", "expm1", "floor", "log", "log10", "log1p", "log2", "rint", "rsqrt",
    "sigmoid", "sin", "sinh", "sqrt", "stop_gradient", "tan", "tanh", "trunc", "unary",
]  # fmt: skip


def unary(name, lower, vjp, impl=None):
    """A primitive of one float; `vjp(g, x, out)` is the cotangent of x, None where that is zero."""
    return Primitive(
        name, impl=impl or getattr(np, name), lower=lower, layout=layout.elementwise,
        vjp=lambda g, inputs, output: (vjp(g, inputs[0], output) if vjp else None,),
    )  # fmt: skip


def _one(x):
    return constant_like(1, x)


def _plus_square(x):
    """1 + x**2."""
    return add(_one(x), square(x))


def _minus_square(x):
    """1 - x**2, without cancellation where x is near 1."""
    return multiply(subtract(_one(x), x), add(_one(x), x))


def _scaled(g, factor):
    return multiply(g, constant_like(factor, g))


# -- exponentials and logarithms

exp = unary("exp", lambda x: ov.exp(x), lambda g, x, out: multiply(g, out))
exp2 = unary(
    "exp2", lambda x: ov.power(const(2, x), x),
    lambda g, x, out: _scaled(multiply(g, out), math.log(2)),
)  # fmt: skip
expm1 = unary(
    "expm1", lambda x: ov.subtract(ov.exp(x), const(1, x)),
    lambda g, x, out: multiply(g, add(out, _one(x))),
)  # fmt: skip
log = unary("log", lambda x: ov.log(x), lambda g, x, out: divide(g, x))
log1p = unary(
    "log1p", lambda x: ov.log(ov.add(x, const(1, x))),
    lambda g, x, out: divide(g, add(x, _one(x))),
)  # fmt: skip
log2 = unary(
    "log2", lambda x: ov.multiply(ov.log(x), const(1 / math.log(2), x)),
    lambda g, x, out: _scaled(divide(g, x), 1 / math.log(2)),
)  # fmt: skip
log10 = unary(
    "log10", lambda x: ov.multiply(ov.log(x), const(1 / math.log(10), x)),
    lambda g, x, out: _scaled(divide(g, x), 1 / math.log(10)),
)  # fmt: skip
sigmoid = unary(
    "sigmoid", lambda x: ov.sigmoid(x),
    lambda g, x, out: multiply(g, multiply(out, subtract(_one(x), out))), impl=special.expit,
)  # fmt: skip

# -- roots

sqrt = unary("sqrt", lambda x: ov.sqrt(x), lambda g, x, out: divide(_scaled(g, 0.5), out))
rsqrt = unary(
    "rsqrt", lambda x: ov.divide(const(1, x), ov.sqrt(x)),
    lambda g, x, out: multiply(g, _scaled(divide(out, x), -0.5)),
    impl=lambda x: np.reciprocal(np.sqrt(x)),
)  # fmt: skip


def _lower_cbrt(x):
    return ov.multiply(ov.sign(x), ov.power(ov.abs(x), const(1 / 3, x)))


cbrt = unary("cbrt", _lower_cbrt, lambda g, x, out: divide(_scaled(g, 1 / 3), square(out)))

# -- trigonometric and hyperbolic functions

sin = unary("sin", lambda x: ov.sin(x), lambda g, x, out: multiply(g, cos(x)))
cos = unary("cos", lambda x: ov.cos(x), lambda g, x, out: negative(multiply(g, sin(x))))
tan = unary("tan", lambda x: ov.tan(x), lambda g, x, out: multiply(g, _plus_square(out)))
arcsin = unary(
    "arcsin", lambda x: ov.asin(x), lambda g, x, out: multiply(g, rsqrt(_minus_square(x)))
)
arccos = unary(
    "arccos", lambda x: ov.acos(x),
    lambda g, x, out: negative(multiply(g, rsqrt(_minus_square(x)))),
)  # fmt: skip
arctan = unary("arctan", lambda x: ov.atan(x), lambda g, x, out: divide(g, _plus_square(x)))
sinh = unary("sinh", lambda x: ov.sinh(x), lambda g, x, out: multiply(g, cosh(x)))
cosh = unary("cosh", lambda x: ov.cosh(x), lambda g, x, out: multiply(g, sinh(x)))
tanh = unary("tanh", lambda x: ov.tanh(x), lambda g, x, out: multiply(g, _minus_square(out)))
arcsinh = unary(
    "arcsinh", lambda x: ov.asinh(x), lambda g, x, out: multiply(g, rsqrt(_plus_square(x)))
)
arccosh = unary(
    "arccosh", lambda x: ov.acosh(x),
    lambda g, x, out: divide(
        g, multiply(sqrt(subtract(x, _one(x))), sqrt(add(x, _one(x))))
    ),
)  # fmt: skip
arctanh = unary("arctanh", lambda x: ov.atanh(x), lambda g, x, out: divide(g, _minus_square(x)))

# -- rounding

floor = unary("floor", lambda x: ov.floor(x), None)
ceil = unary("ceil", lambda x: ov.ceil(x), None)
# Half to even.
rint = unary("rint", lambda x: ov.round(x, "half_to_even"), None)


def _lower_trunc(x):
    return ov.select(ov.less(x, const(0, x)), ov.ceil(x), ov.floor(x))


trunc = unary("trunc", _lower_trunc, None)

# The value of x, past which no gradient goes.
stop_gradient = Primitive(
    "stop_gradient", impl=lambda x: x, lower=lambda x: x, layout=layout.elementwise,
    vjp=lambda g, inputs, output: (None,),
)  # fmt: skip
