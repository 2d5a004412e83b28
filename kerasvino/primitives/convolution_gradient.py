"""Gradients of convolutions: each is bilinear, and the adjoint of another in one of its operands.

The image must have spatial axes of known length: how far it is longer than its windows reach is
part of the rules.
"""

from __future__ import annotations

from kerasvino.primitives.convolution import conv, conv_transpose
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.kernel_gradient import conv_kernel
from kerasvino.primitives.windows import extended, reach


def _spans(size, dilation):
    return [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]


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
