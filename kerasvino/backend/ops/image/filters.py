"""Filters over neighbourhoods of pixels; outside of the images is zero."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, to_dtype
from kerasvino.backend.ops.image.formats import (
    batched,
    fits,
    floating,
    images_of,
    rounded,
    spatial_axes,
)  # fmt: skip
from kerasvino.backend.ops.image.resampling import applied
from kerasvino.primitives.create import iota
from kerasvino.primitives.resample import correlate
from kerasvino.primitives.shape import lengths, transpose
from kerasvino.tensor import Tensor

__all__ = ["blurred", "gaussian_blur", "sobel_edges"]


# -- Gaussians


def _bell(distance, sigma):
    return knp.exp(-0.5 * knp.square(distance / sigma))


def gaussian_blur(images, kernel_size=(3, 3), sigma=(1.0, 1.0), data_format=None):
    """`keras.ops.image.gaussian_blur`; the result has the dtype of the images, integers rounded.

    `kernel_size` (ints) and `sigma` (may be traced) are given for the width, then for the height:
    so Keras's tests have it, against its documentation. An even kernel reaches one pixel further
    to the right and down.
    """
    images = images_of(images)
    sizes = [int(n) for n in np.asarray(convert_to_tensor(kernel_size))]
    sigma = convert_to_tensor(sigma)
    if len(sizes) != 2 or min(sizes) < 1 or not fits(sigma.shape, (2,)):
        raise ValueError(
            "`kernel_size` is two positive ints and `sigma` two floats, for width and height. "
            f"Received: kernel_size={kernel_size}, sigma={sigma}"
        )
    x, restored = batched(images, data_format)
    x = floating(transpose(x, axes=(0, 3, 1, 2)))
    sigma = cast(sigma, x.dtype)
    for place, axis in enumerate((3, 2)):
        size = sizes[place]
        distance = np.arange(size, dtype=x.dtype) - (size - 1) / 2
        weights = _bell(convert_to_tensor(distance, x.dtype), sigma[place])
        x = correlate(x, weights / knp.sum(weights), axis=axis, before=(size - 1) // 2)
    return rounded(restored(transpose(x, axes=(0, 2, 3, 1))), images.dtype)


def blurred(x: Tensor, sigma) -> Tensor:
    """x, blurred along its last two axes by a Gaussian of deviation `sigma`, cut off at 3 sigma.

    The size of the kernel follows from `sigma`, which may be traced, so that each axis is
    multiplied by a banded matrix.
    """
    reach = knp.floor_divide(to_dtype(sigma * 6.0, "int32"), 2)
    steps = cast(iota(size=reach + 1), x.dtype)
    total = 2.0 * knp.sum(_bell(steps, sigma)) - 1.0
    axes, matrices = (x.ndim - 2, x.ndim - 1), []
    for axis in axes:
        place = iota(size=lengths(x)[axis])
        distance = knp.abs(place[:, None] - place[None, :])
        weights = _bell(cast(distance, x.dtype), sigma) / total
        matrices.append(knp.where(distance <= reach, weights, 0.0))
    return applied(x, axes, matrices)


# -- Sobel


def sobel_edges(images, data_format=None):
    """`keras.ops.image.sobel_edges`: derivatives down and to the right, along a new last axis.

    Of the dtype of the images; integers are held within its range (unsigned ones from 0).
    """
    images = images_of(images, ranks=(4,))
    last = spatial_axes(images, data_format)[2] == 3
    x = floating(transpose(images, axes=(0, 3, 1, 2)) if last else images)
    smooth = convert_to_tensor([1.0, 2.0, 1.0], x.dtype)
    slope = convert_to_tensor([-1.0, 0.0, 1.0], x.dtype)
    edges = [
        correlate(correlate(x, smooth, axis=5 - axis, before=1), slope, axis=axis, before=1)
        for axis in (2, 3)
    ]
    # stacked along the first axis: joining element by element is many times slower
    axes = (1, 3, 4, 2, 0) if last else (1, 2, 3, 4, 0)
    return rounded(transpose(knp.stack(edges), axes=axes), images.dtype)
