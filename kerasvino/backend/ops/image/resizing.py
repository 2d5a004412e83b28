"""Resizing of images, and resampling with any scale and translation."""

from __future__ import annotations

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, to_dtype
from kerasvino.backend.ops.image import resampling as w
from kerasvino.backend.ops.image.formats import (
    check_choice,
    floating,
    images_of,
    rounded,
    spatial_axes,
)  # fmt: skip
from kerasvino.backend.ops.numpy.shaping import lengths as given_lengths
from kerasvino.primitives.create import iota
from kerasvino.primitives.indexing import gather, slice_
from kerasvino.primitives.resample import upsample
from kerasvino.primitives.shape import lengths
from kerasvino.tensor import Tensor

__all__ = ["resize", "scale_and_translate"]

_INTERPOLATIONS = ("bilinear", "nearest", "lanczos3", "lanczos5", "bicubic")


def resize(
    images, size, interpolation="bilinear", antialias=False, crop_to_aspect_ratio=False,
    pad_to_aspect_ratio=False, fill_mode="constant", fill_value=0.0, data_format=None,
):  # fmt: skip
    """`keras.ops.image.resize`; the result has the dtype of the images, integers rounded.

    Samples lie at the middles of pixels of the new size; kernels are Keys's cubic (a = -1/2) and
    Lanczos's, renormalised at the borders, and widened by the scale when an image with `antialias`
    gets smaller. Entries of `size` may be traced.
    """
    check_choice("interpolation", interpolation, _INTERPOLATIONS)
    if fill_mode != "constant":
        raise ValueError(
            "Invalid value for argument `fill_mode`. Only `'constant'` is supported. "
            f"Received: fill_mode={fill_mode}"
        )
    if pad_to_aspect_ratio and crop_to_aspect_ratio:
        raise ValueError(
            "Only one of `pad_to_aspect_ratio` & `crop_to_aspect_ratio` can be `True`."
        )
    images = images_of(images)
    size = given_lengths(size)
    if len(size) != 2:
        raise ValueError(f"Expected `size` to be a tuple of 2 integers. Received: size={size}")
    axes = spatial_axes(images, data_format)[:2]
    if any(images.shape[axis] == 0 for axis in axes):
        raise ValueError(f"Images without pixels cannot be resized; given: {images.shape}.")
    x = images if interpolation == "nearest" else floating(images)
    if crop_to_aspect_ratio:
        x = _cropped(x, axes, size)
    elif pad_to_aspect_ratio:
        x = _padded(x, axes, size, fill_value)
    return rounded(_resampled(x, axes, size, interpolation, antialias), images.dtype)


# -- aspect ratio


def _extreme(name: str, a, b):
    """Smaller ("minimum") or larger ("maximum") of two lengths."""
    if isinstance(a, int) and isinstance(b, int):
        return (min if name == "minimum" else max)(a, b)
    return getattr(knp, name)(a, b)


def _fitting(lengths, size):
    """For each of two axes the length that would have the ratio of `size` to the other one."""
    (height, width), (rows, columns) = lengths, size
    return width * rows // columns, height * columns // rows


