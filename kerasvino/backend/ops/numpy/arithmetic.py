"""Functions of two numbers: arithmetic, remainders, powers, extremes."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, result_type, to_dtype
from kerasvino.backend.ops.numpy.elementwise import boolless, floating_wide
from kerasvino.primitives import arithmetic as p
from kerasvino.primitives import compare, divisors, float_bits, special
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "add", "arctan2", "clip", "copysign", "divide", "divide_no_nan", "float_power", "floor_divide",
    "fmax", "fmin", "fmod", "gcd", "heaviside", "hypot", "lcm", "ldexp", "logaddexp", "logaddexp2",
    "maximum", "minimum", "mod", "multiply", "nextafter", "power", "subtract", "true_divide",
]  # fmt: skip


def binary(name: str, compute, least=None, boolean=None):
    """The contract function `name(x1, x2)`: `compute` on the operands in their promoted dtype.

    Args:
        name: of the function.
        compute: takes two tensors of one dtype.
        least: takes part in the promotion (`float`: integers become floats).
        boolean: dtype in which two booleans are computed, if another one.
    """

    def function(x1, x2):
        x1, x2 = promote(x1, x2, least=least)
        if boolean is not None and x1.dtype == "bool":
            x1, x2 = to_dtype(x1, boolean), to_dtype(x2, boolean)
        return compute(x1, x2)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`keras.ops.{name}`."
    return function


add = binary("add", p.add)
subtract = binary("subtract", p.subtract)
multiply = binary("multiply", p.multiply)
divide = binary("divide", p.divide, float)
true_divide = binary("true_divide", p.divide, float)
floor_divide = binary("floor_divide", p.floor_divide)
mod = binary("mod", p.mod, boolean="int32")
fmod = binary("fmod", p.fmod, boolean="int32")


def _power(x1, x2):
    if x1.dtype == "bool":
        return compare.logical_or(x1, compare.logical_not(x2))
    return p.power(x1, x2)


power = binary("power", _power)
float_power = binary("float_power", p.power, float)
maximum = binary("maximum", p.maximum)
minimum = binary("minimum", p.minimum)


def _divide_no_nan(x1, x2):
    zero = compare.equal(x2, constant_like(0, x2))
    # divided by 1 there, so that no gradient meets a NaN
    quotient = p.divide(x1, compare.select(zero, constant_like(1, x2), x2))
    return compare.select(zero, constant_like(0, x1), quotient)


divide_no_nan = binary("divide_no_nan", _divide_no_nan, float)


def _ignoring_nan(extreme):
    def compute(x1, x2):
        if not dtypes.is_float(x1.dtype):
            return extreme(x1, x2)
        found = compare.select(compare.isnan(x2), x1, extreme(x1, x2))
        return compare.select(compare.isnan(x1), x2, found)

    return compute


fmax = binary("fmax", _ignoring_nan(p.maximum))
fmin = binary("fmin", _ignoring_nan(p.minimum))


def _promote_wide(x1, x2):
    """Operands in their promoted dtype; integers as floats, those of 64 bits as float64."""
    return promote(x1, x2, into=floating_wide)


def hypot(x1, x2):
    """`keras.ops.hypot`."""
    return special.hypot(*_promote_wide(x1, x2))


def heaviside(x1, x2):
    """`keras.ops.heaviside`: 0 below zero, 1 above it, `x2` at it."""
    x1, x2 = _promote_wide(x1, x2)
    zero, one = constant_like(0, x1), constant_like(1, x1)
    step = compare.select(compare.less(x1, zero), zero, compare.select(compare.isnan(x1), x1, one))
    return compare.select(compare.equal(x1, zero), x2, step)


arctan2 = binary("arctan2", special.arctan2, float)
logaddexp = binary("logaddexp", special.logaddexp, float)
logaddexp2 = binary("logaddexp2", special.logaddexp2, float)
nextafter = binary("nextafter", float_bits.nextafter, float)


def _copysign(x1, x2):
    differs = compare.logical_xor(compare.signbit(x1), compare.signbit(x2))
    one = constant_like(1, x1)
    # a product, since `negative` in a graph may make 0 of 0
    return p.multiply(x1, compare.select(differs, p.negative(one), one))


copysign = binary("copysign", _copysign, float)


def _of_integers(name, compute):
    def checked(x1, x2):
        if not dtypes.is_integer(x1.dtype):
            raise TypeError(f"`{name}` takes integers; the promoted dtype is {x1.dtype}.")
        return compute(x1, x2)

    return binary(name, checked)


gcd = _of_integers("gcd", divisors.gcd)
lcm = _of_integers("lcm", divisors.lcm)


def ldexp(x1, x2):
    """`keras.ops.ldexp`: x1 * 2**x2, with an integer `x2`."""
    x1, x2 = convert_to_tensor(x1), convert_to_tensor(x2)
    if not dtypes.is_integer(x2.dtype):
        raise TypeError(f"`ldexp` takes an integer exponent; its dtype is {x2.dtype}.")
    return float_bits.ldexp(to_dtype(x1, result_type(x1.dtype, x2.dtype, float)), x2)


def clip(x, x_min, x_max):
    """`keras.ops.clip`: the result has the dtype of `x` (int32 for booleans)."""
    x = x if type(x) is Tensor else convert_to_tensor(x)
    dtype = boolless(x.dtype)
    x = to_dtype(x, dtype)
    bounds = _bounds(dtype, x_min, x_max)
    if bounds is not None:
        return p.clip(x, low=bounds[0], high=bounds[1])
    x, low, high = promote(x, x_min, x_max)
    return to_dtype(p.minimum(p.maximum(x, low), high), dtype)


def _bounds(dtype, low, high):
    """Python numbers as bounds that `dtype` holds; None if they are tensors, NaN, or promote it."""
    if not (isinstance(low, (int, float)) and isinstance(high, (int, float))):
        return None
    if dtypes.is_float(dtype):
        return None if low != low or high != high else (float(low), float(high))
    if isinstance(low, float) or isinstance(high, float) or not dtypes.is_integer(dtype):
        return None
    limits = np.iinfo(dtypes.numpy_dtype(dtype))
    return tuple(min(max(int(v), limits.min), limits.max) for v in (low, high))
