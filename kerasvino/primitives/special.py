"""Primitives of special functions: erf, Bessel, and of two floats arctan2, hypot, logaddexp."""

from __future__ import annotations

import math

from scipy import special

from kerasvino.nodes.floating import magnitude, polynomial
from kerasvino.nodes.lowering import const, ov
from kerasvino.primitives.arithmetic import binary, square
from kerasvino.primitives.compare import where
from kerasvino.primitives.elementwise import exp, lower_log1p, sigmoid, unary

__all__ = ["arctan2", "erf", "erfc", "erfinv", "hypot", "i0", "i1", "logaddexp", "logaddexp2"]

_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)


def _gaussian(x, factor):
    """factor * exp(-x**2)."""
    return factor * exp(-square(x))


def _lower_erf(x):
    # OpenVINO's has an absolute error of 1e-7: near 0 by its series
    t = ov.multiply(x, x)
    series = ov.multiply(
        x, polynomial(t, [_TWO_OVER_SQRT_PI * c for c in (-1 / 42, 1 / 10, -1 / 3, 1)])
    )
    return ov.select(ov.less(t, const(0.0625, x)), series, ov.erf(x))


# Press et al., Numerical Recipes, 2nd ed., section 6.2: log(erfc(z) / t) + z**2 for z >= 0 in
# t = 1 / (1 + z/2), of fractional error 1.2e-7.
_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418,
    0.37409196, 1.00002368, -1.26551223,
)  # fmt: skip


def _lower_erfc(x):
    z, one = magnitude(x), const(1.0, x)
    t = ov.divide(one, ov.add(one, ov.multiply(z, const(0.5, x))))
    tail = ov.exp(ov.subtract(polynomial(t, _ERFC), ov.multiply(z, z)))
    tail = ov.multiply(t, tail)
    result = ov.select(ov.less(x, const(0.0, x)), ov.subtract(const(2.0, x), tail), tail)
    return ov.select(ov.not_equal(x, x), x, result)


