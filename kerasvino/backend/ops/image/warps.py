"""Geometric transformations: affine, perspective and elastic."""

from __future__ import annotations

from kerasvino.backend import random
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.image.filters import blurred
from kerasvino.backend.ops.image.formats import (
    batched,
    check_choice,
    computed,
    fits,
    floating,
    images_of,
)
from kerasvino.backend.ops.image.sampling import FILL_MODES, sampled
from kerasvino.primitives.create import iota
from kerasvino.primitives.shape import expand_dims, lengths, reshape, transpose
from kerasvino.tensor import Tensor

__all__ = [
    "affine_transform", "compute_homography_matrix", "elastic_transform", "perspective_transform",
]  # fmt: skip

_ORDERS = {"nearest": 0, "bilinear": 1}


def affine_transform(
    images, transform, interpolation="bilinear", fill_mode="constant", fill_value=0,
    data_format=None,
):  # fmt: skip
    """`keras.ops.image.affine_transform`; the result has the dtype of the images.

    `transform`, (8,) or (N, 8), rows a0 a1 a2 b0 b1 b2 c0 c1: the pixel (x, y) of the result is the
    one of the images at (a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k with k = c0 x + c1 y + 1.
    One row serves all images.
    """
    check_choice("interpolation", interpolation, _ORDERS)
    check_choice("fill_mode", fill_mode, tuple(FILL_MODES))
    images, transform = images_of(images), convert_to_tensor(transform)
    if transform.ndim not in (1, 2):
        raise ValueError(
            "Invalid transform rank: expected rank 1 (single transform) or rank 2 (batch of "
            f"transforms). Received input with shape: transform.shape={transform.shape}"
        )
    return _projected(images, transform, interpolation, fill_mode, fill_value, data_format)


def _projected(images, transform, interpolation, fill_mode, fill_value, data_format):
    x, restored = batched(images, data_format)
    dtype = computed(x.dtype)
    transform = cast(transform, dtype)
    if transform.ndim == 1:
        transform = expand_dims(transform, axis=(0,))
    given, count = transform.shape[0], x.shape[0]
    if given not in (1, None, count) and count is not None:
        raise ValueError(f"There are {given} transforms for {count} images; give one, or as many.")
    _, height, width, _ = lengths(x)
    # of shape (N or 1, 1, 1) each
    a0, a1, a2, b0, b1, b2, c0, c1 = (transform[:, i, None, None] for i in range(8))
    column = cast(iota(size=width), dtype)[None, None, :]
    row = cast(iota(size=height), dtype)[None, :, None]
    scale = c0 * column + c1 * row + 1.0
    places = ((b0 * column + b1 * row + b2) / scale, (a0 * column + a1 * row + a2) / scale)
    return restored(_moved(x, places, interpolation, fill_mode, fill_value))


def _moved(x: Tensor, places, interpolation, fill_mode, fill_value) -> Tensor:
    """Images (N, H, W, C), each read at its places, (rows, columns) of shape (N or 1, H, W)."""
    # one plane for each channel: elements next to each other are gathered fastest
    planes = transpose(x, axes=(3, 0, 1, 2))
    channels, count, height, width = lengths(planes)
    pixels = height * width
    planes = reshape(planes, shape=(channels, count * pixels))
    first = expand_dims(iota(size=count) * pixels, axis=(1, 2))
    planes = sampled(
        planes, (height, width), places, _ORDERS[interpolation], fill_mode, fill_value, first
    )
    return transpose(planes, axes=(1, 2, 3, 0))


# -- perspective


def compute_homography_matrix(start_points, end_points):
    """Transforms (N, 8), as of `affine_transform`, that take the end points to the start points.

    Both of shape (N, 4, 2), rows x, y, no three of the four on a line. Found without solving a
    linear system: a homography takes the unit square to either quadrilateral (P. Heckbert,
    Fundamentals of Texture Mapping and Image Warping, 1989, 2.2.3).
    """
    start, end = promote(start_points, end_points, least=float)
    if not all(p.ndim == 3 and fits(p.shape[1:], (4, 2)) for p in (start, end)):
        raise ValueError(
            "`start_points` and `end_points` have shape (N, 4, 2). "
            f"Received: {start.shape} and {end.shape}"
        )
    return to_dtype(_homography(floating(start), floating(end)), start.dtype)


