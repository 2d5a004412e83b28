"""Primitives with boolean results or conditions: comparisons, logic, classification, select."""

from __future__ import annotations

import math

import numpy as np
from openvino import Type

from kerasvino.nodes import integer
from kerasvino.nodes.floating import magnitude
from kerasvino.nodes.lowering import const, element, ints, is_float, ov
from kerasvino.primitives import layout
from kerasvino.primitives.core import Primitive, defvjp
from kerasvino.primitives.unbroadcast import constant_like, sum_to, unbroadcast
from kerasvino.tensor import Tensor

__all__ = [
    "always", "equal", "greater", "greater_equal", "isfinite", "isinf", "isnan", "less",
    "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "not_equal", "select",
    "signbit", "where",
]  # fmt: skip

_BOOLEAN = "boolean result"


def _comparison(name, floats, integers):
    def lower(x, y):
        kind = element(x)
        if is_float(x):
            return floats(x, y)
        x, y = integer.widen(x), integer.widen(y)
        if integer.is_small(kind) or kind == Type.boolean:
            return floats(x, y)
        if kind == Type.u32:
            x, y = integer.flip_sign(x), integer.flip_sign(y)
        return integers(x, y)

    return Primitive(
        name, impl=getattr(np, name), lower=lower, dtype="bool", layout=layout.elementwise,
        nondifferentiable=_BOOLEAN,
    )  # fmt: skip


equal = _comparison("equal", ov.equal, integer.equal)
not_equal = _comparison("not_equal", ov.not_equal, integer.not_equal)
less = _comparison("less", ov.less, integer.less)
less_equal = _comparison(
    "less_equal", ov.less_equal, lambda x, y: ov.logical_not(integer.less(y, x))
)
# OpenVINO's greater and greater_equal answer True for NaN; its less and less_equal do not.
greater = _comparison("greater", lambda x, y: ov.less(y, x), lambda x, y: integer.less(y, x))
greater_equal = _comparison(
    "greater_equal", lambda x, y: ov.less_equal(y, x),
    lambda x, y: ov.logical_not(integer.less(x, y)),
)  # fmt: skip


def _logical(name, lower):
    return Primitive(
        name, impl=getattr(np, name), lower=lower, dtype="bool", layout=layout.elementwise,
        nondifferentiable=_BOOLEAN,
    )  # fmt: skip


# Operands are booleans.
logical_and = _logical("logical_and", lambda x, y: ov.logical_and(x, y))
logical_or = _logical("logical_or", lambda x, y: ov.logical_or(x, y))
logical_xor = _logical("logical_xor", lambda x, y: ov.logical_xor(x, y))
logical_not = _logical("logical_not", lambda x: ov.logical_not(x))


def _constantly(answer, x):
    """A boolean of the shape of an integer x."""
    return ov.not_equal(ov.bitwise_and(integer.widen(x), integer.i32(0)), integer.i32(answer))


def _classified(name, floats):
    """A test of one number, which as an integer is what a finite float is."""

    def lower(x):
        return floats(x) if is_float(x) else _constantly(name == "isfinite", x)

    return Primitive(
        name, impl=getattr(np, name), lower=lower, dtype="bool", layout=layout.elementwise,
        wide="exact", nondifferentiable=_BOOLEAN,
    )  # fmt: skip


isnan = _classified("isnan", ov.is_nan)
isinf = _classified("isinf", ov.is_inf)
# OpenVINO's is_finite denies it to subnormal numbers.
isfinite = _classified("isfinite", lambda x: ov.less(magnitude(x), const(math.inf, x)))


def _signbit(x):
    if is_float(x):
        # 1 / -0 is -inf
        zero = const(0, x)
        return ov.logical_or(ov.less(x, zero), ov.less(ov.divide(const(1, x), x), zero))
    if integer.is_unsigned(element(x)) or element(x) == Type.boolean:
        return _constantly(False, x)
    return ov.less(integer.widen(x), integer.i32(0))


signbit = Primitive(
    "signbit", impl=np.signbit, lower=_signbit, dtype="bool", layout=layout.elementwise,
    wide="exact", nondifferentiable=_BOOLEAN,
)  # fmt: skip


def _lower_select(condition, x, y):
    kind = element(x)
    if is_float(x) or integer.is_small(kind) or kind == Type.boolean:
        return ov.select(condition, x, y)
    return integer.narrow(integer.select(condition, integer.widen(x), integer.widen(y)), kind)


def _select_vjp(g, inputs, output):
    condition, x, y = inputs
    return None, unbroadcast(where(condition, g, 0), x), unbroadcast(where(condition, 0, g), y)


def _lower_always(x):
    some = ov.slice(ov.reshape(x, ints([-1]), False), ints([0]), ints([1]), ints([1]))
    known = ov.logical_or(ov.equal(some, some), ov.not_equal(some, some))
    return ov.reduce_logical_and(known, ints([0]), False)


# x -> True. In a graph only a run shows it: a `select` by it waits for x, and what is computed from
# that is not put together with the same computation from the values selected.
always = Primitive(
    "always", impl=lambda x: np.asarray(True), lower=_lower_always, dtype="bool",
    nondifferentiable=_BOOLEAN,
)  # fmt: skip

# condition (bool), x, y: broadcast together.
select = Primitive(
    "select", impl=np.where, lower=_lower_select,
    dtype=lambda inputs, attrs: inputs[1], layout=layout.elementwise, vjp=_select_vjp,
)  # fmt: skip


def where(condition, x, y):
    """`select`, for formulas: one of x and y may be a Python number, in the dtype of the other."""
    if type(x) is not Tensor:
        x = constant_like(x, y)
    elif type(y) is not Tensor:
        y = constant_like(y, x)
    return select(condition, x, y)


def _sum_to_vjp(g, inputs, output, *, shape):
    # Selecting always the first branch repeats it to the other one's shape.
    return (select(Tensor._wrap(np.asarray(True)), g, inputs[0]),)


defvjp(sum_to, _sum_to_vjp)
