"""What nodes make of constants alone, computed by NumPy while a model is finished.

OpenVINO folds them too, a node at a time in each of several passes: of a small model, that takes
longer than all the rest of compiling.
"""

from __future__ import annotations

import numpy as np
from openvino import Node, Output, Type

from kerasvino.graph.trace import constant_node
from kerasvino.nodes.lowering import element
from kerasvino.passes.walk import kind_of

__all__ = ["fold_inputs", "value"]


def value(output: Output) -> np.ndarray | None:
    """What an output of float32 is made of constants alone, as a view of them where it can be.

    None if it is of another type, depends on anything else, or is made by nodes unknown here.
    """
    return _value(output, {}) if element(output) == Type.f32 else None


def _value(output, known):
    """As `value`, of any type; `known` keeps what the nodes on the way give."""
    node = output.get_node()
    key = node.get_instance_id()
    if key not in known:
        known[key] = _results(node, known)
    results = known[key]
    return None if results is None else results[output.get_index()]


def _results(node, known):
    kind = kind_of(node)
    if kind == "Constant":
        return (node.get_data(),)
    if kind not in _RULES:
        return None
    sources = node.input_values()
    if kind in _TO_SHAPE:  # which is that of the output, whatever it is computed from
        if node.get_output_partial_shape(0).is_dynamic:
            return None
        sources = sources[:1]
    inputs = [_value(source, known) for source in sources]
    return None if any(array is None for array in inputs) else _RULES[kind](node, *inputs)


def _reshaped(node, array):
    return (array.reshape(tuple(node.get_output_shape(0))),)


def _broadcast(node, array):
    return (np.broadcast_to(array, tuple(node.get_output_shape(0))),) if array.size == 1 else None


_RULES = {
    "Add": lambda node, a, b: (a + b,),
    "Broadcast": _broadcast,
    "Concat": lambda node, *arrays: (np.concatenate(arrays, node.get_attributes()["axis"]),),
    "Reshape": _reshaped,
    "Split": lambda node, array, axis: np.split(array, node.get_output_size(), int(axis)),
    "Squeeze": _reshaped,
    "Transpose": lambda node, array, order: (array.transpose(order if order.size else None),),
    "Unsqueeze": _reshaped,
}
_TO_SHAPE = ("Broadcast", "Reshape", "Squeeze", "Unsqueeze")


def fold_inputs(node: Node) -> None:
    """Gives a node constants where its inputs of float32 are made of constants."""
    for port in node.inputs():
        source = port.get_source_output()
        array = None if kind_of(source.get_node()) == "Constant" else value(source)
        if array is not None:
            folded = constant_node(array, "float32")
            folded.set_friendly_name(source.get_node().get_friendly_name())
            port.replace_source_output(folded.output(0))