def _homography(start, end):
    matrix = _times(_from_square(start), _adjugate(_from_square(end)))
    last = matrix[8]
    return knp.stack([entry / last for entry in matrix[:8]], axis=-1)


def _from_square(points):
    """Entries, row by row, of matrices that take (0, 0), (1, 0), (1, 1), (0, 1) to the points."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = ((points[:, i, 0], points[:, i, 1]) for i in range(4))
    dx1, dy1, dx2, dy2 = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    dx, dy = (x0 - x1) + (x2 - x3), (y0 - y1) + (y2 - y3)
    determinant = dx1 * dy2 - dx2 * dy1
    g = (dx * dy2 - dx2 * dy) / determinant
    h = (dx1 * dy - dx * dy1) / determinant
    return [
        x1 - x0 + g * x1, x3 - x0 + h * x3, x0,
        y1 - y0 + g * y1, y3 - y0 + h * y3, y0,
        g, h, knp.ones_like(g),
    ]  # fmt: skip


def _adjugate(m):
    """The inverse of a 3x3 matrix, times its determinant."""
    a, b, c, d, e, f, g, h, i = m
    return [
        e * i - f * h, c * h - b * i, b * f - c * e,
        f * g - d * i, a * i - c * g, c * d - a * f,
        d * h - e * g, b * g - a * h, a * e - b * d,
    ]  # fmt: skip


def _times(m, n):
    return [
        m[3 * row] * n[column] + m[3 * row + 1] * n[3 + column] + m[3 * row + 2] * n[6 + column]
        for row in range(3)
        for column in range(3)
    ]


def perspective_transform(
    images, start_points, end_points, interpolation="bilinear", fill_value=0, data_format=None
):
    """`keras.ops.image.perspective_transform`; the result has the dtype of the images.

    Start and end points, (4, 2) or (N, 4, 2), are corners before and after; outside of the images
    is `fill_value`. One set of points serves all images.
    """
    check_choice("interpolation", interpolation, _ORDERS)
    images = images_of(images)
    points = []
    for name, given in (("start_points", start_points), ("end_points", end_points)):
        given = convert_to_tensor(given)
        if given.ndim not in (2, 3) or not fits(given.shape[-2:], (4, 2)):
            raise ValueError(
                f"Invalid {name} shape: expected (4,2) for a single image or (N,4,2) for a batch. "
                f"Received shape: {given.shape}"
            )
        points.append(expand_dims(given, axis=(0,)) if given.ndim == 2 else given)
    if len(start_points.shape) != len(end_points.shape):
        raise ValueError(
            "start_points and end_points must have the same shape. Received "
            f"start_points.shape={start_points.shape}, end_points.shape={end_points.shape}"
        )
    transform = compute_homography_matrix(*(floating(p) for p in points))
    return _projected(images, transform, interpolation, "constant", fill_value, data_format)


# -- elastic


def elastic_transform(
    images, alpha=20.0, sigma=5.0, interpolation="bilinear", fill_mode="reflect", fill_value=0.0,
    seed=None, data_format=None,
):  # fmt: skip
    """`keras.ops.image.elastic_transform`; the result has the dtype of the images.

    Each pixel is read at a random displacement: normal with deviation `sigma`, smoothed by a
    Gaussian of that width, times `alpha` (P. Simard et al., Best Practices for Convolutional Neural
    Networks, 2003). Both may be traced.
    """
    check_choice("interpolation", interpolation, _ORDERS)
    check_choice("fill_mode", fill_mode, tuple(FILL_MODES))
    images = images_of(images)
    x, restored = batched(images, data_format)
    count, height, width, _ = lengths(x)
    alpha, sigma = (cast(convert_to_tensor(v), "float32") for v in (alpha, sigma))
    noise = random.normal((2, count, height, width), seed=seed, dtype="float32") * sigma
    shifts = blurred(noise, sigma) * alpha
    row = cast(iota(size=height), "float32")[:, None]
    column = cast(iota(size=width), "float32")
    places = (row + shifts[0], column + shifts[1])
    return restored(_moved(x, places, interpolation, fill_mode, fill_value))
