"""Functions of one number: exponentials, trigonometry, rounding, classification."""

from __future__ import annotations

import builtins
import math

import ml_dtypes
import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import config
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.primitives import arithmetic as a
from kerasvino.primitives import compare, complex_parts, special
from kerasvino.primitives import elementwise as p
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "abs",
    "absolute",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "array",
    "cbrt",
    "ceil",
    "conj",
    "conjugate",
    "copy",
    "cos",
    "cosh",
    "deg2rad",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "floor",
    "i0",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "log",
    "log1p",
    "log2",
    "log10",
    "nan_to_num",
    "negative",
    "rad2deg",
    "real",
    "reciprocal",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
]  # fmt: skip


# -- which dtype an operand is computed in


def keep(dtype: str) -> str:
    return dtype


def floating(dtype: str) -> str:
    """Integers and booleans become Keras's default float."""
    return dtype if dtypes.TABLE[dtype].kind in "fc" else config.floatx()


def floating_wide(dtype: str) -> str:
    """As `floating`, but 64-bit integers become float64."""
    return "float64" if dtype in ("int64", "uint64") else floating(dtype)


def boolless(dtype: str) -> str:
    """Booleans become int32."""
    return "int32" if dtype == "bool" else dtype


def unary(name: str, compute, rule=keep):
    """The contract function `name(x)`: `compute` on a tensor of the dtype that `rule` gives."""

    def function(x):
        if type(x) is not Tensor:
            x = convert_to_tensor(x)
        dtype = x.dtype
        wanted = rule(dtype)
        return compute(x if wanted == dtype else to_dtype(x, wanted))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`keras.ops.{name}`."
    return function


def in_float32(compute):
    """`compute`, of tensors of one dtype, in float32 for narrower floats.

    Every step of it would round them to few bits.
    """

    def function(*tensors):
        dtype = tensors[0].dtype
        if dtype in ("float16", "bfloat16"):
            return to_dtype(compute(*(to_dtype(t, "float32") for t in tensors)), dtype)
        return compute(*tensors)

    return function


# -- exponentials, logarithms, roots

exp = unary("exp", p.exp, floating)
exp2 = unary("exp2", p.exp2, floating)
expm1 = unary("expm1", p.expm1, floating)
log = unary("log", p.log, floating)
log10 = unary("log10", p.log10, floating)
log1p = unary("log1p", p.log1p, floating)
log2 = unary("log2", p.log2, floating)
sqrt = unary("sqrt", p.sqrt, floating)
cbrt = unary("cbrt", p.cbrt, floating_wide)
square = unary("square", a.square, boolless)
reciprocal = unary("reciprocal", lambda x: a.divide(constant_like(1, x), x), floating)

# -- trigonometric and hyperbolic functions

sin = unary("sin", p.sin, floating)
cos = unary("cos", p.cos, floating)
tan = unary("tan", p.tan, floating)
arcsin = unary("arcsin", p.arcsin, floating)
arccos = unary("arccos", p.arccos, floating)
arctan = unary("arctan", p.arctan, floating)
sinh = unary("sinh", p.sinh, floating)
cosh = unary("cosh", p.cosh, floating)
tanh = unary("tanh", p.tanh, floating)
arcsinh = unary("arcsinh", p.arcsinh, floating)
arccosh = unary("arccosh", p.arccosh, floating)
arctanh = unary("arctanh", p.arctanh, floating)


def _times(factor):
    return in_float32(lambda x: a.multiply(x, constant_like(factor, x)))


deg2rad = unary("deg2rad", _times(math.pi / 180), floating_wide)
rad2deg = unary("rad2deg", _times(180 / math.pi), floating_wide)


@in_float32
def _sinc(x):
    # a graph takes subnormal numbers for 0, a comparison with 0 does not
    size = a.absolute(x)
    small = compare.less(size, constant_like(1e-30, size))
    # 1 in place of 0, so that the branch not taken has no NaN to put into a gradient
    angle = compare.select(small, constant_like(1, x), x)
    # what pi would multiply past float32: another number of 38 digits, whose quotient is 0 as well
    limit = constant_like(1e38, size)
    finite = compare.less(size, constant_like(math.inf, size))
    angle = compare.select(compare.logical_and(compare.less(limit, size), finite), limit, angle)
    angle = a.multiply(angle, constant_like(math.pi, x))
    return compare.select(small, constant_like(1, x), a.divide(p.sin(angle), angle))


