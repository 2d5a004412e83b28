"""Primitives that make values from nothing, and constants in the shape of a tensor."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import convert, ints, ov
from kerasvino.primitives.shape import broadcast_to, lengths
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["full_like", "iota", "zeros_like"]


def _lower_iota(*, size, dtype):
    end = ints(size) if isinstance(size, int) else convert(size, "i64")
    return convert(ov.range(ints(0), end, ints(1), "i32").output(0), dtypes.graph_type(dtype))


# 0, 1, …, size - 1; size may be symbolic; dtype: a Keras dtype name that holds them.
iota = Primitive(
    "iota", impl=lambda *, size, dtype: np.arange(size).astype(dtypes.numpy_dtype(dtype)),
    lower=_lower_iota, dtype=lambda inputs, attrs: attrs["dtype"], dynamic=("size",),
    nondifferentiable="made from nothing",
)  # fmt: skip


def full_like(x: Tensor, value) -> Tensor:
    """The number `value` in the shape and dtype of x."""
    return broadcast_to(constant_like(value, x), shape=lengths(x))


def zeros_like(x: Tensor) -> Tensor:
    return full_like(x, 0)
