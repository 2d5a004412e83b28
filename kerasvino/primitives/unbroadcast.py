"""Gradients of broadcasting: the sum over the axes along which an operand was repeated."""

from __future__ import annotations

import functools

import numpy as np

from kerasvino import dtypes
from kerasvino.nodes.lowering import dims, ints, ov, shape_of, vector
from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive, defvjp
from kerasvino.primitives.shape import broadcast_to, dimension, reshape
from kerasvino.tensor import Tensor

__all__ = ["constant_like", "sum_to", "unbroadcast"]


@functools.lru_cache(maxsize=256)
def _constant(value, dtype):
    return np.asarray(value).astype(dtypes.numpy_dtype(dtype))


def constant_like(value, x: Tensor) -> Tensor:
    """The number `value` as a tensor of rank 0 with the dtype of `x`."""
    # 0.0 and -0.0 are one key
    make = _constant if value or not isinstance(value, float) else _constant.__wrapped__
    return Tensor._wrap(make(value, x.dtype))


def unbroadcast(g: Tensor, like: Tensor) -> Tensor:
    """Cotangent `g` of a broadcast result as one of the operand `like`."""
    shape, wanted = g.shape, like.shape
    if shape == wanted and None not in shape:
        return g
    if None in wanted:
        lengths = [dimension(like, axis=a) if n is None else n for a, n in enumerate(wanted)]
    else:
        lengths = list(wanted)
    missing = len(shape) - len(wanted)
    summed = sum_to(g, shape=(1,) * missing + tuple(lengths))
    if not missing:
        return summed
    return reshape(summed, shape=tuple(lengths))


def _impl(x, *, shape):
    axes = tuple(a for a, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    return x.sum(axis=axes, keepdims=True, dtype=x.dtype) if axes else x


def _lower(x, *, shape):
    known = dims(x)
    axes, unsure = [], []
    for axis, (length, wanted) in enumerate(zip(known, shape, strict=True)):
        if wanted == 1:
            if length != 1:
                axes.append(axis)
        elif not isinstance(wanted, int) or length is None:
            unsure.append(axis)
    if axes:
        x = ov.reduce_sum(x, ints(axes), keep_dims=True).output(0)
    return _sum_unsure(x, shape, unsure) if unsure else x


def _sum_unsure(x, shape, axes):
    """Sums along `axes`, of which only the run shows whether they have the wanted length n or 1.

    An axis of length m is read as (m / n, n) and the first part summed: nothing, or everything.
    """
    wanted = vector(shape)
    present = shape_of(x)
    pieces = []
    for axis in range(len(shape)):
        target = ov.gather(wanted, ints([axis]), ints(0))
        if axis in axes:
            length = ov.gather(present, ints([axis]), ints(0))
            pieces.append(ov.divide(length, ov.maximum(target, ints([1]))))
        pieces.append(target)
    split = ov.reshape(x, ov.concat(pieces, 0), special_zero=False)
    positions = [axis + count for count, axis in enumerate(axes)]
    return ov.reduce_sum(split, ints(positions), keep_dims=False).output(0)


def _layout(trace, inputs, attrs):
    output, permutation = trace.physical(inputs[0])
    shape = tuple(attrs["shape"][a] for a in layout.inverse(permutation))
    return [output], {"shape": shape}, permutation


# x; shape: of the same rank, each length 1 or that of x (ints and symbolic integer scalars).
sum_to = Primitive("sum_to", impl=_impl, lower=_lower, dynamic=("shape",), layout=_layout)
defvjp(broadcast_to, lambda g, inputs, output, *, shape: (unbroadcast(g, inputs[0]),))
