"""Convolutions. Kernels are (spatial..., in, out), as everywhere in Keras."""

from __future__ import annotations

from kerasvino.backend.keras_private import compute_conv_transpose_output_crops_for_torch
from kerasvino.backend.ops.core.convert import promote
from kerasvino.backend.ops.nn.window_arguments import (
    channels_first,
    kernel_channels_first,
    per_axis,
    to_format,
)  # fmt: skip
from kerasvino.primitives import convolution as p
from kerasvino.primitives.shape import reshape
from kerasvino.primitives.windows import window_padding

__all__ = ["conv", "conv_transpose", "depthwise_conv", "separable_conv"]


def _padding(padding, x, kernel_size, strides, dilation):
    windows = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    if padding == "valid":
        lengths = x.shape[2:]
        if any(n is not None and n < w for n, w in zip(lengths, windows, strict=True)):
            raise ValueError(
                f"The kernel spans {tuple(windows)} elements, more than the input, whose axes are "
                f"{lengths}; use padding='same' or a larger input."
            )
        return ((0, 0),) * len(kernel_size)
    if padding != "same":
        raise ValueError(f"`padding` must be 'same' or 'valid'; given: {padding!r}.")
    return window_padding(x.shape[2:], windows, strides)


def _operands(inputs, kernel, strides, dilation_rate):
    """Inputs and kernel of one dtype, strides and dilations for each axis; checks the ranks."""
    x, kernel = promote(inputs, kernel)
    count = x.ndim - 2
    if count not in (1, 2, 3) or kernel.ndim != x.ndim or None in kernel.shape:
        raise ValueError(
            "A convolution takes inputs (batch, 1 to 3 spatial axes, channels) and a kernel of "
            f"known shape (spatial axes, in, out); given: {x.shape}, {kernel.shape}."
        )
    return (
        x, kernel, per_axis(strides, count, "strides"),
        per_axis(dilation_rate, count, "dilation_rate"),
    )  # fmt: skip


def _check_channels(x, expected, kernel, several=False):
    """The channels of channels-first x against those of the kernel (or a multiple of them)."""
    channels = x.shape[1]
    if channels is None or channels == expected or (several and channels % expected == 0):
        return
    raise ValueError(
        f"The number of input channels must match the kernel's{' or be a multiple' * several}; "
        f"given: {channels} input channels, and {expected} of a kernel of shape {kernel.shape}."
    )


def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Convolution; in groups where the inputs have a multiple of the kernel's input channels."""
    x, kernel, strides, dilation = _operands(inputs, kernel, strides, dilation_rate)
    x, last = channels_first(x, data_format)
    size, within = kernel.shape[:-2], kernel.shape[-2]
    _check_channels(x, within, kernel, several=True)
    result = p.conv(
        x, kernel_channels_first(kernel), strides=strides, dilation=dilation,
        padding=_padding(padding, x, size, strides, dilation),
        groups=1 if x.shape[1] is None else x.shape[1] // within,
    )  # fmt: skip
    return to_format(result, last)


def depthwise_conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Convolution of each channel by its own kernels, (spatial..., channels, multiplier)."""
    x, kernel, strides, dilation = _operands(inputs, kernel, strides, dilation_rate)
    x, last = channels_first(x, data_format)
    return to_format(_depthwise(x, kernel, strides, padding, dilation), last)


def _depthwise(x, kernel, strides, padding, dilation):
    *size, channels, multiplier = kernel.shape
    _check_channels(x, channels, kernel)
    # Output channels vary by multiplier fastest.
    rows = reshape(kernel, shape=(*size, 1, channels * multiplier))
    return p.conv(
        x, kernel_channels_first(rows), strides=strides, dilation=dilation, groups=channels,
        padding=_padding(padding, x, size, strides, dilation),
    )  # fmt: skip


def separable_conv(
    inputs, depthwise_kernel, pointwise_kernel, strides=1, padding="valid", data_format=None,
    dilation_rate=1,
):  # fmt: skip
    """`depthwise_conv` followed by a convolution of the channels, with a kernel (1..., in, out)."""
    x, kernel, strides, dilation = _operands(inputs, depthwise_kernel, strides, dilation_rate)
    x, last = channels_first(x, data_format)
    x, pointwise = promote(_depthwise(x, kernel, strides, padding, dilation), pointwise_kernel)
    _check_channels(x, pointwise.shape[-2], pointwise)
    ones = (1,) * len(strides)
    result = p.conv(
        x, kernel_channels_first(pointwise), strides=ones, dilation=ones,
        padding=((0, 0),) * len(strides), groups=1,
    )  # fmt: skip
    return to_format(result, last)


def conv_transpose(
    inputs, kernel, strides=1, padding="valid", output_padding=None, data_format=None,
    dilation_rate=1,
):  # fmt: skip
    """The adjoint of a convolution, as an upsampling; the kernel is (spatial..., out, in)."""
    x, kernel, strides, dilation = _operands(inputs, kernel, strides, dilation_rate)
    x, last = channels_first(x, data_format)
    _check_channels(x, kernel.shape[-1], kernel)
    # How much of the full result Keras's padding leaves off before and after; less than nothing
    # after is an extension.
    crops = compute_conv_transpose_output_crops_for_torch(
        x.shape, kernel.shape, strides, padding, output_padding, dilation
    )
    result = p.conv_transpose(
        x, kernel_channels_first(kernel), strides=strides, dilation=dilation, groups=1,
        padding=tuple((before, max(after, 0)) for before, after in crops),
        output_padding=tuple(max(-after, 0) for _, after in crops),
    )  # fmt: skip
    return to_format(result, last)