def _cropped(x: Tensor, axes, size) -> Tensor:
    """The largest middle part of the images that has the aspect ratio of `size`."""
    present = [lengths(x)[axis] for axis in axes]
    starts, stops = [], []
    for length, fitting in zip(present, _fitting(present, size), strict=True):
        kept = _extreme("maximum", _extreme("minimum", length, fitting), 1)
        starts.append((length - kept) // 2)
        stops.append(starts[-1] + kept)
    return slice_(x, axis=axes, starts=tuple(starts), stops=tuple(stops), steps=(1, 1))


def _padded(x: Tensor, axes, size, value) -> Tensor:
    """The images amid the smallest frame that has the aspect ratio of `size`, equal on both sides.

    So it falls short by a pixel where the ratio asks for an odd number of them.
    """
    pads = [(0, 0)] * x.ndim
    present = [lengths(x)[axis] for axis in axes]
    for axis, length, fitting in zip(axes, present, _fitting(present, size), strict=True):
        side = (_extreme("maximum", length, fitting) - length) // 2
        pads[axis] = (side, side)
    value = rounded(convert_to_tensor(value, "float32"), x.dtype)
    return knp.pad(x, pads, constant_values=value)


# -- interpolation


def _factor(length, size) -> int | None:
    """How many times longer `size` is, if that is a whole number known before a graph runs."""
    known = isinstance(length, int) and isinstance(size, int) and length > 0
    return size // length if known and size % length == 0 else None


def _resampled(x: Tensor, axes, size, interpolation, antialias) -> Tensor:
    factors = [_factor(x.shape[axis], n) for axis, n in zip(axes, size, strict=True)]
    if all(factors) and interpolation in ("nearest", "bilinear"):
        # as one node; of linear ones OpenVINO places the samples exactly for powers of two
        linear = interpolation == "bilinear"
        if not linear or all(factor & (factor - 1) == 0 for factor in factors):
            return upsample(x, axis=axes, factor=tuple(factors), linear=linear)
    changed = [
        (axis, n) for axis, n, factor in zip(axes, size, factors, strict=True) if factor != 1
    ]
    matrices = []
    for axis, n in changed:
        length = lengths(x)[axis]
        shrinks = not (isinstance(length, int) and isinstance(n, int) and n >= length)
        if interpolation == "nearest":
            x = gather(x, w.nearest(length, n), axis=axis)
        elif interpolation == "bilinear" and not (antialias and shrinks):
            x = w.interpolated(x, axis, *w.positions(length, n, x.dtype))
        else:
            widened = antialias and shrinks
            matrices.append((axis, _spread_weights(length, n, x.dtype, interpolation, widened)))
    if not matrices:
        return x
    axes, matrices = zip(*matrices, strict=True)
    return w.applied(x, axes, matrices)


def _spread_weights(length, size, dtype, interpolation, widened) -> Tensor:
    """Weights of samples spread evenly over an axis."""
    stretch = None
    if widened:
        stretch = knp.maximum(w.scalar(length, dtype) / w.scalar(size, dtype), 1.0)
    low, rest = w.positions(length, size, dtype)
    return w.kernel_weights(low, rest, length, stretch, w.KERNELS[interpolation])


# -- any scale and translation

_METHODS = {
    "linear": "bilinear", "bilinear": "bilinear", "trilinear": "bilinear",
    "cubic": "bicubic", "bicubic": "bicubic", "tricubic": "bicubic",
    "lanczos3": "lanczos3", "lanczos5": "lanczos5",
}  # fmt: skip


def scale_and_translate(
    images, output_shape, scale, translation, spatial_dims, method, antialias=True
):
    """`keras.ops.image.scale_and_translate`; the result has the dtype of the images.

    `scale` and `translation` may be traced. Of `output_shape` the entries of `spatial_dims` count;
    the others must be the lengths of the images (or None). Integers are rounded.
    """
    check_choice("method", method, _METHODS)
    images = convert_to_tensor(images)
    x = floating(images)
    if len(output_shape) != x.ndim:
        raise ValueError(
            f"`output_shape` has {len(output_shape)} entries for images of rank {x.ndim}: "
            f"{output_shape}."
        )
    axes = [axis % x.ndim for axis in spatial_dims]
    for axis, (n, wanted) in enumerate(zip(x.shape, output_shape, strict=True)):
        if axis not in axes and None not in (n, wanted) and n != wanted:
            raise ValueError(
                f"Axis {axis} is not one of `spatial_dims` {tuple(spatial_dims)}, so that its "
                f"length stays {n}; `output_shape` has {wanted} there."
            )
    scale, translation = (cast(convert_to_tensor(v), x.dtype) for v in (scale, translation))
    matrices = []
    for place, axis in enumerate(axes):
        size, kernel = given_lengths([output_shape[axis]])[0], _METHODS[method]
        to = scale[place], translation[place]
        matrices.append(_located_weights(lengths(x)[axis], size, *to, kernel, antialias))
    return rounded(w.applied(x, axes, matrices), images.dtype)


def _located_weights(length, size, scale, translation, kernel, antialias) -> Tensor:
    """Weights of samples at (i + 1/2 - translation) / scale - 1/2, none for those outside."""
    dtype = scale.dtype
    position = (cast(iota(size=size), dtype) + 0.5 - translation) / scale - 0.5
    low = knp.floor(position)
    stretch = knp.maximum(1.0 / scale, 1.0) if antialias else None
    weights = w.kernel_weights(
        to_dtype(low, "int32"), position - low, length, stretch, w.KERNELS[kernel]
    )
    last = w.scalar(length, dtype) - 0.5
    inside = knp.logical_and(position >= -0.5, position <= last)
    return knp.where(knp.expand_dims(inside, 1), weights, 0.0)
