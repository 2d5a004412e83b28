"""Primitives that reduce axes: sums, products, means, extremes, logic, positions of extremes.

`axis` is a tuple of the axes (all of them spelled out; none leaves every element by itself),
`keepdims` keeps them with length 1. Along axes without elements a sum is 0, a product 1, a mean
NaN; extremes raise, as in NumPy.
"""

from __future__ import annotations

import math

import numpy as np
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.lowering import (
    const,
    convert,
    dims,
    element,
    ints,
    is_float,
    ov,
    rank,
    scalar_dim,
    shape_of,
)  # fmt: skip
from kerasvino.primitives import compare, layout
from kerasvino.primitives.arithmetic import multiply
from kerasvino.primitives.cast import cast
from kerasvino.primitives.compare import where
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.shape import broadcast_to, expand_dims, lengths, reshape, transpose
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "argmax", "argmin", "expanded", "mean_and_variance", "reduce_all", "reduce_any", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum",
]  # fmt: skip

# -- helpers of lowerings


def _count(x, axis):
    """Number of elements that are reduced to one; None where unknown."""
    known = [dims(x)[a] for a in axis]
    return None if None in known else math.prod(known)


def _refuse_empty(x, axis, name):
    kept = [n for a, n in enumerate(dims(x)) if a not in axis]
    if any(dims(x)[a] == 0 for a in axis) and 0 not in kept:
        raise ValueError(f"{name} of no elements: the reduced shape is {dims(x)}, axis {axis}.")


def _dropped(x, axis, keepdims):
    """`x`, of which `axis` have been reduced to length 1, with these axes or without."""
    return x if keepdims else ov.squeeze(x, ints(sorted(axis)))


def _ov_sum(x, axis, keepdims):
    return ov.reduce_sum(x, ints(axis), keepdims)


# A float32 counts exactly up to this.
_EXACT = 2**24
_MAGNITUDE = {Type.boolean: 1, Type.i8: 2**7, Type.u8: 2**8, Type.i16: 2**15, Type.u16: 2**16}

# -- sums

# The CPU plugin adds a vector up one by one; in blocks of this length it loses fewer digits.
_BLOCK = 1024


def _is_vector(x):
    """Whether all axes but one are known to have length 1."""
    return rank(x) > 0 and sum(n != 1 for n in dims(x)) == 1


def _sum_floats(x, axis, keepdims):
    count = _count(x, axis)
    if not _is_vector(x) or (count is not None and count < 4 * _BLOCK) or len(axis) < rank(x):
        return _ov_sum(x, axis, keepdims)
    flat = ov.reshape(x, ints([-1]), special_zero=False)
    if count is None:
        # as many zeros as fill up the last block
        length = scalar_dim(flat.output(0), 0)
        missing = ov.bitwise_and(ov.subtract(ints(0), length), ints(_BLOCK - 1))
        missing = ov.unsqueeze(missing, ints(0))
    else:
        missing = ints([-count % _BLOCK])
    flat = ov.pad(flat, ints([0]), missing, "constant")
    blocks = ov.reshape(flat, ints([-1, _BLOCK]), special_zero=False)
    # With the axis between them the two reductions are not merged back into one.
    rows = ov.unsqueeze(_ov_sum(blocks, [1], False), ints([0]))
    total = _ov_sum(rows, [0, 1], False)
    return ov.reshape(total, ints([1] * rank(x) if keepdims else []), special_zero=False)


def _sum_integers(x, axis, keepdims):
    """Of any integers or booleans: the last of their running sums, which wrap as i32 does."""
    kind, count = element(x), _count(x, axis)
    # not even one of the wide integers: the plugin's f32 sum would round it
    if count is not None and count * _MAGNITUDE.get(kind, 2 * _EXACT) <= _EXACT:
        return convert(_ov_sum(convert(x, Type.f32), axis, keepdims).output(0), Type.i32)
    known, x = dims(x), integer.widen(x)
    for a in sorted(axis, reverse=True):
        if not known[a]:
            after = [int(i == a) for i in range(len(known))]
            x = ov.pad(x, ints([0] * len(known)), ints(after), "constant")
        x = ov.gather(ov.cum_sum(x, ints(a)), ints([-1]), ints(a))
    return _dropped(x, axis, keepdims)


