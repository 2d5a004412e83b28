"""Conversions between colour spaces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import to_dtype
from kerasvino.backend.ops.image.formats import floating, images_of, spatial_axes
from kerasvino.primitives.shape import lengths, reshape
from kerasvino.tensor import Tensor

__all__ = ["hsv_to_rgb", "rgb_to_grayscale", "rgb_to_hsv"]

# Luma of red, green and blue (ITU-R BT.601), in the digits that TensorFlow uses.
_LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)


def rgb_to_grayscale(images, data_format=None):
    """`keras.ops.image.rgb_to_grayscale`: 0.2989 R + 0.587 G + 0.114 B; integers are truncated.

    Images with one channel are returned as they are.
    """
    images = images_of(images)
    channel = spatial_axes(images, data_format)[2]
    if images.shape[channel] not in (1, 3, None):
        raise ValueError(
            "Invalid channel size: expected 3 (RGB) or 1 (Grayscale). "
            f"Received input with shape: images.shape={images.shape}"
        )
    if images.shape[channel] == 1:
        return images
    x = floating(images)
    luma = _LUMA.reshape([3 if axis == channel else 1 for axis in range(x.ndim)])
    gray = knp.sum(knp.multiply(x, luma.astype(x.dtype)), axis=channel, keepdims=True)
    return to_dtype(gray, images.dtype)


def _channels(images, data_format) -> tuple[list[Tensor], Callable[[list[Tensor]], Tensor]]:
    """(three channels of float images, function that joins three to such images).

    Each is a block of memory by itself: joining pixel by pixel is many times slower.
    """
    images = images_of(images)
    if not dtypes.is_float(images.dtype):
        raise ValueError(
            f"Invalid images dtype: expected float dtype. Received: images.dtype={images.dtype}"
        )
    channel = spatial_axes(images, data_format)[2]
    count = images.shape[channel]
    if count not in (3, None):
        raise ValueError(
            f"Input images must have 3 channels, but received images with {count} channels."
        )
    planes = knp.moveaxis(floating(images), channel, 0)
    planes = reshape(planes, shape=lengths(planes))  # in a graph makes the order of axes real

    def joined(channels):
        return to_dtype(knp.moveaxis(knp.stack(channels), 0, channel), images.dtype)

    return [planes[i] for i in range(3)], joined


def rgb_to_hsv(images, data_format=None):
    """`keras.ops.image.rgb_to_hsv`: hue, saturation and value, in [0, 1] for images in [0, 1].

    Hue is 0 for red, 1/3 for green, 2/3 for blue, and 0 for grays.
    """
    (red, green, blue), joined = _channels(images, data_format)
    value = knp.maximum(knp.maximum(red, green), blue)
    spread = value - knp.minimum(knp.minimum(red, green), blue)
    # By which of them is largest: its place on the circle in sixths, and how far the others pull.
    sixths = knp.where(
        value == red,
        knp.divide_no_nan(green - blue, spread),
        knp.where(
            value == green,
            knp.divide_no_nan(blue - red, spread) + 2.0,
            knp.divide_no_nan(red - green, spread) + 4.0,
        ),
    )
    hue = sixths / 6.0
    hue = knp.where(hue < 0.0, hue + 1.0, hue)
    saturation = knp.where(value > 0.0, knp.divide_no_nan(spread, value), 0.0)
    return joined([hue, saturation, value])


def hsv_to_rgb(images, data_format=None):
    """`keras.ops.image.hsv_to_rgb`: the inverse of `rgb_to_hsv`; hues repeat with period 1."""
    (hue, saturation, value), joined = _channels(images, data_format)
    angle = (hue - knp.floor(hue)) * 6.0
    # Each channel is full along a third of the circle around its own hue, and falls off linearly.
    shares = (
        knp.abs(angle - 3.0) - 1.0,
        2.0 - knp.abs(angle - 2.0),
        2.0 - knp.abs(angle - 4.0),
    )
    channels = [value * (1.0 - saturation * (1.0 - knp.clip(share, 0.0, 1.0))) for share in shares]
    return joined(channels)
