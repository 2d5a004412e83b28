"""Rounds the constants of a graph that it converts to float16, bfloat16 or float8.

OpenVINO's own folding of such a conversion takes seconds.
"""

from __future__ import annotations

import numpy as np
from openvino import Model

from kerasvino import dtypes
from kerasvino.graph.trace import constant_node
from kerasvino.nodes.floating import rounded_operand

__all__ = ["round_constants"]

_ROUNDED = {
    dtypes.graph_type(name): name
    for name in ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
}


def round_constants(model: Model) -> None:
    """Replaces the rounding of a Constant by the Constant rounded."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert":
            continue
        operand = rounded_operand(node.input_value(0).get_node())
        if operand is not None and operand.get_node().get_type_name() == "Constant":
            name = _ROUNDED[node.get_output_element_type(0)]
            with np.errstate(over="ignore"):
                values = operand.get_node().get_data().astype(dtypes.numpy_dtype(name))
            node.output(0).replace(constant_node(values, name).output(0))
