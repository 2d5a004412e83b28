"""Primitives that write values by position: scatter_nd and scatter_add."""

from __future__ import annotations

import math

import numpy as np
from openvino import Type

from kerasvino import dtypes
from kerasvino.nodes import integer
from kerasvino.nodes.floating import round_bf16
from kerasvino.nodes.lowering import (
    const,
    convert,
    dims,
    element,
    ints,
    is_float,
    ov,
    scalar_dim,
    vector,
)
from kerasvino.primitives.arithmetic import maximum
from kerasvino.primitives.compare import equal, select, where
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.create import full_like, iota, zeros_like
from kerasvino.primitives.indexing import (
    gather_nd,
    host_index,
    leading_shape,
    take_along_axis,
    wrapped,
)
from kerasvino.primitives.shape import broadcast_to, lengths, reshape
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["scatter_add", "scatter_nd"]

_UFUNCS = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}
_REDUCTIONS = {None: "none", "add": "sum", "max": "max", "min": "min", "mul": "prod"}


def _reduced(operation):
    """The lowering of a scatter: integers combine as i32, whose arithmetic wraps, floats as f32."""

    def lower(x, indices, updates, *, reduction, **attrs):
        mode, kind = _REDUCTIONS[reduction], element(x)
        if reduction is None:
            return operation(x, indices, updates, mode, **attrs)
        if is_float(x):
            return _reduced_floats(operation, x, indices, updates, mode, attrs)
        x, updates = integer.widen(x), integer.widen(updates)
        # Only the order of numbers depends on their sign: sums and products wrap alike.
        flip = integer.flip_sign if kind == Type.u32 and mode in ("max", "min") else lambda v: v
        found = operation(flip(x), indices, flip(updates), mode, **attrs)
        return integer.narrow(flip(found), kind)

    return lower


def _reduced_floats(operation, x, indices, updates, mode, attrs):
    kind = element(x)
    x, updates = convert(x, Type.f32), convert(updates, Type.f32)
    found = operation(x, indices, updates, mode, **attrs)
    if mode in ("max", "min"):
        # These two let a NaN fall.
        flags = (convert(ov.not_equal(v, v).output(0), Type.i32) for v in (x, updates))
        lost = operation(next(flags), indices, next(flags), "max", **attrs)
        lost = ov.not_equal(lost, const(0, lost))
        found = ov.select(lost, const(np.nan, found), found).output(0)
    elif kind == Type.bf16:
        found = round_bf16(found).output(0)
    return convert(found, kind)


def _accumulator(array):
    """A copy to combine values in: narrow floats as float32, so as to round but once."""
    narrow = array.dtype.itemsize < 4 and dtypes.is_float(dtypes.name_of(array.dtype))
    return array.astype(np.float32 if narrow else array.dtype)


def _impl_scatter_nd(x, indices, updates, *, reduction):
    places = tuple(np.moveaxis(host_index(indices), -1, 0))
    if reduction is None:
        result = np.array(x)
        result[places] = updates
        return result
    result = _accumulator(x)
    _UFUNCS[reduction].at(result, places, updates.astype(result.dtype, copy=False))
    return result.astype(x.dtype, copy=False)


@_reduced
def _lower_scatter_nd(x, indices, updates, mode):
    places = wrapped(indices, leading_shape(x, dims(indices)[-1]))
    count = dims(indices)[:-1]
    if mode == "none" and 0 not in count and any(n != 1 for n in count):
        updates = _last(x, places, updates)
    return ov.scatter_nd_update(x, places, updates, mode).output(0)


def _last(x, places, updates):
    """Updates in which those of one place are all the last of them: the CPU writes in any order."""
    depth = dims(places)[-1]
    count = _lengths(places)[:-1]
    known = all(isinstance(n, int) for n in count)
    total = math.prod(count) if known else ov.reduce_prod(vector(count), ints(0)).output(0)
    end = ints(total) if known else total
    order = ov.range(ints(0), end, ints(1), "i32")
    order = ov.reshape(order, vector(count), special_zero=False)
    table = ov.broadcast(const(0, Type.i32), leading_shape(x, depth))
    table = ov.scatter_nd_update(table, places, order, "max")
    flat = vector([total, *_lengths(x)[depth:]])
    flat = ov.reshape(updates, flat, special_zero=False)
    return ov.gather(flat, ov.gather_nd(table, places, 0), ints(0)).output(0)


