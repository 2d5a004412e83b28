"""Nodes that put elements elsewhere and change none: taken off a value, and put behind another."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from openvino import Node, Output
from openvino.utils.node_factory import NodeFactory

__all__ = ["MOVES", "moved", "unmoved", "with_operands"]

MOVES = ("Reshape", "Squeeze", "Transpose", "Unsqueeze")


def unmoved(output: Output, kinds: Sequence[str] = MOVES) -> tuple[Output, list[Node]]:
    """What elements come from, and the nodes that put them elsewhere, the last one first."""
    moves = []
    while output.get_node().get_type_name() in kinds:
        moves.append(output.get_node())
        output = output.get_node().input_value(0)
    return output, moves


def moved(output: Output, moves: Sequence[Node]) -> Output:
    """`output` behind nodes as `moves`, in the order that `unmoved` gives."""
    for move in reversed(moves):
        output = with_operands(move, output)
    return output


def with_operands(like: Node, *operands: Output) -> Output:
    """A node as `like`, with other first inputs."""
    inputs = [*operands, *like.input_values()[len(operands) :]]
    return _factory().create(like.get_type_name(), inputs, like.get_attributes()).output(0)


@functools.cache
def _factory() -> NodeFactory:
    return NodeFactory("opset16")
