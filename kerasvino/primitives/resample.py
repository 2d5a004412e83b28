"""Primitives that resample along axes: `upsample` by whole factors, `correlate` with a filter."""

from __future__ import annotations

import numpy as np
import scipy
from openvino import Type

from kerasvino.dtypes import numpy_dtype
from kerasvino.nodes.floating import in_f32
from kerasvino.nodes.lowering import const, dims, ints, is_float, ov, rank, shape_of
from kerasvino.primitives import layout
from kerasvino.primitives.arithmetic import subtract
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.indexing import END, dynamic_slice, flip, slice_
from kerasvino.primitives.join import concatenate, pad
from kerasvino.primitives.reduce import reduce_sum
from kerasvino.primitives.shape import expand_dims, lengths, reshape
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["correlate", "upsample"]

# -- upsample


def _taps(length, factor):
    """[(places read, their weights)] of linear upsampling of an axis of that length.

    Sample i lies at (i + 1/2) / factor - 1/2, held within the axis.
    """
    last = max(length - 1, 0)
    position = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, last)
    low = np.floor(position)
    part = position - low
    return [(low.astype(np.int32), 1 - part), (np.minimum(low + 1, last).astype(np.int32), part)]


def _along(weights, axis, width):
    """A vector of weights that broadcasts along `axis` of a tensor of rank `width`."""
    return weights.reshape([-1 if a == axis else 1 for a in range(width)])


def _impl_upsample(x, *, axis, factor, linear):
    kind = x.dtype
    if linear and kind.itemsize < 4:
        x = x.astype(np.float32)
    for a, times in zip(axis, factor, strict=True):
        if linear:
            x = sum(
                np.take(x, places, a) * _along(weights, a, x.ndim).astype(x.dtype)
                for places, weights in _taps(x.shape[a], times)
            )
        else:
            x = np.repeat(x, times, a)
    return x.astype(kind, copy=False)


def _repeated(x, axis, times):
    """Each element along an axis `times` times, whatever its type."""
    factors = [times if a == axis else 1 for a in range(rank(x))]
    shape = ov.multiply(shape_of(x), ints(factors))
    tiles = [*factors[:axis], 1, *factors[axis:]]
    tiled = ov.tile(ov.unsqueeze(x, ints(axis + 1)), ints(tiles))
    return ov.reshape(tiled, shape, special_zero=False).output(0)


def _lower_upsample(x, *, axis, factor, linear, planar=False):
    if not linear and not (planar and is_float(x)):
        for a, times in zip(axis, factor, strict=True):
            x = _repeated(x, a, times)
        return x

    def interpolate(x):
        none = [0] * rank(x)
        return ov.interpolate(
            x, const(factor, Type.f32), "linear_onnx" if linear else "nearest", "scales",
            none, none, "half_pixel", "round_prefer_ceil", axes=ints(list(axis)),
        )  # fmt: skip

    # not by the column `wide`: copies made above are of any type
    return in_f32(interpolate, exact=not linear)(x)


def _layout_upsample(trace, inputs, attrs):
    """Images channels first, as between convolutions, are best repeated by an Interpolate node."""
    placed = layout.axis_rule("axis")(trace, inputs, attrs)
    if placed is None or len(placed[2]) > 5:
        return placed
    operands, attrs, permutation = placed
    return operands, {**attrs, "planar": True}, permutation


def _vjp_upsample(g, inputs, output, *, axis, factor, linear):
    for a, times in reversed(list(zip(axis, factor, strict=True))):
        shape = lengths(g)
        count = lengths(inputs[0])[a]
        parts = reshape(g, shape=(*shape[:a], count, times, *shape[a + 1 :]))
        g = (
            _gathered_up(parts, a, times)
            if linear
            else reduce_sum(parts, axis=(a + 1,), keepdims=False)
        )
    return (g,)


