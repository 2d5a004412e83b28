"""Values that are stacked on a new axis and flattened into the next one: joined in one node.

So the halves of a rotary embedding become one Concat, which the CPU plugin knows as part of it.
"""

from __future__ import annotations

from openvino import Output

from kerasvino.nodes.lowering import dims, ov
from kerasvino.passes.patterns import Rule, node, number_in, value
from kerasvino.passes.positions import positions_of

__all__ = ["RULES"]

_stacked = node("Concat")
_flattened = node("Reshape", _stacked, value())


def _joined(found, scope) -> Output | None:
    stack = found[_stacked].get_node()
    rank, axis = len(dims(found[_stacked])), stack.get_attributes()["axis"]
    axis %= rank
    parts = [_part(source, axis) for source in stack.input_values()]
    result = found[_flattened]
    if None in parts or axis + 1 >= rank or len(dims(result)) != rank - 1:
        return None
    width = dims(result)[axis]
    if width is None or any(dims(part)[axis] != width / len(parts) for part in parts):
        return None
    others = [a for a in range(rank - 1) if a != axis and dims(result)[a] != dims(parts[0])[a]]
    others += [a for a in range(rank - 1) if a != axis and dims(result)[a] is None]
    if len(others) > 1:  # one alone is told by the number of elements
        lengths = positions_of(scope)
        for a in others:
            length = lengths.length(result, a)
            if length is None or length != lengths.length(parts[0], a):
                return None
    return ov.concat(parts, axis).output(0)


def _part(source: Output, axis: int) -> Output | None:
    """What is given a new axis."""
    made_by = source.get_node()
    if made_by.get_type_name() != "Unsqueeze":
        return None
    place = number_in(made_by.input_value(1))
    rank = len(dims(source))
    return made_by.input_value(0) if place is not None and place % rank == axis else None


RULES = (Rule(_flattened, _joined),)
