"""Rounds the constants of a graph that it converts to float16, bfloat16 or float8.

OpenVINO's own folding of such a conversion takes seconds.
"""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.graph.trace import constant_node
from kerasvino.nodes.floating import rounded_operand
from kerasvino.passes.constants import value
from kerasvino.passes.patterns import Rule, node

__all__ = ["RULES"]

_ROUNDED = {
    dtypes.graph_type(name): name
    for name in ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
}


def _rounded(found, scope):
    operand = rounded_operand(found[_rounding].get_node())
    array = None if operand is None else value(operand, scope)
    if array is None:
        return None
    name = _ROUNDED[found.root.get_output_element_type(0)]
    with np.errstate(over="ignore"):
        return constant_node(array.astype(dtypes.numpy_dtype(name)), name).output(0)


_rounding = node("Select")
RULES = (Rule(node("Convert", _rounding), _rounded, closed=False),)
