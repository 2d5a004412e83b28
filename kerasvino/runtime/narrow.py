"""Which narrow numbers the products of a graph may have, on a device and with some settings."""

from __future__ import annotations

import functools

import numpy as np
import openvino

from kerasvino.graph import Graph
from kerasvino.graph.graph import EXACT, Narrow
from kerasvino.passes import int8_probe
from kerasvino.runtime import config, devices, forking

__all__ = ["has_int8_kernels", "is_rounded", "narrow_for", "rest_of", "weight_bits"]

_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


def narrow_for(graph: Graph, settings: config.Settings, constants: dict[int, np.ndarray]) -> Narrow:
    """What the products of `graph` may have when it is compiled with `constants`."""
    has_bytes = any(array.dtype in _BYTES for array in constants.values())
    trains = any(getattr(variable, "trainable", False) for variable in graph.writes)
    weights = None if trains else settings.weights
    ranges = graph.ranges if is_rounded(graph, settings) else ()
    if not has_bytes and weights is None and not ranges:
        return EXACT
    bits = (weight_bits(settings.device) or 8) if ranges else 8
    return Narrow(has_bytes and has_int8_kernels(settings.device), weights, ranges, bits)


def is_rounded(graph: Graph, settings: config.Settings) -> bool:
    """Whether the calibrated models in a graph are computed in 8 bits: not where they train."""
    if not graph.ranges or any(getattr(v, "trainable", False) for v in graph.writes):
        return False
    return weight_bits(settings.device) is not None


def rest_of(graph: Graph, settings: config.Settings) -> str | None:
    """In which precision all that is not rounded is computed; None: as for any other graph."""
    if settings.precision is not None or not is_rounded(graph, settings):
        return None
    bf16 = all(ranges.rest == "bf16" for ranges in graph.ranges)
    return "bf16" if bf16 and has_bf16_kernels(settings.device) else None


@functools.cache
def has_bf16_kernels(device: str) -> bool:
    """Whether a device computes in bfloat16 itself."""
    return "BF16" in devices.core().get_property(device, "OPTIMIZATION_CAPABILITIES")


@functools.cache
def weight_bits(device: str) -> int | None:
    """Of how many bits weights may be for a device to multiply them rightly by bytes: 8, 7 or None.

    It is tried, once in a process, as in `has_int8_kernels`. Where products of bytes are added in
    16 bits, weights of 7 bits are right.
    """
    if device != "CPU":
        return None
    for bits in (8, 7):
        forking.check(device)
        with forking.compiling():
            compiled = devices.core().compile_model(
                int8_probe.of_images(bits), device, {"INFERENCE_PRECISION_HINT": "f32"}
            )
        compiled = forking.keep(compiled)
        found = forking.infer(compiled, [int8_probe.IMAGE])
        pairs = zip(found.values(), int8_probe.expected_of_images(bits), strict=True)
        if all(np.array_equal(one, other) for one, other in pairs):
            return bits
    return None


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
