"""Primitive `conv_kernel`: the gradient of a convolution in its kernel, a sum over all windows.

OpenVINO has no node for it. It is a matrix product of the grid of cotangents with the patches of
the image, and what matters is how the patches come about. Convolutions leave images with the
channels innermost in memory (where they run as brgconv), so that a transpose to channels last is
free, while every other view of them is a reordering. Milliseconds of processor time, one thread
with AVX-512, float32, images with channels innermost, least of five alternating runs (batch,
channels, edge -> channels, kernel / stride), torch's kernel beside them:

    problem                      by tap   long   patches  exchanged   torch
    64, 3, 32 -> 32, 3x3           12.3    8.7       4.7       11.6     2.3
    64, 32, 32 -> 32, 3x3          42.8   49.9      33.4       69.0    13.5
    64, 32, 28 -> 64, 3x3          46.2   42.9      31.7       82.9    16.2
    64, 64, 16 -> 64, 3x3          22.0   28.5      28.5       44.0     9.6
    16, 128, 12 -> 128, 3x3         8.8   10.4      11.6        7.9     5.7
    16, 256, 6 -> 256, 3x3         12.4    9.0      20.0       12.9     6.4
    16, 512, 3 -> 512, 3x3         61.7   20.8      49.3       34.5    12.7
    16, 3, 96 -> 64, 7x7 / 2       72.6   33.1      13.3       20.2     7.3
    16, 128, 24 -> 128, 3x3 / 2    10.1   11.2      14.0       13.1     7.0
    16, 64, 24 -> 256, 1x1          3.7    3.1       4.7       31.9     4.4
    16, 1024, 6 -> 256, 1x1         6.9    3.7       8.1       13.7     4.4
    16, 256, 24 -> 512, 1x1 / 2     7.4    6.0      12.2       64.4     8.0

- by tap: for each place in the window a strided slice, a product for each image, the sum of those.
- long: the slices side by side, one product that sums over the images as well. Best without a
  window, and where images are so small that the products of each are the larger part.
- patches: ExtractImagePatches, which wants the pixels of a channel together, a product for each
  image, the sum of those. Best for few channels: in a step that has run before (the table's runs
  are fresh, and memory that is touched first is slower) by tap takes 12.1 ms of two threads for 32
  to 32 channels beside 14.3, 7.1 beside 7.9 for 16 channels, 4.6 beside 4.2 for 8. With a
  product for each group it is also the best for groups: 12 ms for 32 channels of 48 x 48 by
  themselves (slices 14, exchanged 69, torch 4).
- exchanged: a Convolution with batch and channels exchanged: it reads a kernel as large as the
  image for a result as small as the kernel.
"""

from __future__ import annotations

import itertools
import math

from openvino import Type

from kerasvino.nodes.floating import in_f32
from kerasvino.nodes.lowering import const, dims, element, ints, ov, transposed
from kerasvino.primitives.core import Primitive

__all__ = ["conv_kernel"]

# Windows on grids with fewer places than this are summed over the images by the product itself,
_SMALL_GRID = 64
# as are those of which the products of the images have more elements than this together.
_MANY_PRODUCTS = 1 << 24
_FEW_CHANNELS = 8
_LAST = 2**31 - 1


@in_f32
def _product(x, y, *, transpose_x=False):
    return ov.matmul(x, y, transpose_x, False)


def _channels_last(x):
    return transposed(x, (0, *range(2, len(dims(x))), 1))


def _reshaped(x, *shape):
    return ov.reshape(x, ints(list(shape)), special_zero=False).output(0)


def _reaching(x, grid, window, padding):
    """x with zeros around it, or cropped, such that the last window ends where it ends."""
    before, after, stops = [0, 0], [0, 0], []
    for n, m, k, s, d, (low, _) in zip(dims(x)[2:], grid, *window, padding, strict=True):
        high = (m - 1) * s + (k - 1) * d + 1 - n - low
        before.append(low)
        after.append(max(high, 0))
        stops.append(min(high, 0) or _LAST)
    if any(stop < 0 for stop in stops):
        count = len(stops)
        places = [ints(v) for v in ([0] * count, stops, [1] * count, list(range(2, count + 2)))]
        x = ov.slice(x, *places).output(0)
    if any(before + after):
        x = ov.pad(x, ints(before), ints(after), "constant", const(0, x)).output(0)
    return x


