"""Functions that join tensors, cut them apart, pad and repeat them."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.ops.core.axes import axis_index
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import minimum
from kerasvino.backend.ops.numpy.creation import ones_like, zeros
from kerasvino.backend.ops.numpy.cumulative import cumsum
from kerasvino.backend.ops.numpy.shaping import length, lengths
from kerasvino.primitives import indexing, join
from kerasvino.primitives import shape as p
from kerasvino.primitives.resample import upsample
from kerasvino.primitives.scatter import scatter_nd
from kerasvino.tensor import Tensor

__all__ = [
    "append", "array_split", "column_stack", "concatenate", "dsplit", "dstack", "hsplit", "hstack",
    "repeat", "split", "stack", "vsplit", "vstack",
]  # fmt: skip


# -- join


def concatenate(xs, axis=0):
    """`keras.ops.concatenate`: in the promoted dtype."""
    xs = promote(*xs)
    return join.concatenate(*xs, axis=axis_index(axis, xs[0].ndim))


def stack(x, axis=0):
    """`keras.ops.stack`: in the promoted dtype."""
    xs = promote(*x)
    return join.stack(xs, axis_index(axis, xs[0].ndim + 1))


def append(x1, x2, axis=None):
    """`keras.ops.append`; without `axis` both are flattened."""
    x1, x2 = promote(x1, x2)
    if axis is None:
        x1, x2, axis = p.reshape(x1, shape=(-1,)), p.reshape(x2, shape=(-1,)), 0
    return concatenate([x1, x2], axis)


def _at_least(x, rank):
    """x with axes of length 1 added as NumPy's atleast_1d, _2d and _3d add them."""
    if x.ndim >= rank:
        return x
    new = {
        (0, 1): (0,),
        (0, 2): (0, 1),
        (0, 3): (0, 1, 2),
        (1, 2): (0,),
        (1, 3): (0, 2),
        (2, 3): (2,),
    }
    return p.expand_dims(x, axis=new[x.ndim, rank])


def _stacked(xs, rank, axis):
    xs = [_at_least(t, rank) for t in promote(*xs)]
    return join.concatenate(*xs, axis=0 if xs[0].ndim == 1 else axis)


def hstack(xs):
    """`keras.ops.hstack`: joined along axis 1 (0 if of rank 1)."""
    return _stacked(xs, 1, 1)


def column_stack(xs):
    """`keras.ops.column_stack`: joined along axis 1; tensors of rank 1 are columns."""
    xs = promote(*xs)
    if any(t.ndim == 0 for t in xs):
        raise ValueError(
            f"`column_stack` takes tensors of rank 1 or more; given shapes {[t.shape for t in xs]}."
        )
    xs = [p.expand_dims(t, axis=(1,)) if t.ndim == 1 else t for t in xs]
    return join.concatenate(*xs, axis=1)


def vstack(xs):
    """`keras.ops.vstack`: joined along axis 0, as matrices at least."""
    return _stacked(xs, 2, 0)


def dstack(xs):
    """`keras.ops.dstack`: joined along axis 2."""
    return _stacked(xs, 3, 2)


# -- split


def _cut(x, bounds, axis):
    """The parts of x before, between and after `bounds`, sliced as in Python."""
    starts, stops = (0, *bounds), (*bounds, indexing.END)
    return [
        indexing.slice_(x, axis=(axis,), starts=(a,), stops=(b,), steps=(1,))
        for a, b in zip(starts, stops, strict=True)
    ]


def _sized(x, sizes, axis):
    return list(join.split(x, sizes=tuple(sizes), axis=axis))


