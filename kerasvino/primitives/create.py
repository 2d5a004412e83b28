"""Primitives that make values from nothing, and constants in the shape of a tensor."""

from __future__ import annotations

import numpy as np
from openvino import Type

from kerasvino.nodes.lowering import convert, ints, ov
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.shape import broadcast_to, lengths
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["full_like", "iota", "zeros_like"]


def _lower_iota(*, size):
    end = ints(size) if isinstance(size, int) else convert(size, Type.i64)
    return ov.range(ints(0), end, ints(1), "i32")


# 0, 1, …, size - 1 as int32; size may be symbolic.
iota = Primitive(
    "iota", impl=lambda *, size: np.arange(size, dtype=np.int32), lower=_lower_iota, dtype="int32",
    dynamic=("size",), nondifferentiable="integer result",
)  # fmt: skip


def full_like(x: Tensor, value) -> Tensor:
    """The number `value` in the shape and dtype of x."""
    return broadcast_to(constant_like(value, x), shape=lengths(x))


def zeros_like(x: Tensor) -> Tensor:
    return full_like(x, 0)
