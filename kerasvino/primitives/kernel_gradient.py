"""Primitive `conv_kernel`: the gradient of a convolution in its kernel, a sum over all windows.

OpenVINO has no node for it. It is a matrix product of the grid of cotangents with the patches of
the image, and what matters is how the patches come about. Milliseconds of processor time, one
thread with AVX-512, float32, medians of alternating runs (batch, channels, edge -> channels,
kernel / stride), torch's kernel beside them:

    problem                      exchanged  by tap  by patch  long   torch
    64, 3, 32 -> 32, 3x3              13      11       5        7       4
    64, 32, 28 -> 64, 3x3             85      35      30       32      17
    64, 64, 16 -> 64, 3x3             44      23      35       35      14
    16, 64, 24 -> 64, 3x3             15      12      14       16       9
    16, 256, 6 -> 256, 3x3            15      14      22        9       7
    16, 512, 3 -> 512, 3x3            41      78      56       11      12
    16, 128, 24 -> 128, 3x3 / 2       14      23      13       14       8
    16, 3, 96 -> 64, 7x7 / 2          21      65      14       16       9
    16, 64, 24 -> 256, 1x1            33       3       4        6       7
    16, 1024, 6 -> 256, 1x1           14       7       8        6       5
    16, 256, 24 -> 512, 1x1 / 2       61      11       8       12       9
    16, 32, 48, 32 groups, 3x3        69      14      12       14       4

- exchanged: Convolution with the axes of batch and channels exchanged: the kernel it reads is as
  large as the image, its result 3 x 3 small.
- by tap: for each place in the window a strided slice, a product for each image, the sum of those.
- by patch: ExtractImagePatches, a product for each image, the sum of those. Better than slices
  where these have a step, or few channels.
- long: ExtractImagePatches with batch and channels exchanged, one product that sums over the images
  too. Best where images are so small that the products before their sum are the larger part.
"""

from __future__ import annotations

import itertools
import math

from kerasvino.primitives.core import Primitive
from kerasvino.primitives.floating import in_f32
from kerasvino.primitives.lowering import const, dims, ints, ov, transposed

__all__ = ["conv_kernel"]

# Grids with fewer elements are summed over the images by the product itself.
_SMALL_GRID = 64
# So are those of which the products of each image have more elements than this together.
_MANY_PRODUCTS = 1 << 24
_FEW_CHANNELS = 8
_LAST = 2**31 - 1


def _reaching(image, grid, size, strides, padding, dilation):
    """The image with zeros around it, or cropped, such that the last window ends where it ends."""
    before, after, crop = [0, 0], [0, 0], []
    axes = zip(dims(image)[2:], dims(grid)[2:], size, strides, padding, dilation, strict=True)
    for n, m, k, s, (low, _), d in axes:
        high = (m - 1) * s + (k - 1) * d + 1 - n - low
        before.append(low)
        after.append(max(high, 0))
        crop.append(min(high, 0) or _LAST)
    if any(stop < 0 for stop in crop):
        count = len(crop)
        places = [ints(v) for v in ([0] * count, crop, [1] * count, list(range(2, count + 2)))]
        image = ov.slice(image, *places).output(0)
    if any(before + after):
        image = ov.pad(image, ints(before), ints(after), "constant", const(0, image)).output(0)
    return image


def _taps(x, size, strides, dilation):
    """For each place in the window, the elements that the windows have there."""
    axes = ints(list(range(2, len(size) + 2)))
    for place in itertools.product(*map(range, size)):
        starts = [p * d for p, d in zip(place, dilation, strict=True)]
        stops = [(p + 1 - k) * d or _LAST for p, k, d in zip(place, size, dilation, strict=True)]
        yield ov.slice(x, ints(starts), ints(stops), ints(list(strides)), axes).output(0)


def _reshaped(x, *shape):
    return ov.reshape(x, ints(list(shape)), special_zero=False).output(0)


def _patches(x, size, strides, dilation):
    """(batch, places in the window, channels, windows), flat or not, of x that reaches exactly."""
    if len(size) == 1:
        x = ov.unsqueeze(x, ints(2)).output(0)
        size, strides, dilation = ((1, *v) for v in (size, strides, dilation))
    if len(size) == 2:
        return ov.extract_image_patches(x, list(size), list(strides), list(dilation), "VALID")
    return ov.concat(list(_taps(x, size, strides, dilation)), 1)


def _by_tap(x, grid, window):
    channels, outputs, places = dims(x)[1], dims(grid)[1], math.prod(dims(grid)[2:])
    rows = _reshaped(grid, -1, outputs, places)
    found = []
    for tap in _taps(x, *window):
        product = ov.matmul(rows, _reshaped(tap, -1, channels, places), False, True)
        found.append(ov.reduce_sum(product, ints([0]), False).output(0))
    if len(found) > 1:
        found = [ov.concat([ov.unsqueeze(part, ints(2)) for part in found], 2).output(0)]
    return _reshaped(found[0], outputs, channels, *window[0])


def _by_patch(x, grid, window, groups):
    channels, *lengths = dims(x)[1:]
    outputs, places, width = dims(grid)[1], math.prod(dims(grid)[2:]), channels // groups
    size = window[0]
    columns = _patches(_reshaped(x, -1, width, *lengths), *window)
    columns = _reshaped(columns, -1, groups, math.prod(size) * width, places)
    rows = _reshaped(grid, -1, groups, outputs // groups, places)
    summed = ov.reduce_sum(ov.matmul(rows, columns, False, True), ints([0]), False)
    kernel = _reshaped(summed, outputs, *size, width)
    return transposed(kernel, (0, len(size) + 1, *range(1, len(size) + 1)))


def _long(x, grid, window, groups):
    channels, outputs, width = dims(x)[1], dims(grid)[1], len(dims(x))
    exchange, size = (1, 0, *range(2, width)), window[0]
    columns = _patches(transposed(x, exchange), *window)
    columns = _reshaped(columns, groups, channels // groups * math.prod(size), -1)
    rows = _reshaped(transposed(grid, exchange), groups, outputs // groups, -1)
    return _reshaped(ov.matmul(rows, columns, False, True), outputs, channels // groups, *size)


def _lower(image, grid, *, size, strides, padding, dilation, groups):
    batch, channels, outputs = dims(image)[0], dims(image)[1], dims(grid)[1]
    if batch == 0 or dims(grid)[0] == 0:
        return ov.broadcast(const(0, image), ints([outputs, channels // groups, *size])).output(0)
    places = math.prod(dims(grid)[2:])
    products = (batch or 1) * outputs * (channels // groups) * math.prod(size)
    window = size, strides, dilation

    def gradient(image, grid):
        x = _reaching(image, grid, size, strides, padding, dilation)
        if places < _SMALL_GRID:
            return _long(x, grid, window, groups)
        if groups > 1 or channels <= _FEW_CHANNELS or any(s > 1 for s in strides):
            several = products <= _MANY_PRODUCTS
            return (_by_patch if several else _long)(x, grid, window, groups)
        return _by_tap(x, grid, window)

    return in_f32(gradient)(image, grid)


# image (N, C, spatial...), grid (N, O, spatial...) of floats -> (O, C / groups, size...): for each
# place in the window the products of grid elements with the image elements that a convolution with
# these settings reads there, summed. padding: (before, after) of each axis; the windows need not
# reach the end. Spatial axes and channels must have known lengths.
conv_kernel = Primitive("conv_kernel", lower=_lower)
