"""Primitives of the gamma function: its logarithm, the derivatives of that, the incomplete one."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from kerasvino import dtypes
from kerasvino.graph.calls import unlogged
from kerasvino.graph.trace import current_trace
from kerasvino.nodes.floating import magnitude, polynomial
from kerasvino.nodes.lowering import const, ov
from kerasvino.primitives.arithmetic import binary, maximum, minimum, square
from kerasvino.primitives.cast import cast
from kerasvino.primitives.compare import isnan, logical_or, select, where
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.elementwise import exp, expm1, log, log1p, sqrt, unary
from kerasvino.primitives.reduce import reduce_sum
from kerasvino.primitives.shape import expand_dims
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.primitives.wide import in_float32
from kerasvino.tensor import Tensor

__all__ = ["gammainc", "lgamma", "polygamma"]

# -- the logarithm of the absolute value

# log(gamma(x)) / ((x - 1) * (x - 2)) for x from 1 to 3 as a polynomial in x - 2, interpolated at
# Chebyshev's points; of relative error 1.4e-9.
_BETWEEN_1_AND_3 = (
    -9.67464951e-06, 1.93087e-05, -7.29157342e-06, 2.02495157e-05, -9.17227689e-05,
    0.000195799332, -0.000401989355, 0.000910506375, -0.00210893967, 0.0049994805,
    -0.0123841154, 0.0329649469, -0.100317304, 0.422784336,
)  # fmt: skip
# Stirling's series (Abramowitz and Stegun, 6.1.41) divided by 1/x, in 1/x**2.
_STIRLING = (-1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _lower_positive(x):
    """log(gamma(x)) for x >= 0."""
    one, two, three = (const(float(n), x) for n in (1, 2, 3))
    small = ov.less(x, one)
    y = ov.select(small, ov.add(x, one), x)  # log(gamma(x)) = log(gamma(x + 1)) - log(x)
    t = ov.subtract(ov.minimum(y, three), two)
    near = ov.multiply(ov.multiply(t, ov.add(t, one)), polynomial(t, _BETWEEN_1_AND_3))
    near = ov.select(small, ov.subtract(near, ov.log(x)), near)
    z = ov.maximum(x, three)
    inverse = ov.divide(one, z)
    far = ov.multiply(ov.subtract(z, const(0.5, x)), ov.subtract(ov.log(z), one))
    far = ov.add(far, const(_HALF_LOG_TWO_PI - 0.5, x))
    far = ov.add(far, ov.multiply(inverse, polynomial(ov.multiply(inverse, inverse), _STIRLING)))
    return ov.select(ov.less(x, three), near, far)


def _lower_lgamma(x):
    zero, one = const(0.0, x), const(1.0, x)
    below = ov.less(x, zero)
    right = _lower_positive(ov.select(below, ov.subtract(one, x), x))
    # gamma(x) * gamma(1 - x) = pi / sin(pi * x)
    apart = ov.subtract(x, ov.round(x, "half_to_even"))
    sine = magnitude(ov.sin(ov.multiply(apart, const(math.pi, x))))
    reflected = ov.subtract(ov.subtract(const(math.log(math.pi), x), ov.log(sine)), right)
    result = ov.select(below, reflected, right)
    result = ov.select(ov.equal(x, const(-math.inf, x)), const(math.inf, x), result)
    return ov.select(ov.not_equal(x, x), x, result)


def _impl_lgamma(x):
    return special.gammaln(np.where(x == -math.inf, math.inf, x))  # -inf in SciPy; C has inf


lgamma = unary(
    "lgamma", _lower_lgamma, lambda g, x, out: g * polygamma(x, order=0),
    impl=_impl_lgamma, wide=True,
)  # fmt: skip

# -- derivatives of that logarithm

_SHIFT = 8  # the asymptotic series is read this far to the right
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66)


def _impl_polygamma(x, *, order):
    # not by the column `wide`: SciPy's of float32 are float64, to be rounded once
    found = in_float32(special.psi if order == 0 else lambda v: special.polygamma(order, v))(x)
    return found.astype(x.dtype)


def _sum(terms):
    total, *rest = terms
    for term in rest:
        total = ov.add(total, term)
    return total


def _lower_right(x, order):
    """The polygamma function of positive numbers, Abramowitz and Stegun, 6.3.18, 6.4.6, 6.4.11."""
    sign = (-1.0) ** (order + 1)

    def powers(y, exponent):  # y ** -exponent
        return ov.power(y, const(-float(exponent), y))

    z = ov.add(x, const(float(_SHIFT), x))
    factorial = math.factorial(order)
    if order == 0:
        leading = ov.subtract(ov.log(z), ov.divide(const(0.5, z), z))
    else:
        leading = ov.add(
            ov.multiply(const(sign * math.factorial(order - 1), z), powers(z, order)),
            ov.multiply(const(sign * factorial / 2, z), powers(z, order + 1)),
        )
    series = [
        ov.multiply(
            const(sign * b * math.factorial(2 * k + order - 1) / math.factorial(2 * k), z),
            powers(z, 2 * k + order),
        )
        for k, b in enumerate(_BERNOULLI, start=1)
    ]
    steps = [
        ov.multiply(
            const(sign * factorial, x),
            ov.divide(const(1.0, x), _power(ov.add(x, const(float(k), x)), order + 1)),
        )
        for k in range(_SHIFT)
    ]
    return _sum([leading, *series, *reversed(steps)])


def _power(x, exponent):
    result = x
    for _ in range(exponent - 1):
        result = ov.multiply(result, x)
    return result


def _cotangent_derivative(order):
    """Coefficients of the polynomial in cot(t), highest power first, that d^n/dt^n cot(t) is."""
    found = np.polynomial.Polynomial([0, 1])
    for _ in range(order):
        found = -np.polynomial.Polynomial([1, 0, 1]) * found.deriv()
    return [float(c) for c in found.coef[::-1]]


def _lower_polygamma(x, *, order):
    zero, one, pi = const(0.0, x), const(1.0, x), const(math.pi, x)
    below = ov.less(x, zero)
    right = _lower_right(ov.select(below, ov.subtract(one, x), x), order)
    # Abramowitz and Stegun, 6.4.7
    whole = ov.round(x, "half_to_even")
    angle = ov.multiply(ov.subtract(x, whole), pi)
    cotangent = ov.divide(ov.cos(angle), ov.sin(angle))
    bend = polynomial(cotangent, _cotangent_derivative(order))
    bend = ov.multiply(bend, const(math.pi ** (order + 1), x))
    flipped = right if order % 2 == 0 else ov.negative(right)
    result = ov.select(below, ov.subtract(flipped, bend), right)
    if order == 0:
        pole = ov.logical_and(below, ov.equal(x, whole))
        result = ov.select(pole, const(math.nan, x), result)
    return ov.select(ov.not_equal(x, x), x, result)


# The derivative number order + 1 of log(gamma(x)): the digamma function for order 0.
polygamma = Primitive(
    "polygamma",
    impl=_impl_polygamma,
    lower=_lower_polygamma,
    wide="lower",
    vjp=lambda g, inputs, output, *, order: (g * polygamma(inputs[0], order=order + 1),),
)

# -- the regularised lower incomplete gamma function P(a, x)
#
# P(a, x) = P(a + 3, x) and three terms of its power series; and with A = a + 3 and t = A * e**y
#     P(A, x) = A**A * e**-A / gamma(A) * integral of exp(A * (1 + y - e**y)) up to log(x / A),
# whose integrand is smooth and has its peak, 1, at y = 0: Gauss and Legendre's rule takes a few
# points of the stretch on which it is more than e**-20 of the peak, or of its value at the end.

_ADDED = 3
_DECAY = 20.0
_NODES, _WEIGHTS = (part / 2 for part in np.polynomial.legendre.leggauss(32))
_NODES = _NODES + 0.5
_MANY = 20.0  # from this `a` on, the terms are taken relative to the peak


class _Incomplete:
    """The parts of P(a, x) that it and its derivatives share, for 0 < a and 0 < x, both finite."""

    def __init__(self, a, x):
        self.a = a
        self.larger = a + _ADDED
        self.many = a > _MANY
        # outside of these P is 0 or 1 to all digits
        lowest = where(self.many, self.larger * 1e-3, _tiny(a))
        highest = self.larger * 10 + 100
        self.x = minimum(maximum(x, lowest), highest)
        ratio = (self.x - self.larger) / self.larger
        self.end = log1p(maximum(ratio, constant_like(1e-7 - 1, a)))
        self.peak = _peak(self.larger)

    def integral(self, factor=None):
        """P(a + 3, x); with `factor(y)`, the integral of the density times it."""
        larger = self.larger
        width = sqrt(2 * _DECAY / larger)
        top = minimum(self.end, width)
        bottom = minimum(top, constant_like(0, top))
        bottom = bottom - (width + _DECAY / larger)
        nodes, weights = (Tensor._wrap(v.astype(_array_type(top))) for v in (_NODES, _WEIGHTS))
        y = _column(bottom) + _column(top - bottom) * nodes
        values = exp(_exponent(y, _column(larger))) * weights
        if factor is not None:
            values = values * factor(y)
        total = reduce_sum(values, axis=(values.ndim - 1,), keepdims=False)
        return total * (top - bottom) * self.peak

    def terms(self):
        """x**(a+i) * e**-x / gamma(a+i+1) for i = 0, 1, 2."""
        a, x = self.a, self.x
        direct = exp(a * log(x) - x - lgamma(a + 1))
        last = self.peak * exp(_exponent(self.end, self.larger)) / x
        far = last * (a + 2) / x * (a + 1) / x
        first = select(self.many, far, direct)
        second = first * x / (a + 1)
        return first, second, second * x / (a + 2)

    def by_a(self):
        """The derivative of P(a, x) by a."""
        offset = log(self.larger) - polygamma(self.larger, order=0)
        result = self.integral(lambda y: y + _column(offset))
        height = log(self.x)
        for index, term in enumerate(self.terms(), start=1):
            result = result + term * (height - polygamma(self.a + index, order=0))
        return result


def _array_type(x):
    return dtypes.numpy_dtype(x.dtype)


def _tiny(x):
    return constant_like(1e-37 if x.dtype == "float32" else 1e-300, x)


def _column(x):
    return expand_dims(x, axis=(x.ndim,))


def _exponent(y, a):
    """a * (1 + y - e**y), with all digits near y = 0."""
    series = constant_like(-1 / 720, y)
    for coefficient in (-1 / 120, -1 / 24, -1 / 6, -1 / 2):
        series = series * y + coefficient
    return a * select(square(y) < 0.01, square(y) * series, y - expm1(y))


def _peak(a):
    """a**a * e**-a / gamma(a), for a of 3 and more."""
    inverse = 1 / a
    series = constant_like(_STIRLING[0], a)
    for coefficient in _STIRLING[1:]:
        series = series * square(inverse) + coefficient
    return sqrt(a * (0.5 / math.pi)) * exp(-(series * inverse))


def _gammainc(a, x):
    inside = _Incomplete(where(a > 0, minimum(a, constant_like(1e37, a)), 1), x)
    first, second, third = inside.terms()
    result = inside.integral() + (first + (second + third))
    result = minimum(result, constant_like(1, a))
    result = where(x == 0, 0, result)
    result = where(a == math.inf, 0, result)
    result = where(logical_or(a == 0, x == math.inf), 1, result)
    both = logical_or(_both(a, x, 0), _both(a, x, math.inf))
    outside = logical_or(logical_or(a < 0, x < 0), both)
    return where(logical_or(outside, isnan(a + x)), math.nan, result)


def _both(a, x, value):
    return select(a == value, x == value, a == math.nan)


def _lower_gammainc(a, x):
    trace = current_trace()
    with unlogged():
        return trace.output(_gammainc(trace.symbol(a, "float32"), trace.symbol(x, "float32")))


def _density(a, x):
    """x**(a-1) * e**-x / gamma(a): the derivative of P(a, x) by x."""
    power = where(a == 1, 0, (a - 1) * log(x))
    direct = exp(power - x - lgamma(a))
    parts = _Incomplete(a, x)
    return select(parts.many, parts.terms()[0] * a / parts.x, direct)


def _gammainc_vjp(g, a, x, output):
    dtype = g.dtype
    if dtypes.TABLE[dtype].bits < 32:
        a, x = cast(a, dtype="float32"), cast(x, dtype="float32")
    by_a = cast(_Incomplete(a, x).by_a(), dtype=dtype)
    by_x = cast(_density(a, x), dtype=dtype)
    return g * by_a, g * by_x


gammainc = binary("gammainc", _lower_gammainc, _gammainc_vjp, impl=special.gammainc, wide=True)