def _gathered_up(parts, axis, factor):
    """What the samples `parts` (`factor` for each place along axis) give back to the places.

    A sample takes from its place and from the one before it or after it; the ends stand for what
    lies outside.
    """
    offset = (np.arange(factor) + 0.5) / factor - 0.5
    before, after = np.maximum(-offset, 0), np.maximum(offset, 0)

    def weighted(weights):
        weights = _along(weights, axis + 1, parts.ndim).astype(numpy_dtype(parts.dtype))
        return reduce_sum(parts * Tensor._wrap(weights), axis=(axis + 1,), keepdims=False)

    total = weighted(1 - before - after)
    for weights, end in ((before, 0), (after, -1)):
        total = total + _moved_out(weighted(weights), axis, end)
    return total


def _moved_out(x, axis, end):
    """x moved by one place to the `end` (0 or -1) of an axis, where what would fall off is kept."""
    length = lengths(x)[axis]
    rest = length - 1 if isinstance(length, int) else subtract(length, constant_like(1, length))

    def cut(x, start, stop):
        return slice_(x, axis=(axis,), starts=(start,), stops=(stop,), steps=(1,))

    def padded(x, low, high):
        pads = tuple((low, high) if a == axis else (0, 0) for a in range(x.ndim))
        return pad(x, pads=pads, mode="constant", value=0)

    if end == 0:
        return padded(cut(x, 1, END), 0, 1) + padded(cut(x, 0, 1), 0, rest)
    return padded(cut(x, 0, -1), 1, 0) + padded(cut(x, -1, END), rest, 0)


# x; axis: tuple; factor: an int for each of axis. Each element becomes `factor` samples: copies of
# it, or with `linear` (floats only) interpolated between the middles of the elements, the ends
# held. A graph computes their positions in float32: exact for factors that are powers of two.
upsample = Primitive(
    "upsample", impl=_impl_upsample, lower=_lower_upsample, layout=_layout_upsample,
    vjp=_vjp_upsample,
)  # fmt: skip


# -- correlate


def _impl_correlate(x, kernel, *, axis, before):
    if x.size == 0:
        return x
    return scipy.ndimage.correlate1d(
        x, kernel.astype(np.float64), axis, mode="constant", origin=before - len(kernel) // 2
    )


def _lower_correlate(x, kernel, *, axis, before):
    taps = dims(kernel)[0]
    if taps is None:
        raise ValueError("the length of the kernel must be known when the graph is built.")
    low, high, shape = [0, 0], [0, 0], [1, 1]
    low[axis - 2], high[axis - 2], shape[axis - 2] = before, taps - 1 - before, taps

    channels = dims(x)[1]
    window = ov.reshape(kernel, ints([1, 1, 1, *shape]), special_zero=False)
    if channels is not None:
        window = ov.broadcast(window, ints([channels, 1, 1, *shape]))
        return ov.group_convolution(x, window, [1, 1], low, high, [1, 1])
    # each channel as an image of its own
    flat = ov.concat([ints([-1, 1]), ov.gather(shape_of(x), ints([2, 3]), ints(0))], 0)
    window = ov.squeeze(window, ints(0))
    images = ov.convolution(
        ov.reshape(x, flat, special_zero=False), window, [1, 1], low, high, [1, 1]
    )
    return ov.reshape(images, shape_of(x), special_zero=False)


def _vjp_correlate(g, inputs, output, *, axis, before):
    x, kernel = inputs
    taps = kernel.shape[0]
    after = taps - 1 - before
    pads = tuple((before, after) if a == axis else (0, 0) for a in range(4))
    wide = pad(x, pads=pads, mode="constant", value=0)
    products = []
    for i in range(taps):
        shift = tuple(i if a == axis else 0 for a in range(4))
        part = dynamic_slice(wide, starts=shift, sizes=lengths(x))
        product = reduce_sum(g * part, axis=(0, 1, 2, 3), keepdims=False)
        products.append(expand_dims(product, axis=(0,)))
    return (
        correlate(g, flip(kernel, (0,)), axis=axis, before=after), concatenate(*products, axis=0),
    )  # fmt: skip


# x (N, C, H, W), kernel of rank 1 with a known length; axis: 2 or 3; before: the place of the
# kernel's centre. out[i] = sum over k of kernel[k] * x[i + k - before], zeros outside of x.
correlate = Primitive(
    "correlate", impl=_impl_correlate, lower=_lower_correlate, wide=True, vjp=_vjp_correlate
)
