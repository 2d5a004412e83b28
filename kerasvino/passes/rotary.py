"""Rotary embeddings in the form that the CPU plugin has a kernel for.

x cos + turned(x) sin, where `turned` takes the second half of the last axis, negated, before the
first. Keras has positions before heads there; the kernel is found where heads come first, halves
are slices and one of them is multiplied by -1. So it is written where a transposition to that order
follows, which moves before it.
"""

from __future__ import annotations

from kerasvino.nodes.lowering import const, dims, ints, ov, transposed
from kerasvino.passes.patterns import Rule, node, value
from kerasvino.passes.walk import put_in_place, users_of

__all__ = ["RULES"]

HEADS_FIRST = (0, 2, 1, 3)
_END = (1 << 31) - 1

_x, _cos, _sin, _axis, _sizes = value(), value(), value(), value(), value()
_second, _first = (node("VariadicSplit", _x, _axis, _sizes) for _ in range(2))
_turned = node("Concat", node("Negative", _second), _first)
_embedded = _x * _cos + _turned * _sin


def _heads_first(found, scope) -> bool | None:
    x, cos, sin = found[_x], found[_cos], found[_sin]
    lengths = dims(x)
    users = users_of(found.root)
    if len(lengths) != 4 or not users or not _are_halves(found, lengths, scope):
        return None
    if any(len(dims(t)) != 4 or dims(t)[2:] != [1, lengths[3]] for t in (cos, sin)):
        return None
    if not all(_is_heads_first(user, scope) for user in users):
        return None
    x, cos, sin = (transposed(t, HEADS_FIRST) for t in (x, cos, sin))
    half, last = ints([lengths[3] // 2]), ints([3])
    first = ov.slice(x, ints([0]), half, ints([1]), last)
    second = ov.slice(x, half, ints([_END]), ints([1]), last)
    turned = ov.concat([ov.multiply(second, const([[[[-1.0]]]], x)), first], -1)
    result = ov.add(ov.multiply(x, cos), ov.multiply(turned, sin)).output(0)
    for user in users:
        put_in_place(user, result)
    return True


def _are_halves(found, lengths, scope) -> bool:
    """Whether they are the halves of the last axis."""
    axis, sizes = scope.constant(found[_axis]), scope.constant(found[_sizes])
    if lengths[3] is None or axis is None or sizes is None:
        return False
    return (
        int(axis) in (3, -1)
        and found[_turned].get_node().get_attributes()["axis"] in (3, -1)
        and list(sizes) == [lengths[3] // 2] * 2
        and (found[_second].get_index(), found[_first].get_index()) == (1, 0)
    )


def _is_heads_first(user, scope) -> bool:
    if user.get_type_name() != "Transpose":
        return False
    order = scope.constant(user.input_value(1))
    return order is not None and tuple(order) == HEADS_FIRST


RULES = (Rule(_embedded, _heads_first, closed=False),)
