"""Resampling of one axis: where samples lie, how they weigh its elements, and their application.

Lengths are ints, or symbolic integer scalars of a graph. Positions count elements from 0, whose
middles are the whole numbers; they are kept as a whole part (int32) and the rest in [0, 1), so that
long axes lose no accuracy.
"""

from __future__ import annotations

import math

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, to_dtype
from kerasvino.primitives.create import iota
from kerasvino.primitives.indexing import gather
from kerasvino.primitives.layout import inverse
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.shape import lengths, reshape, transpose
from kerasvino.tensor import Tensor

__all__ = [
    "KERNELS", "applied", "interpolated", "kernel_weights", "nearest", "positions", "scalar",
]  # fmt: skip


def _triangle(x):
    return knp.maximum(1.0 - x, 0.0)


def _cubic(x):
    """Keys's cubic with a = -1/2."""
    near = ((1.5 * x - 2.5) * x) * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return knp.where(x < 1.0, near, knp.where(x < 2.0, far, 0.0))


def _lanczos(radius):
    def kernel(x):
        return knp.where(x < radius, knp.sinc(x) * knp.sinc(x / radius), 0.0)

    return kernel


# Interpolation kernels: functions of the distance to the sample, which is not negative.
KERNELS = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3.0),
    "lanczos5": _lanczos(5.0),
}


def scalar(length, dtype: str) -> Tensor:
    """A length as a tensor of rank 0."""
    return cast(convert_to_tensor(length), dtype)


def _middles(length, size) -> tuple[Tensor, Tensor]:
    """(i + 1/2) * length / size of each sample i as integers: (numerators, denominator).

    They fit int32 while 2 * length * size does.
    """
    length, size = convert_to_tensor(length, "int32"), convert_to_tensor(size, "int32")
    return (iota(size=size) * 2 + 1) * length, size * 2


def nearest(length, size) -> Tensor:
    """The element that each of `size` samples, spread evenly over an axis, lies in."""
    return knp.floor_divide(*_middles(length, size))


def positions(length, size, dtype: str) -> tuple[Tensor, Tensor]:
    """(whole part, rest) of the positions of `size` samples spread evenly over an axis."""
    numerator, denominator = _middles(length, size)
    numerator = numerator - knp.floor_divide(denominator, 2)
    low = knp.floor_divide(numerator, denominator)
    rest = numerator - low * denominator
    return low, cast(rest, dtype) / cast(denominator, dtype)


def kernel_weights(low, rest, length, stretch, kernel) -> Tensor:
    """Matrix (samples, length) of the weights of a kernel around each sample, of sum 1 in each row.

    Args:
        low, rest: positions of the samples.
        length: of the axis.
        stretch: scalar >= 1 by which the kernel is widened (antialiasing), or None.
        kernel: of `KERNELS`.
    """
    steps = iota(size=length) - knp.expand_dims(low, 1)
    distance = knp.abs(cast(steps, rest.dtype) - knp.expand_dims(rest, 1))
    if stretch is not None:
        distance = distance / stretch
    weights = kernel(distance)
    return knp.divide_no_nan(weights, knp.sum(weights, axis=1, keepdims=True))


def applied(x: Tensor, axes, matrices) -> Tensor:
    """x, each of whose `axes` is multiplied by a matrix (new length, length of the axis).

    The axes go last meanwhile: there the products are large.
    """
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    order = (*rest, *axes)
    x = transpose(x, axes=order)
    for axis, weights in enumerate(matrices, len(rest)):
        shape = lengths(x)
        before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        if axis == x.ndim - 1:
            product = matmul(reshape(x, shape=(before, shape[axis])), weights, transpose_y=True)
        else:
            product = matmul(weights, reshape(x, shape=(before, shape[axis], after)))
        x = reshape(product, shape=(*shape[:axis], lengths(weights)[0], *shape[axis + 1 :]))
    return transpose(x, axes=inverse(order))


def interpolated(x: Tensor, axis: int, low: Tensor, rest: Tensor) -> Tensor:
    """Linear interpolation of x at positions along an axis, its ends held."""
    last = convert_to_tensor(lengths(x)[axis], "int32") - 1
    first = gather(x, knp.clip(low, 0, last), axis=axis)
    second = gather(x, knp.clip(low + 1, 0, last), axis=axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    return first + (second - first) * reshape(to_dtype(rest, x.dtype), shape=tuple(shape))