def _lower_sum(x, *, axis, keepdims):
    kind = element(x)
    target = Type.i32 if kind == Type.boolean else kind
    if not axis:
        return convert(x, target)
    if is_float(x):
        return _sum_floats(x, axis, keepdims)
    return integer.narrow(_sum_integers(x, axis, keepdims), target)


def _accumulated(function):
    """`function` of arrays with float16 and bfloat16 accumulated in float32."""

    def impl(x, *, axis, keepdims):
        if x.dtype.itemsize < 4 and x.dtype.kind not in "iub":
            wide = function(x, axis=axis, keepdims=keepdims, dtype=np.float32)
            return np.asarray(wide).astype(x.dtype)
        kind = np.int32 if x.dtype.kind == "b" else x.dtype
        return function(x, axis=axis, keepdims=keepdims, dtype=kind)

    return impl


def _counts(inputs, attrs):
    return "int32" if inputs[0] == "bool" else inputs[0]


def _reduction(name, impl, lower, **columns):
    return Primitive(
        name, impl=impl, lower=lower,
        layout=layout.axis_rule("axis", keeps=lambda attrs: attrs["keepdims"]), **columns,
    )  # fmt: skip


def expanded(reduced: Tensor, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    """A reduced tensor with the reduced axes in place, of length 1."""
    return reduced if keepdims or not axis else expand_dims(reduced, axis=tuple(sorted(axis)))


def _spread(g, x, axis, keepdims):
    """A cotangent of a reduction of x, repeated along the axes that were reduced."""
    return broadcast_to(expanded(g, axis, keepdims), shape=lengths(x))


# x of any dtype; booleans are counted, as int32; integers wrap.
reduce_sum = _reduction(
    "reduce_sum", _accumulated(np.add.reduce), _lower_sum, dtype=_counts, wide="lower",
    vjp=lambda g, inputs, output, *, axis, keepdims: (_spread(g, inputs[0], axis, keepdims),),
)  # fmt: skip

# -- means


def _mean_floats(x, axis, keepdims):
    count = _count(x, axis)
    if count == 0:
        return ov.add(_ov_sum(x, axis, keepdims), const(math.nan, x))
    if count is not None:
        if count < 4 * _BLOCK or not _is_vector(x):
            return ov.reduce_mean(x, ints(axis), keepdims)
        return ov.multiply(_sum_floats(x, axis, keepdims), const(1 / count, x))
    lengths_ = ov.gather(shape_of(x), ints(axis), ints(0))
    length = ov.convert(ov.reduce_prod(lengths_, ints([0]), False), "f32")
    if _is_vector(x):
        return ov.divide(_sum_floats(x, axis, keepdims), length)
    # OpenVINO's mean of nothing is 0.
    return ov.add(ov.reduce_mean(x, ints(axis), keepdims), ov.divide(const(0.0, x), length))


def _lower_mean(x, *, axis, keepdims):
    return _mean_floats(x, axis, keepdims) if axis else x


def _impl_mean(x, *, axis, keepdims):
    wide = np.float32 if x.dtype.itemsize < 4 else x.dtype
    total = np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=wide)
    count = math.prod([x.shape[a] for a in axis])
    return np.asarray(np.true_divide(total, total.dtype.type(count))).astype(x.dtype)


def _share(g, x, axis):
    """g over the number of elements of x along `axis`."""
    count = _total(x, axis)
    return g / (count if isinstance(count, int) else cast(count, dtype=g.dtype))


def _vjp_mean(g, inputs, output, *, axis, keepdims):
    x, kind = inputs[0], g.dtype
    if kind in ("float16", "bfloat16"):
        g = cast(g, dtype="float32")  # which holds the number of elements
    g = _share(g, x, axis)
    return (_spread(g if g.dtype == kind else cast(g, dtype=kind), x, axis, keepdims),)


# x of floats.
reduce_mean = _reduction("reduce_mean", _impl_mean, _lower_mean, wide="lower", vjp=_vjp_mean)


