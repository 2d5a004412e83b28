"""Primitives that apply a function of floats to each element."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from kerasvino.nodes.floating import magnitude, polynomial
from kerasvino.nodes.lowering import const, ov
from kerasvino.primitives import layout
from kerasvino.primitives.arithmetic import binary_vjp, fmod, power, square
from kerasvino.primitives.compare import where
from kerasvino.primitives.core import Primitive, defvjp

__all__ = [
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "log",
    "log1p",
    "log2",
    "log10",
    "lower_exp",
    "lower_log1p",
    "rint",
    "rsqrt",
    "sigmoid",
    "sin",
    "sinh",
    "sqrt",
    "stop_gradient",
    "tan",
    "tanh",
    "trunc",
    "unary",
]  # fmt: skip


def unary(name, lower, vjp, impl=None, wide=False):
    """A primitive of one float; `vjp(g, x, out)` is the cotangent of x, None where that is zero."""
    return Primitive(
        name, impl=impl or getattr(np, name), lower=lower, wide=wide, layout=layout.elementwise,
        vjp=lambda g, inputs, output: (vjp(g, inputs[0], output) if vjp else None,),
    )  # fmt: skip


def _minus_square(x):
    """1 - x**2, without cancellation where x is near 1."""
    return (1 - x) * (1 + x)


# -- exponentials and logarithms


def lower_exp(x):
    # OpenVINO's exp(NaN) is infinite.
    return ov.select(ov.not_equal(x, x), x, ov.exp(x))


def _lower_expm1(x):
    # near 0 by 2 t / (1 - t), t = tanh(x / 2), which does not cancel
    t = ov.tanh(ov.multiply(x, const(0.5, x)))
    near = ov.divide(ov.multiply(t, const(2.0, x)), ov.subtract(const(1.0, x), t))
    far = ov.subtract(lower_exp(x), const(1.0, x))
    return ov.select(ov.less(magnitude(x), const(1.0, x)), near, far)


def lower_log1p(x):
    # near 0 by 2 artanh(s), s = x / (2 + x), whose series ends below a rounding for |x| < 1/4
    s = ov.divide(x, ov.add(x, const(2.0, x)))
    t = ov.multiply(s, s)
    series = polynomial(t, (2 / 9, 2 / 7, 2 / 5, 2 / 3, 2.0))
    far = ov.log(ov.add(x, const(1.0, x)))
    return ov.select(ov.less(magnitude(x), const(0.25, x)), ov.multiply(s, series), far)


def _log_to(base):
    return lambda x: ov.multiply(ov.log(x), const(1 / math.log(base), x))


exp = unary("exp", lower_exp, lambda g, x, out: g * out, wide="lower")
exp2 = unary(
    "exp2", lambda x: ov.power(const(2.0, x), x),
    lambda g, x, out: g * out * math.log(2), wide="lower",
)  # fmt: skip
expm1 = unary("expm1", _lower_expm1, lambda g, x, out: g * (out + 1), wide="lower")
log = unary("log", lambda x: ov.log(x), lambda g, x, out: g / x)
log1p = unary("log1p", lower_log1p, lambda g, x, out: g / (x + 1), wide="lower")
log2 = unary("log2", _log_to(2), lambda g, x, out: g / x * (1 / math.log(2)), wide="lower")
log10 = unary("log10", _log_to(10), lambda g, x, out: g / x * (1 / math.log(10)), wide="lower")
sigmoid = unary(
    "sigmoid", lambda x: ov.sigmoid(x),
    lambda g, x, out: g * (out * (1 - out)),
    impl=special.expit, wide="impl",
)  # fmt: skip

# -- roots

sqrt = unary("sqrt", lambda x: ov.sqrt(x), lambda g, x, out: g * 0.5 / out)
rsqrt = unary(
    "rsqrt", lambda x: ov.divide(const(1.0, x), ov.sqrt(x)),
    lambda g, x, out: g * (out / x * -0.5),
    impl=lambda x: np.reciprocal(np.sqrt(x)), wide=True,
)  # fmt: skip


def _lower_cbrt(x):
    root = ov.power(magnitude(x), const(1 / 3, x))
    return ov.select(ov.less(x, const(0.0, x)), ov.negative(root), root)


cbrt = unary("cbrt", _lower_cbrt, lambda g, x, out: g * (1 / 3) / square(out), wide="lower")

# -- trigonometric and hyperbolic functions

sin = unary("sin", lambda x: ov.sin(x), lambda g, x, out: g * cos(x))
cos = unary("cos", lambda x: ov.cos(x), lambda g, x, out: -(g * sin(x)))
tan = unary("tan", lambda x: ov.tan(x), lambda g, x, out: g * (1 + square(out)))
arcsin = unary("arcsin", lambda x: ov.asin(x), lambda g, x, out: g * rsqrt(_minus_square(x)))
arccos = unary(
    "arccos", lambda x: ov.acos(x),
    lambda g, x, out: -(g * rsqrt(_minus_square(x))),
)  # fmt: skip
arctan = unary("arctan", lambda x: ov.atan(x), lambda g, x, out: g / (1 + square(x)))
sinh = unary("sinh", lambda x: ov.sinh(x), lambda g, x, out: g * cosh(x))
cosh = unary("cosh", lambda x: ov.cosh(x), lambda g, x, out: g * sinh(x))
tanh = unary("tanh", lambda x: ov.tanh(x), lambda g, x, out: g * _minus_square(out))
arcsinh = unary("arcsinh", lambda x: ov.asinh(x), lambda g, x, out: g * rsqrt(1 + square(x)))
arccosh = unary(
    "arccosh", lambda x: ov.acosh(x),
    lambda g, x, out: g / (sqrt(x - 1) * sqrt(x + 1)),
)  # fmt: skip
arctanh = unary("arctanh", lambda x: ov.atanh(x), lambda g, x, out: g / _minus_square(x))

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


# -- gradients of arithmetic that are made of these


def _fmod_vjp(g, x, y, out):
    return g, -(g * rint((x - out) / y))


def _power_vjp(g, x, y, out):
    dx = g * y * power(x, where(y == 0, 1, y - 1))
    # x**y does not change with y where x is 0, and is not defined around y where x is negative
    return dx, g * out * log(where(x > 0, x, 1))


defvjp(fmod, binary_vjp(_fmod_vjp))
defvjp(power, binary_vjp(_power_vjp))
