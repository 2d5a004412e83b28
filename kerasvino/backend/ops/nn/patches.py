"""Rearrangements of images: sliding patches and back, space to depth and back."""

from __future__ import annotations

import itertools

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import standardize_data_format
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.ops.nn.window_arguments import channels_first, to_format
from kerasvino.primitives import blocks
from kerasvino.primitives.convolution import conv_transpose
from kerasvino.primitives.indexing import END, slice_
from kerasvino.primitives.join import concatenate, pad
from kerasvino.primitives.shape import expand_dims, lengths, reshape
from kerasvino.tensor import Tensor

__all__ = ["depth_to_space", "fold", "space_to_depth", "unfold"]


def _pair(value, name, least=1) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        raise ValueError(f"`{name}` must be an int >= {least} or two of them; given: {value!r}.")
    return pair


def _windows(kernel_size, dilation, padding, stride):
    return (
        _pair(kernel_size, "kernel_size"), _pair(dilation, "dilation"),
        _pair(padding, "padding", 0), _pair(stride, "stride"),
    )  # fmt: skip


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Patches (batch, channels * kernel size, patches) of an image (batch, channels, h, w)."""
    x = convert_to_tensor(input)
    size, dilation, padding, stride = _windows(kernel_size, dilation, padding, stride)
    if any(padding):
        pads = ((0, 0), (0, 0), *((p, p) for p in padding))
        x = pad(x, pads=pads, mode="constant", value=0)
    parts = []
    for place in itertools.product(*map(range, size)):
        # the last window of an axis begins (size - 1) * dilation before its end
        starts = tuple(i * d for i, d in zip(place, dilation, strict=True))
        stops = tuple((i - k + 1) * d or END for i, k, d in zip(place, size, dilation, strict=True))
        part = slice_(x, axis=(2, 3), starts=starts, stops=stops, steps=stride)
        parts.append(expand_dims(part, axis=(2,)))
    patches = concatenate(*parts, axis=2)
    batch, channels, count, height, width = lengths(patches)
    known = isinstance(height, int) and isinstance(width, int)
    total = height * width if known else -1
    return reshape(patches, shape=(batch, channels * count, total))


def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """The sum of overlapping patches, laid out as `unfold` takes them from an image.

    Raises ValueError where their number does not fit an image of `output_size`.
    """
    x = convert_to_tensor(x)
    size, dilation, padding, stride = _windows(kernel_size, dilation, padding, stride)
    output = _pair(output_size, "output_size")
    windows = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    spare = [n + 2 * p - w for n, p, w in zip(output, padding, windows, strict=True)]
    grid = [s // step + 1 for s, step in zip(spare, stride, strict=True)]
    batch, rows, count = lengths(x)
    area = size[0] * size[1]
    if min(spare) < 0 or rows % area or (isinstance(count, int) and count != grid[0] * grid[1]):
        raise ValueError(
            f"Patches of shape {x.shape} do not make an image of size {output}: with kernel_size="
            f"{size}, dilation={dilation}, padding={padding}, stride={stride} it has "
            f"{grid[0]} x {grid[1]} of them, each with a multiple of {area} numbers."
        )
    # Each row is put at its place of the window: a transposed convolution with unit kernels.
    channels = rows // area
    unit = np.tile(np.eye(area).reshape(area, 1, *size), (channels, 1, 1, 1))
    unit = unit.astype(dtypes.numpy_dtype(x.dtype))
    return conv_transpose(
        reshape(x, shape=(batch, rows, *grid)), Tensor._wrap(unit), strides=stride,
        dilation=dilation, groups=channels, padding=tuple((p, p) for p in padding),
        output_padding=tuple(s % step for s, step in zip(spare, stride, strict=True)),
    )  # fmt: skip


def _dimensions(x, block_size, data_format):
    """Height, width and channels of an image."""
    if x.ndim != 4:
        raise ValueError(f"Images have rank 4; the shape given is {x.shape}.")
    if not isinstance(block_size, int) or block_size < 2:
        raise ValueError(f"`block_size` must be an int >= 2; given: {block_size!r}.")
    last = standardize_data_format(data_format) == "channels_last"
    _, *shape = lengths(x)
    return shape if last else (*shape[1:], shape[0])


def _check_divides(n, divisor, what, x):
    if isinstance(n, int) and n % divisor:
        raise ValueError(f"The {what} of shape {x.shape} must be a multiple of {divisor}.")


def depth_to_space(x, block_size, data_format="channels_last"):
    """Blocks of `block_size` squared channels moved into height and width.

    Channels last: the channels of the first place of a block come first, then those of the next.
    Channels first: the places of the first channel, then those of the next (as PyTorch's
    PixelShuffle); in that Keras's JAX, NumPy and PyTorch backends agree.
    """
    x = convert_to_tensor(x)
    depth = _dimensions(x, block_size, data_format)[-1]
    _check_divides(depth, block_size**2, "number of channels", x)
    x, last = channels_first(x, data_format)
    return to_format(blocks.depth_to_space(x, block=block_size, depth_first=not last), last)


def space_to_depth(x, block_size, data_format="channels_last"):
    """Blocks of `block_size` squared pixels moved into channels; the inverse of depth_to_space."""
    x = convert_to_tensor(x)
    height, width, _ = _dimensions(x, block_size, data_format)
    _check_divides(height, block_size, "height", x)
    _check_divides(width, block_size, "width", x)
    x, last = channels_first(x, data_format)
    return to_format(blocks.space_to_depth(x, block=block_size, depth_first=not last), last)
