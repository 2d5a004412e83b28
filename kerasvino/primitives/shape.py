"""Primitives of the shape: its lengths, reshape, transpose, broadcast, axes of length 1."""

from __future__ import annotations

import numpy as np
from openvino import Type

from kerasvino.nodes.lowering import const, convert, dims, ints, ov, rank, scalar_dim, vector
from kerasvino.primitives import core, layout
from kerasvino.primitives.core import Primitive
from kerasvino.tensor import Tensor

__all__ = [
    "broadcast_to", "dimension", "expand_dims", "lengths", "reshape", "squeeze", "transpose",
]  # fmt: skip


def _layout_dimension(trace, inputs, attrs):
    output, permutation = trace.physical(inputs[0])
    return [output], {"axis": permutation[attrs["axis"]]}, None


# x; axis: whose length is wanted, as an int32 of rank 0.
dimension = Primitive(
    "dimension", impl=lambda x, *, axis: np.asarray(x.shape[axis], np.int32),
    lower=lambda x, *, axis: convert(scalar_dim(x, axis), Type.i32),
    dtype="int32", layout=_layout_dimension, nondifferentiable="integer result",
)  # fmt: skip


def lengths(x: Tensor) -> tuple:
    """The shape, with a symbolic int32 scalar for each axis that the graph does not know."""
    shape = x.shape
    if None not in shape:
        return shape
    return tuple(dimension(x, axis=a) if n is None else n for a, n in enumerate(shape))


# -- reshape and its special cases


def _layout_reshape(trace, inputs, attrs):
    # Where only axes of length 1 change places, reading the data in either order is the same.
    output, permutation = trace.physical(inputs[0])
    known = dims(output)
    moved = [axis for axis in permutation if known[axis] != 1]
    return ([output], attrs, None) if moved == sorted(moved) else None


def _impl_reshape(x, *, shape):
    try:
        return x.reshape(shape)
    except ValueError as error:
        if min(shape, default=0) < -1 or shape.count(-1) > 1:
            raise
        how = "divide into" if -1 in shape else "fit"
        raise ValueError(f"{x.size} elements do not {how} {shape}.") from error


def _lower_reshape(x, *, shape):
    if not shape and rank(x):
        # A MatMul followed by a Reshape to rank 0 crashes the CPU plugin (OpenVINO 2026.4).
        return ov.squeeze(x, ints(list(range(rank(x)))))
    static = [n for n in shape if isinstance(n, int)]
    if 0 in static and len(static) < len(shape):
        # Beside lengths known at run time a 0 is mistaken for "as in x" when graphs are simplified.
        return _empty(x, shape)
    return ov.reshape(x, vector(shape), special_zero=False)


def _empty(x, shape):
    """Nothing of the element type of x, in a shape with a 0 in it."""
    return ov.broadcast(const(0, x), vector(shape))


class _Reshape(Primitive):
    """On the host a view: dispatched with no more overhead than that is worth."""

    __slots__ = ()

    def __call__(self, x, *, shape):
        array = x._array
        if array is not None and x.record is None and not core._eager_compiled:
            for length in shape:
                if type(length) is not int:
                    break
            else:
                try:
                    return Tensor._wrap(array.reshape(shape))
                except ValueError:  # which is explained below
                    pass
        return super().__call__(x, shape=shape)


# x; shape: ints (one may be -1) and symbolic integer scalars.
reshape = _Reshape(
    "reshape",
    impl=_impl_reshape,
    lower=_lower_reshape,
    dynamic=("shape",),
    layout=_layout_reshape,
    vjp=lambda g, inputs, output, *, shape: (reshape(g, shape=lengths(inputs[0])),),
)


def _layout_expand(trace, inputs, attrs):
    """The new axes come last in physical order."""
    output, permutation = trace.physical(inputs[0])
    width = len(permutation) + len(attrs["axis"])
    new, old = iter(range(len(permutation), width)), iter(permutation)
    result = tuple(next(new if axis in attrs["axis"] else old) for axis in range(width))
    return [output], {"axis": tuple(range(len(permutation), width))}, result


def _impl_expand(x, *, axis):
    if len(axis) == 1:  # a quarter of the cost of np.expand_dims
        return x[(slice(None),) * axis[0] + (None,)]
    return np.expand_dims(x, axis)


def _lower_expand(x, *, axis):
    known = dims(x)
    if 0 in known and None in known:
        # Of an empty operand Unsqueeze makes every unknown length 0.
        shape = [scalar_dim(x, a) if n is None else n for a, n in enumerate(known)]
        for place in axis:
            shape.insert(place, 1)
        return _empty(x, shape)
    return ov.unsqueeze(x, ints(axis)) if axis else x


# x; axis: sorted tuple of the axes of the result that are new, of length 1.
expand_dims = Primitive(
    "expand_dims",
    impl=_impl_expand,
    lower=_lower_expand,
    layout=_layout_expand,
    vjp=lambda g, inputs, output, *, axis: (squeeze(g, axis=axis),),
)
# x; axis: tuple of axes of length 1 to drop.
squeeze = Primitive(
    "squeeze",
    impl=lambda x, *, axis: x.squeeze(axis),
    lower=lambda x, *, axis: ov.squeeze(x, ints(axis)) if axis else x,
    layout=layout.axis_rule("axis", keeps=lambda attrs: False),
    vjp=lambda g, inputs, output, *, axis: (expand_dims(g, axis=axis),),
)


# -- transpose


def _layout_transpose(trace, inputs, attrs):
    output, permutation = trace.physical(inputs[0])
    return [output], attrs, layout.compose(permutation, attrs["axes"])


# x; axes: a permutation of range(rank). In a graph it only stays pending (see layout).
transpose = Primitive(
    "transpose",
    impl=lambda x, *, axes: x.transpose(axes),
    lower=lambda x, *, axes: x,
    layout=_layout_transpose,
    permutes=True,
    vjp=lambda g, inputs, output, *, axes: (transpose(g, axes=layout.inverse(axes)),),
)


# -- broadcast


def _lower_broadcast(x, *, shape):
    return ov.broadcast(x, vector(shape)) if shape else x


def _layout_broadcast(trace, inputs, attrs):
    output, permutation = trace.physical(inputs[0])
    shape = attrs["shape"]
    new = len(shape) - len(permutation)
    order = layout.inverse(permutation)
    physical = shape[:new] + tuple(shape[new + axis] for axis in order)
    return [output], {"shape": physical}, (*range(new), *(new + p for p in permutation))


# x; shape: that x broadcasts to, of ints and symbolic integer scalars.
broadcast_to = Primitive(
    "broadcast_to",
    impl=lambda x, *, shape: np.broadcast_to(x, shape),
    lower=_lower_broadcast,
    dynamic=("shape",),
    layout=_layout_broadcast,
)