def _impl_moments(x, *, axis):
    mean = _impl_mean(x, axis=axis, keepdims=True)
    return mean, _impl_mean(np.square(x - mean), axis=axis, keepdims=True)


def _lower_moments(x, *, axis):
    if not axis:
        return x, ov.subtract(x, x)
    mean = _mean_floats(x, axis, True)
    if 0 in dims(x):
        return mean, mean
    centred = ov.subtract(x, mean)
    return mean, _mean_floats(ov.multiply(centred, centred).output(0), axis, True)


def _vjp_moments(grads, inputs, outputs, *, axis):
    """The variance does not change with the mean that is taken off: the distances sum to 0."""
    (x,) = inputs
    shift, slope = (_share(g, x, axis) for g in grads)
    return ((x - outputs[0]) * (slope * 2) + shift,)


# x of float32 or float64 -> its mean and variance, the reduced axes of length 1.
mean_and_variance = Primitive(
    "mean_and_variance", impl=_impl_moments, lower=_lower_moments, vjp=_vjp_moments, multiple=True,
    dtype=lambda inputs, attrs: (inputs[0],) * 2,
    layout=layout.axis_rule("axis", keeps=lambda attrs: True),
)  # fmt: skip

# -- products


def _lower_prod(x, *, axis, keepdims):
    kind = element(x)
    if not axis:
        return x
    if is_float(x):
        return ov.reduce_prod(x, ints(axis), keepdims)
    found = ov.reduce_prod(integer.widen(x), ints(axis), keepdims)
    # Arithmetic that follows would be fused into the reduction and computed in f32; this is not.
    return integer.narrow(ov.bitwise_and(found, integer.i32(-1)), kind)


def _vjp_prod(g, inputs, output, *, axis, keepdims):
    """The product of the elements before each one times that of those after it: no division."""
    from kerasvino.primitives.cumulative import products_before

    x = inputs[0]
    if not axis:
        return (g,)
    order = (*(a for a in range(x.ndim) if a not in axis), *axis)
    moved = transpose(x, axes=order)
    kept = x.ndim - len(axis)
    flat = reshape(moved, shape=(*lengths(moved)[:kept], _total(x, axis)))
    others = products_before(flat, axis=kept) * products_before(flat, axis=kept, reverse=True)
    others = transpose(reshape(others, shape=lengths(moved)), axes=layout.inverse(order))
    return (_spread(g, x, axis, keepdims) * others,)


def _total(x, axis):
    """Product of the lengths of `axis`, an int or a symbolic int32."""
    found = [lengths(x)[a] for a in axis]
    total = math.prod(n for n in found if isinstance(n, int))
    for n in found:
        if not isinstance(n, int):
            total = multiply(n, constant_like(total, n) if isinstance(total, int) else total)
    return total


# x of numbers; integers wrap.
reduce_prod = _reduction(
    "reduce_prod", _accumulated(np.multiply.reduce), _lower_prod, wide="lower", vjp=_vjp_prod
)

# -- extremes


def _extreme_floats(x, operation, worst, axis, keepdims):
    # OpenVINO ignores NaN, and starts from the largest finite number instead of infinity.
    found = operation(x, ints(axis), keepdims)
    one, zero = const(1.0, x), const(0.0, x)
    seen = ov.select(ov.equal(x, const(worst, x)), zero, one)
    seen = ov.select(ov.not_equal(x, x), const(2.0, x), seen)
    seen = ov.reduce_max(seen, ints(axis), keepdims)
    found = ov.select(ov.less(seen, one), const(worst, x), found)
    return ov.select(ov.less(one, seen), const(math.nan, x), found)


def _extreme_integers(x, mode, operation, axis, keepdims):
    kind = element(x)
    if integer.is_small(kind):
        found = operation(convert(x, Type.f32), ints(axis), keepdims)
        return integer.narrow(convert(found.output(0), Type.i32), kind)
    x = integer.widen(x)
    x = integer.flip_sign(x) if kind == Type.u32 else x
    for a in sorted(axis, reverse=True):
        x = _topmost(x, a, mode)
    x = integer.flip_sign(x) if kind == Type.u32 else x
    return integer.narrow(_dropped(x, axis, keepdims), kind)


