"""The largest elements."""

from __future__ import annotations

from kerasvino.backend.keras_private import PLUGGABLE
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.primitives import compare, reduce, shape, sort
from kerasvino.primitives.cast import cast
from kerasvino.primitives.indexing import take_along_axis
from kerasvino.primitives.unbroadcast import constant_like

__all__ = ["in_top_k", "top_k"]


def _largest(x, k, sorted=True, is_stable=True):
    """The k largest elements of the last axis, downwards, and their indices (int32).

    They are always sorted; of equal ones the first comes first.
    """
    x = convert_to_tensor(x)
    if x.ndim == 0:
        raise ValueError("`top_k` needs a tensor of rank 1 or more; given one of rank 0.")
    length = x.shape[-1]
    if length is not None and not 0 < k <= length:
        raise ValueError(
            f"`k` must be from 1 to the length of the last axis, {length}; given: {k}."
        )
    return sort.top_k(x, k=int(k))


def _largest_of_3_15(x, k, sorted=True):
    return _largest(x, k)


# Keras 3.15 compares the arguments of its backends' functions with its own: no `is_stable` there.
top_k = _largest if PLUGGABLE else _largest_of_3_15
top_k.__name__ = top_k.__qualname__ = "top_k"
top_k.__doc__ = _largest.__doc__


def in_top_k(targets, predictions, k):
    """Whether the prediction for each target class is among the k largest of its row.

    Targets are of shape (...), predictions (..., classes). As many classes may be larger as there
    are places; a row or target out of range gives False.
    """
    targets, predictions = convert_to_tensor(targets), convert_to_tensor(predictions)
    targets = to_dtype(targets, "int32")
    last = predictions.ndim - 1
    column = shape.expand_dims(targets, axis=(last,))
    classes = shape.lengths(predictions)[last]
    zero = constant_like(0, column)
    inside = compare.logical_and(
        compare.greater_equal(column, zero),
        compare.less(column, convert_to_tensor(classes, "int32")),
    )
    own = take_along_axis(predictions, compare.select(inside, column, zero), axis=last)
    larger = cast(compare.greater(predictions, own), dtype="int32")
    rank = reduce.reduce_sum(larger, axis=(last,), keepdims=False)
    finite = compare.isfinite(shape.squeeze(own, axis=(last,)))
    fits = compare.logical_and(compare.less(rank, constant_like(k, rank)), finite)
    return compare.logical_and(fits, shape.squeeze(inside, axis=(last,)))
