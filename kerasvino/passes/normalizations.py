"""Normalization over the last axes of a finished model, as one MVN node.

Keras writes layer normalization as x * gain + (shift - mean * gain), with gain = scale / sqrt(
variance + epsilon), a form that OpenVINO's own fusions do not know. Where lengths are unknown its
nodes run one by one: MVN then takes half their time. What a gradient uses as well stays as it is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from openvino import Model, Node, Output, Type

from kerasvino.nodes.lowering import dims, element, ints, ov, rank, shape_of, transposed
from kerasvino.passes.walk import (
    is_same,
    kind_of,
    only_user,
    other_operand,
    put_in_place,
    users_of,
)

__all__ = ["fuse_normalizations"]


def fuse_normalizations(model: Model) -> None:
    """Replaces normalizations of `model` that the CPU plugin has a kernel for."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Sqrt":
            found = _statistics(node)
            normalized = found and (_scaled_and_shifted(found) or _centred_and_scaled(found))
            if normalized:
                _replace(found, *normalized)


class _Statistics(NamedTuple):
    x: Output
    axes: tuple[int, ...]
    epsilon: float
    mean: Node
    centred: Node
    inverse: Node


# -- reading a graph


def _are(nodes, *expected) -> bool:
    """Whether `nodes` are these, in any order."""
    return sorted(n.get_instance_id() for n in nodes) == sorted(
        n.get_instance_id() for n in expected
    )


def _number(node):
    """The value of a Constant of one element, else None."""
    if kind_of(node) != "Constant" or math.prod(node.get_output_shape(0)) != 1:
        return None
    return float(node.get_data().reshape(()))


def _reduced_axes(node):
    """The axes of a ReduceMean that keeps them, sorted; else None."""
    if kind_of(node) != "ReduceMean" or not node.get_attributes()["keep_dims"]:
        return None
    axes = node.input_value(1).get_node()
    if kind_of(axes) != "Constant" or node.get_output_partial_shape(0).rank.is_dynamic:
        return None
    width = node.get_output_partial_shape(0).rank.get_length()
    return tuple(sorted(int(a) % width for a in np.ravel(axes.get_data())))


def _statistics(root) -> _Statistics | None:
    """What 1 / sqrt(variance + epsilon) is made of."""
    total, inverse = root.input_value(0).get_node(), only_user(root, "Divide")
    if (
        kind_of(total) != "Add"
        or inverse is None
        or _number(inverse.input_value(0).get_node()) != 1
    ):
        return None
    terms = [value.get_node() for value in total.input_values()]
    for variance, term in (terms, terms[::-1]):
        epsilon, axes = _number(term), _reduced_axes(variance)
        if epsilon is not None and axes is not None:
            break
    else:
        return None
    square = variance.input_value(0).get_node()
    factors = [value.get_node() for value in square.input_values()]
    if kind_of(square) != "Multiply" or not is_same(*factors) or kind_of(factors[0]) != "Subtract":
        return None
    centred = factors[0]
    x, mean = centred.input_value(0), centred.input_value(1).get_node()
    once = all(len(users_of(node)) == 1 for node in (total, variance, square))
    if not once or _reduced_axes(mean) != axes or mean.input_value(0) != x:
        return None
    return _Statistics(x, axes, epsilon, mean, centred, inverse)


# -- the forms, each as (last node, scale or None, shift or None)


def _gain(found):
    """The inverse deviation, with the scale that it is multiplied by (None if by none)."""
    product = only_user(found.inverse, "Multiply")
    if product is None or is_same(other_operand(product, found.inverse).get_node(), found.centred):
        return found.inverse, None
    return product, other_operand(product, found.inverse)


def _scaled_and_shifted(found):
    """x * gain + (shift - mean * gain)."""
    gain, scale = _gain(found)
    users = users_of(gain)
    if [kind_of(user) for user in users] != ["Multiply"] * 2:
        return None
    for product, offset in (users, users[::-1]):
        negated = other_operand(offset, gain).get_node()
        if other_operand(product, gain) == found.x and kind_of(negated) == "Negative":
            break
    else:
        return None
    square = _square(found)
    if (
        not is_same(negated.input_value(0).get_node(), found.mean)
        or not _are(users_of(negated), offset)
        or not _are(users_of(found.mean), found.centred, negated)
        or not _are(users_of(found.centred), square, square)
    ):
        return None
    last, total = only_user(product, "Add"), only_user(offset, "Add")
    if last is None or total is None:
        return None
    if is_same(last, total):
        return last, scale, None
    if not _are(users_of(total), last):
        return None
    return last, scale, other_operand(total, offset)


def _centred_and_scaled(found):
    """(x - mean) * gain; what follows is left as it is."""
    gain, scale = _gain(found)
    last = only_user(gain, "Multiply")
    square = _square(found)
    if (
        last is None
        or not is_same(other_operand(last, gain).get_node(), found.centred)
        or not _are(users_of(found.centred), square, square, last)
        or not _are(users_of(found.mean), found.centred)
    ):
        return None
    return last, scale, None


def _square(found):
    return next(
        user
        for user in users_of(found.centred)
        if kind_of(user) == "Multiply"
        and is_same(*(value.get_node() for value in user.input_values()))
    )


# -- writing it


def _replace(found, last, scale, shift):
    x, width = found.x, rank(found.x)
    ranks = [t.get_partial_shape().rank for t in (scale, shift) if t is not None]
    if element(x) != Type.f32 or any(r.is_dynamic or r.get_length() > width for r in ranks):
        return
    if found.axes == tuple(range(width - len(found.axes), width)):
        normalized = _normalized(x, len(found.axes), found.epsilon)
        if normalized is not None:
            put_in_place(last, _affine(normalized, scale, shift))
        return
    # Channels first, wanted channels last: normalized there, the transposition is done before.
    to_last = (0, *range(2, width), 1)
    if found.axes != (1,) or width < 3 or any(r.get_length() not in (0, width) for r in ranks):
        return
    if not all(_is_transpose(user, to_last) for user in users_of(last)):
        return
    scale, shift = (
        t if t is None or not rank(t) else transposed(t, to_last) for t in (scale, shift)
    )
    normalized = _normalized(transposed(x, to_last), 1, found.epsilon)
    if normalized is not None:
        result = _affine(normalized, scale, shift)
        for user in users_of(last):
            put_in_place(user, result)


def _is_transpose(node, order):
    if kind_of(node) != "Transpose":
        return False
    axes = node.input_value(1).get_node()
    return kind_of(axes) == "Constant" and tuple(np.ravel(axes.get_data())) == order


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
    if scale is not None:
        x = ov.multiply(x, scale).output(0)
    return x if shift is None else ov.add(x, shift).output(0)
