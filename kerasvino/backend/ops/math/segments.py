"""Reductions of the elements that share a segment number: data (n, ...) and ids (n,).

The result is (num_segments, ...) of the dtype of the data. Ids that are negative, or not below
`num_segments` (by default one more than the largest of them), are left out. A segment without
elements has sum 0 and product 1; its maximum is the smallest finite number of the dtype and its
minimum the largest, which is what Keras expects of this backend.
"""

from __future__ import annotations

import math
import operator

import ml_dtypes
import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.primitives import compare, indexing, reduce, shape
from kerasvino.primitives.arithmetic import add
from kerasvino.primitives.scatter import scatter_nd
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]


def _count(ids, num_segments):
    """Number of segments: as given, or one more than the largest id, which may be symbolic."""
    if num_segments is not None:
        return operator.index(num_segments)
    if ids.shape[0] == 0:
        return 0
    largest = reduce.reduce_max(ids, axis=(0,), keepdims=False)
    count = add(largest, constant_like(1, largest))
    return count if count.is_symbolic else max(int(count), 0)


def _placed(ids, num_segments):
    """(ids of rank 2, how many segments there are of them): one more, for the ids out of range."""
    count = _count(ids, num_segments)
    count = count if isinstance(count, Tensor) else Tensor._wrap(np.asarray(count, np.int32))
    inside = compare.logical_and(
        compare.greater_equal(ids, constant_like(0, ids)), compare.less(ids, count)
    )
    places = shape.expand_dims(compare.select(inside, ids, count), axis=(1,))
    count = add(count, constant_like(1, count))
    return places, count if count.is_symbolic else int(count)


def _combined(values, places, count, reduction, neutral):
    """Values combined by place, but for the last one; places without any are `neutral`."""
    start = shape.broadcast_to(
        constant_like(neutral, values), shape=(count, *shape.lengths(values)[1:])
    )
    found = scatter_nd(start, places, values, reduction=reduction)
    return indexing.slice_(found, axis=(0,), starts=(0,), stops=(-1,), steps=(1,))


def _segment(name, reduction, neutral, empty=None):
    """The contract function `name`.

    Args:
        name: of the function.
        reduction: of `scatter_nd`.
        neutral: `neutral(dtype)`, which changes nothing that it is combined with.
        empty: `empty(dtype)`, result of a segment without elements; by default `neutral`.
    """

    def function(data, segment_ids, num_segments=None, sorted=False):
        data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        if not dtypes.is_integer(ids.dtype) or ids.ndim != 1 or not data.ndim:
            raise ValueError(
                f"`{name}` takes data of rank 1 or more and integer `segment_ids` of rank 1; "
                f"given: {data.dtype}{list(data.shape)} and {ids.dtype}{list(ids.shape)}."
            )
        places, count = _placed(to_dtype(ids, "int32"), num_segments)
        found = _combined(data, places, count, reduction, neutral(data.dtype))
        if empty is None or not dtypes.is_float(data.dtype):
            return found
        ones = shape.broadcast_to(constant_like(1, ids), shape=shape.lengths(ids))
        members = _combined(to_dtype(ones, "int32"), places, count, "add", 0)
        members = shape.expand_dims(members, axis=tuple(range(1, data.ndim)))
        vacant = compare.equal(members, constant_like(0, members))
        return compare.select(vacant, constant_like(empty(data.dtype), data), found)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`keras.ops.{name}`: see this module."
    return function


def _limit(edge, infinity):
    def value(dtype):
        """The extreme number of a dtype; of floats `infinity`, or without it the finite one."""
        if not dtypes.is_float(dtype):
            return getattr(np.iinfo(dtypes.numpy_dtype(dtype)), edge)
        if infinity is not None:
            return infinity
        return float(getattr(ml_dtypes.finfo(dtypes.numpy_dtype(dtype)), edge))

    return value


segment_sum = _segment("segment_sum", "add", lambda dtype: 0)
segment_prod = _segment("segment_prod", "mul", lambda dtype: 1)
segment_max = _segment("segment_max", "max", _limit("min", -math.inf), _limit("min", None))
segment_min = _segment("segment_min", "min", _limit("max", math.inf), _limit("max", None))
