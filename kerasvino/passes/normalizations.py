"""Normalization over the last axes of a finished model, as one MVN node.

With gain = scale / sqrt(variance + epsilon), Keras 3.15 writes layer normalization as x * gain +
(shift - mean * gain), and 3.16 as (x - mean) * gain + shift: forms that OpenVINO's own fusions do
not know. Where lengths are unknown their nodes run one by one: MVN then takes half their time. What
a gradient uses as well stays as it is.
"""

from __future__ import annotations

import math

import numpy as np
from openvino import Output, Type

from kerasvino.nodes.lowering import dims, element, ints, ov, rank, shape_of, transposed
from kerasvino.passes.patterns import Rule, node, number, number_in, value
from kerasvino.passes.walk import put_in_place, users_of

__all__ = ["RULES"]

_x, _scale, _shift, _epsilon = value(), value(), value(), number()
_mean_axes, _variance_axes = value(), value()
_mean = node("ReduceMean", _x, _mean_axes, keep_dims=True)
_centred = _x - _mean
_variance = node("ReduceMean", _centred * _centred, _variance_axes, keep_dims=True)
_inverse = 1 / node("Sqrt", _variance + _epsilon)
_gain = _inverse | _inverse * _scale
_offset = _gain * -_mean
_scaled_and_shifted = _x * _gain + (_offset | _offset + _shift)
_centred_and_scaled = (_centred | _x - _mean) * _gain  # the difference is once or twice there


def _axes(reduction: Output, axes: Output, scope) -> tuple[int, ...] | None:
    """Those that are reduced, sorted; None where they are not known."""
    given, length = scope.constant(axes), reduction.get_partial_shape().rank
    if given is None or length.is_dynamic:
        return None
    return tuple(sorted(int(axis) % length.get_length() for axis in np.ravel(given)))


# -- writing it


def _normalization(found, scope):
    """The end of the nodes found as one MVN, if the plugin has a kernel for it."""
    axes = _axes(found[_mean], found[_mean_axes], scope)
    if axes is None or axes != _axes(found[_variance], found[_variance_axes], scope):
        return None
    x, epsilon = found[_x], number_in(found[_epsilon])
    scale, shift = found.get(_scale), found.get(_shift)
    width = rank(x)
    ranks = [t.get_partial_shape().rank for t in (scale, shift) if t is not None]
    if element(x) != Type.f32 or any(r.is_dynamic or r.get_length() > width for r in ranks):
        return None
    if axes == tuple(range(width - len(axes), width)):
        return _affine(_normalized(x, len(axes), epsilon), scale, shift)
    # Channels first, wanted channels last: normalized there, the transposition is done before.
    to_last = (0, *range(2, width), 1)
    if axes != (1,) or width < 3 or any(r.get_length() not in (0, width) for r in ranks):
        return None
    users = users_of(found.root)
    if not all(_is_transpose(user, to_last, scope) for user in users):
        return None
    scale, shift = (
        t if t is None or not rank(t) else transposed(t, to_last) for t in (scale, shift)
    )
    result = _affine(_normalized(transposed(x, to_last), 1, epsilon), scale, shift)
    if result is None:
        return None
    for user in users:
        put_in_place(user, result)
    return True


def _is_transpose(user, order, scope) -> bool:
    if user.get_type_name() != "Transpose":
        return False
    axes = scope.constant(user.input_value(1))
    return axes is not None and tuple(np.ravel(axes)) == order


def _normalized(x, count, epsilon):
    """MVN over the last `count` axes, in one of the forms that the plugin has a kernel for."""
    width = rank(x)
    if width - count in (1, 2) and width <= 5:
        return _mvn(x, range(width - count, width), epsilon)
    lengths = dims(x)[width - count :]
    if None in lengths or not width - count:
        return None
    known = None not in dims(x)
    shape = ints(dims(x)) if known else shape_of(x)
    rows = ov.reshape(x, ints([-1, math.prod(lengths)]), special_zero=False).output(0)
    return ov.reshape(_mvn(rows, [1], epsilon), shape, special_zero=False).output(0)


def _mvn(x, axes, epsilon):
    return ov.mvn(x, ints(list(axes)), True, epsilon, "inside_sqrt").output(0)


def _affine(x, scale, shift):
    if x is None:
        return None
    if scale is not None:
        x = ov.multiply(x, scale).output(0)
    return x if shift is None else ov.add(x, shift).output(0)


RULES = tuple(
    Rule(form, _normalization)
    for form in (_scaled_and_shifted, _centred_and_scaled, _centred_and_scaled + _shift)
)
