"""Arguments of convolution and pooling: window settings, padding, data formats."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.keras_private import standardize_data_format
from kerasvino.primitives.shape import transpose
from kerasvino.tensor import Tensor

__all__ = ["channels_first", "kernel_channels_first", "per_axis", "to_format"]


def per_axis(value, count: int, name: str) -> tuple[int, ...]:
    """An int or a sequence of `count` ints, as a tuple; ValueError otherwise."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    if len(values) != count or not all(isinstance(v, (int, np.integer)) and v > 0 for v in values):
        raise ValueError(
            f"`{name}` must be a positive int, or {count} of them, one for each spatial axis; "
            f"given: {value!r}."
        )
    return tuple(map(int, values))


def channels_first(x: Tensor, data_format: str | None) -> tuple[Tensor, bool]:
    """x (batch, ..., channels) or (batch, channels, ...) as the latter, and whether it was moved.

    In a trace the permutation only stays pending, and that of `to_format` cancels the next one.
    """
    last = standardize_data_format(data_format) == "channels_last"
    if last and x.ndim > 2:
        x = transpose(x, axes=(0, x.ndim - 1, *range(1, x.ndim - 1)))
    return x, last


def to_format(x: Tensor, last: bool) -> Tensor:
    """x (batch, channels, ...) with the channels last if `last`."""
    return transpose(x, axes=(0, *range(2, x.ndim), 1)) if last and x.ndim > 2 else x


def kernel_channels_first(kernel: Tensor) -> Tensor:
    """A kernel (spatial..., A, B) as (B, A, spatial...)."""
    width = kernel.ndim
    return transpose(kernel, axes=(width - 1, width - 2, *range(width - 2)))
