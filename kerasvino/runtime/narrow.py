"""Which narrow numbers the products of a graph may have, on a device and with some settings."""

from __future__ import annotations

import functools

import numpy as np
import openvino

from kerasvino.graph import Graph
from kerasvino.graph.graph import EXACT, Narrow
from kerasvino.passes import int8_probe
from kerasvino.runtime import config, devices, forking

__all__ = ["has_int8_kernels", "narrow_for"]

_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


def narrow_for(graph: Graph, settings: config.Settings, constants: dict[int, np.ndarray]) -> Narrow:
    """What the products of `graph` may have when it is compiled with `constants`."""
    has_bytes = any(array.dtype in _BYTES for array in constants.values())
    trains = any(getattr(variable, "trainable", False) for variable in graph.writes)
    weights = None if trains else settings.weights
    if not has_bytes and weights is None:
        return EXACT
    return Narrow(has_bytes and has_int8_kernels(settings.device), weights)


@functools.cache
def has_int8_kernels(device: str) -> bool:
    """Whether a device multiplies 8-bit integers in kernels of its own, and rightly.

    It is tried, once in a process: OpenVINO names int8 among the capabilities of processors on
    which its int8 kernels overflow. Where it is not the CPU, nothing is tried: False.
    """
    if device != "CPU":
        return False
    forking.check(device)
    with forking.compiling():
        compiled = devices.core().compile_model(
            int8_probe.model(), device, {"INFERENCE_PRECISION_HINT": "f32"}
        )
    compiled = forking.keep(compiled)
    if not any(_is_int8_product(node) for node in compiled.get_runtime_model().get_ordered_ops()):
        return False
    found = forking.infer(compiled, [int8_probe.INPUT])[0]
    return bool(np.array_equal(found, int8_probe.EXPECTED))


def _is_int8_product(node: openvino.Node) -> bool:
    info = {key: node.get_rt_info()[key].astype(str) for key in ("layerType", "primitiveType")}
    return info["layerType"] in ("FullyConnected", "MatMul") and info["primitiveType"].endswith(
        "i8"
    )
