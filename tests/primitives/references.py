"""Slow NumPy definitions of the primitives that have no host form."""

import functools
import itertools

import numpy as np


def _in_float32(function):
    """`function` with 16-bit floats accumulated in float32 and rounded once."""

    @functools.wraps(function)
    def reference(*arrays, **attrs):
        kind = arrays[0].dtype
        if kind.itemsize == 2 and kind.kind not in "iu":
            arrays = [array.astype(np.float32) for array in arrays]
        return function(*arrays, **attrs).astype(kind)

    return reference


def _windows(x, size, strides, dilation):
    """(place in the window, elements of x that each window has there) for every place."""
    counts = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], size, strides, dilation, strict=True)
    ]
    for place in itertools.product(*map(range, size)):
        key = tuple(
            slice(p * d, p * d + (m - 1) * s + 1, s)
            for p, d, s, m in zip(place, dilation, strides, counts, strict=True)
        )
        yield place, x[(slice(None), slice(None), *key)]


def _pairs(padding, lengths, size, strides, dilation):
    if padding != "same":
        return padding
    pairs = []
    for n, k, s, d in zip(lengths, size, strides, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs


def _mixed(x, kernel, groups):
    """Channels (N, C, ...) of x to those of the kernel (O, C / groups), in groups."""
    parts = zip(np.split(x, groups, 1), np.split(kernel, groups, 0), strict=True)
    return np.concatenate([np.einsum("nc...,oc->no...", part, k) for part, k in parts], 1)


@_in_float32
def conv(x, kernel, *, strides, padding, dilation, groups):
    size = kernel.shape[2:]
    pairs = _pairs(padding, x.shape[2:], size, strides, dilation)
    x = np.pad(x, ((0, 0), (0, 0), *pairs))
    return sum(
        _mixed(part, kernel[(..., *place)], groups)
        for place, part in _windows(x, size, strides, dilation)
    ).astype(x.dtype)


@_in_float32
def conv_transpose(x, kernel, *, strides, padding, output_padding, dilation, groups):
    size, inputs = kernel.shape[2:], np.split(kernel, groups, 0)
    kernel = np.concatenate([k.swapaxes(0, 1) for k in inputs], 0)
    lengths = [
        (n - 1) * s + (k - 1) * d + 1 + extra
        for n, k, s, d, extra in zip(
            x.shape[2:], size, strides, dilation, output_padding, strict=True
        )
    ]
    full = np.zeros((x.shape[0], kernel.shape[0], *lengths), x.dtype)
    for place in itertools.product(*map(range, size)):
        key = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, s, n in zip(place, dilation, strides, x.shape[2:], strict=True)
        )
        full[(slice(None), slice(None), *key)] += _mixed(x, kernel[(..., *place)], groups)
    crop = tuple(slice(a, n - b) for (a, b), n in zip(padding, lengths, strict=True))
    return full[(slice(None), slice(None), *crop)]


@_in_float32
def conv_kernel(image, grid, *, size, strides, padding, dilation, groups):
    image = np.pad(image, ((0, 0), (0, 0), *padding))
    kernel = np.empty((grid.shape[1], image.shape[1] // groups, *size), image.dtype)
    places = tuple(slice(0, m) for m in grid.shape[2:])
    summed = (0, *range(2, grid.ndim))
    for place, part in _windows(image, size, strides, dilation):
        pairs = zip(
            np.split(grid, groups, 1), np.split(part[(..., *places)], groups, 1), strict=True
        )
        kernel[(..., *place)] = np.concatenate(
            [np.tensordot(g, x, (summed, summed)) for g, x in pairs], 0
        )
    return kernel


def _pooled(x, size, strides, padding, fill, function):
    ones = (1,) * len(size)
    pairs = _pairs(padding, x.shape[2:], size, strides, ones)
    x = np.pad(x, ((0, 0), (0, 0), *pairs), constant_values=fill)
    return function(np.stack([part for _, part in _windows(x, size, strides, ones)]), 0)


def max_pool(x, *, size, strides, padding):
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    return _pooled(x, size, strides, padding, lowest, np.max)


@_in_float32
def average_pool(x, *, size, strides, padding):
    total = _pooled(x, size, strides, padding, 0, np.sum)
    counts = _pooled(np.ones_like(x), size, strides, padding, 0, np.sum)
    return (total / counts).astype(x.dtype)


def _adaptive(x, size, function):
    result = np.empty((*x.shape[:2], *size), x.dtype)
    for place in np.ndindex(*size):
        key = tuple(
            slice(i * n // m, -(-(i + 1) * n // m))
            for i, n, m in zip(place, x.shape[2:], size, strict=True)
        )
        part = x[(slice(None), slice(None), *key)]
        result[(..., *place)] = function(part, tuple(range(2, x.ndim)))
    return result


def adaptive_max_pool(x, *, size):
    return _adaptive(x, size, np.max)


@_in_float32
def adaptive_average_pool(x, *, size):
    return _adaptive(x, size, np.mean)
