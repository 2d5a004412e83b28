"""Gradients of convolutions and pooling: windows of an image, taken and laid back.

The image must have spatial axes of known length: how far it is longer than its windows reach is
part of the rules.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from kerasvino import dtypes
from kerasvino.primitives.arithmetic import divide
from kerasvino.primitives.compare import equal, logical_and, logical_not, logical_or, select
from kerasvino.primitives.convolution import conv, conv_transpose
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.indexing import END, slice_
from kerasvino.primitives.join import concatenate, pad
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.pooling import adaptive_average_pool, average_pool, max_pool
from kerasvino.primitives.shape import expand_dims, lengths, reshape, transpose
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["window_padding"]


def window_padding(lengths, windows, strides):
    """(before, after) of each axis for padding "same": ceil(n / stride) windows, centred.

    "same" itself where an axis has no known length and its padding depends on it.
    """
    pads = []
    for n, window, stride in zip(lengths, windows, strides, strict=True):
        if stride == 1:
            total = window - 1
        elif n is None:
            return "same"
        else:
            total = max((-(-n // stride) - 1) * stride + window - n, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def _spans(size, dilation):
    return [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]


def _reach(image, grid, padding, spans, strides):
    """(padding, how much longer each padded axis is than its windows reach)."""
    shape = image.shape[2:]
    if None in shape:
        raise ValueError(
            "The gradient of a convolution or pooling needs spatial axes of known length; "
            f"the shape is {image.shape}."
        )
    pads = window_padding(shape, spans, strides) if padding == "same" else padding
    spare = [
        n + sum(p) - span - (m - 1) * s
        for n, p, span, m, s in zip(shape, pads, spans, grid.shape[2:], strides, strict=True)
    ]
    return pads, spare


def _extended(x, pads):
    """x with zeros before and after its spatial axes, or without as many elements if negative."""
    axes = tuple(range(2, x.ndim))
    if any(n < 0 for pair in pads for n in pair):
        starts = tuple(max(-before, 0) for before, _ in pads)
        stops = tuple(after if after < 0 else END for _, after in pads)
        x = slice_(x, axis=axes, starts=starts, stops=stops, steps=(1,) * len(axes))
    pads = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if not any(map(any, pads)):
        return x
    return pad(x, pads=((0, 0), (0, 0), *pads), mode="constant", value=0)


def _windows(x, size, strides, dilation):
    """For each place in the window, the elements that the windows have there; x reaches exactly."""
    axes = tuple(range(2, x.ndim))
    for place in itertools.product(*map(range, size)):
        starts = tuple(p * d for p, d in zip(place, dilation, strict=True))
        left = [(p + 1 - k) * d for p, k, d in zip(place, size, dilation, strict=True)]
        stops = tuple(n if n else END for n in left)
        yield slice_(x, axis=axes, starts=starts, stops=stops, steps=strides)


# -- convolutions


def _kernel_gradient(image, grid, size, strides, dilation, groups):
    """(grid channels, image channels / groups, size...): sums of image windows times the grid."""
    rows = _by_group(grid, groups)
    products = [
        expand_dims(matmul(rows, _by_group(part, groups), transpose_y=True), axis=(3,))
        for part in _windows(image, size, strides, dilation)
    ]
    stacked = concatenate(*products, axis=3)
    channels = grid.shape[1], image.shape[1] // groups
    return reshape(stacked, shape=(*channels, *size))


def _by_group(x, groups):
    """(batch, channels, ...) as (groups, channels / groups, all the rest)."""
    x = transpose(x, axes=(1, 0, *range(2, x.ndim)))
    return reshape(x, shape=(groups, x.shape[0] // groups, -1))


def _vjp_conv(g, inputs, output, *, strides, padding, dilation, groups):
    x, kernel = inputs
    size = kernel.shape[2:]
    pads, spare = _reach(x, output, padding, _spans(size, dilation), strides)
    dx = conv_transpose(
        g, kernel, strides=strides, padding=pads, dilation=dilation, groups=groups,
        output_padding=tuple(spare),
    )  # fmt: skip
    exact = [(before, after - s) for (before, after), s in zip(pads, spare, strict=True)]
    dk = _kernel_gradient(_extended(x, exact), g, size, strides, dilation, groups)
    return dx, dk


def _vjp_conv_transpose(
    g, inputs, output, *, strides, padding, output_padding, dilation, groups
):  # fmt: skip
    x, kernel = inputs
    size = kernel.shape[2:]
    exact = [(a, b - more) for (a, b), more in zip(padding, output_padding, strict=True)]
    image = _extended(g, exact)
    none = ((0, 0),) * len(size)
    dx = conv(image, kernel, strides=strides, padding=none, dilation=dilation, groups=groups)
    return dx, _kernel_gradient(image, x, size, strides, dilation, groups)


defvjp(conv, _vjp_conv)
defvjp(conv_transpose, _vjp_conv_transpose)

# -- pooling


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


def _vjp_max_pool(g, inputs, output, *, size, strides, padding):
    """To the first of equal maxima."""
    (x,) = inputs
    ones = (1,) * len(size)
    pads, spare = _reach(x, output, padding, size, strides)
    lowest = float(np.finfo(np.float32).min) if x.dtype != "float16" else -6e4
    image = x
    if any(map(any, pads)):
        image = pad(x, pads=((0, 0), (0, 0), *pads), mode="constant", value=lowest)
    image = _extended(image, [(0, -s) for s in spare])
    zero, taken, parts = constant_like(0, g), None, []
    for part in _windows(image, size, strides, ones):
        here = equal(part, output)
        if taken is not None:
            here, taken = logical_and(here, logical_not(taken)), logical_or(here, taken)
        else:
            taken = here
        parts.append(select(here, g, zero))
    return (_laid_back(parts, size, strides, pads, spare),)


def _counts(n, m, size, stride, before):
    """How many elements of an axis each of its windows covers."""
    first = np.arange(m) * stride - before
    return np.minimum(first + size, n) - np.maximum(first, 0)


def _vjp_average_pool(g, inputs, output, *, size, strides, padding):
    (x,) = inputs
    pads, spare = _reach(x, output, padding, size, strides)
    axes = zip(x.shape[2:], output.shape[2:], size, strides, (p[0] for p in pads), strict=True)
    count = np.ones(())
    for each in axes:
        count = count[..., None] * _counts(*each)
    g = divide(g, Tensor._wrap(count.astype(dtypes.numpy_dtype(g.dtype))))
    channels = x.shape[1]
    ones = np.ones((channels, 1, *size), dtypes.numpy_dtype(g.dtype))
    spread = conv_transpose(
        g, Tensor._wrap(ones), strides=strides, padding=pads, output_padding=tuple(spare),
        dilation=(1,) * len(size), groups=channels,
    )  # fmt: skip
    return (spread,)


def _vjp_adaptive_average(g, inputs, output, *, size):
    """Each axis is a matrix of means, whose transpose spreads the cotangent."""
    (x,) = inputs
    if None in x.shape[2:]:
        raise ValueError(f"Its gradient needs spatial axes of known length; given: {x.shape}.")
    for axis, (n, m) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        first = np.arange(m) * n // m
        last = -(-(np.arange(1, m + 1) * n) // m)
        places = np.arange(n)
        inside = (places >= first[:, None]) & (places < last[:, None])
        means = (inside / inside.sum(1, keepdims=True)).astype(dtypes.numpy_dtype(g.dtype))
        order = (*(a for a in range(g.ndim) if a != axis), axis)
        back = (*range(axis), g.ndim - 1, *range(axis, g.ndim - 1))
        g = transpose(matmul(transpose(g, axes=order), Tensor._wrap(means)), axes=back)
    return (g,)


defvjp(max_pool, _vjp_max_pool)
defvjp(average_pool, _vjp_average_pool)
defvjp(adaptive_average_pool, _vjp_adaptive_average)
