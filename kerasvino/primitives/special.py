"""Primitives of special functions and of two floats: erf, Bessel, arctan2, hypot, logaddexp, ldexp."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from kerasvino.primitives import layout
from kerasvino.primitives.arithmetic import add, divide, multiply, negative, square, subtract
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.elementwise import exp, unary
from kerasvino.primitives.lowering import const, ov
from kerasvino.primitives.unbroadcast import constant_like, unbroadcast

__all__ = ["erf", "erfc", "erfinv"]

_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)


def _gaussian(x, factor):
    """factor * exp(-x**2)."""
    return multiply(constant_like(factor, x), exp(negative(square(x))))


erf = unary(
    "erf", lambda x: ov.erf(x), lambda g, x, out: multiply(g, _gaussian(x, _TWO_OVER_SQRT_PI)),
    impl=special.erf,
)  # fmt: skip
erfc = unary(
    "erfc", lambda x: ov.subtract(const(1, x), ov.erf(x)),
    lambda g, x, out: multiply(g, _gaussian(x, -_TWO_OVER_SQRT_PI)), impl=special.erfc,
)  # fmt: skip

# Giles, "Approximating the erfinv function", GPU Computing Gems 2 (2011), single precision:
# polynomials in w - 2.5 for w < 5 and in sqrt(w) - 3 beyond, where w = -log(1 - x**2).
_CENTRAL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def _polynomial(x, coefficients):
    """Horner's scheme, highest power first."""
    value = const(coefficients[0], x)
    for coefficient in coefficients[1:]:
        value = ov.add(ov.multiply(value, x), const(coefficient, x))
    return value


def _lower_erfinv(x):
    one = const(1, x)
    w = ov.negative(ov.log(ov.multiply(ov.subtract(one, x), ov.add(one, x)))).output(0)
    central = _polynomial(ov.subtract(w, const(2.5, x)).output(0), _CENTRAL)
    tail = _polynomial(ov.subtract(ov.sqrt(w), const(3, x)).output(0), _TAIL)
    value = ov.multiply(ov.select(ov.less(w, const(5, x)), central, tail), x)
    at_end = ov.equal(ov.abs(x), one)
    return ov.select(at_end, ov.multiply(x, const(math.inf, x)), value)


erfinv = unary(
    "erfinv", _lower_erfinv,
    lambda g, x, out: multiply(
        g, multiply(constant_like(1 / _TWO_OVER_SQRT_PI, x), exp(square(out)))
    ),
    impl=special.erfinv,
)  # fmt: skip
