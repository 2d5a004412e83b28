"""Operands of attention that the CPU plugin would write over while it still reads them.

It makes one kernel of softmax(Q K) V with elementwise operations and the transpositions before and
behind it, and puts the result in the memory of Q if the two have one shape. With as many heads as
queries they also have it where one of them is transposed in the kernel; a head's result is then
written over what the next heads read. Such transpositions stay outside the kernel here.
Reproducer: tests/openvino_traps/test_matrices.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from openvino import Input, Model, Node

from kerasvino.nodes.lowering import ov

__all__ = ["keep_operands"]


def keep_operands(model: Model) -> None:
    """Takes transpositions of equal axes out of the reach of kernels of attention."""
    for node in _nodes(model):
        if node.get_type_name() == "MatMul":
            if _is_transposed(node.input_value(0).get_node()):
                _separate(node.input(0))
        elif _is_transposed(node) and node.input_value(0).get_node().get_type_name() == "MatMul":
            _separate(node.input(0))


def _separate(place: Input) -> None:
    """Puts a maximum before an input: no kernel takes it in there, and nothing simplifies it."""
    output = place.get_source_output()
    place.replace_source_output(ov.maximum(output, output).output(0))


def _nodes(model: Model) -> Iterator[Node]:
    """The nodes of a model and of the bodies in it."""
    for node in model.get_ordered_ops():
        yield node
        kind = node.get_type_name()
        if kind == "If":
            for index in (0, 1):
                yield from _nodes(node.get_function(index))
        elif kind in ("Loop", "TensorIterator"):
            yield from _nodes(node.get_function())


def _is_transposed(node: Node) -> bool:
    """Whether a node transposes a result of the graph into what has the same shape."""
    if node.get_type_name() != "Transpose":
        return False
    source = node.input_value(0)
    if source.get_node().get_type_name() in ("Parameter", "Constant"):
        return False
    before, after = source.get_partial_shape(), node.get_output_partial_shape(0)
    return before.rank.is_static and before.rank.get_length() > 2 and before == after
