"""The primitive `cast`: conversion between dtypes."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import convert

__all__ = ["cast"]


def _impl(x, *, dtype):
    return x.astype(dtypes.numpy_dtype(dtype))


def _lower(x, *, dtype):
    return convert(x, dtypes.graph_type(dtype))


def _layout(trace, inputs, attrs):
    output, permutation = trace.physical(inputs[0])
    return [output], attrs, permutation


def _vjp(g, inputs, output, *, dtype):
    source = inputs[0].dtype
    return (cast(g, dtype=source) if dtypes.is_float(source) else None,)


# x; dtype: a Keras dtype name.
cast = Primitive(
    "cast", impl=_impl, lower=_lower, dtype=lambda inputs, attrs: attrs["dtype"],
    layout=_layout, vjp=_vjp,
)  # fmt: skip
