"""Normalization: softmax and its kin, moments, batch normalization."""

from __future__ import annotations

import numpy as np

from kerasvino.autodiff.recording import recording
from kerasvino.backend.keras_private import canonicalize_axis
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import clip
from kerasvino.backend.ops.numpy.elementwise import floating, in_float32
from kerasvino.backend.ops.numpy.reductions import reduced_axes
from kerasvino.distribution import current_step
from kerasvino.primitives import normalization as p
from kerasvino.primitives.arithmetic import (
    add,
    divide,
    maximum,
    multiply,
    negative,
    subtract,
)
from kerasvino.primitives.batch_norm import batch_norm
from kerasvino.primitives.collective import exchange
from kerasvino.primitives.compare import greater, select
from kerasvino.primitives.elementwise import rsqrt, stop_gradient
from kerasvino.primitives.reduce import mean_and_variance, reduce_sum
from kerasvino.primitives.shape import lengths, reshape, squeeze
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["batch_normalization", "log_softmax", "moments", "softmax", "sparsemax"]


def _float(x) -> Tensor:
    x = convert_to_tensor(x)
    return to_dtype(x, floating(x.dtype))


def _along_axis(primitive):
    def function(x, axis=-1):
        x = _float(x)
        if axis is None:
            flat = primitive(reshape(x, shape=(-1,)), axis=0)
            return reshape(flat, shape=lengths(x))
        return primitive(x, axis=canonicalize_axis(axis, x.ndim))

    function.__name__ = function.__qualname__ = primitive.name
    function.__doc__ = f"`keras.ops.{primitive.name}`; `axis=None`: over all elements."
    return function


softmax = _along_axis(p.softmax)
log_softmax = _along_axis(p.log_softmax)


def sparsemax(x, axis=-1):
    """The point of the probability simplex nearest to x along `axis`.

    Martins and Astudillo, "From Softmax to Sparsemax", ICML 2016, algorithm 1.
    """
    x = _float(x)
    axis = canonicalize_axis(axis, x.ndim)
    return in_float32(lambda x: _onto_simplex(x, axis))(x)


def _onto_simplex(x, axis):
    from kerasvino.backend.ops.numpy import arange, cumsum, expand_dims, flip, max, sort

    # Where the largest is 0 the sums of the support stay small and exact; the result is the same.
    x = subtract(x, stop_gradient(max(x, axis=axis, keepdims=True)))
    falling = flip(sort(x, axis=axis), axis=axis)
    above = subtract(cumsum(falling, axis=axis), constant_like(1, x))
    rank = arange(1, lengths(x)[axis] + 1, dtype=x.dtype)
    rank = expand_dims(rank, axis=tuple(range(1, x.ndim - axis)))
    # The support is the places k where k * falling[k] exceeds the sum up to k less 1.
    inside = greater(multiply(rank, falling), above)
    size = reduce_sum(to_dtype(inside, x.dtype), axis=(axis,), keepdims=True)
    total = reduce_sum(select(inside, falling, constant_like(0, x)), axis=(axis,), keepdims=True)
    limit = divide(subtract(total, constant_like(1, x)), size)
    return maximum(subtract(x, limit), constant_like(0, x))


def moments(x, axes, keepdims=False, synchronized=False):
    """Mean and variance over `axes`; of float16 computed in float32 and clipped to its range.

    With `synchronized`, in a step of a distributed training, those of the global batch.
    """
    x = _float(x)
    dtype, axes = x.dtype, reduced_axes(x, axes)
    if dtype in ("float16", "bfloat16"):
        x = to_dtype(x, "float32")
    mean, variance = mean_and_variance(x, axis=axes)
    step = current_step()
    if synchronized and step is not None:
        own = mean
        mean, _ = exchange(step.rows, own, mean=True)
        apart = subtract(own, mean)
        variance, _ = exchange(step.rows, add(variance, multiply(apart, apart)), mean=True)
    if not keepdims and axes:
        mean, variance = squeeze(mean, axis=axes), squeeze(variance, axis=axes)
    if dtype == "float16":
        limit = float(np.finfo(np.float16).max)
        mean, variance = clip(mean, -limit, limit), clip(variance, -limit, limit)
    return to_dtype(mean, dtype), to_dtype(variance, dtype)


def batch_normalization(x, mean, variance, axis, offset=None, scale=None, epsilon=1e-3):
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, the statistics along `axis` of x.

    One node; where gradients are recorded in its parts, which a step of training has in common with
    its gradients.
    """
    x, mean, variance = promote(x, mean, variance, least=float)
    axis = canonicalize_axis(axis, x.ndim)
    given = [None if p is None else convert_to_tensor(p, x.dtype) for p in (scale, offset)]
    if recording() or any(p is not None and p.ndim != 1 for p in (mean, variance, *given)):
        return _in_parts(x, mean, variance, axis, given, epsilon)
    default = constant_like(1, x), constant_like(0, x)
    given = [d if p is None else p for p, d in zip(given, default, strict=True)]
    return batch_norm(x, mean, variance, *given, axis=axis, epsilon=epsilon)


def _in_parts(x, mean, variance, axis, given, epsilon):
    """x * factor + shift. `given`: scale and offset, or None; statistics of any rank."""
    scale, offset = given

    @in_float32
    def compute(x, mean, variance, *given):
        given = iter(given)
        factor = rsqrt(add(variance, constant_like(epsilon, x)))
        if scale is not None:
            factor = multiply(factor, next(given))
        shift = negative(multiply(mean, factor))
        if offset is not None:
            shift = add(shift, next(given))
        return add(multiply(x, _spread(factor, axis, x)), _spread(shift, axis, x))

    return compute(x, mean, variance, *(p for p in given if p is not None))


def _spread(vector, axis, x):
    """Statistics along `axis` of x in a shape that broadcasts with x."""
    if vector.ndim != 1 or axis == x.ndim - 1:
        return vector
    return reshape(vector, shape=(-1,) + (1,) * (x.ndim - 1 - axis))