def _topmost(x, axis, mode):
    """The extreme along one axis, kept with length 1: exact on i32, right for infinite floats."""
    # Where one is asked for, ordering by index is far quicker.
    return ov.topk(x, ints(1), axis, mode, "index", "i32").output(0)


def _vjp_extreme(g, inputs, output, *, axis, keepdims):
    # Equal elements share the gradient.
    x = inputs[0]
    found = expanded(output, axis, keepdims)
    won = where(compare.equal(x, found), constant_like(1, g), 0)
    share = expanded(g, axis, keepdims) / reduce_sum(won, axis=axis, keepdims=True)
    return (where(compare.equal(x, found), share, 0),)


def _extreme(name, ufunc, mode, operation, logical, worst):
    def lower(x, *, axis, keepdims):
        if not axis:
            return x
        if element(x) == Type.boolean:
            return logical(x, ints(axis), keepdims)
        _refuse_empty(x, axis, name)
        if is_float(x):
            return _extreme_floats(x, operation, worst, axis, keepdims)
        return _extreme_integers(x, mode, operation, axis, keepdims)

    def impl(x, *, axis, keepdims):
        return ufunc.reduce(x, axis=axis, keepdims=keepdims)

    return _reduction(name, impl, lower, wide="exact", vjp=_vjp_extreme)


# x of any dtype; NaN wins.
reduce_max = _extreme(
    "reduce_max", np.maximum, "max", ov.reduce_max, ov.reduce_logical_or, -math.inf
)
reduce_min = _extreme(
    "reduce_min", np.minimum, "min", ov.reduce_min, ov.reduce_logical_and, math.inf
)

# -- logic


def _logical(name, ufunc, operation):
    return _reduction(
        name,
        lambda x, *, axis, keepdims: ufunc.reduce(x, axis=axis, keepdims=keepdims),
        lambda x, *, axis, keepdims: operation(x, ints(axis), keepdims) if axis else x,
        dtype="bool", nondifferentiable="boolean result",
    )  # fmt: skip


# x of booleans.
reduce_any = _logical("reduce_any", np.logical_or, ov.reduce_logical_or)
reduce_all = _logical("reduce_all", np.logical_and, ov.reduce_logical_and)

# -- positions of extremes


def _first(found, x, axis):
    """Index along an axis of the first place where a boolean holds, as i32."""
    length = scalar_dim(x, axis)
    order = ov.range(ints(0), length, ints(1), "i32")
    along = [-1 if a == axis else 1 for a in range(rank(x))]
    order = ov.reshape(order, ints(along), special_zero=False)
    return _topmost(integer.select(found, order, integer.i32(2**31 - 1)), axis, "min")


def _best_floats(x, axis, mode, best):
    """Where the extremes are; where there is a NaN, only that."""
    is_nan = ov.not_equal(x, x)
    present = ov.reduce_logical_or(is_nan, ints([axis]), True)
    x = ov.select(is_nan, const(best, x), x).output(0)
    found = ov.equal(x, _topmost(x, axis, mode))
    return ov.logical_and(found, ov.logical_or(is_nan, ov.logical_not(present)))


def _position(name, function, mode, best):
    def lower(x, *, axis, keepdims):
        _refuse_empty(x, (axis,), name)
        if is_float(x):
            found = _best_floats(x, axis, mode, best)
        else:
            wide = integer.widen(x)
            wide = integer.flip_sign(wide) if element(x) == Type.u32 else wide
            found = integer.equal(wide, _topmost(wide, axis, mode))
        return _dropped(_first(found, x, axis), (axis,), keepdims)

    def impl(x, *, axis, keepdims):
        return function(x, axis=axis, keepdims=keepdims).astype(np.int32)

    return _reduction(
        name, impl, lower, dtype="int32", wide=True, nondifferentiable="integer result"
    )


# x of any dtype; axis: an int. The first of equal extremes, and NaN, as int32.
argmax = _position("argmax", np.argmax, "max", math.inf)
argmin = _position("argmin", np.argmin, "min", -math.inf)
