"""Primitives that join, repeat and cut apart: concatenate, split, pad, tile, roll."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import dims, ints, ov, rank, scalar_dim, vector
from kerasvino.primitives.shape import dimension, lengths, reshape
from kerasvino.primitives.unbroadcast import sum_to, unbroadcast

__all__ = ["concatenate", "pad", "roll", "split", "tile"]


# -- concatenate, split


def _vjp_concatenate(g, inputs, output, *, axis):
    sizes = [x.shape[axis] for x in inputs]
    if None not in sizes:
        return split(g, sizes=tuple(sizes), axis=axis)
    from kerasvino.primitives.arithmetic import add
    from kerasvino.primitives.indexing import slice_
    from kerasvino.tensor import Tensor

    end, parts = Tensor._wrap(np.asarray(0, np.int32)), []
    for x in inputs:
        start, end = end, add(end, dimension(x, axis=axis))
        parts.append(slice_(g, axis=(axis,), starts=(start,), stops=(end,), steps=(1,)))
    return tuple(parts)


# tensors of one rank; axis.
concatenate = Primitive(
    "concatenate",
    impl=lambda *xs, axis: np.concatenate(xs, axis),
    lower=lambda *xs, axis: ov.concat(list(xs), axis),
    layout=layout.axis_rule("axis"),
    vjp=_vjp_concatenate,
)


def _impl_split(x, *, sizes, axis):
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _lower_split(x, *, sizes, axis):
    return ov.variadic_split(x, ints(axis), ints(list(sizes))).outputs()


# x; sizes: ints that sum to the length of axis.
split = Primitive(
    "split",
    impl=_impl_split,
    lower=_lower_split,
    dtype=lambda inputs, attrs: (inputs[0],) * len(attrs["sizes"]),
    layout=layout.axis_rule("axis"),
    multiple=True,
    vjp=lambda g, inputs, output, *, sizes, axis: (concatenate(*g, axis=axis),),
)


# -- pad


def _impl_pad(x, value, *, pads, mode):
    if mode == "constant":
        shape = [n + low + high for n, (low, high) in zip(x.shape, pads, strict=True)]
        padded = np.full(shape, value, x.dtype)
        inside = zip(x.shape, pads, strict=True)
        padded[tuple(slice(low, low + n) for n, (low, _) in inside)] = x
        return padded
    return np.pad(x, pads, mode=mode)


def _lower_pad(x, value, *, pads, mode):
    low, high = ([pair[side] for pair in pads] for side in (0, 1))
    if not pads:
        return x
    if mode == "constant":
        return ov.pad(x, vector(low), vector(high), "constant", value)
    if mode == "edge":
        return ov.pad(x, vector(low), vector(high), "edge")
    for axis, pair in enumerate(pads):
        if pair != (0, 0):
            x = _pad_mirrored(x, axis, pair, mode)
    return x


def _pad_mirrored(x, axis, pair, mode):
    """One axis, read through the indices that NumPy pads the axis's own indices to."""
    length = dims(x)[axis]
    if length is not None:
        order = np.pad(np.arange(length), pair, mode=mode)
        return ov.gather(x, ints(order), ints(axis)).output(0)
    if mode != "wrap":
        low, high = ([n if a == axis else 0 for a in range(rank(x))] for n in pair)
        return ov.pad(x, ints(low), ints(high), mode).output(0)
    n = scalar_dim(x, axis)
    order = ov.range(ints(-pair[0]), ov.add(n, ints(pair[1])), ints(1), "i64")
    return ov.gather(x, ov.floor_mod(order, n), ints(axis)).output(0)


def _vjp_pad(g, inputs, output, *, pads, mode):
    from kerasvino.primitives import indexing
    from kerasvino.primitives.arithmetic import subtract

    x, value = inputs
    axes = tuple(range(len(pads)))
    if mode == "constant":
        sizes = lengths(x)
        inner = indexing.dynamic_slice(g, starts=tuple(p[0] for p in pads), sizes=sizes)
        outer = subtract(unbroadcast(g, value), unbroadcast(inner, value)) if axes else None
        return inner if axes else g, outer
    for axis in axes:
        if pads[axis] != (0, 0):
            order = pad(indexing.positions(x, axis), value, pads=(pads[axis],), mode=mode)
            g = indexing.add_at(g, order, axis, x)
    return g, None


# x; value: of rank 0, used by mode "constant"; pads: (before, after) of each axis, ints >= 0, in
# mode "constant" also symbolic; mode: constant, edge, reflect, symmetric or wrap, with NumPy's
# meaning. Along an axis of unknown length the mirrored part must fit into the axis.
pad = Primitive(
    "pad",
    impl=_impl_pad,
    lower=_lower_pad,
    dynamic=("pads",),
    layout=layout.per_axis("pads"),
    vjp=_vjp_pad,
)


# -- tile, roll


def _vjp_tile(g, inputs, output, *, repeats):
    shape = lengths(inputs[0])
    if not shape:
        return (g,)
    paired = tuple(n for pair in zip(repeats, shape, strict=True) for n in pair)
    summed = sum_to(
        reshape(g, shape=paired), shape=tuple(1 if i % 2 == 0 else n for i, n in enumerate(paired))
    )
    return (reshape(summed, shape=shape),)


# x; repeats: for each axis, ints and symbolic integer scalars.
tile = Primitive(
    "tile",
    impl=lambda x, *, repeats: np.tile(x, repeats),
    lower=lambda x, *, repeats: ov.tile(x, vector(repeats)) if repeats else x,
    dynamic=("repeats",),
    layout=layout.per_axis("repeats"),
    vjp=_vjp_tile,
)


def _vjp_roll(g, inputs, output, *, shift, axis):
    return (roll(g, shift=tuple(-n for n in shift), axis=axis),)


# x; axis, shift: tuples of one length; shifts may be symbolic.
roll = Primitive(
    "roll",
    impl=lambda x, *, shift, axis: np.roll(x, shift, axis),
    lower=lambda x, *, shift, axis: ov.roll(x, vector(shift), ints(axis)) if axis else x,
    dynamic=("shift",),
    layout=layout.axis_rule("axis"),
    vjp=_vjp_roll,
)
