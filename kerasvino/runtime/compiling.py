"""Compiling a graph for a device."""

from __future__ import annotations

import numpy as np
import openvino

from kerasvino.graph import Graph
from kerasvino.runtime import config, devices

__all__ = ["compile_graph"]

# Of the CPU plugin, for a group of fused nodes with more values than the processor has registers
# (OpenVINO 2026.4: batch normalization with its gradient is one, see the traps).
_TOO_MANY_VALUES = "Can't allocate registers for a snippet"


def compile_graph(
    graph: Graph,
    settings: config.Settings,
    constants: dict[int, np.ndarray],
    **properties: str,
) -> openvino.CompiledModel:
    """`graph` with `constants` compiled in.

    Where the CPU plugin fails on nodes that it has fused, once more with less fused.

    Args:
        graph: what to compile.
        settings: device and properties.
        constants: arrays of `graph.reads`, by index.
        properties: further properties.
    """
    properties = {**settings.properties, **properties}

    def compiled(**more):
        model = graph.bind(constants)
        return devices.core().compile_model(model, settings.device, {**properties, **more})

    try:
        return compiled()
    except RuntimeError as error:
        if not settings.on_cpu or _TOO_MANY_VALUES not in str(error):
            raise
    return compiled(SNIPPETS_MODE="DISABLE")
