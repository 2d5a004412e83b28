"""Gradients of pooling: windows of an image, taken and laid back.

The spatial axes must have known lengths (see `spatial.reach`).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from kerasvino import dtypes
from kerasvino.primitives.blocks import depth_to_space, space_to_depth
from kerasvino.primitives.compare import equal, logical_and, logical_not, logical_or, where
from kerasvino.primitives.convolution import conv_transpose
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.indexing import END, gather, slice_
from kerasvino.primitives.join import concatenate, split
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.pooling import (
    adaptive_average_pool,
    adaptive_max_pool,
    average_pool,
    max_pool,
)
from kerasvino.primitives.resample import upsample
from kerasvino.primitives.shape import expand_dims, lengths, reshape, transpose
from kerasvino.primitives.windows import extended, reach
from kerasvino.tensor import Tensor

__all__: list[str] = []


def _windows(x, size, strides):
    """For each place in the window, the elements that the windows have there; x reaches exactly."""
    axes = tuple(range(2, x.ndim))
    for place in itertools.product(*map(range, size)):
        stops = tuple(p + 1 - k or END for p, k in zip(place, size, strict=True))
        yield slice_(x, axis=axes, starts=place, stops=stops, steps=strides)


def _laid_back(parts, size, strides, pads, spare):
    """The sum of `parts`, one for each place in the window, each put at its place of the image."""
    channels, area = parts[0].shape[1], math.prod(size)
    stacked = concatenate(*(expand_dims(part, axis=(2,)) for part in parts), axis=2)
    batch, _, _, *grid = lengths(stacked)
    unit = np.tile(np.eye(area).reshape(area, 1, *size), (channels,) + (1,) * (len(size) + 1))
    return conv_transpose(
        reshape(stacked, shape=(batch, channels * area, *grid)),
        Tensor._wrap(unit.astype(dtypes.numpy_dtype(stacked.dtype))), strides=strides,
        padding=pads, output_padding=tuple(spare), dilation=(1,) * len(size), groups=channels,
    )  # fmt: skip


def _won(parts, output, g):
    """g in the first of the parts that equals the output, 0 in the others."""
    taken = None
    for part in parts:
        here = equal(part, output)
        if taken is None:
            taken = here
        else:
            here, taken = logical_and(here, logical_not(taken)), logical_or(here, taken)
        yield where(here, g, 0)


def _vjp_max_pool(g, inputs, output, *, size, strides, padding):
    """To the first of equal maxima."""
    (x,) = inputs
    pads, spare = reach(x, output, padding, size, strides)
    whole = [m * k for m, k in zip(output.shape[2:], size, strict=True)]
    if tuple(size) == tuple(strides) and whole == list(x.shape[2:]) and len(size) < 3:
        return (_by_blocks(g, x, output, size),)
    lowest = float(np.finfo(np.float32).min) if x.dtype != "float16" else -6e4
    if len(set(strides)) == 1:
        return (_by_phases(g, x, output, size, strides[0], pads, lowest),)
    exact = [(before, after - s) for (before, after), s in zip(pads, spare, strict=True)]
    parts = _windows(extended(x, exact, lowest), size, strides)
    return (_laid_back(list(_won(parts, output, g)), size, strides, pads, spare),)


def _by_blocks(g, x, output, size):
    """For windows side by side: nothing is taken apart, each element is compared with its window's.

    With channels last, as convolutions leave them in memory, an image is a view of its windows.
    The earlier an element stands among equal ones, the more it scores, and the best one wins.
    """
    last = (0, *range(2, x.ndim), 1)
    first = (0, x.ndim - 1, *range(1, x.ndim - 1))
    grid, channels = output.shape[2:], output.shape[1]

    def blocks(image, lengths_in_window):
        shape = (-1, *_alternating(grid, lengths_in_window), channels)
        return reshape(transpose(image, axes=last), shape=shape)

    def image(blocks):
        whole = [m * k for m, k in zip(grid, size, strict=True)]
        return transpose(reshape(blocks, shape=(-1, *whole, channels)), axes=first)

    ones = (1,) * len(size)
    points = np.arange(math.prod(size), 0, -1).reshape([1, *_alternating(ones, size), 1])
    points = Tensor._wrap(points.astype(dtypes.numpy_dtype(x.dtype)))
    equals = equal(blocks(x, size), blocks(output, ones))
    scores = where(equals, points, 0)
    best = max_pool(image(scores), size=size, strides=size, padding=((0, 0),) * len(size))
    # a window of NaN equals none of its elements
    best = where(best > 0, best, -1)
    won = equal(scores, blocks(best, ones))
    return image(where(won, blocks(g, ones), 0))


def _alternating(first, second):
    """The elements of both, in turn."""
    return itertools.chain.from_iterable(zip(first, second, strict=True))


def _by_phases(g, x, output, size, stride, pads, lowest):
    """With the pixels of each remainder by the stride together, slices and sums have no steps.

    That takes half of the time of strided slices laid back by a transposed convolution; scattering
    to the indices that MaxPool gives takes five times as long.
    """
    axes, ones = tuple(range(2, x.ndim)), (1,) * len(size)
    more = [(k - 1) // stride for k in size]
    grid = output.shape[2:]
    whole = [(m + extra) * stride for m, extra in zip(grid, more, strict=True)]
    around = [(p[0], w - p[0] - n) for p, w, n in zip(pads, whole, x.shape[2:], strict=True)]
    phases = _phases(extended(x, around, lowest), stride)
    order, places, parts = list(phases), [], []
    for place in itertools.product(*map(range, size)):
        starts, rest = zip(*(divmod(p, stride) for p in place), strict=True)
        part = phases[rest]
        if any(more):
            stops = tuple(start + m for start, m in zip(starts, grid, strict=True))
            part = slice_(part, axis=axes, starts=starts, stops=stops, steps=ones)
        places.append((rest, starts))
        parts.append(part)
    sums = {}
    for (rest, starts), part in zip(places, _won(parts, output, g), strict=True):
        beside = [(start, extra - start) for start, extra in zip(starts, more, strict=True)]
        part = extended(part, beside)
        sums[rest] = sums[rest] + part if rest in sums else part
    nothing = zeros_like(next(iter(sums.values())))
    stacked = concatenate(*(sums.get(rest, nothing) for rest in order), axis=1)
    if stride > 1:
        stacked = depth_to_space(stacked, block=stride, depth_first=False)
    return extended(stacked, [(-before, -after) for before, after in around])


def _phases(image, stride):
    """{remainders of the places by the stride: the pixels there}; spatial lengths are multiples."""
    remainders = list(itertools.product(range(stride), repeat=image.ndim - 2))
    if stride == 1:
        return {remainders[0]: image}
    sizes = (image.shape[1],) * len(remainders)
    depth = space_to_depth(image, block=stride, depth_first=False)
    parts = split(depth, sizes=sizes, axis=1)
    return dict(zip(remainders, parts, strict=True))


def _counts(n, m, size, stride, before):
    """How many elements of an axis each of its windows covers."""
    first = np.arange(m) * stride - before
    return np.minimum(first + size, n) - np.maximum(first, 0)


def _vjp_average_pool(g, inputs, output, *, size, strides, padding):
    (x,) = inputs
    pads, spare = reach(x, output, padding, size, strides)
    axes = zip(x.shape[2:], output.shape[2:], size, strides, (p[0] for p in pads), strict=True)
    count = np.ones(())
    for each in axes:
        count = count[..., None] * _counts(*each)
    g = g / Tensor._wrap(count.astype(dtypes.numpy_dtype(g.dtype)))
    reached = [m * s for m, s in zip(output.shape[2:], strides, strict=True)]
    if tuple(size) == tuple(strides):
        spread = upsample(g, axis=tuple(range(2, x.ndim)), factor=tuple(size), linear=False)
        pairs = zip(pads, reached, x.shape[2:], strict=True)
        return (extended(spread, [(-before, n + before - m) for (before, _), m, n in pairs]),)
    channels = x.shape[1]
    ones = np.ones((channels, 1, *size), dtypes.numpy_dtype(g.dtype))
    spread = conv_transpose(
        g, Tensor._wrap(ones), strides=strides, padding=pads, output_padding=tuple(spare),
        dilation=(1,) * len(size), groups=channels,
    )  # fmt: skip
    return (spread,)


def _bounds(n, m):
    """(first, one past the last) place of each of the m windows of an axis of length n."""
    return np.arange(m) * n // m, -(-(np.arange(1, m + 1) * n) // m)


def _spread_along(g, axis, matrix):
    """Each element along an axis spread over the places that its row of the matrix names."""
    order = (*(a for a in range(g.ndim) if a != axis), axis)
    back = (*range(axis), g.ndim - 1, *range(axis, g.ndim - 1))
    matrix = Tensor._wrap(matrix.astype(dtypes.numpy_dtype(g.dtype)))
    return transpose(matmul(transpose(g, axes=order), matrix), axes=back)


def _known_lengths(x):
    if None in x.shape[2:]:
        raise ValueError(f"Its gradient needs spatial axes of known length; given: {x.shape}.")
    return x.shape[2:]


def _vjp_adaptive_average(g, inputs, output, *, size):
    """Each axis is a matrix of means, whose transpose spreads the cotangent."""
    for axis, (n, m) in enumerate(zip(_known_lengths(inputs[0]), size, strict=True), start=2):
        first, last = _bounds(n, m)
        places = np.arange(n)
        inside = (places >= first[:, None]) & (places < last[:, None])
        g = _spread_along(g, axis, inside / inside.sum(1, keepdims=True))
    return (g,)


def _vjp_adaptive_max(g, inputs, output, *, size):
    """To the first of equal maxima of each window."""
    (x,) = inputs
    known = _known_lengths(x)
    if not any(n % m for n, m in zip(known, size, strict=True)):
        window = tuple(n // m for n, m in zip(known, size, strict=True))
        return _vjp_max_pool(
            g, inputs, output, size=window, strides=window, padding=((0, 0),) * len(window)
        )
    bounds = [_bounds(n, m) for n, m in zip(known, size, strict=True)]
    longest = [int((last - first).max()) for first, last in bounds]
    # past the end of a shorter window its last element is read again, which is never a first one
    reads = [
        [np.minimum(first + place, last - 1).astype(np.int32) for place in range(count)]
        for (first, last), count in zip(bounds, longest, strict=True)
    ]
    chosen, parts = list(itertools.product(*reads)), []
    for places in chosen:
        part = x
        for axis, indices in enumerate(places, start=2):
            part = gather(part, Tensor._wrap(indices), axis=axis)
        parts.append(part)
    total = None
    for places, part in zip(chosen, _won(parts, output, g), strict=True):
        for axis, (indices, n) in enumerate(zip(places, known, strict=True), start=2):
            part = _spread_along(part, axis, indices[:, None] == np.arange(n))
        total = part if total is None else total + part
    return (total,)


defvjp(max_pool, _vjp_max_pool)
defvjp(average_pool, _vjp_average_pool)
defvjp(adaptive_average_pool, _vjp_adaptive_average)
defvjp(adaptive_max_pool, _vjp_adaptive_max)
