"""Batch normalization with given statistics: one node where the channels are the second axis."""

from __future__ import annotations

import numpy as np

from kerasvino.nodes.lowering import const, dims, ints, ov, rank
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.elementwise import rsqrt
from kerasvino.primitives.reduce import reduce_sum
from kerasvino.primitives.shape import reshape
from kerasvino.primitives.unbroadcast import unbroadcast

__all__ = ["batch_norm"]


def _impl(x, mean, variance, scale, offset, *, axis, epsilon):
    factor = scale / np.sqrt(variance + x.dtype.type(epsilon))
    shift = offset - mean * factor
    spread = (-1,) + (1,) * (x.ndim - 1 - axis)
    result = x * factor.reshape(spread)
    result += shift.reshape(spread)
    return result


def _lower(x, mean, variance, scale, offset, *, axis, epsilon):
    scale, offset = (_vector(v, mean) for v in (scale, offset))
    if axis == 1 and dims(mean)[0] and dims(mean)[0] == dims(x)[1]:
        return ov.batch_norm_inference(x, scale, offset, mean, variance, epsilon)
    factor = ov.divide(scale, ov.sqrt(ov.add(variance, const(epsilon, variance))))
    shift = ov.subtract(offset, ov.multiply(mean, factor))
    spread = ints([-1] + [1] * (rank(x) - 1 - axis))
    factor, shift = (ov.reshape(v, spread, False) for v in (factor, shift))
    return ov.add(ov.multiply(x, factor), shift)


def _vector(value, like):
    return value if rank(value) else ov.broadcast(value, ov.shape_of(like)).output(0)


def _layout(trace, inputs, attrs):
    output, permutation = trace.physical(inputs[0])
    if permutation is None:
        return None
    rest = [trace.output(tensor) for tensor in inputs[1:]]
    return [output, *rest], {**attrs, "axis": permutation[attrs["axis"]]}, permutation


def _vjp(g, inputs, output, *, axis, epsilon):
    x, mean, variance, scale, offset = inputs
    others = tuple(a for a in range(x.ndim) if a != axis)
    spread = (-1,) + (1,) * (x.ndim - 1 - axis)
    spreading = variance + float(epsilon)
    inverse = rsqrt(spreading)
    factor = scale * inverse
    total = reduce_sum(g, axis=others, keepdims=False)
    centered = x - reshape(mean, shape=spread)
    along = reduce_sum(g * centered, axis=others, keepdims=False) * inverse
    return (
        g * reshape(factor, shape=spread),
        -(total * factor),
        along * scale / spreading * -0.5,
        unbroadcast(along, scale),
        unbroadcast(total, offset),
    )


# x of floats; mean, variance: of shape (x.shape[axis],) and its dtype; scale, offset: as these, or
# of rank 0; axis: an int of at least 0. (x - mean) / sqrt(variance + epsilon) * scale + offset,
# computed as x * factor + shift, which OpenVINO merges into a preceding convolution.
batch_norm = Primitive("batch_norm", impl=_impl, lower=_lower, wide=True, layout=_layout, vjp=_vjp)