sinc = unary("sinc", _sinc, floating)

i0 = unary("i0", special.i0, floating_wide)

# -- sign and rounding

negative = unary("negative", a.negative)
absolute = unary("absolute", a.absolute)
abs = unary("abs", a.absolute)
fabs = unary("fabs", a.absolute, floating)
sign = unary("sign", a.sign)
floor = unary("floor", p.floor, floating)
ceil = unary("ceil", p.ceil, floating)
trunc = unary("trunc", lambda x: p.trunc(x) if dtypes.is_float(x.dtype) else x)


def round(x, decimals=0):
    """`keras.ops.round`: half to even, in powers of ten."""
    x = convert_to_tensor(x)
    if not dtypes.is_integer(x.dtype) and x.dtype != "bool":
        return p.rint(x) if decimals == 0 else _round_float(x, decimals)
    return x if decimals >= 0 or x.dtype == "bool" else _round_integer(x, 10**-decimals)


def _round_float(x, decimals):
    def compute(x):
        scale = constant_like(10.0 ** builtins.abs(decimals), x)
        if decimals > 0:
            return a.divide(p.rint(a.multiply(x, scale)), scale)
        return a.multiply(p.rint(a.divide(x, scale)), scale)

    return in_float32(compute)(x)


def _round_integer(x, step):
    """Nearest multiple of `step`, the even one of two."""
    step = constant_like(step, x)
    below = a.mod(x, step)
    above = a.subtract(step, below)
    odd = compare.not_equal(
        a.mod(a.floor_divide(x, step), constant_like(2, x)), constant_like(0, x)
    )
    tie = compare.logical_and(compare.equal(below, above), odd)
    up = compare.logical_or(compare.greater(below, above), tie)
    return a.add(a.subtract(x, below), compare.select(up, step, constant_like(0, x)))


# -- classification

signbit = unary("signbit", compare.signbit)
isfinite = unary("isfinite", compare.isfinite)
isinf = unary("isinf", compare.isinf)
isnan = unary("isnan", compare.isnan)


def _is_infinity(value):
    def compute(x):
        if not dtypes.is_float(x.dtype):
            return compare.isinf(x)
        return compare.equal(x, constant_like(value, x))

    return compute


isposinf = unary("isposinf", _is_infinity(math.inf))
isneginf = unary("isneginf", _is_infinity(-math.inf))


def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """`keras.ops.nan_to_num`; None: the largest and smallest finite number of the dtype."""
    x = convert_to_tensor(x)
    if not dtypes.is_float(x.dtype):
        return x
    limits = ml_dtypes.finfo(dtypes.numpy_dtype(x.dtype))
    for odd, value in (
        (compare.isnan(x), nan),
        (compare.equal(x, constant_like(math.inf, x)), limits.max if posinf is None else posinf),
        (compare.equal(x, constant_like(-math.inf, x)), limits.min if neginf is None else neginf),
    ):
        x = compare.select(odd, constant_like(value, x), x)
    return x


# -- complex parts


def _is_complex(x):
    return dtypes.TABLE[x.dtype].kind == "c"


conjugate = unary("conjugate", lambda x: complex_parts.conjugate(x) if _is_complex(x) else x)
conj = conjugate
real = unary("real", lambda x: complex_parts.real(x) if _is_complex(x) else x)


def imag(x):
    """`keras.ops.imag`; zeros for a real tensor."""
    x = convert_to_tensor(x)
    if _is_complex(x):
        return complex_parts.imag(x)
    zero = constant_like(0, x)
    return compare.select(Tensor._wrap(np.asarray(False)), x, zero)


angle = unary("angle", lambda x: special.arctan2(imag(x), real(x)), floating)
isreal = unary("isreal", lambda x: compare.equal(imag(x), constant_like(0, imag(x))))

# -- the tensor itself


def array(x, dtype=None):
    """`keras.ops.array`: the data of an array is copied."""
    return convert_to_tensor(x, dtype)


def copy(x):
    """`keras.ops.copy`: tensors never change, so that it is the tensor itself."""
    return convert_to_tensor(x)
