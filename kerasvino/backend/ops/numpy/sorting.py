"""Order: sorting, partitioning, searching."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.reductions import reduced_axes
from kerasvino.primitives import sort as p
from kerasvino.primitives.shape import reshape

__all__ = ["argpartition", "argsort", "digitize", "searchsorted", "sort"]


def _along(x, axis):
    """The operand and the one axis to order; None reads it flat."""
    x = convert_to_tensor(x)
    if axis is None:
        return reshape(x, shape=(-1,)), 0
    return x, reduced_axes(x, axis)[0]


def sort(x, axis=-1):
    """`keras.ops.sort`: ascending, NaN last."""
    x, axis = _along(x, axis)
    return p.sort(x, axis=axis)


def argsort(x, axis=-1):
    """`keras.ops.argsort`: int32 indices of a stable sort."""
    x = convert_to_tensor(x)
    if x.ndim == 0:
        x, axis = reshape(x, shape=(1,)), 0
    x, axis = _along(x, axis)
    return p.argsort(x, axis=axis)


def argpartition(x, kth, axis=-1):
    """`keras.ops.argpartition`: a full sort partitions at every place."""
    x, axis = _along(x, axis)
    length = x.shape[axis]
    if length is not None and not -length <= kth < length:
        raise ValueError(f"kth={kth} is out of bounds for an axis of length {length}.")
    return p.argsort(x, axis=axis)


def searchsorted(sorted_sequence, values, side="left"):
    """`keras.ops.searchsorted`: int32 places in a sorted sequence of rank 1."""
    sequence, values = promote(sorted_sequence, values)
    if sequence.ndim != 1:
        raise ValueError(
            "`searchsorted` only supports 1-D sorted sequences. You can use "
            "`keras.ops.vectorized_map` to extend it to N-D sequences. Received: "
            f"sorted_sequence.shape={sequence.shape}"
        )
    if side not in ("left", "right"):
        raise ValueError(f"`side` must be 'left' or 'right'; given: {side!r}.")
    return p.searchsorted(sequence, values, side=side)


def digitize(x, bins):
    """`keras.ops.digitize`: the number of bins (ascending) that are at most x, int32."""
    x, bins = convert_to_tensor(x), convert_to_tensor(bins)
    if bins.ndim != 1:
        raise ValueError(f"`bins` must be of rank 1; given a shape of {bins.shape}.")
    dtype = np.promote_types(_promotable(x), _promotable(bins)).name
    return p.searchsorted(to_dtype(bins, dtype), to_dtype(x, dtype), side="right")


def _promotable(x):
    """The dtype that holds the values of a tensor for comparison with others."""
    return {"bfloat16": "float32", "bool": "int32"}.get(x.dtype, x.dtype)
