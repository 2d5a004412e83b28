"""Gradients of convolutions, and what windows of an image reach.

The image must have spatial axes of known length: how far it is longer than its windows reach is
part of the rules.
"""

from __future__ import annotations

from kerasvino.primitives.convolution import conv, conv_transpose
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.indexing import END, slice_
from kerasvino.primitives.join import pad
from kerasvino.primitives.kernel_gradient import conv_kernel

__all__ = ["extended", "reach", "window_padding"]


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


def reach(image, grid, padding, spans, strides):
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


def extended(x, pads, value=0):
    """x with `value` before and after its spatial axes, or without as many elements if negative."""
    axes = tuple(range(2, x.ndim))
    if any(n < 0 for pair in pads for n in pair):
        starts = tuple(max(-before, 0) for before, _ in pads)
        stops = tuple(after if after < 0 else END for _, after in pads)
        x = slice_(x, axis=axes, starts=starts, stops=stops, steps=(1,) * len(axes))
    pads = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if not any(map(any, pads)):
        return x
    return pad(x, pads=((0, 0), (0, 0), *pads), mode="constant", value=value)


# -- convolutions: bilinear, each one the adjoint of another in one of its operands


def _vjp_conv(g, inputs, output, *, strides, padding, dilation, groups):
    x, kernel = inputs
    size = kernel.shape[2:]
    pads, spare = reach(x, output, padding, _spans(size, dilation), strides)
    window = {"strides": strides, "padding": pads, "dilation": dilation, "groups": groups}
    dx = conv_transpose(g, kernel, **window, output_padding=tuple(spare))
    return dx, conv_kernel(x, g, **window, size=size)


def _vjp_conv_transpose(
    g, inputs, output, *, strides, padding, output_padding, dilation, groups
):  # fmt: skip
    x, kernel = inputs
    size = kernel.shape[2:]
    exact = [(a, b - more) for (a, b), more in zip(padding, output_padding, strict=True)]
    if any(n < 0 for pair in exact for n in pair):
        g, exact = extended(g, exact), ((0, 0),) * len(size)
    window = {
        "strides": strides, "padding": tuple(exact), "dilation": dilation, "groups": groups,
    }  # fmt: skip
    return conv(g, kernel, **window), conv_kernel(g, x, **window, size=size)


def _vjp_conv_kernel(g, inputs, output, *, size, strides, padding, dilation, groups):
    image, grid = inputs
    pads, spare = reach(image, grid, padding, _spans(size, dilation), strides)
    window = {"strides": strides, "padding": pads, "dilation": dilation, "groups": groups}
    d_image = conv_transpose(grid, g, **window, output_padding=tuple(spare))
    return d_image, conv(image, g, **window)


defvjp(conv, _vjp_conv)
defvjp(conv_transpose, _vjp_conv_transpose)
defvjp(conv_kernel, _vjp_conv_kernel)
