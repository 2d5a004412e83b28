"""Elementwise operations, of one array, and of two that broadcast."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import special

from tests.fuzz.arrays import ALL, FLOATS, INTEGERS, NUMERIC, Array, arrays, broadcastable
from tests.fuzz.operation import Operation

__all__ = ["OPERATIONS"]


def _unary(dtypes=ALL, values="any", **attrs):
    choices = st.fixed_dictionaries(attrs)
    return st.tuples(arrays(dtypes=dtypes, values=values).map(lambda a: [a]), choices)


@st.composite
def _several(draw, count=2, dtypes=ALL, values="any"):
    """Arrays that broadcast, of one dtype or of several."""
    first = draw(st.sampled_from(dtypes))
    found = []
    for shape in draw(broadcastable(count)):
        dtype = first if draw(st.booleans()) else draw(st.sampled_from(dtypes))
        found.append(Array(shape, dtype, values, draw(st.integers(0, 2**16))))
    return found, {}


# Compared with the function of NumPy of the same name.
_OF_NUMPY = (
    "abs", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "ceil", "cos", "cosh",
    "deg2rad", "exp", "exp2", "expm1", "floor", "isfinite", "isinf", "isnan", "isneginf",
    "isposinf", "log", "log10", "log1p", "log2", "logical_not", "rad2deg", "sin", "sinh", "sqrt",
    "tan", "tanh", "trunc", "cbrt", "sinc", "signbit", "round", "i0",
)  # fmt: skip
_NUMERIC_OF_NUMPY = ("negative", "reciprocal", "sign", "square", "angle")
_OF_FLOATS = (
    "relu", "relu6", "sigmoid", "silu", "softplus", "softsign", "celu", "elu", "gelu",
    "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "leaky_relu", "log_sigmoid", "selu",
    "soft_shrink", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh_shrink", "rsqrt", "erf",
    "erfinv", "erfc",
)  # fmt: skip
_OF_ALL = ("zeros_like", "ones_like", "stop_gradient")
_ERROR_FUNCTIONS = {"erf": special.erf, "erfinv": special.erfinv, "erfc": special.erfc}

# name -> (dtypes, values) of two arrays; compared with the function of NumPy of that name
_BINARY_OF_NUMPY = {
    **dict.fromkeys(
        (
            "add", "multiply", "maximum", "minimum", "fmax", "fmin", "equal", "not_equal", "less",
            "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor",
            "arctan2", "divide", "hypot", "logaddexp", "logaddexp2", "heaviside",
        ),
        (ALL, "any"),
    ),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor", "gcd"), (INTEGERS, "any")),
    "subtract": (NUMERIC, "any"),
    "lcm": (INTEGERS, "finite"),
}  # fmt: skip
_BINARY_OWN = {
    "floor_divide": (NUMERIC, "any"),
    "mod": (NUMERIC, "any"),
    "fmod": (NUMERIC, "any"),
    "power": (NUMERIC, "any"),
    "nextafter": (FLOATS, "any"),
    "divide_no_nan": (ALL, "any"),
    "left_shift": (INTEGERS, "indices"),
    "right_shift": (INTEGERS, "indices"),
    "isclose": (NUMERIC, "any"),
    "ldexp": (FLOATS, "moderate"),
}


def _ldexp():
    def exponents(pair):
        found, attrs = pair
        return [found[0], Array(found[1].shape, "int32", "indices", found[1].seed)], attrs

    return _several(dtypes=FLOATS, values="moderate").map(exponents)


OPERATIONS = [
    *(Operation(n, _unary(), reference=getattr(np, n)) for n in _OF_NUMPY),
    *(Operation(n, _unary(NUMERIC), reference=getattr(np, n)) for n in _NUMERIC_OF_NUMPY),
    *(Operation(n, _unary(FLOATS), reference=_ERROR_FUNCTIONS.get(n)) for n in _OF_FLOATS),
    *(Operation(n, _unary()) for n in _OF_ALL),
    *(
        Operation(n, _several(dtypes=kinds, values=values), reference=getattr(np, n))
        for n, (kinds, values) in _BINARY_OF_NUMPY.items()
    ),
    *(
        Operation(n, _ldexp() if n == "ldexp" else _several(dtypes=kinds, values=values))
        for n, (kinds, values) in _BINARY_OWN.items()
    ),
    Operation("bitwise_not", _unary(INTEGERS), reference=np.bitwise_not),
    Operation("cast", _unary(ALL, "moderate", dtype=st.sampled_from(ALL))),
    Operation("saturate_cast", _unary(NUMERIC, dtype=st.sampled_from(NUMERIC))),
    Operation(
        "clip",
        _unary(NUMERIC, x_min=st.sampled_from([-2, 0, 1]), x_max=st.sampled_from([1, 3, 100])),
        reference=lambda x, x_min, x_max: np.clip(x.astype("float64"), x_min, x_max),
    ),
    Operation("nan_to_num", _unary(NUMERIC, nan=st.sampled_from([0.0, 2.0]))),
    Operation("threshold", _unary(FLOATS, threshold=st.just(0.5), default_value=st.just(-3.0))),
    Operation("full_like", _unary(NUMERIC, fill_value=st.sampled_from([0, 1, 7]))),
    Operation(
        "where",
        _several(3).map(
            lambda p: ([Array(p[0][0].shape, "bool", "any", p[0][0].seed), *p[0][1:]], p[1])
        ),
    ),
    Operation("where of numbers", _several(3)),
]
