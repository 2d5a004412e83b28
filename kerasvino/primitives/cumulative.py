"""Primitives that run along an axis: cumulative sum and product, and linear recurrences.

`axis` is an int; with `reverse` they run from the end.
"""

from __future__ import annotations

import numpy as np
import openvino
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.lowering import const, dims, element, ints, is_float, ov, rank, scalar_dim
from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive
from kerasvino.tensor import Tensor

__all__ = ["cumprod", "cumsum", "linear_recurrence", "products_before"]


def _accumulated(ufunc):
    def impl(x, *, axis, reverse):
        turned = np.flip(x, axis) if reverse else x
        result = ufunc.accumulate(turned, axis=axis, dtype=x.dtype)
        return np.flip(result, axis) if reverse else result

    return impl


def _along(name, impl, lower, vjp):
    return Primitive(
        name, impl=impl, lower=lower, wide=True, vjp=vjp, layout=layout.axis_rule("axis")
    )


# -- sums


def _lower_cumsum(x, *, axis, reverse):
    if is_float(x):
        return ov.cum_sum(x, ints(axis), reverse=reverse)
    total = ov.cum_sum(integer.widen(x), ints(axis), reverse=reverse)
    return integer.narrow(total, element(x))


# x of numbers; integers wrap.
cumsum = _along(
    "cumsum", _accumulated(np.add), _lower_cumsum,
    lambda g, inputs, output, *, axis, reverse: (cumsum(g, axis=axis, reverse=not reverse),),
)  # fmt: skip


# -- associative scans (Hillis and Steele 1986): after the step of width s each place has combined
#    its last 2 s elements; log2 n steps


def _scan(operands, axis, reverse, combine, neutral):
    """The scan of a list of operands along an axis.

    Args:
        combine: `combine(earlier, later)` of lists of operands -> a list.
        neutral: numbers that leave what is combined with them unchanged, one for each operand.
    """
    length = dims(operands[0])[axis]
    if length is None:
        return _scan_loop(operands, axis, reverse, combine, neutral)
    for step in range(max(length - 1, 0).bit_length()):
        width = 1 << step
        earlier = [
            _shifted(x, axis, width, reverse, value)
            for x, value in zip(operands, neutral, strict=True)
        ]
        operands = combine(earlier, operands)
    return operands


def _shifted(x, axis, width, reverse, value):
    """x moved by `width` places, filled up with `value`."""
    moved = [-width if a == axis else 0 for a in range(rank(x))]
    filled = [width if a == axis else 0 for a in range(rank(x))]
    before, after = (moved, filled) if reverse else (filled, moved)
    return ov.pad(x, ints(before), ints(after), "constant", const(value, x)).output(0)


def _scan_loop(operands, axis, reverse, combine, neutral):
    """The same along an axis of unknown length, as a Loop whose width doubles."""
    index = ov.parameter([], Type.i64)
    inner = [ov.parameter(x.get_partial_shape(), element(x)) for x in operands]
    width = ov.parameter([], Type.i32)
    length = ov.convert(scalar_dim(operands[0], axis), "i32").output(0)
    bound = ov.parameter([], Type.i32)
    order = ov.range(integer.i32(0), bound, integer.i32(1), "i32")
    source = (ov.add if reverse else ov.subtract)(order, width)
    last = ov.subtract(bound, integer.i32(1))
    outside = ov.less(last, source) if reverse else ov.less(source, integer.i32(0))
    source = ov.maximum(ov.minimum(source, last), integer.i32(0))
    along = [-1 if a == axis else 1 for a in range(rank(operands[0]))]
    outside = ov.reshape(outside, ints(along), special_zero=False)
    select = ov.select if is_float(operands[0]) else integer.select
    earlier = []
    for x, value in zip(inner, neutral, strict=True):
        moved = ov.gather(x, source, ints(axis))
        earlier.append(select(outside, const(value, x.output(0)), moved))
    results = [ov.result(x) for x in combine(earlier, inner)]
    doubled = ov.add(width, width)
    next_width = ov.result(doubled)
    proceed = ov.result(ov.less(doubled, bound))
    body = openvino.Model([proceed, next_width, *results], [index, width, bound, *inner])
    loop = ov.loop(integer.i32(32), ov.less(integer.i32(1), length).output(0))
    loop.set_function(body)
    loop.set_special_body_ports([0, 0])
    loop.set_merged_input(width, integer.i32(1), next_width.output(0))
    loop.set_invariant_input(bound, length)
    for parameter, x, result in zip(inner, operands, results, strict=True):
        loop.set_merged_input(parameter, x, result.output(0))
    return [loop.get_iter_value(result.output(0), -1) for result in results]


