"""Primitives of normalization along an axis: softmax, log_softmax."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives import (
    fusion,  # noqa: F401 - makes one node of normalizations in finished models
    layout,
)
from kerasvino.primitives.arithmetic import multiply, subtract
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.elementwise import exp, via_float32
from kerasvino.primitives.floating import in_f32
from kerasvino.primitives.lowering import ov
from kerasvino.primitives.shape import lengths
from kerasvino.primitives.unbroadcast import sum_to

__all__ = ["log_softmax", "softmax"]


def _primitive(name, impl, lower, vjp):
    return Primitive(
        name,
        impl=lambda x, *, axis: via_float32(lambda x: impl(x, axis))(x),
        lower=lambda x, *, axis: in_f32(lambda x: lower(x, axis))(x),
        layout=layout.axis_rule("axis"),
        vjp=lambda g, inputs, output, *, axis: (vjp(g, output, axis),),
    )


def _softmax(x, axis):
    result = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    result /= result.sum(axis=axis, keepdims=True)
    return result


def _log_softmax(x, axis):
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _along(x, axis):
    shape = tuple(1 if a == axis % x.ndim else n for a, n in enumerate(lengths(x)))
    return sum_to(x, shape=shape)


def _softmax_vjp(g, out, axis):
    weighted = multiply(g, out)
    return subtract(weighted, multiply(out, _along(weighted, axis)))


def _log_softmax_vjp(g, out, axis):
    return subtract(g, multiply(exp(out), _along(g, axis)))


# x of floats; axis: an int. In graphs NaN or inf in a row gives NaN in its place, 0 (softmax) or
# -inf (log_softmax) elsewhere.
softmax = _primitive("softmax", _softmax, lambda x, axis: ov.softmax(x, axis), _softmax_vjp)
log_softmax = _primitive(
    "log_softmax", _log_softmax, lambda x, axis: ov.log_softmax(x, axis), _log_softmax_vjp
)