erf = unary(
    "erf", _lower_erf,
    lambda g, x, out: g * _gaussian(x, _TWO_OVER_SQRT_PI), impl=special.erf,
    wide=True,
)  # fmt: skip
erfc = unary(
    "erfc", _lower_erfc,
    lambda g, x, out: g * _gaussian(x, -_TWO_OVER_SQRT_PI),
    impl=special.erfc, wide=True,
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


def _lower_erfinv(x):
    one = const(1.0, x)
    w = ov.negative(ov.log(ov.multiply(ov.subtract(one, x), ov.add(one, x))))
    central = polynomial(ov.subtract(w, const(2.5, x)), _CENTRAL)
    tail = polynomial(ov.subtract(ov.sqrt(w), const(3.0, x)), _TAIL)
    value = ov.multiply(ov.select(ov.less(w, const(5.0, x)), central, tail), x)
    at_end = ov.equal(magnitude(x), one)
    return ov.select(at_end, ov.multiply(x, const(math.inf, x)), value)


erfinv = unary(
    "erfinv", _lower_erfinv,
    lambda g, x, out: g * (1 / _TWO_OVER_SQRT_PI * exp(square(out))),
    impl=special.erfinv, wide=True,
)  # fmt: skip

# -- modified Bessel functions of the first kind
# Abramowitz and Stegun, 9.8.1-9.8.4: polynomials in (x/3.75)**2 below 3.75, and in 3.75/x of
# sqrt(x) exp(-x) I(x) beyond; absolute errors 1.6e-7, 1.9e-7, 8e-9, 2.2e-7.

_I0_NEAR = (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0)
_I0_FAR = (
    0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565, 0.00225319,
    0.01328592, 0.39894228,
)  # fmt: skip
_I1_NEAR = (0.00032411, 0.00301532, 0.02658733, 0.15084934, 0.51498869, 0.87890594, 0.5)
_I1_FAR = (
    -0.00420059, 0.01787654, -0.02895312, 0.02282967, -0.01031555, 0.00163801, -0.00362018,
    -0.03988024, 0.39894228,
)  # fmt: skip


def _bessel(near, far, odd):
    def lower(x):
        size, edge = magnitude(x), const(3.75, x)
        t = ov.multiply(x, const(1 / 3.75, x))
        inner = polynomial(ov.multiply(t, t), near)
        # the exponential in two halves, as the result outgrows it less than it overflows
        half = ov.exp(ov.multiply(size, const(0.5, x)))
        outer = polynomial(ov.divide(edge, ov.maximum(size, edge)), far)
        outer = ov.multiply(ov.multiply(ov.divide(outer, ov.sqrt(size)), half), half)
        if odd:
            inner = ov.multiply(inner, x)
            outer = ov.select(ov.less(x, const(0.0, x)), ov.negative(outer), outer)
        result = ov.select(ov.less(size, edge), inner, outer)
        return ov.select(ov.not_equal(x, x), x, result)

    return lower


def _i1_vjp(g, x, out):
    # I1' = I0 - I1 / x, and 1/2 at 0
    at_zero = x == 0
    return g * where(at_zero, 0.5, i0(x) - out / where(at_zero, 1, x))


i0 = unary(
    "i0", _bessel(_I0_NEAR, _I0_FAR, False), lambda g, x, out: g * i1(x),
    impl=special.i0, wide=True,
)  # fmt: skip
i1 = unary("i1", _bessel(_I1_NEAR, _I1_FAR, True), _i1_vjp, impl=special.i1, wide=True)

# -- of two floats


def _lower_arctan2(y, x):
    zero, pi = const(0.0, x), const(math.pi, x)
    a, b = magnitude(y), magnitude(x)
    steep = ov.less(b, a)
    low, high = ov.select(steep, b, a), ov.select(steep, a, b)
    ratio = ov.divide(low, ov.select(ov.equal(high, zero), const(1.0, x), high))
    infinite = ov.equal(low, const(math.inf, x))
    angle = ov.atan(ov.select(infinite, const(1.0, x), ratio))
    angle = ov.select(steep, ov.subtract(const(math.pi / 2, x), angle), angle)
    angle = ov.select(_is_negative(x), ov.subtract(pi, angle), angle)
    angle = ov.select(_is_negative(y), ov.negative(angle), angle)
    ordered = ov.logical_and(ov.equal(x, x), ov.equal(y, y))
    return ov.select(ordered, angle, const(math.nan, x))


def _is_negative(x):
    """Whether x is below 0 or -0."""
    zero = const(0.0, x)
    return ov.logical_or(ov.less(x, zero), ov.less(ov.divide(const(1.0, x), x), zero))


def _arctan2_vjp(g, y, x, out):
    size = square(x) + square(y)
    return g * (x / size), -(g * (y / size))


arctan2 = binary("arctan2", _lower_arctan2, _arctan2_vjp, wide="lower")


def _lower_hypot(x, y):
    a, b = magnitude(x), magnitude(y)
    wide = ov.less(a, b)
    low, high = ov.select(wide, a, b), ov.select(wide, b, a)
    zero, one, infinity = const(0.0, x), const(1.0, x), const(math.inf, x)
    ratio = ov.divide(low, ov.select(ov.equal(high, zero), one, high))
    length = ov.multiply(high, ov.sqrt(ov.add(one, ov.multiply(ratio, ratio))))
    infinite = ov.logical_or(ov.equal(a, infinity), ov.equal(b, infinity))
    return ov.select(infinite, infinity, length)


def _hypot_vjp(g, x, y, out):
    scaled = g / where(out == 0, 1, out)
    return scaled * x, scaled * y


hypot = binary("hypot", _lower_hypot, _hypot_vjp, wide="lower")


def _logaddexp(name, base):
    scale = math.log(base)

    def lower(x, y):
        # the larger one plus log(1 + base**-distance), where equal infinities have the distance 0
        high = ov.select(ov.less(x, y), y, x)
        distance = ov.select(ov.equal(x, y), const(0.0, x), magnitude(ov.subtract(x, y)))
        more = ov.exp(ov.multiply(distance, const(-scale, x)))
        result = ov.add(high, ov.multiply(lower_log1p(more), const(1 / scale, x)))
        ordered = ov.logical_and(ov.equal(x, x), ov.equal(y, y))
        return ov.select(ordered, result, const(math.nan, x))

    def vjp(g, x, y, out):
        # the weights are the logistic function of the difference: 1/2 for equal infinities
        weight = sigmoid(where(x == y, 0, x - y) * scale)
        return g * weight, g * (1 - weight)

    return binary(name, lower, vjp, wide="lower")


logaddexp = _logaddexp("logaddexp", math.e)
logaddexp2 = _logaddexp("logaddexp2", 2.0)
