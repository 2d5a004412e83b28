"""Functions of numbers, and of matrices and points, that NumPy does not have."""

from __future__ import annotations

from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import binary
from kerasvino.backend.ops.numpy.elementwise import floating, unary
from kerasvino.backend.ops.numpy.linear import slogdet
from kerasvino.backend.ops.numpy.reductions import reduced_axes
from kerasvino.primitives import compare, elementwise, gamma_functions, reduce, shape, special
from kerasvino.primitives.arithmetic import add, square, subtract
from kerasvino.primitives.unbroadcast import constant_like

__all__ = [
    "cdist", "erf", "erfc", "erfinv", "gammainc", "lgamma", "logdet", "logsumexp", "rsqrt",
]  # fmt: skip

rsqrt = unary("rsqrt", elementwise.rsqrt, floating)
erf = unary("erf", special.erf, floating)
erfc = unary("erfc", special.erfc, floating)
erfinv = unary("erfinv", special.erfinv, floating)
lgamma = unary("lgamma", gamma_functions.lgamma, floating)
gammainc = binary("gammainc", gamma_functions.gammainc, float)


def logsumexp(x, axis=None, keepdims=False):
    """log(sum(exp(x))), without overflow."""
    x = convert_to_tensor(x)
    x = to_dtype(x, floating(x.dtype))
    axes = reduced_axes(x, axis)
    peak = reduce.reduce_max(x, axis=axes, keepdims=True)
    # infinities are taken as they are: the difference of two of them is NaN
    safe = compare.select(compare.isfinite(peak), peak, constant_like(0, peak))
    total = reduce.reduce_sum(elementwise.exp(subtract(x, safe)), axis=axes, keepdims=True)
    result = add(elementwise.log(total), safe)
    return result if keepdims else shape.squeeze(result, axis=axes)


def logdet(x):
    """log of the magnitude of the determinant of each matrix, (..., n, n) to (...)."""
    return slogdet(x)[1]


def cdist(x, y):
    """Euclidean distances of the points x (..., m, d) and y (..., n, d): (..., m, n).

    Its gradient is 0 where two points coincide.
    """
    x, y = promote(x, y, least=float)
    dtype = x.dtype
    if dtype in ("float16", "bfloat16"):
        x, y = to_dtype(x, "float32"), to_dtype(y, "float32")
    if x.ndim < 2 or y.ndim < 2:
        raise ValueError(
            f"`cdist` takes tensors of rank 2 or more; given shapes {x.shape} and {y.shape}."
        )
    if None not in (x.shape[-1], y.shape[-1]) and x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"Points must have the same number of coordinates (the last axis); given shapes "
            f"{x.shape} and {y.shape}."
        )
    pairs = subtract(
        shape.expand_dims(x, axis=(x.ndim - 1,)), shape.expand_dims(y, axis=(y.ndim - 2,))
    )
    squares = reduce.reduce_sum(square(pairs), axis=(pairs.ndim - 1,), keepdims=False)
    zero = constant_like(0, squares)
    same = compare.equal(squares, zero)
    # the root of 1 there, so that no gradient meets an infinity
    found = elementwise.sqrt(compare.select(same, constant_like(1, squares), squares))
    return to_dtype(compare.select(same, zero, found), dtype)
