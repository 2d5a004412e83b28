"""Sets: unique elements, membership; differences of neighbours."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.core.convert import convert_to_tensor, promote
from kerasvino.backend.numpy.reductions import reduced_axes
from kerasvino.primitives import compare
from kerasvino.primitives import reduce as p
from kerasvino.primitives import shape as s
from kerasvino.primitives.errors import LoweringError
from kerasvino.tensor import Tensor

__all__ = ["isin", "unique"]


def isin(x1, x2, assume_unique=False, invert=False):
    """`keras.ops.isin`: whether each element of `x1` is among those of `x2`."""
    x1, x2 = promote(x1, x2)
    flat = s.reshape(x2, shape=(-1,))
    if flat.shape[0] == 0:
        found = compare.not_equal(x1, x1)
        if found.dtype == "bool" and x1.dtype != "bool":
            found = s.broadcast_to(convert_to_tensor(False), shape=s.lengths(x1))
    else:
        pairs = compare.equal(s.expand_dims(x1, axis=(x1.ndim,)), flat)
        found = p.reduce_any(pairs, axis=(x1.ndim,), keepdims=False)
    return compare.logical_not(found) if invert else found


def unique(
    x, sorted=True, return_index=False, return_inverse=False, return_counts=False, axis=None,
    size=None, fill_value=None,
):  # fmt: skip
    """`keras.ops.unique`: the different elements (or slices along `axis`), sorted.

    With `size` exactly that many are returned: the first of them, or padded with `fill_value` (by
    default the smallest). How many there are depends on values, so a compiled graph has no form of
    it: it raises LoweringError there.
    """
    x = convert_to_tensor(x)
    if x.is_symbolic:
        raise LoweringError(
            "unique has no form in a compiled OpenVINO graph, since the number of elements depends "
            "on their values; run it eagerly (run_eagerly=True)."
        )
    axis = None if axis is None else reduced_axes(x, axis)[0]
    values, index, inverse, counts = np.unique(
        x.numpy(), return_index=True, return_inverse=True, return_counts=True, axis=axis,
        equal_nan=False,
    )
    inverse = inverse.reshape(x.shape if axis is None else -1)
    if size is not None:
        values, index, counts = _resized(values, index, counts, size, fill_value, axis or 0)
        inverse = np.minimum(inverse, max(size - 1, 0))
    chosen = [values]
    chosen += [
        extra.astype(np.int32)
        for extra, wanted in (
            (index, return_index), (inverse, return_inverse), (counts, return_counts),
        )
        if wanted
    ]  # fmt: skip
    tensors = tuple(Tensor._wrap(np.ascontiguousarray(a)) for a in chosen)
    return tensors[0] if len(tensors) == 1 else tensors


def _resized(values, index, counts, size, fill_value, axis):
    """The results cut or padded to `size` elements."""
    missing = size - len(index)
    if missing <= 0:
        return values.take(range(size), axis), index[:size], counts[:size]
    if fill_value is None:
        filler = values.take([0] * missing, axis) if len(index) else None
        first = index[0] if len(index) else 0
    else:
        shape = list(values.shape)
        shape[axis] = missing
        filler, first = np.full(shape, fill_value, values.dtype), index[0] if len(index) else 0
    if filler is None:
        shape = list(values.shape)
        shape[axis] = missing
        filler = np.zeros(shape, values.dtype)
    return (
        np.concatenate([values, filler], axis),
        np.concatenate([index, np.full(missing, first, index.dtype)]),
        np.concatenate([counts, np.zeros(missing, counts.dtype)]),
    )
