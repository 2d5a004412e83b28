"""Sets: unique elements, membership."""

from __future__ import annotations

import itertools

from kerasvino.backend.ops.core.convert import convert_to_tensor, promote
from kerasvino.backend.ops.numpy.reductions import reduced_axes
from kerasvino.primitives import compare, indexing, join, sets, sort
from kerasvino.primitives import shape as s
from kerasvino.primitives.arithmetic import minimum, subtract
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["isin", "unique"]


def isin(x1, x2, assume_unique=False, invert=False):
    """`keras.ops.isin`: whether each element of `x1` is among those of `x2`."""
    x1, x2 = promote(x1, x2)
    ordered = sort.sort(s.reshape(x2, shape=(-1,)), axis=0)
    if ordered.shape[0] == 0:
        found = s.broadcast_to(convert_to_tensor(False), shape=s.lengths(x1))
    else:
        place = sort.searchsorted(ordered, x1, side="left")
        count = s.dimension(ordered, axis=0)
        last = minimum(place, subtract(count, constant_like(1, count)))
        found = compare.equal(indexing.gather(ordered, last, axis=0), x1)
        if ordered.shape[0] is None:  # there may be none to gather
            found = compare.logical_and(found, compare.less(place, count))
    return compare.logical_not(found) if invert else found


def unique(
    x, sorted=True, return_index=False, return_inverse=False, return_counts=False, axis=None,
    size=None, fill_value=None,
):  # fmt: skip
    """`keras.ops.unique`: the different elements (or slices along `axis`), always sorted.

    No NaN is equal to another. With `size` exactly that many are returned: the first of them, or
    padded with `fill_value` (by default the smallest; of an empty tensor zeros), counted 0 times,
    at the index of the smallest. In a compiled graph the length is unknown until it runs, but for
    `size`.
    """
    x = convert_to_tensor(x)
    axis = None if axis is None else reduced_axes(x, axis)[0]
    _, index, inverse, counts = sets.unique(x, axis=axis)
    # picked from x, so that gradients find their way
    source, along = (s.reshape(x, shape=(-1,)), 0) if axis is None else (x, axis)
    values = indexing.gather(source, index, axis=along)
    if size is not None:
        if size < 0:
            raise ValueError(f"`size` must not be negative; given: {size}.")
        empty = source.shape[along] == 0
        smallest = None if empty or fill_value is not None else _first(values, along)
        values = _resized(values, size, along, smallest, fill_value or 0)
        index = _resized(index, size, 0, None if empty else _first(index, 0))
        counts = _resized(counts, size, 0, None)
        inverse = minimum(inverse, constant_like(max(size - 1, 0), inverse))
    wanted = (True, return_index, return_inverse, return_counts)
    results = tuple(itertools.compress((values, index, inverse, counts), wanted))
    return results[0] if len(results) == 1 else results


def _first(x: Tensor, axis: int) -> Tensor:
    return indexing.slice_(x, axis=(axis,), starts=(0,), stops=(1,), steps=(1,))


def _resized(x: Tensor, size: int, axis: int, filler: Tensor | None, value=0) -> Tensor:
    """x cut or padded to `size` along an axis: with `filler`, of length 1 there, or `value`."""
    lengths = tuple(size if a == axis else n for a, n in enumerate(s.lengths(x)))
    if filler is None:
        filler = constant_like(value, x)
    filled = join.concatenate(x, s.broadcast_to(filler, shape=lengths), axis=axis)
    return indexing.slice_(filled, axis=(axis,), starts=(0,), stops=(size,), steps=(1,))
