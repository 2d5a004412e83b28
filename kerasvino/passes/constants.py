"""What nodes make of constants alone, computed by NumPy while a model is finished.

OpenVINO folds them too, a node at a time in each of several passes: of a small model, that takes
longer than all the rest of compiling.
"""

from __future__ import annotations

import numpy as np
from openvino import Node, Output, Type

from kerasvino.graph.trace import constant_node
from kerasvino.nodes.facts import FOLDED, facts
from kerasvino.nodes.lowering import element
from kerasvino.passes.walk import Scope

__all__ = ["fold_inputs", "value"]


def value(output: Output, scope: Scope) -> np.ndarray | None:
    """What an output of float32 is made of constants alone, as a view of them where it can be.

    None if it is of another type, depends on anything else, or is made by nodes unknown here.
    """
    if element(output) != Type.f32 or not scope.is_constant(output):
        return None
    with np.errstate(all="ignore"):
        return _value(output, scope, {})


def _value(output, scope, known):
    """As `value`, of any type; `known` keeps what the nodes on the way give."""
    scope, output = scope.source(output)
    node = output.get_node()
    key = node.get_instance_id()
    if key not in known:
        known[key] = _results(node, scope, known)
    results = known[key]
    return None if results is None else results[output.get_index()]


def _results(node, scope, known):
    kind = node.get_type_name()
    if kind == "Constant":
        return (node.get_data(),) if node.get_output_element_type(0) in FOLDED else None
    fold, sources = facts(kind).fold, node.input_values()
    if fold is None:
        return None
    if facts(kind).reshapes:
        if node.get_output_partial_shape(0).is_dynamic:
            return None
        sources = sources[:1]
    inputs = [_value(source, scope, known) for source in sources]
    return None if any(array is None for array in inputs) else fold(node, *inputs)


def fold_inputs(node: Node, scope: Scope) -> bool:
    """Gives a node constants where its inputs of float32 are made of constants."""
    folded = False
    for port in node.inputs():
        source = port.get_source_output()
        array = None if source.get_node().get_type_name() == "Constant" else value(source, scope)
        if array is not None:
            constant = constant_node(array, "float32")
            constant.set_friendly_name(source.get_node().get_friendly_name())
            port.replace_source_output(constant.output(0))
            folded = True
    return folded