def split(x, indices_or_sections, axis=0):
    """`keras.ops.split`: into equal parts, or at the given indices; a list."""
    x = convert_to_tensor(x)
    axis = axis_index(axis, x.ndim)
    if not isinstance(indices_or_sections, int):
        return _cut(x, lengths(indices_or_sections), axis)
    count, total = indices_or_sections, x.shape[axis]
    if count < 1:
        raise ValueError(f"`indices_or_sections` is at least 1; given: {count}.")
    if total is None:
        known = p.lengths(x)
        others = (*known[:axis], *known[axis + 1 :])
        # -1 keeps lengths known, but is 0 in a tensor without elements
        has_others = all(isinstance(n, int) and n for n in others)
        part = -1 if has_others else known[axis] // count
        parts = p.reshape(x, shape=(*known[:axis], count, part, *known[axis + 1 :]))
        return [p.squeeze(t, axis=(axis,)) for t in _sized(parts, (1,) * count, axis)]
    if total % count:
        raise ValueError(
            f"An axis of length {total} does not split into {count} equal parts "
            f"(shape {x.shape}, axis={axis}); see array_split."
        )
    return _sized(x, (total // count,) * count, axis)


def array_split(x, indices_or_sections, axis=0):
    """`keras.ops.array_split`: as `split`, but the first parts may be longer by one."""
    x = convert_to_tensor(x)
    axis = axis_index(axis, x.ndim)
    if not isinstance(indices_or_sections, int):
        return split(x, indices_or_sections, axis)
    count, total = indices_or_sections, x.shape[axis]
    if total is not None:
        return _sized(x, [total // count + (i < total % count) for i in range(count)], axis)
    total = p.dimension(x, axis=axis)
    shorter, longer = total // count, total % count
    return _cut(x, [shorter * i + minimum(longer, i) for i in range(1, count)], axis)


def hsplit(x, indices_or_sections):
    """`keras.ops.hsplit`: along axis 1 (0 if of rank 1)."""
    x = convert_to_tensor(x)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(x, indices_or_sections):
    """`keras.ops.vsplit`: along axis 0."""
    return split(x, indices_or_sections, 0)


def dsplit(x, indices_or_sections):
    """`keras.ops.dsplit`: along axis 2."""
    return split(x, indices_or_sections, 2)


# -- repeat


def repeat(x, repeats, axis=None):
    """`keras.ops.repeat`: `repeats` is a number, or one for each element along `axis`."""
    x = convert_to_tensor(x)
    if axis is None:
        x, axis = p.reshape(x, shape=(-1,)), 0
    axis = axis_index(axis, x.ndim)
    if not isinstance(repeats, int):
        repeats = convert_to_tensor(repeats)
        if repeats.ndim == 1 and repeats.shape[0] != 1:
            return indexing.gather(x, _repeated(x, repeats, axis), axis=axis)
    elif repeats > 0:
        return upsample(x, axis=(axis,), factor=(repeats,), linear=False)
    known, count = p.lengths(x), length(repeats)
    before, after = known[:axis], known[axis + 1 :]
    x = p.expand_dims(x, axis=(axis + 1,))
    x = p.broadcast_to(x, shape=(*before, known[axis], count, *after))
    return p.reshape(x, shape=(*before, known[axis] * count, *after))


def _repeated(x, repeats, axis):
    """For each place along `axis` of the result, the one along `axis` of x that it repeats."""
    if x.shape[axis] != repeats.shape[0] and None not in (x.shape[axis], repeats.shape[0]):
        raise ValueError(
            f"`repeats` has {repeats.shape[0]} entries for an axis of length {x.shape[axis]}."
        )
    if not repeats.is_symbolic:
        counts = repeats.numpy()
        return Tensor._wrap(np.repeat(np.arange(len(counts), dtype=np.int32), counts))
    # One more place begins wherever the copies of the one before end.
    ends = cumsum(to_dtype(repeats, "int32"))
    starts, total = ends[:-1], ends[-1]
    starts, ones = p.expand_dims(starts, axis=(1,)), ones_like(starts)
    begun = scatter_nd(zeros((total + 1,), "int32"), starts, ones, reduction="add")
    return cumsum(begun)[:-1]
