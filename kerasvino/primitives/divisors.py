"""Primitives `gcd` and `lcm`: the greatest common divisor and the least common multiple."""

from __future__ import annotations

import numpy as np
import openvino
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.floating import magnitude
from kerasvino.nodes.lowering import const, dims, element, ints, ov
from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive

__all__ = ["gcd", "lcm"]


def _euclid(x, y):
    """gcd of u32 carried in i32: a loop that ends when all remainders are 0."""
    a = ov.bitwise_or(x, ov.bitwise_and(y, integer.i32(0)))
    b = ov.bitwise_or(y, ov.bitwise_and(x, integer.i32(0)))
    if 0 in dims(a.output(0)):
        return a.output(0)
    shape = a.get_output_partial_shape(0)
    index = ov.parameter([], Type.i64)
    inner = inner_a, inner_b = ov.parameter(shape, Type.i32), ov.parameter(shape, Type.i32)
    done = ov.equal(inner_b, integer.i32(0))
    rest = integer.divmod_unsigned(inner_a.output(0), inner_b.output(0))[1]
    next_a = ov.result(integer.select(done, inner_a, inner_b))
    next_b = ov.result(rest)
    left = ov.reshape(ov.not_equal(rest, integer.i32(0)), ints([-1]), special_zero=False)
    proceed = ov.result(ov.reduce_logical_or(left, ints([0]), keep_dims=False))
    body = openvino.Model([next_a, next_b, proceed], [index, *inner])
    loop = ov.loop(integer.i32(64), const(True, Type.boolean))
    loop.set_function(body)
    loop.set_special_body_ports([0, 2])
    loop.set_merged_input(inner_a, a.output(0), next_a.output(0))
    loop.set_merged_input(inner_b, b.output(0), next_b.output(0))
    return loop.get_iter_value(next_a.output(0), -1)


def _sizes(x, y):
    kind = element(x)
    operands = integer.widen(x), integer.widen(y)
    if not integer.is_unsigned(kind):
        operands = tuple(magnitude(v).output(0) for v in operands)
    return *operands, kind


def _lower_gcd(x, y):
    x, y, kind = _sizes(x, y)
    return integer.narrow(_euclid(x, y), kind)


def _lower_lcm(x, y):
    x, y, kind = _sizes(x, y)
    parts = integer.divmod_unsigned(x, _euclid(x, y))[0]
    return integer.narrow(ov.multiply(parts, y), kind)


def _integers(name, lower):
    return Primitive(
        name, impl=getattr(np, name), lower=lower, layout=layout.elementwise,
        nondifferentiable="integer result",
    )  # fmt: skip


gcd = _integers("gcd", _lower_gcd)
lcm = _integers("lcm", _lower_lcm)
