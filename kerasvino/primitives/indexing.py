"""Primitives that pick values by position: slices and gathers, and where values are not zero."""

from __future__ import annotations

import numpy as np
from openvino import Type

from kerasvino.nodes.lowering import (
    const,
    convert,
    dims,
    element,
    ints,
    ov,
    scalar_dim,
    vector,
)
from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.shape import lengths
from kerasvino.tensor import Tensor

__all__ = [
    "END", "dynamic_slice", "dynamic_update_slice", "flip", "gather", "gather_nd",
    "host_index", "leading_shape", "nonzero", "slice_", "take_along_axis", "wrapped",
]  # fmt: skip

# A bound past every axis: slice_ clamps it to the end, and -END to the beginning.
END = 2**31 - 1


# -- slice


def _impl_slice(x, *, axis, starts, stops, steps):
    key = [slice(None)] * x.ndim
    for place, *bounds in zip(axis, starts, stops, steps, strict=True):
        key[place] = slice(*bounds)
    return x[tuple(key)]


def _lower_slice(x, *, axis, starts, stops, steps):
    taken = []
    for a, start, stop, step in zip(axis, starts, stops, steps, strict=True):
        if step < 0:
            unknown = dims(x)[a] is None
            whole = isinstance(start, int) and isinstance(stop, int) and step == -1
            if unknown and whole and (start, stop) == (END, -END):
                x = _reversed(x, a)
                continue
            stop = _end(x, a, start, stop, step)
            if unknown:
                start, stop = _far(start), _far(stop)
        taken.append((a, start, stop, step))
    if not taken:
        return x
    axis, starts, stops, steps = zip(*taken, strict=True)
    return ov.slice(x, vector(starts), vector(stops), vector(steps), ints(axis))


def _reversed(x, axis):
    """x backwards along an axis of unknown length.

    A Slice from END to -END is taken for one of at most 2**31 elements, and what is sliced off its
    end for empty; where it goes straight into a Concat, the CPU plugin may lose its values.
    """
    places = ov.range(ov.subtract(scalar_dim(x, axis), ints(1)), ints(-1), ints(-1), "i64")
    return ov.gather(x, places, ints(axis)).output(0)


def _far(bound):
    """A bound of a slice that goes back, past every axis for OpenVINO's shape inference too."""
    if isinstance(bound, int) and abs(bound) == END:
        return ov.constant(np.int64(np.sign(bound) * (2**63 - 1))).output(0)
    return bound


def _end(x, axis, start, stop, step):
    """The stop of a slice that goes back: Slice takes a start before the first element for it."""
    if isinstance(start, int) and start >= 0:
        return stop
    length = dims(x)[axis]
    if isinstance(start, int) and length is not None:
        return stop if start + length >= 0 else 0
    start, stop = (ints(n) if isinstance(n, int) else convert(n, Type.i64) for n in (start, stop))
    length = scalar_dim(x, axis)
    before = ov.less(ov.add(start, length), ints(0))
    return ov.select(before, ints(0), stop).output(0)


# x; axis: tuple; starts, stops, steps: one for each of axis, with the meaning of x[start:stop:step]
# (negative ones count from the end, all are clamped). Starts and stops may be symbolic.
slice_ = Primitive(
    "slice", impl=_impl_slice, lower=_lower_slice, dynamic=("starts", "stops"),
    layout=layout.axis_rule("axis"),
)  # fmt: skip


def flip(x: Tensor, axis: tuple[int, ...]) -> Tensor:
    """x with the order along each of `axis` reversed."""
    count = len(axis)
    return slice_(x, axis=axis, starts=(END,) * count, stops=(-END,) * count, steps=(-1,) * count)


# -- blocks at run-time positions


def _clamped(shape, starts, sizes):
    return [
        _clamp(start, size, length)
        for length, start, size in zip(shape, starts, sizes, strict=True)
    ]


def _clamp(start, size, length):
    return min(max(start + length if start < 0 else start, 0), length - size)


def _impl_dynamic_slice(x, *, starts, sizes):
    starts = _clamped(x.shape, starts, sizes)
    return x[tuple(slice(a, a + n) for a, n in zip(starts, sizes, strict=True))]


def _blocks(x, starts, sizes):
    """(axis, indices of the block along it) for each axis of which the block is a part."""
    known = dims(x)
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        length = known[axis]
        if isinstance(size, int) and size == length:
            continue
        if all(isinstance(n, int) for n in (start, size, length)):
            start = _clamp(start, size, length)
            yield axis, const(np.arange(start, start + size), Type.i32)
            continue
        length = scalar_dim(x, axis)
        size = ints(size) if isinstance(size, int) else convert(size, Type.i64)
        start = ints(start) if isinstance(start, int) else convert(start, Type.i64)
        start = ov.select(ov.less(start, ints(0)), ov.add(start, length), start)
        start = ov.minimum(ov.maximum(start, ints(0)), ov.subtract(length, size))
        yield axis, ov.add(ov.range(ints(0), size, ints(1), "i64"), start).output(0)


def _lower_dynamic_slice(x, *, starts, sizes):
    for axis, places in _blocks(x, starts, sizes):
        x = ov.gather(x, places, ints(axis)).output(0)
    return x


def _vjp_dynamic_slice(g, inputs, output, *, starts, sizes):
    return (dynamic_update_slice(zeros_like(inputs[0]), g, starts=starts),)