def _lengths(x):
    return [scalar_dim(x, a) if n is None else n for a, n in enumerate(dims(x))]


def _vjp_set(g, x, indices, updates, output):
    """Of several updates of one place, only the one that was kept has a gradient."""
    flat = reshape(indices, shape=(-1, indices.shape[-1]))
    count = lengths(indices)[:-1]
    order = reshape(iota(size=lengths(flat)[0]), shape=count)
    zero = Tensor._wrap(np.zeros((), np.int32))
    table = broadcast_to(zero, shape=lengths(x)[: indices.shape[-1]])
    kept = gather_nd(scatter_nd(table, indices, order, reduction=None), indices)
    kept = reshape(equal(kept, order), shape=(*count, *(1,) * (g.ndim - indices.shape[-1])))
    picked = gather_nd(g, indices)
    return (
        scatter_nd(g, indices, zeros_like(updates), reduction=None),
        where(kept, picked, 0),
    )


def _vjp_add(g, x, indices, updates, output):
    return g, gather_nd(g, indices)


def _vjp_mul(g, x, indices, updates, output):
    """A factor's gradient is the product of the others, which for a single 0 is without it."""
    is_zero = updates == 0
    factors, count = where(is_zero, 1, updates), where(is_zero, 1, zeros_like(updates))
    zeros = scatter_nd(zeros_like(x), indices, count, reduction="add")
    nonzero = scatter_nd(x, indices, factors, reduction="mul")
    others = gather_nd(where(zeros > 1, 0, g * nonzero), indices)
    beside = gather_nd(zeros, indices) > count
    d_updates = select(beside, zeros_like(others), others) / factors
    return scatter_nd(g, indices, updates, reduction="mul"), d_updates


def _vjp_extreme(g, x, indices, updates, output):
    """Equal candidates share the gradient."""
    first = where(equal(x, output), full_like(x, 1), 0)
    won = where(equal(updates, gather_nd(output, indices)), full_like(updates, 1), 0)
    total = scatter_nd(first, indices, won, reduction="add")
    share = g / maximum(total, constant_like(1, g))
    return share * first, gather_nd(share, indices) * won


_VJPS = {None: _vjp_set, "add": _vjp_add, "mul": _vjp_mul, "max": _vjp_extreme, "min": _vjp_extreme}


def _vjp_scatter_nd(g, inputs, output, *, reduction):
    x, indices, updates = inputs
    dx, d_updates = _VJPS[reduction](g, x, indices, updates, output)
    return dx, None, d_updates


# x; indices: integers, whose last axis (of known length > 0) indexes the first axes of x; updates;
# reduction: None (the last update of a place stays), or add, mul, max or min, which combine all
# updates of a place with the value of x.
scatter_nd = Primitive(
    "scatter_nd", impl=_impl_scatter_nd, lower=_lower_scatter_nd, vjp=_vjp_scatter_nd
)


# -- along one axis


def _impl_scatter_add(x, indices, updates, *, axis):
    result = _accumulator(x)
    places = list(np.indices(indices.shape, sparse=True))
    places[axis] = host_index(indices)
    np.add.at(result, tuple(places), updates.astype(result.dtype, copy=False))
    return result.astype(x.dtype, copy=False)


@_reduced
def _lower_scatter_add(x, indices, updates, mode, axis):
    places = wrapped(indices, scalar_dim(x, axis))
    return ov.scatter_elements_update(x, places, updates, ints(axis), mode).output(0)


# x; indices, of its rank: along axis; updates, of the shape of indices: added to x there.
scatter_add = Primitive(
    "scatter_add",
    impl=_impl_scatter_add,
    lower=lambda *operands, axis: _lower_scatter_add(*operands, reduction="add", axis=axis),
    vjp=lambda g, inputs, output, *, axis: (g, None, take_along_axis(g, inputs[1], axis=axis)),
)
