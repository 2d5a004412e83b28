"""Window functions of signal processing."""

from __future__ import annotations

import math

from kerasvino.backend.keras_private import config
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor
from kerasvino.backend.ops.numpy.arithmetic import add, divide, maximum, multiply, subtract
from kerasvino.backend.ops.numpy.creation import arange
from kerasvino.backend.ops.numpy.elementwise import absolute, cos, i0, sqrt, square

__all__ = ["bartlett", "blackman", "hamming", "hanning", "kaiser"]


def _places(x):
    """x places from -1 to 1 (0 for a single one), in float64 where x is known."""
    x = convert_to_tensor(x)
    x = x if x.ndim == 0 else x[0]
    dtype = config.floatx() if x.is_symbolic else "float64"
    count = cast(x, "int32")
    ends = maximum(subtract(count, 1), 1)
    single = cast(count > 1, dtype)
    t = subtract(divide(multiply(arange(count, dtype=dtype), 2), cast(ends, dtype)), 1)
    return multiply(t, single)


def _window(x, formula):
    return cast(formula(_places(x)), config.floatx())


def _cosines(t, constant, *factors):
    """constant + a cos(pi t) + b cos(2 pi t) + ..."""
    total = constant
    for order, factor in enumerate(factors, 1):
        total = add(total, multiply(cos(multiply(t, order * math.pi)), factor))
    return total


def bartlett(x):
    """`keras.ops.bartlett`: a triangle over `x` samples."""
    return _window(x, lambda t: subtract(1, absolute(t)))


def hanning(x):
    """`keras.ops.hanning`: a raised cosine over `x` samples."""
    return _window(x, lambda t: _cosines(t, 0.5, 0.5))


def hamming(x):
    """`keras.ops.hamming`: a raised cosine on a pedestal over `x` samples."""
    return _window(x, lambda t: _cosines(t, 0.54, 0.46))


def blackman(x):
    """`keras.ops.blackman`: a sum of three cosines over `x` samples."""
    return _window(x, lambda t: _cosines(t, 0.42, 0.5, 0.08))


def kaiser(x, beta):
    """`keras.ops.kaiser` over `x` samples, with shape parameter `beta`."""

    def formula(t):
        width = cast(beta, t.dtype)
        return divide(i0(multiply(width, sqrt(subtract(1, square(t))))), i0(width))

    return _window(x, formula)
