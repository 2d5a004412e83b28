"""Pooling over windows, and to a wanted size."""

from __future__ import annotations

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.ops.nn.window_arguments import channels_first, per_axis, to_format
from kerasvino.primitives import pooling as p
from kerasvino.primitives.windows import window_padding

__all__ = ["adaptive_average_pool", "adaptive_max_pool", "average_pool", "max_pool"]


def _spatial(inputs, data_format, name, floats=False):
    x = convert_to_tensor(inputs)
    if x.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name} takes (batch, 1 to 3 spatial axes, channels); the shape given is {x.shape}."
        )
    if floats and not dtypes.is_float(x.dtype):
        raise TypeError(f"{name} takes floats, not {x.dtype}; cast the input first.")
    return channels_first(x, data_format)


def _pooled(primitive, inputs, pool_size, strides, padding, data_format, **checks):
    x, last = _spatial(inputs, data_format, primitive.name, **checks)
    size = per_axis(pool_size, x.ndim - 2, "pool_size")
    strides = size if strides is None else per_axis(strides, x.ndim - 2, "strides")
    lengths = x.shape[2:]
    if padding == "same":
        pads = window_padding(lengths, size, strides)
    elif padding == "valid":
        pads = ((0, 0),) * len(size)
        if any(n is not None and n < k for n, k in zip(lengths, size, strict=True)):
            raise ValueError(
                f"The window {size} is larger than the input, whose axes are {lengths}."
            )
    else:
        raise ValueError(f"`padding` must be 'same' or 'valid'; given: {padding!r}.")
    return to_format(primitive(x, size=size, strides=strides, padding=pads), last)


def max_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """The maximum under each window."""
    return _pooled(p.max_pool, inputs, pool_size, strides, padding, data_format)


def average_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """The mean of the elements under each window; padding does not count."""
    return _pooled(p.average_pool, inputs, pool_size, strides, padding, data_format, floats=True)


def _adaptive(primitive, inputs, output_size, data_format):
    x, last = _spatial(inputs, data_format, primitive.name, floats=True)
    return to_format(primitive(x, size=per_axis(output_size, x.ndim - 2, "output_size")), last)


def adaptive_average_pool(inputs, output_size, data_format=None):
    """Means over windows that divide each axis of length n into `output_size` parts.

    Element i of m is over the places from floor(i * n / m) up to ceil((i + 1) * n / m).
    """
    return _adaptive(p.adaptive_average_pool, inputs, output_size, data_format)


def adaptive_max_pool(inputs, output_size, data_format=None):
    """Maxima over the windows of `adaptive_average_pool`."""
    return _adaptive(p.adaptive_max_pool, inputs, output_size, data_format)
