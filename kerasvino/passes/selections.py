"""Positions that are taken out of a product: taken before it, so that the others are not computed.

Of the logits of a prompt only those of the last position are wanted, and the product with the
vocabulary is the largest of a language model.
"""

from __future__ import annotations

from openvino import Node

from kerasvino.nodes.facts import facts
from kerasvino.nodes.lowering import dims, ints, ov
from kerasvino.passes.patterns import Rule, node, value
from kerasvino.passes.walk import users_of

__all__ = ["RULES"]

_source, _start, _stop, _step, _axes = (value() for _ in range(5))
_selection = node("Slice", _source, _start, _stop, _step, _axes)


def _earlier(found, scope) -> bool | None:
    """Moves a Slice along one axis before the nodes that leave positions of this axis apart."""
    axes = scope.constant(found[_axes])
    if axes is None or axes.size != 1:
        return None
    output = found[_source]
    axis = int(axes.reshape(-1)[0]) % len(dims(output))
    chain: list[Node] = []
    while len(users_of(output.get_node())) == 1:
        place = _place(output.get_node(), axis)
        if place is None:
            break
        number, axis = place
        chain.append(output.get_node())
        output = chain[-1].input_value(number)
        port = chain[-1].input(number)
    if not any(user.get_type_name() == "MatMul" for user in chain):
        return None
    bounds = (found[part] for part in (_start, _stop, _step))
    port.replace_source_output(ov.slice(output, *bounds, ints([axis])).output(0))
    for user in reversed(chain):
        user.validate_and_infer_types()
    found[_selection].replace(found[_source])
    return True


def _place(user: Node, axis: int) -> tuple[int, int] | None:
    """The only input with positions of the result along `axis`: its number, and its own axis."""
    kind, rank = user.get_type_name(), len(dims(user.output(0)))
    if kind == "MatMul":
        rows, weights = (len(dims(source)) for source in user.input_values())
        alone = weights == 2 and rows == rank and axis < rank - 1
        return (0, axis) if alone and not user.get_attributes()["transpose_a"] else None
    if facts(kind).rows != "elementwise":
        return None
    places = []
    for number, source in enumerate(user.input_values()):
        own = axis - rank + len(dims(source))
        if own >= 0 and dims(source)[own] != 1:
            places.append((number, own))
    return places[0] if len(places) == 1 else None


RULES = (Rule(_selection, _earlier, closed=False),)