def _taps(x, window):
    """For each place in the window, the elements that the windows have there."""
    size, strides, dilation = window
    if all(n == 1 for n in (*size, *strides)):
        return [x]
    axes, found = ints(list(range(2, len(size) + 2))), []
    for place in itertools.product(*map(range, size)):
        starts = [p * d for p, d in zip(place, dilation, strict=True)]
        stops = [(p + 1 - k) * d or _LAST for p, k, d in zip(place, size, dilation, strict=True)]
        found.append(ov.slice(x, ints(starts), ints(stops), ints(list(strides)), axes).output(0))
    return found


def _by_tap(x, grid, window, images):
    """images: whether each has a product of its own."""
    channels, outputs, places = dims(x)[1], dims(grid)[1], math.prod(dims(grid)[2:])
    shape = (-1, places) if images else (1, -1)
    rows, found = _reshaped(_channels_last(grid), *shape, outputs), []
    # a slice of an image is left as an image: it would not keep the order in memory otherwise
    for tap in _taps(x, window):
        columns = _reshaped(_channels_last(tap), *shape, channels)
        found.append(ov.reduce_sum(ov.matmul(columns, rows, True, False), ints([0]), False))
    return _kernel(ov.concat(found, 0), window[0], channels, outputs)


def _kernel(products, size, channels, outputs):
    """The kernel from (places in the window, channels, outputs), flat or not."""
    kernel, count = _reshaped(products, *size, channels, outputs), len(size)
    return transposed(kernel, (count + 1, count, *range(count)))


def _long(x, grid, window):
    size, channels, outputs = window[0], dims(x)[1], dims(grid)[1]
    taps = _taps(x, window)
    columns = ov.concat(taps, 1).output(0) if len(taps) > 1 else taps[0]
    columns = _reshaped(_channels_last(columns), -1, len(taps) * channels)
    rows = _reshaped(_channels_last(grid), -1, outputs)
    return _kernel(_product(columns, rows, transpose_x=True), size, channels, outputs)


def _by_patch(x, grid, window, groups):
    size, (channels, *lengths) = window[0], dims(x)[1:]
    outputs, places, width = dims(grid)[1], math.prod(dims(grid)[2:]), channels // groups
    columns = _patches(_reshaped(x, -1, width, *lengths), window)
    if groups == 1:
        columns = _reshaped(columns, -1, math.prod(size) * width, places)
        rows = _reshaped(_channels_last(grid), -1, places, outputs)
        summed = ov.reduce_sum(ov.matmul(columns, rows, False, False), ints([0]), False)
        return _kernel(summed, size, width, outputs)
    columns = _reshaped(columns, -1, groups, math.prod(size) * width, places)
    rows = _reshaped(grid, -1, groups, outputs // groups, places)
    summed = ov.reduce_sum(ov.matmul(rows, columns, False, True), ints([0]), False)
    kernel = _reshaped(summed, outputs, *size, width)
    return transposed(kernel, (0, len(size) + 1, *range(1, len(size) + 1)))


def _patches(x, window):
    """(batch, places in the window, channels, windows), flat or not, of x that reaches exactly."""
    if len(window[0]) == 1:
        x = ov.unsqueeze(x, ints(2)).output(0)
        window = [(1, *v) for v in window]
    if len(window[0]) == 2:
        return ov.extract_image_patches(x, *map(list, window), "VALID")
    return ov.concat(_taps(x, window), 1)


def _lower(image, grid, **settings):
    if element(image) == Type.bf16 and settings["groups"] == 1:
        return _of_any(image, grid, **settings)
    return in_f32(_of_any)(image, grid, **settings)


def _of_any(image, grid, *, size, strides, padding, dilation, groups):
    batch, channels = dims(image)[:2]
    outputs, *lengths = dims(grid)[1:]
    if batch == 0 or dims(grid)[0] == 0:
        return ov.broadcast(const(0, image), ints([outputs, channels // groups, *size])).output(0)
    window, places = (size, strides, dilation), math.prod(lengths)
    alone = math.prod(size) == 1

    x = _reaching(image, lengths, window, padding)
    if element(image) == Type.bf16 and groups == 1:
        return _long(x, grid, window)
    if groups > 1 or (channels <= _FEW_CHANNELS and not alone and places >= _SMALL_GRID):
        return _by_patch(x, grid, window, groups)
    if alone or places < _SMALL_GRID:
        return _long(x, grid, window)
    several = (batch or 1) * outputs * channels <= _MANY_PRODUCTS
    return _by_tap(x, grid, window, several)


# image (N, C, spatial...), grid (N, O, spatial...) of floats -> (O, C / groups, size...): for each
# place in the window the products of grid elements with the image elements that a convolution with
# these settings reads there, summed. padding: (before, after) of each axis; the windows need not
# reach the end. Spatial axes and channels must have known lengths.
conv_kernel = Primitive("conv_kernel", lower=_lower)
