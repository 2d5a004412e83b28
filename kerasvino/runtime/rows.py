"""Whether a graph computes each row of its outputs from the same row of its inputs alone.

If so, a batch may be padded with rows of any values, and the results of these rows dropped.

The function is traced for a longer and for a shorter batch, and the two graphs are walked side by
side. They may differ in two things only. The first is the length of axes: where it differs, the
rows are. The second is constants from which only shapes are computed. Any other difference means
that Python code computed something from the length, and the answer is no.

On the way, each value of the graph is given one of three marks: it does not depend on the batch
(CONSTANT), it has the rows along an axis (the number of that axis), or it depends on the length of
the batch alone (LENGTH). The table of facts names a rule for each type of node, which computes the
mark of its outputs from those of its inputs. Where a type has no rule, the answer is no.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
from openvino import Node

from kerasvino.graph.graph import Graph
from kerasvino.graph.trace import lengths_of
from kerasvino.nodes.facts import facts

__all__ = ["is_rowwise"]

# The mark of a value is an axis (int), CONSTANT or LENGTH.
CONSTANT, LENGTH = "constant", "length"


class _Unproven(Exception):
    pass


def is_rowwise(longer: Graph, shorter: Graph, batched: Collection[int]) -> bool:
    """Whether row i of each output depends on row i of the inputs `batched` and no other row.

    Args:
        longer: of a function, traced for shapes that are all known.
        shorter: of the same function, for fewer rows along the first axes of inputs `batched`.
        batched: indices of the inputs.
    """
    if longer.writes or shorter.writes:
        return False
    try:
        return _proven(longer, shorter, batched)
    except _Unproven:
        return False


def _proven(longer, shorter, batched):
    parameters = [p.get_instance_id() for p in longer.model.get_parameters()]
    rows = tuple(graph.inputs[min(batched)].shape[0] for graph in (longer, shorter))
    nodes = [graph.model.get_ordered_ops() for graph in (longer, shorter)]
    places = [{n.get_instance_id(): i for i, n in enumerate(ops)} for ops in nodes]
    _require(len(nodes[0]) == len(nodes[1]))
    values: list[list] = []
    for pair in zip(*nodes, strict=True):
        step = _Step(pair, rows)
        sources, others = (
            [(where[v.get_node().get_instance_id()], v.get_index()) for v in node.input_values()]
            for node, where in zip(pair, places, strict=True)
        )
        _require(sources == others)
        given = [values[node][port] for node, port in sources]
        if step.kind == "Parameter":
            number = parameters.index(pair[0].get_instance_id())
            found = 0 if number in batched else CONSTANT
        else:
            found = _value_of(step, given)
        _require(not isinstance(found, int) or step.rows_are_along(found))
        values.append([found] * pair[0].get_output_size())
        if step.kind == "Result" and found != 0:
            return False
    return True


def _value_of(step, given):
    if step.kind == "Constant":
        return _value_of_constant(*(node.data for node in step.pair))
    _require(step.attributes_agree())
    if all(value == CONSTANT for value in given):
        return CONSTANT
    if all(value in (CONSTANT, LENGTH) for value in given):
        return _broadcast_constant(step) if step.kind == "Broadcast" else LENGTH
    if step.kind == "ShapeOf":
        return LENGTH
    name = facts(step.kind).rows
    _require(name is not None)
    return _RULES[name](step, given)


def _value_of_constant(longer, shorter):
    """A constant that both graphs have; one with a row for each of the batch, all alike; LENGTH."""
    if longer.shape == shorter.shape:
        return CONSTANT if longer.tobytes() == shorter.tobytes() else LENGTH
    _require(longer.ndim == shorter.ndim)
    axes = [i for i, (a, b) in enumerate(zip(longer.shape, shorter.shape, strict=True)) if a != b]
    _require(len(axes) == 1)
    row = np.take(longer, [0], axes[0])
    _require(bool((longer == row).all()) and bool((shorter == row).all()))
    return axes[0]


class _Step:
    """A node of the longer graph and its counterpart; a length is None if it is that of the rows.

    Args:
        pair: the two nodes.
        rows: number of rows in the one graph and in the other.
    """

    def __init__(self, pair: tuple[Node, Node], rows: tuple[int, int]):
        self.pair = pair
        self.rows = rows
        self.kind = pair[0].get_type_name()
        _require(self.kind == pair[1].get_type_name())

    @property
    def attributes(self) -> dict:
        return self.pair[0].get_attributes()

    def attributes_agree(self) -> bool:
        return self.attributes == self.pair[1].get_attributes()

    @property
    def inputs(self) -> int:
        return self.pair[0].get_input_size()

    def lengths(self, index: int) -> list[int | None]:
        """Of input `index`."""
        return self._merged([node.input_value(index) for node in self.pair])

    def rank(self, index: int) -> int:
        return len(self.lengths(index))

    @property
    def result(self) -> list[int | None]:
        """Lengths of the first output."""
        return self._merged([node.output(0) for node in self.pair])

    def rows_are_along(self, axis: int) -> bool:
        """Whether `axis` is the one axis of each output whose length differs."""
        outputs = [node.outputs() for node in self.pair]
        merged = [self._merged(pair) for pair in zip(*outputs, strict=True)]
        return all(
            axis < len(lengths) and lengths[axis] is None and lengths.count(None) == 1
            for lengths in merged
        )

    def integers(self, index: int) -> list[int]:
        """Input `index`, a constant of both graphs."""
        sources = [node.input_value(index).get_node() for node in self.pair]
        _require(all(source.get_type_name() == "Constant" for source in sources))
        first, second = ([int(v) for v in source.data.reshape(-1)] for source in sources)
        _require(first == second)
        return first

    def _merged(self, outputs):
        shapes = [output.get_partial_shape() for output in outputs]
        _require(all(shape.is_static for shape in shapes))
        first, second = (list(lengths_of(shape)) for shape in shapes)
        _require(len(first) == len(second))
        pairs = list(zip(first, second, strict=True))
        _require(all(a == b or (a, b) == self.rows for a, b in pairs))
        return [a if a == b else None for a, b in pairs]


# -- marks of the inputs


def _only(given: list, index: int) -> int:
    """The axis of input `index`, all others being constant."""
    axis = given[index]
    rest = [value for i, value in enumerate(given) if i != index]
    if not isinstance(axis, int) or any(value != CONSTANT for value in rest):
        raise _Unproven
    return axis


def _require(condition: bool) -> None:
    if not condition:
        raise _Unproven


# -- rules: rule(step, marks of the inputs) -> axis of the rows in the outputs


def _elementwise(step, given):
    axes = {v - step.rank(i) for i, v in enumerate(given) if isinstance(v, int)}
    _require(len(axes) == 1 and LENGTH not in given)
    from_end = axes.pop()
    for index, value in enumerate(given):
        if value == CONSTANT:
            _require(_same_for_all(step.lengths(index), from_end))
    return len(step.result) + from_end


def _same_for_all(lengths, from_end):
    """Whether an operand of these lengths is broadcast along an axis, counted from the end."""
    return len(lengths) < -from_end or lengths[from_end] == 1


def _broadcast_constant(step):
    """A constant spread over a shape that holds the length has rows there, all alike."""
    _require(step.result.count(None) == 1)
    axis = step.result.index(None)
    _require(_same_for_all(step.lengths(0), axis - len(step.result)))
    return axis


def _broadcast(step, given):
    _require(isinstance(given[0], int))
    return len(step.result) + given[0] - step.rank(0)


def _reshape(step, given):
    """Rows stay whole where as many elements lie before and after their axis as did."""
    axis, before, after = given[0], step.lengths(0), step.result
    _require(isinstance(axis, int) and after.count(None) == 1)
    place = after.index(None)
    _require(math.prod(before[:axis]) == math.prod(after[:place]))
    return place


def _transpose(step, given):
    return step.integers(1).index(_only(given, 0))


def _reduce(step, given):
    axis, rank = _only(given, 0), step.rank(0)
    axes = {a % rank for a in step.integers(1)}
    _require(axis not in axes)
    return axis if step.attributes["keep_dims"] else axis - sum(a < axis for a in axes)


def _not_along(place: int | str) -> Callable:
    """Rows stay as they are where the axes of input `place`, or of the attribute, are others."""

    def rule(step, given):
        axis, rank = _only(given, 0), step.rank(0)
        axes = [step.attributes[place]] if isinstance(place, str) else step.integers(place)
        _require(axis not in [a % rank for a in axes])
        return axis

    return rule


def _first_axis(step, given):
    _require(_only(given, 0) == 0)
    return 0


def _concat(step, given):
    axes = set(given)
    _require(len(axes) == 1)
    axis = axes.pop()
    _require(isinstance(axis, int) and axis != step.attributes["axis"] % len(step.result))
    return axis


def _pad(step, given):
    axis = _only(given, 0)
    _require(step.integers(1)[axis] == 0 and step.integers(2)[axis] == 0)
    return axis


def _slice(step, given):
    axis, rank = _only(given, 0), step.rank(0)
    _require(step.inputs == 5 and axis not in [a % rank for a in step.integers(4)])
    return axis


def _gather(step, given):
    _require(step.attributes["batch_dims"] == 0)
    along = step.integers(2)[0] % step.rank(0)
    if given[0] == CONSTANT and isinstance(given[1], int):
        return along + given[1]
    axis = _only(given, 0)
    _require(axis != along)
    return axis if axis < along else axis - 1 + step.rank(1)


def _matmul(step, given):
    ranks = [step.rank(i) for i in (0, 1)]
    _require(min(ranks) >= 2 and LENGTH not in given)
    found = set()
    for index, value in enumerate(given):
        if value == CONSTANT:
            continue
        from_end = value - ranks[index]
        if from_end < -2:
            other = given[1 - index]
            _require(isinstance(other, int) or _same_for_all(step.lengths(1 - index), from_end))
            found.add(from_end)
            continue
        # rows of the left operand and columns of the right one are kept, the others summed over
        transposed = step.attributes["transpose_a" if index == 0 else "transpose_b"]
        kept = -2 if (index == 0) != transposed else -1
        _require(from_end == kept and given[1 - index] == CONSTANT)
        found.add(-2 if index == 0 else -1)
    _require(len(found) == 1)
    return len(step.result) + found.pop()


def _sequence(states: int) -> Callable:
    """LSTM or GRU: the sequence, its states and lengths have rows, the weights none."""

    def rule(step, given):
        _require(all(value == 0 for value in given[: states + 2]))
        _require(all(value == CONSTANT for value in given[states + 2 :]))
        return 0

    return rule


# By their names in the table of facts.
_RULES: dict[str, Callable] = {
    "attribute axis": _not_along("axis"),
    "axes of input 1": _not_along(1),
    "axes of input 2": _not_along(2),
    "broadcast": _broadcast,
    "concat": _concat,
    "elementwise": _elementwise,
    "first axis": _first_axis,
    "gather": _gather,
    "matmul": _matmul,
    "pad": _pad,
    "reduce": _reduce,
    "reshape": _reshape,
    "sequence of one state": _sequence(1),
    "sequence of two states": _sequence(2),
    "slice": _slice,
    "transpose": _transpose,
}
