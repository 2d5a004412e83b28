"""Blocks and scattered elements of tensors: read, written, taken apart."""

from __future__ import annotations

from kerasvino.backend.ops.core import getitem as _getitem  # noqa: F401 - registers it on Tensor
from kerasvino.backend.ops.core.axes import axis_index
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.primitives import indexing as p
from kerasvino.primitives import join
from kerasvino.primitives import scatter as q
from kerasvino.primitives import shape as s
from kerasvino.primitives.index_checks import range_error, within
from kerasvino.primitives.memory import Kept

__all__ = ["scatter", "scatter_update", "slice", "slice_update", "unstack"]

_REDUCTIONS = (None, "add", "max", "min", "mul")


def scatter(indices, values, shape):
    """`keras.ops.scatter`: zeros of `shape` with `values` added at `indices`."""
    from kerasvino.backend.ops.numpy.creation import zeros

    values = convert_to_tensor(values)
    return scatter_update(zeros(shape, values.dtype), indices, values, "add")


def scatter_update(inputs, indices, updates, reduction=None):
    """`keras.ops.scatter_update`: `inputs` with `updates` at `indices`, whose last axis indexes.

    Several updates of one place are combined as `reduction` says: add, max, min, mul, or None for
    the last one. Raises IndexRangeError for an index out of range.
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(
            f"Invalid reduction: {reduction!r}. Supported values are: None, 'add', 'max', 'min', "
            "'mul'."
        )
    inputs, indices = convert_to_tensor(inputs), to_dtype(convert_to_tensor(indices), "int32")
    updates = to_dtype(convert_to_tensor(updates), inputs.dtype)
    depth = indices.shape[-1] if indices.ndim else 0
    if depth and depth <= inputs.ndim:
        within(indices, inputs, range(depth), "scatter_update")
    try:
        return q.scatter_nd(inputs, indices, updates, reduction=reduction)
    except IndexError as error:
        raise range_error(
            error, indices, inputs, range(depth), "scatter_update"
        ) from error.__cause__


def _starts(starts, rank):
    from kerasvino.backend.ops.numpy.shaping import lengths

    starts = lengths(starts, rank)
    if len(starts) != rank:
        raise ValueError(f"A tensor of rank {rank} takes {rank} start indices; given: {starts}.")
    return starts


def slice(inputs, start_indices, shape):
    """`keras.ops.slice`: the block of `shape` at `start_indices`, moved so as to lie within."""
    from kerasvino.backend.ops.numpy.shaping import lengths

    inputs = convert_to_tensor(inputs)
    sizes, starts = lengths(shape, inputs.ndim), _starts(start_indices, inputs.ndim)
    for axis, (size, length) in enumerate(zip(sizes, inputs.shape, strict=True)):
        if isinstance(size, int) and length is not None and not 0 <= size <= length:
            raise ValueError(f"No block of shape {shape} in {inputs.shape}: see axis {axis}.")
    return p.dynamic_slice(inputs, starts=starts, sizes=sizes)


def slice_update(inputs, start_indices, updates):
    """`keras.ops.slice_update`: `inputs` with the block `updates` at `start_indices`, within."""
    if type(inputs) is Kept:
        return inputs.appended(start_indices, convert_to_tensor(updates))
    inputs = convert_to_tensor(inputs)
    updates = to_dtype(convert_to_tensor(updates), inputs.dtype)
    for size, length in zip(updates.shape, inputs.shape, strict=True):
        if None not in (size, length) and size > length:
            raise ValueError(f"No block of shape {updates.shape} fits into {inputs.shape}.")
    return p.dynamic_update_slice(inputs, updates, starts=_starts(start_indices, inputs.ndim))


def unstack(x, num=None, axis=0):
    """`keras.ops.unstack`: the slices of x along `axis`, a list of `num`."""
    x = convert_to_tensor(x)
    axis = axis_index(axis, x.ndim)
    count = x.shape[axis] if num is None else num
    if count is None:
        raise ValueError(f"`num` is needed: the length of axis {axis} is unknown ({x.shape}).")
    if not count:
        return []
    parts = join.split(x, sizes=(1,) * count, axis=axis)
    return [s.squeeze(part, axis=(axis,)) for part in parts]
