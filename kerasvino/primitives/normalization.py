"""Primitives of normalization along an axis: softmax, log_softmax."""

from __future__ import annotations

import math

import numpy as np

from kerasvino.nodes.lowering import const, ints, ov
from kerasvino.primitives import layout
from kerasvino.primitives.cast import cast
from kerasvino.primitives.compare import select
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.create import iota
from kerasvino.primitives.elementwise import exp, lower_exp
from kerasvino.primitives.shape import lengths, reshape
from kerasvino.primitives.unbroadcast import sum_to

__all__ = ["log_softmax", "log_softmax_at", "softmax", "softmax_in_product"]


def _primitive(name, impl, lower, vjp):
    return Primitive(
        name,
        impl=impl,
        lower=lower,
        wide=True,
        layout=layout.axis_rule("axis"),
        vjp=lambda g, inputs, output, *, axis: (vjp(g, output, axis),),
    )


def _softmax(x, *, axis):
    result = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    result /= result.sum(axis=axis, keepdims=True)
    return result


def _log_softmax(x, *, axis):
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _along(x, axis):
    shape = tuple(1 if a == axis % x.ndim else n for a, n in enumerate(lengths(x)))
    return sum_to(x, shape=shape)


def _softmax_vjp(g, out, axis):
    weighted = g * out
    return weighted - out * _along(weighted, axis)


def _log_softmax_vjp(g, out, axis):
    return g - exp(out) * _along(g, axis)


# OpenVINO's kernels make NaN of a NaN and of inf, but 0 (or -inf) of what else is in their row.


def _lower_softmax(x, *, axis):
    found = ov.softmax(x, axis)
    # 0, or NaN: what is no NaN is finite
    nothing = ov.multiply(ov.reduce_sum(found, ints([axis]), True), const(0.0, x))
    return ov.add(found, nothing)


def _lower_log_softmax(x, *, axis):
    found = ov.log_softmax(x, axis)
    lost = ov.reduce_logical_or(ov.not_equal(found, found), ints([axis]), True)
    return ov.select(lost, const(math.nan, x), found)


# x of floats; axis: an int. A row with a NaN or inf is NaN throughout.
softmax = _primitive("softmax", _softmax, _lower_softmax, _softmax_vjp)
log_softmax = _primitive("log_softmax", _log_softmax, _lower_log_softmax, _log_softmax_vjp)
# The same for a product to be taken of, whose sums are NaN where a single term is: OpenVINO makes
# one kernel of it and the products before and behind it.
softmax_in_product = _primitive(
    "softmax_in_product", _softmax, lambda x, *, axis: ov.softmax(x, axis), _softmax_vjp
)


# -- the logarithm of one probability of each row: what a cross-entropy needs


def _impl_at(x, index, *, axis):
    return np.take_along_axis(_log_softmax(x, axis=axis), index, axis)


def _lower_at(x, index, *, axis):
    place = ints([axis])
    shifted = ov.subtract(x, ov.reduce_max(x, place, True)).output(0)
    total = ov.log(ov.reduce_sum(lower_exp(shifted), place, True))
    return ov.subtract(ov.gather_elements(shifted, index, axis), total)


def _vjp_at(g, inputs, output, *, axis):
    x, index = inputs
    # float32 counts classes exactly, and its comparison is fused into what follows
    place = cast(iota(size=lengths(x)[axis]), dtype="float32")
    place = reshape(place, shape=tuple(-1 if a == axis else 1 for a in range(x.ndim)))
    # one pass over x where a one-hot or scattered cotangent and its sum take three
    probability = softmax(x, axis=axis)
    slope = select(cast(index, dtype="float32") == place, 1 - probability, -probability)
    return g * slope, None


# x of floats; index: int32, of the shape of x but for a 1 along axis: log_softmax(x) there.
log_softmax_at = Primitive("log_softmax_at", impl=_impl_at, lower=_lower_at, wide=True, vjp=_vjp_at)
