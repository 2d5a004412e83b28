"""Operands of attention that the CPU plugin would write over while it still reads them.

It makes one kernel of softmax(Q K) V with elementwise operations and the transpositions before and
behind it, and puts the result in the memory of Q if the two have one shape. With as many heads as
queries they also have it where one of them is transposed in the kernel; a head's result is then
written over what the next heads read. Such transpositions stay outside the kernel here.
Reproducer: tests/openvino_traps/test_matrices.py.
"""

from __future__ import annotations

from openvino import Node

from kerasvino.nodes.lowering import ov
from kerasvino.passes.patterns import Rule, node, value

__all__ = ["RULES"]


def _separate(found, transpose):
    """Puts a maximum before the first input: no kernel takes it in, and nothing simplifies it."""
    if not _is_transposed(found[transpose].get_node()):
        return None
    output = found.root.input_value(0)
    found.root.input(0).replace_source_output(ov.maximum(output, output).output(0))
    return True


def _is_transposed(node: Node) -> bool:
    """Whether a node transposes a result of the graph into what has the same shape."""
    source = node.input_value(0)
    if source.get_node().get_type_name() in ("Parameter", "Constant"):
        return False
    before, after = source.get_partial_shape(), node.get_output_partial_shape(0)
    return before.rank.is_static and before.rank.get_length() > 2 and before == after


_before = node("Transpose", value(), value())
_behind = node("Transpose", node("MatMul"), value())
RULES = (
    Rule(
        node("MatMul", _before, value()),
        lambda found, scope: _separate(found, _before),
        closed=False,
    ),
    Rule(_behind, lambda found, scope: _separate(found, _behind), closed=False),
)
