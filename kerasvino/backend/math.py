"""Keras's math contract."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.numpy.elementwise import floating, unary
from kerasvino.backend.numpy.reductions import reduced_axes
from kerasvino.primitives import compare, elementwise, reduce, shape, sort, special
from kerasvino.primitives.arithmetic import add, multiply, subtract
from kerasvino.primitives.cast import cast
from kerasvino.primitives.indexing import take_along_axis
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["erf", "erfc", "erfinv", "in_top_k", "logsumexp", "rsqrt", "top_k"]

rsqrt = unary("rsqrt", elementwise.rsqrt, floating)
erf = unary("erf", special.erf, floating)
erfc = unary("erfc", special.erfc, floating)
erfinv = unary("erfinv", special.erfinv, floating)


def top_k(x, k, sorted=True):
    """The k largest elements of the last axis, downwards, and their indices (int32)."""
    x = convert_to_tensor(x)
    if x.ndim == 0:
        raise ValueError("`top_k` needs a tensor of rank 1 or more; given one of rank 0.")
    length = x.shape[-1]
    if length is not None and not 0 < k <= length:
        raise ValueError(f"`k` must be from 1 to the length of the last axis, {length}; given: {k}.")
    return sort.top_k(x, k=int(k))


def in_top_k(targets, predictions, k):
    """Whether the prediction for each target class is among the k largest of its row.

    As many classes may be larger as there are places; a row or target out of range gives False.
    """
    targets, predictions = convert_to_tensor(targets), convert_to_tensor(predictions)
    targets = to_dtype(targets, "int32")
    column = shape.expand_dims(targets, axis=(1,))
    classes = shape.lengths(predictions)[1]
    zero = constant_like(0, column)
    inside = compare.logical_and(
        compare.greater_equal(column, zero), compare.less(column, convert_to_tensor(classes, "int32"))
    )
    own = take_along_axis(predictions, compare.select(inside, column, zero), axis=1)
    larger = cast(compare.greater(predictions, own), dtype="int32")
    rank = reduce.reduce_sum(larger, axis=(1,), keepdims=False)
    finite = compare.isfinite(shape.squeeze(own, axis=(1,)))
    fits = compare.logical_and(compare.less(rank, constant_like(k, rank)), finite)
    return compare.logical_and(fits, shape.squeeze(inside, axis=(1,)))


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


def _get_complex_tensor_from_tuple(x):
    """The complex tensor of a (real, imaginary) pair of floats."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"A pair (real, imaginary) is needed; given: {x!r}.")
    real, imaginary = promote(*x, least=float)
    dtype = "complex128" if real.dtype == "float64" else "complex64"
    unit = Tensor._wrap(np.asarray(1j, dtype))
    return add(to_dtype(real, dtype), multiply(to_dtype(imaginary, dtype), unit))
