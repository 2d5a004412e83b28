"""Primitives with boolean results or conditions: comparisons, logic, classification, select."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives import integer, layout
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import const, element, is_float, is_integer, ov
from kerasvino.primitives.unbroadcast import unbroadcast
from kerasvino.tensor import Tensor

__all__ = [
    "equal", "greater", "greater_equal", "isfinite", "isinf", "isnan", "less", "less_equal",
    "logical_and", "logical_not", "logical_or", "logical_xor", "not_equal", "select", "signbit",
]  # fmt: skip

_BOOLEAN = "boolean result"


def _comparison(name, impl, floats, integers):
    def lower(x, y):
        if not is_integer(x):
            return floats(x, y)
        x, y = _ordered(x), _ordered(y)
        return integers(x, y)

    return Primitive(
        name, impl=impl, lower=lower, dtype="bool", layout=layout.elementwise,
        nondifferentiable=_BOOLEAN,
    )  # fmt: skip


def _ordered(x):
    """An integer as i32 in the same order."""
    wide = integer.widen(x)
    return integer.flip_sign(wide) if integer.unsigned(element(x)) else wide


def _not(x):
    return ov.logical_not(x).output(0)


equal = _comparison("equal", np.equal, ov.equal, integer.equal)
not_equal = _comparison("not_equal", np.not_equal, ov.not_equal, integer.not_equal)
less = _comparison("less", np.less, ov.less, integer.less)
# OpenVINO's greater and greater_equal answer True for NaN; its less and less_equal do not.
greater = _comparison(
    "greater", np.greater, lambda x, y: ov.less(y, x), lambda x, y: integer.less(y, x)
)
less_equal = _comparison(
    "less_equal", np.less_equal, ov.less_equal, lambda x, y: _not(integer.less(y, x))
)
greater_equal = _comparison(
    "greater_equal", np.greater_equal, lambda x, y: ov.less_equal(y, x),
    lambda x, y: _not(integer.less(x, y)),
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


def _classified(name, lower):
    """A test of one number; integers have the answer of a finite float."""

    def lower_all(x):
        if is_float(x):
            return lower(x)
        answer = ov.equal if name == "isfinite" else ov.not_equal
        same = integer.widen(x)
        return answer(ov.bitwise_xor(same, same), const(0, same))

    return Primitive(
        name, impl=getattr(np, name), lower=lower_all, dtype="bool", layout=layout.elementwise,
        nondifferentiable=_BOOLEAN,
    )  # fmt: skip


isnan = _classified("isnan", lambda x: ov.not_equal(x, x))
isinf = _classified("isinf", lambda x: ov.is_inf(x))
isfinite = _classified("isfinite", lambda x: ov.equal(ov.subtract(x, x), const(0, x)))


def _signbit(x):
    if is_float(x):
        # 1/-0 is -inf
        return ov.logical_or(
            ov.less(x, const(0, x)), ov.less(ov.divide(const(1, x), x), const(0, x))
        )
    return ov.less(integer.widen(x), integer.i32(0))


signbit = Primitive(
    "signbit", impl=np.signbit, lower=_signbit, dtype="bool", layout=layout.elementwise,
    nondifferentiable=_BOOLEAN,
)  # fmt: skip


def _select_vjp(g, inputs, output):
    condition, x, y = inputs
    zero = Tensor._wrap(np.zeros((), g.numpy().dtype)) if not g.is_symbolic else None
    from kerasvino.primitives.unbroadcast import constant_like

    zero = constant_like(0, g)
    return (
        None,
        unbroadcast(select(condition, g, zero), x),
        unbroadcast(select(condition, zero, g), y),
    )


# condition (bool), x, y: broadcast together.
select = Primitive(
    "select", impl=np.where, lower=lambda condition, x, y: ov.select(condition, x, y),
    dtype=lambda inputs, attrs: inputs[1], layout=layout.elementwise, vjp=_select_vjp,
)  # fmt: skip
