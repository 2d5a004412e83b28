"""Keras's math contract."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.core.convert import promote, to_dtype
from kerasvino.backend.numpy.elementwise import floating, unary
from kerasvino.primitives import elementwise, special
from kerasvino.primitives.arithmetic import add, multiply
from kerasvino.tensor import Tensor

__all__ = ["erf", "erfc", "erfinv", "rsqrt"]

rsqrt = unary("rsqrt", elementwise.rsqrt, floating)
erf = unary("erf", special.erf, floating)
erfc = unary("erfc", special.erfc, floating)
erfinv = unary("erfinv", special.erfinv, floating)


def _get_complex_tensor_from_tuple(x):
    """The complex tensor of a (real, imaginary) pair of floats."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"A pair (real, imaginary) is needed; given: {x!r}.")
    real, imaginary = promote(*x, least=float)
    dtype = "complex128" if real.dtype == "float64" else "complex64"
    unit = Tensor._wrap(np.asarray(1j, dtype))
    return add(to_dtype(real, dtype), multiply(to_dtype(imaginary, dtype), unit))
