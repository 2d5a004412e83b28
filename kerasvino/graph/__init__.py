"""Graphs under construction (`Trace`) and finished ones (`Graph`, an `ov.Model` with its state)."""

from kerasvino.graph.graph import Graph, Spec, trace
from kerasvino.graph.trace import Trace, current_trace

__all__ = ["Graph", "Spec", "Trace", "current_trace", "trace"]
