"""Whether a graph computes each row of its outputs from the same row of its inputs alone.

Then a batch may be filled up with rows of anything and the surplus dropped. It is a proof over the
nodes of the graph traced for a batch of unknown length, in which what depends on that length shows:
of each value it is known to be independent of the batch, to have rows along an axis, or to depend
on the length only. A node without a rule ends the proof.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from openvino import Node, Output

from kerasvino.graph.graph import Graph

__all__ = ["is_rowwise"]

# A value is an axis (int), CONSTANT or LENGTH.
CONSTANT, LENGTH = "constant", "length"


class _Unproven(Exception):
    pass


def is_rowwise(graph: Graph, batched: Collection[int]) -> bool:
    """Whether row i of each output depends on row i of the inputs `batched` and no other row.

    Args:
        graph: traced with the first axis of these inputs unknown. Rows lie along the first axis.
        batched: indices of the inputs.
    """
    if graph.writes:
        return False
    values: dict[tuple[int, int], object] = {}
    parameters = graph.model.get_parameters()
    numbers = {p.get_instance_id(): index for index, p in enumerate(parameters)}
    try:
        for node in graph.model.get_ordered_ops():
            if node.get_type_name() == "Parameter":
                found = [0 if numbers[node.get_instance_id()] in batched else CONSTANT]
            else:
                found = _values_of(node, [values[_place(v)] for v in node.input_values()])
            for index, value in enumerate(found):
                values[node.get_instance_id(), index] = value
            if node.get_type_name() == "Result" and found != [0]:
                return False
    except _Unproven:
        return False
    return True


def _place(output: Output) -> tuple[int, int]:
    return output.get_node().get_instance_id(), output.get_index()


def _values_of(node: Node, given: list) -> list:
    count = node.get_output_size()
    if all(value == CONSTANT for value in given):
        return [CONSTANT] * count
    if all(value in (CONSTANT, LENGTH) for value in given):
        return [
            _broadcast_constant(node) if node.get_type_name() == "Broadcast" else LENGTH
        ] * count
    if node.get_type_name() == "ShapeOf":
        return [LENGTH]
    rule = _RULES.get(node.get_type_name())
    if rule is None:
        raise _Unproven
    axis = rule(node, given)
    return [axis] * count


# -- facts of a node


def _rank(output: Output) -> int:
    rank = output.get_partial_shape().rank
    if rank.is_dynamic:
        raise _Unproven
    return rank.get_length()


def _lengths(output: Output) -> list[int | None]:
    _rank(output)
    return [d.get_length() if d.is_static else None for d in output.get_partial_shape()]


def _constant(node: Node, index: int) -> list[int]:
    source = node.input_value(index).get_node()
    if source.get_type_name() != "Constant":
        raise _Unproven
    return [int(v) for v in source.data.reshape(-1)]


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


# -- rules: rule(node, values of the inputs) -> axis of the outputs


def _same(node, given):
    return _only(given, 0)


def _elementwise(node, given):
    axes = {v - _rank(node.input_value(i)) for i, v in enumerate(given) if isinstance(v, int)}
    _require(len(axes) == 1 and LENGTH not in given)
    from_end = axes.pop()
    for index, value in enumerate(given):
        if value == CONSTANT:
            lengths = _lengths(node.input_value(index))
            _require(len(lengths) < -from_end or lengths[from_end] == 1)
    return _rank(node.output(0)) + from_end


def _broadcast_constant(node):
    """A constant spread over a shape that holds the length has rows there, all alike."""
    target = _lengths(node.output(0))
    _require(target.count(None) == 1)
    from_end = target.index(None) - len(target)
    lengths = _lengths(node.input_value(0))
    _require(len(lengths) < -from_end or lengths[from_end] == 1)
    return target.index(None)


def _broadcast(node, given):
    _require(isinstance(given[0], int))
    return _rank(node.output(0)) + given[0] - _rank(node.input_value(0))


def _reshape(node, given):
    """Rows stay whole where as many elements lie before and after their axis as did."""
    axis = given[0]
    _require(isinstance(axis, int))
    before, after = _lengths(node.input_value(0)), _lengths(node.output(0))
    _require(None not in before[:axis] and None not in before[axis + 1 :])
    wanted = math.prod(before[:axis]), math.prod(before[axis + 1 :])
    for place in range(len(after)):
        head, tail = after[:place], after[place + 1 :]
        if None not in (*head, *tail) and (math.prod(head), math.prod(tail)) == wanted:
            return place
    raise _Unproven


def _transpose(node, given):
    return _constant(node, 1).index(_only(given, 0))


def _reduce(node, given):
    axis, rank = _only(given, 0), _rank(node.input_value(0))
    axes = {a % rank for a in _constant(node, 1)}
    _require(axis not in axes)
    if node.get_attributes()["keep_dims"]:
        return axis
    return axis - sum(a < axis for a in axes)


def _not_along(place: int | str) -> Callable:
    """Rows stay as they are where the axes of input `place`, or of the attribute, are others."""

    def rule(node, given):
        axis, rank = _only(given, 0), _rank(node.input_value(0))
        axes = [node.get_attributes()[place]] if isinstance(place, str) else _constant(node, place)
        _require(axis not in [a % rank for a in axes])
        return axis

    return rule


def _first_axis(node, given):
    _require(_only(given, 0) == 0)
    return 0


def _concat(node, given):
    axes = set(given)
    _require(len(axes) == 1)
    axis = axes.pop()
    rank = _rank(node.output(0))
    _require(isinstance(axis, int) and axis != node.get_attributes()["axis"] % rank)
    return axis


def _pad(node, given):
    axis = _only(given, 0)
    _require(_constant(node, 1)[axis] == 0 and _constant(node, 2)[axis] == 0)
    return axis


def _slice(node, given):
    axis, rank = _only(given, 0), _rank(node.input_value(0))
    _require(node.get_input_size() == 5)
    _require(axis not in [a % rank for a in _constant(node, 4)])
    return axis


def _gather(node, given):
    _require(node.get_attributes()["batch_dims"] == 0)
    data, indices = _rank(node.input_value(0)), _rank(node.input_value(1))
    along = _constant(node, 2)[0] % data
    if given[0] == CONSTANT and isinstance(given[1], int):
        return along + given[1]
    axis = _only(given, 0)
    _require(axis != along)
    return axis if axis < along else axis - 1 + indices


def _matmul(node, given):
    attributes = node.get_attributes()
    ranks = [_rank(node.input_value(i)) for i in (0, 1)]
    _require(min(ranks) >= 2 and LENGTH not in given)
    found = set()
    for index, value in enumerate(given):
        if value == CONSTANT:
            continue
        from_end = value - ranks[index]
        if from_end < -2:
            other = _lengths(node.input_value(1 - index))
            fits = isinstance(given[1 - index], int) or (
                len(other) < -from_end or other[from_end] == 1
            )
            _require(fits)
            found.add(from_end)
            continue
        # rows of the left operand and columns of the right one are kept, the others summed over
        transposed = attributes["transpose_a" if index == 0 else "transpose_b"]
        kept = -2 if (index == 0) != transposed else -1
        _require(from_end == kept and given[1 - index] == CONSTANT)
        found.add(-2 if index == 0 else -1)
    _require(len(found) == 1)
    return _rank(node.output(0)) + found.pop()


def _sequence(states: int) -> Callable:
    """LSTM or GRU: the sequence, its states and lengths have rows, the weights none."""

    def rule(node, given):
        _require(all(value == 0 for value in given[: states + 2]))
        _require(all(value == CONSTANT for value in given[states + 2 :]))
        return 0

    return rule


_ELEMENTWISE = [
    "Abs", "Add", "And", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Ceiling",
    "Clamp", "Convert", "Cos", "Cosh", "Divide", "Elu", "Equal", "Erf", "Exp", "Floor",
    "FloorMod", "Gelu", "Greater", "GreaterEqual", "HSigmoid", "HSwish", "HardSigmoid",
    "IsFinite", "IsInf", "IsNaN", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot",
    "LogicalOr", "LogicalXor", "Maximum", "Minimum", "Mish", "Mod", "Multiply", "Negative",
    "NotEqual", "Power", "PRelu", "Relu", "Result", "Round", "Select", "Selu", "Sigmoid",
    "Sign", "Sin", "Sinh", "SoftPlus", "SoftSign", "Sqrt", "SquaredDifference", "Subtract",
    "Swish", "Tan", "Tanh",
]  # fmt: skip
_REDUCTIONS = [
    "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
]  # fmt: skip
_SPATIAL = [
    "AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "Convolution", "ConvolutionBackpropData",
    "GroupConvolution", "GroupConvolutionBackpropData", "GroupNormalization", "MaxPool",
]  # fmt: skip

_RULES: dict[str, Callable] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(_SPATIAL, _first_axis),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _not_along("axis")),
    **dict.fromkeys(("Split", "VariadicSplit", "MVN", "NormalizeL2", "CumSum"), _not_along(1)),
    "Broadcast": _broadcast,
    "Concat": _concat,
    "GRUSequence": _sequence(1),
    "Gather": _gather,
    "Interpolate": _not_along(2),
    "LSTMSequence": _sequence(2),
    "MatMul": _matmul,
    "Pad": _pad,
    "Slice": _slice,
    "TopK": _not_along("axis"),
    "Transpose": _transpose,
}
