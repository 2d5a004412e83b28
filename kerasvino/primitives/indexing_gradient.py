"""Gradients of slices, gathers, pads and concatenations, which are made of one another."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives.arithmetic import add
from kerasvino.primitives.core import as_ints, defvjp, is_traced
from kerasvino.primitives.create import iota, zeros_like
from kerasvino.primitives.indexing import (
    END,
    dynamic_slice,
    flip,
    gather,
    gather_nd,
    slice_,
    take_along_axis,
)
from kerasvino.primitives.join import concatenate, pad, split
from kerasvino.primitives.scatter import scatter_add, scatter_nd
from kerasvino.primitives.shape import (
    broadcast_to,
    dimension,
    expand_dims,
    lengths,
    reshape,
    transpose,
)
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["add_at"]

# -- slices


def _unsliced(g, x, bounds):
    """Zeros of the shape of x with g at the places of a slice that goes forward."""
    pads = [(0, 0)] * x.ndim
    for axis, (start, _, step) in bounds.items():
        if step > 1 and g.shape[axis] > 1:
            g = _with_gaps(g, axis, step)
        start = range(x.shape[axis])[start:].start
        pads[axis] = (start, x.shape[axis] - start - g.shape[axis])
    return pad(g, pads=tuple(pads), mode="constant", value=0) if any(map(any, pads)) else g


def _with_gaps(g, axis, step):
    """g with step - 1 zeros between elements along an axis."""
    count, shape = g.shape[axis], lengths(g)
    pads = tuple((0, step - 1 if a == axis + 1 else 0) for a in range(g.ndim + 1))
    wide = pad(expand_dims(g, axis=(axis + 1,)), pads=pads, mode="constant", value=0)
    g = reshape(wide, shape=(*shape[:axis], count * step, *shape[axis + 1 :]))
    stop = (count - 1) * step + 1
    return slice_(g, axis=(axis,), starts=(0,), stops=(stop,), steps=(1,))


def _vjp_slice(g, inputs, output, *, axis, starts, stops, steps):
    x, sizes = inputs[0], lengths(inputs[0])
    bounds = tuple(zip(starts, stops, steps, strict=True))
    if not is_traced(bounds):
        bounds = as_ints(bounds)
        if all(b == (END, -END, -1) for b in bounds):
            return (flip(g, axis),)
        if min(steps, default=1) > 0 and None not in [x.shape[a] for a in axis]:
            return (_unsliced(g, x, dict(zip(axis, bounds, strict=True))),)
    for a, (start, stop, step) in zip(axis, bounds, strict=True):
        places = iota(size=sizes[a])
        places = slice_(places, axis=(0,), starts=(start,), stops=(stop,), steps=(step,))
        g = add_at(g, places, a, sizes[a])
    return (g,)


# -- gathers


def add_at(g: Tensor, indices: Tensor, axis: int, length) -> Tensor:
    """Zeros, `length` of them along `axis`, with g added at `indices`: `gather` transposed."""
    inner = tuple(range(axis, axis + indices.ndim))
    outer = tuple(a for a in range(g.ndim) if a not in inner)
    g = transpose(g, axes=inner + outer) if axis else g
    zeros = broadcast_to(constant_like(0, g), shape=(length, *lengths(g)[indices.ndim :]))
    indices = expand_dims(indices, axis=(indices.ndim,))
    total = scatter_nd(zeros, indices, g, reduction="add")
    if not axis:
        return total
    return transpose(total, axes=(*range(1, axis + 1), 0, *range(axis + 1, total.ndim)))


def _vjp_gather(g, inputs, output, *, axis):
    x, indices = inputs
    return add_at(g, indices, axis, lengths(x)[axis]), None


def _vjp_gather_nd(g, inputs, output):
    x, indices = inputs
    return scatter_nd(zeros_like(x), indices, g, reduction="add"), None


def _vjp_take_along_axis(g, inputs, output, *, axis):
    x, indices = inputs
    return scatter_add(zeros_like(x), indices, g, axis=axis), None


# -- joins


def _vjp_concatenate(g, inputs, output, *, axis):
    sizes = [x.shape[axis] for x in inputs]
    if None not in sizes:
        return split(g, sizes=tuple(sizes), axis=axis)
    end, parts = Tensor._wrap(np.asarray(0, np.int32)), []
    for x in inputs:
        start, end = end, add(end, dimension(x, axis=axis))
        parts.append(slice_(g, axis=(axis,), starts=(start,), stops=(end,), steps=(1,)))
    return tuple(parts)


def _vjp_pad(g, inputs, output, *, pads, mode, value):
    sizes = lengths(inputs[0])
    if mode == "constant":
        return (dynamic_slice(g, starts=tuple(low for low, _ in pads), sizes=sizes),)
    for axis, pair in enumerate(pads):
        if pair != (0, 0):
            order = pad(iota(size=sizes[axis]), pads=(pair,), mode=mode, value=0)
            g = add_at(g, order, axis, sizes[axis])
    return (g,)


defvjp(slice_, _vjp_slice)
defvjp(gather, _vjp_gather)
defvjp(gather_nd, _vjp_gather_nd)
defvjp(take_along_axis, _vjp_take_along_axis)
defvjp(concatenate, _vjp_concatenate)
defvjp(pad, _vjp_pad)
