"""Functions of the standard of one or two numbers: those of `keras.ops` under its names."""

from __future__ import annotations

from kerasvino import dtypes
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote
from kerasvino.primitives import compare

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
]  # fmt: skip

abs = knp.absolute
acos = knp.arccos
acosh = knp.arccosh
add = knp.add
asin = knp.arcsin
asinh = knp.arcsinh
atan = knp.arctan
atan2 = knp.arctan2
atanh = knp.arctanh
bitwise_and = knp.bitwise_and
bitwise_invert = knp.bitwise_invert
bitwise_left_shift = knp.bitwise_left_shift
bitwise_or = knp.bitwise_or
bitwise_right_shift = knp.bitwise_right_shift
bitwise_xor = knp.bitwise_xor
conj = knp.conjugate
cos = knp.cos
cosh = knp.cosh
divide = knp.divide
equal = knp.equal
exp = knp.exp
expm1 = knp.expm1
floor_divide = knp.floor_divide
greater = knp.greater
greater_equal = knp.greater_equal
hypot = knp.hypot
imag = knp.imag
isfinite = knp.isfinite
isinf = knp.isinf
isnan = knp.isnan
less = knp.less
less_equal = knp.less_equal
log = knp.log
log10 = knp.log10
log1p = knp.log1p
log2 = knp.log2
logaddexp = knp.logaddexp
logical_and = knp.logical_and
logical_not = knp.logical_not
logical_or = knp.logical_or
logical_xor = knp.logical_xor
maximum = knp.maximum
minimum = knp.minimum
multiply = knp.multiply
negative = knp.negative
nextafter = knp.nextafter
not_equal = knp.not_equal
pow = knp.power
real = knp.real
reciprocal = knp.reciprocal
remainder = knp.mod
round = knp.round
sign = knp.sign
signbit = knp.signbit
sin = knp.sin
sinh = knp.sinh
sqrt = knp.sqrt
square = knp.square
subtract = knp.subtract
tan = knp.tan
tanh = knp.tanh


def _whole(name):
    """`floor`, `ceil`, `trunc`: integers stay what they are."""
    compute = getattr(knp, name)

    def function(x, /):
        x = convert_to_tensor(x)
        return x if dtypes.is_integer(x.dtype) else compute(x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}`; integers keep their dtype."
    return function


floor, ceil, trunc = map(_whole, ("floor", "ceil", "trunc"))


def clip(x, /, min=None, max=None):
    return convert_to_tensor(x).clip(min, max)


def copysign(x1, x2, /):
    """The magnitude of x1 with the sign of x2."""
    x1, x2 = promote(x1, x2, least=float)
    size = knp.absolute(x1)
    return compare.select(compare.signbit(x2), knp.negative(size), size)


def positive(x, /):
    return convert_to_tensor(x)
