"""Primitives that join, repeat and cut apart: concatenate, stack, split, pad, tile, roll."""

from __future__ import annotations

import numpy as np
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.lowering import (
    const,
    dims,
    element,
    ints,
    is_integer,
    ov,
    rank,
    scalar_dim,
    shape_of,
    vector,
)
from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.shape import expand_dims, lengths, reshape
from kerasvino.primitives.unbroadcast import sum_to

__all__ = ["concatenate", "pad", "roll", "split", "stack", "tile"]


# -- concatenate, split


# tensors of one rank; axis.
concatenate = Primitive(
    "concatenate",
    impl=lambda *xs, axis: np.concatenate(xs, axis),
    lower=lambda *xs, axis: ov.concat(list(xs), axis),
    layout=layout.axis_rule("axis"),
)


def stack(tensors, axis: int):
    """Tensors of one dtype and one shape, joined along a new axis."""
    if len({t.ndim for t in tensors}) != 1:
        raise ValueError(f"Tensors to stack have one shape; given: {[t.shape for t in tensors]}.")
    return concatenate(*[expand_dims(t, axis=(axis,)) for t in tensors], axis=axis)


def _impl_split(x, *, sizes, axis):
    outer, end, parts = (slice(None),) * axis, 0, []
    for size in sizes:
        parts.append(x[(*outer, slice(end, end + size))])
        end += size
    return parts


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


def _impl_pad(x, *, pads, mode, value):
    if not pads:
        return x
    if mode == "constant":
        return np.pad(x, pads, constant_values=np.asarray(value).astype(x.dtype))
    return np.pad(x, pads, mode=mode)


def _lower_pad(x, *, pads, mode, value):
    if not pads:
        return x
    low, high = (vector([pair[side] for pair in pads]) for side in (0, 1))
    if mode == "edge":
        return ov.pad(x, low, high, mode)
    if mode == "constant":
        return _pad_constant(x, low, high, value)
    for axis, pair in enumerate(pads):
        if pair != (0, 0):
            x = _pad_mirrored(x, axis, pair, mode)
    return x


def _pad_constant(x, low, high, value):
    """Pad takes its value through float32, and from a Constant only; others are put in after it."""
    if not is_integer(x) or int(np.float32(value)) == int(value):
        return ov.pad(x, low, high, "constant", const(value, x))
    kind, x = element(x), integer.widen(x)
    inside = ov.broadcast(const(True, Type.boolean), shape_of(x))
    inside = ov.pad(inside, low, high, "constant", const(False, Type.boolean))
    padded = ov.pad(x, low, high, "constant", const(0, x))
    return integer.narrow(ov.select(inside, padded, integer.i32(int(value))).output(0), kind)


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


# x; pads: (before, after) of each axis, ints >= 0, in mode "constant" also symbolic; mode:
# constant, edge, reflect, symmetric or wrap, with NumPy's meaning; value: a number, for "constant".
# Along an axis of unknown length the mirrored part must fit into the axis.
pad = Primitive(
    "pad",
    impl=_impl_pad,
    lower=_lower_pad,
    dynamic=("pads",),
    layout=layout.per_axis("pads"),
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