# x; starts: of each axis, negative ones counted from the end, then clamped so that the block lies
# within x; sizes: of each axis.
dynamic_slice = Primitive(
    "dynamic_slice", impl=_impl_dynamic_slice, lower=_lower_dynamic_slice,
    dynamic=("starts", "sizes"), layout=layout.per_axis("starts", "sizes"),
    vjp=_vjp_dynamic_slice,
)  # fmt: skip


def _impl_dynamic_update_slice(x, update, *, starts):
    starts = _clamped(x.shape, starts, update.shape)
    result = np.array(x)
    result[tuple(slice(a, a + n) for a, n in zip(starts, update.shape, strict=True))] = update
    return result


def _lower_dynamic_update_slice(x, update, *, starts):
    if 0 in dims(update):  # the plugin divides by it, and ends the process
        return x
    sizes = [
        scalar_dim(update, axis) if length is None else length
        for axis, length in enumerate(dims(update))
    ]
    return _updated(x, update, list(_blocks(x, starts, sizes)))


def _updated(x, update, blocks):
    """`update` written into x; the part of x that the first axis selects is updated before."""
    if not blocks:
        return update
    (axis, places), *rest = blocks
    if rest:
        update = _updated(ov.gather(x, places, ints(axis)).output(0), update, rest)
    return ov.scatter_update(x, places, update, ints(axis)).output(0)


def _vjp_dynamic_update_slice(g, inputs, output, *, starts):
    update = inputs[1]
    return (
        dynamic_update_slice(g, zeros_like(update), starts=starts),
        dynamic_slice(g, starts=starts, sizes=lengths(update)),
    )


# x, update: of one rank; starts: of each axis, as in dynamic_slice.
dynamic_update_slice = Primitive(
    "dynamic_update_slice", impl=_impl_dynamic_update_slice, lower=_lower_dynamic_update_slice,
    dynamic=("starts",), layout=layout.per_axis("starts"), vjp=_vjp_dynamic_update_slice,
)  # fmt: skip


# -- gathers


def host_index(array):
    """Indices in a dtype that NumPy takes (it refuses uint64)."""
    return array.astype(np.int64) if array.dtype == np.uint64 else array


def _graph_index(indices):
    return indices if element(indices) == Type.i64 else convert(indices, Type.i32)


def _layout_gather(trace, inputs, attrs):
    x, indices = inputs
    output, permutation = trace.physical(x)
    if permutation is None or indices.ndim > 1:
        return None
    axis = permutation[attrs["axis"]]
    operands, attrs = [output, trace.output(indices)], {"axis": axis}
    if indices.ndim == 1:
        return operands, attrs, permutation
    left = [p - (p > axis) for p in permutation if p != axis]
    return operands, attrs, layout.compose(None, left)


def _lower_gather(x, indices, *, axis):
    index = _graph_index(indices)
    fixed = index.get_node().get_type_name() == "Constant"
    if len(dims(x)) == 1 and len(dims(index)) <= 1 and element(x).is_integral() and not fixed:
        # Of a vector of up to 64 integers the CPU plugin reads whatever memory an index leads to.
        row = ov.gather(ov.unsqueeze(x, ints([0])), index, ints(1))
        return ov.squeeze(row, ints([0]))
    return ov.gather(x, index, ints(axis))


# x; indices: integers of any rank, in place of axis; negative ones count from the end. One out of
# range raises IndexError on the host and gives zeros in a graph.
gather = Primitive(
    "gather",
    impl=lambda x, indices, *, axis: np.take(x, host_index(indices), axis),
    lower=_lower_gather,
    layout=_layout_gather,
)


def wrapped(indices, bounds):
    """Indices of a graph with negative ones counted from the end of axes of length `bounds`."""
    indices = convert(indices, Type.i32)
    below = ov.less(indices, const(0, indices))
    return ov.select(below, ov.add(indices, convert(bounds, Type.i32)), indices).output(0)


def leading_shape(x, count):
    """Lengths of the first `count` axes as an i64 vector."""
    return ov.gather(ov.shape_of(x, "i64"), ints(list(range(count))), ints(0)).output(0)


def _impl_gather_nd(x, indices):
    return x[tuple(np.moveaxis(host_index(indices), -1, 0))]


def _lower_gather_nd(x, indices):
    bounds = convert(leading_shape(x, dims(indices)[-1]), Type.i32)
    # GatherND reads whatever memory an index out of range leads to.
    last = ov.subtract(bounds, const(1, bounds))
    places = ov.minimum(wrapped(indices, bounds), last)
    return ov.gather_nd(x, ov.maximum(places, const(0, bounds)), 0)


# x; indices: integers, whose last axis (of known length > 0) indexes the first axes of x. One out
# of range raises IndexError on the host and is moved into it in a graph.
gather_nd = Primitive("gather_nd", impl=_impl_gather_nd, lower=_lower_gather_nd)


def _lower_take_along_axis(x, indices, *, axis):
    return ov.gather_elements(x, wrapped(indices, scalar_dim(x, axis)), axis)


# x, indices: of one rank, equal but along axis.
take_along_axis = Primitive(
    "take_along_axis",
    impl=lambda x, indices, *, axis: np.take_along_axis(x, host_index(indices), axis),
    lower=_lower_take_along_axis,
)


# -- nonzero


def _lower_nonzero(x):
    flags = x if element(x) == Type.boolean else ov.not_equal(x, const(0, x))
    return ov.non_zero(flags, "i32")


# x of rank >= 1; the result is int32 of shape (rank, count), in C order.
nonzero = Primitive(
    "nonzero",
    impl=lambda x: np.stack(np.nonzero(x)).astype(np.int32),
    lower=_lower_nonzero,
    dtype="int32",
    nondifferentiable="integer result",
)