# -- products


def _lower_cumprod(x, *, axis, reverse):
    def scan(v):
        return _scan([v], axis, reverse, lambda a, b: [ov.multiply(a[0], b[0]).output(0)], [1])[0]

    if is_float(x):
        return scan(x)
    return integer.narrow(scan(integer.widen(x)), element(x))


def _vjp_cumprod(g, inputs, output, *, axis, reverse):
    """The products before each element, times what the later ones make of the cotangents.

    The latter, s[i] = g[i] + x[i + 1] s[i + 1], needs no division, so zeros are right.
    """
    x = inputs[0]
    factors = _moved(x, axis, 0, reverse=not reverse)
    later = linear_recurrence(factors, g, axis=axis, reverse=not reverse)
    return (products_before(x, axis=axis, reverse=reverse) * later,)


# x of numbers; integers wrap. In a graph the factors are multiplied in another order.
cumprod = _along("cumprod", _accumulated(np.multiply), _lower_cumprod, _vjp_cumprod)


def _moved(x: Tensor, axis: int, value, reverse: bool) -> Tensor:
    """x one place further along an axis (back with `reverse`); `value` comes first."""
    from kerasvino.primitives.indexing import END, slice_
    from kerasvino.primitives.join import pad

    one, bounds = ((0, 1), (1, END)) if reverse else ((1, 0), (0, -1))
    pads = tuple(one if a == axis else (0, 0) for a in range(x.ndim))
    x = pad(x, pads=pads, mode="constant", value=value)
    return slice_(x, axis=(axis,), starts=bounds[:1], stops=bounds[1:], steps=(1,))


def products_before(x: Tensor, axis: int, reverse: bool = False) -> Tensor:
    """The product of the elements before each one along an axis (after it with `reverse`)."""
    return _moved(cumprod(x, axis=axis, reverse=reverse), axis, 1, reverse)


# -- h[i] = a[i] h[i - 1] + b[i]


def _impl_recurrence(a, b, *, axis, reverse):
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    result = np.array(b)
    order = range(len(b))[::-1] if reverse else range(len(b))
    previous = np.zeros(b.shape[1:], b.dtype)
    for i in order:
        previous = result[i] = a[i] * previous + result[i]
    return np.moveaxis(result, 0, axis)


def _lower_recurrence(a, b, *, axis, reverse):
    def combine(earlier, later):
        factor = ov.multiply(earlier[0], later[0]).output(0)
        return [factor, ov.add(ov.multiply(later[0], earlier[1]), later[1]).output(0)]

    return _scan([a, b], axis, reverse, combine, [1, 0])[1]


def _vjp_recurrence(g, inputs, output, *, axis, reverse):
    factors = _moved(inputs[0], axis, 0, reverse=not reverse)
    db = linear_recurrence(factors, g, axis=axis, reverse=not reverse)
    return db * _moved(output, axis, 0, reverse), db


# a, b: floats of one shape; h[i] = a[i] h[i - 1] + b[i] along axis, from 0.
linear_recurrence = _along(
    "linear_recurrence", _impl_recurrence, _lower_recurrence, _vjp_recurrence
)
