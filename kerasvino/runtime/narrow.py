"""Which narrow numbers the products of a graph may have, on a device and with some settings."""

from __future__ import annotations

import functools

import numpy as np
import openvino

from kerasvino.graph import Graph
from kerasvino.graph.graph import Narrow
from kerasvino.passes import bf16_probe, int8_probe
from kerasvino.passes.walk import scopes
from kerasvino.runtime import config, devices, forking

__all__ = [
    "has_bf16_kernels", "has_int8_kernels", "is_rounded", "narrow_for", "rest_of", "weight_bits",
]  # fmt: skip

_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


def narrow_for(graph: Graph, settings: config.Settings, constants: dict[int, np.ndarray]) -> Narrow:
    """What the products of `graph` may have when it is compiled with `constants`."""
    has_bytes = any(array.dtype in _BYTES for array in constants.values())
    trains = any(getattr(variable, "trainable", False) for variable in graph.writes)
    weights = None if trains else settings.weights
    ranges = graph.ranges if is_rounded(graph, settings) else ()
    return Narrow(
        has_bytes and has_int8_kernels(settings.device),
        _has_bf16(graph.model) and has_bf16_kernels(settings.device),
        weights,
        ranges,
        (weight_bits(settings.device) or 8) if ranges else 8,
    )


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
def weight_bits(device: str) -> int | None:
    """Of how many bits weights may be for a device to multiply them rightly by bytes: 8, 7 or None.

    It is tried, once in a process, as in `has_int8_kernels`. Where products of bytes are added in
    16 bits, weights of 7 bits are right.
    """
    if device != "CPU":
        return None
    for bits in (8, 7):
        found = forking.infer(_compiled(int8_probe.of_images(bits)), [int8_probe.IMAGE])
        pairs = zip(found.values(), int8_probe.expected_of_images(bits), strict=True)
        if all(np.array_equal(one, other) for one, other in pairs):
            return bits
    return None


def _has_bf16(model: openvino.Model) -> bool:
    """Whether a model, or a body in it, computes with bfloat16."""
    return any(
        output.get_element_type() == openvino.Type.bf16
        for scope in scopes(model)
        for node in scope.model.get_ordered_ops()
        for output in node.outputs()
    )


@functools.cache
def has_int8_kernels(device: str) -> bool:
    """Whether a device multiplies 8-bit integers in kernels of its own, and rightly.

    It is tried, once in a process: OpenVINO names int8 among the capabilities of processors on
    which its int8 kernels overflow. Where it is not the CPU, nothing is tried: False.
    """
    return device == "CPU" and _is_right(int8_probe, "", "i8")


@functools.cache
def has_bf16_kernels(device: str) -> bool:
    """Whether a device multiplies bfloat16 in kernels of its own, which add in float32.

    As `has_int8_kernels`: OpenVINO's emulation, on processors with AVX-512 alone, does not count.
    """
    return device == "CPU" and _is_right(bf16_probe, "brgemm", "bf16")


def _is_right(probe, *kernel: str) -> bool:
    """Whether the CPU runs the product of a probe in a kernel so named, and rightly."""
    compiled = _compiled(probe.model())
    nodes = compiled.get_runtime_model().get_ordered_ops()
    if not any(_is_product_in(node, *kernel) for node in nodes):
        return False
    found = forking.infer(compiled, [probe.INPUT])[0]
    return bool(np.array_equal(found, probe.EXPECTED))


def _compiled(model: openvino.Model) -> openvino.CompiledModel:
    """A probe compiled for the CPU, in float32 where it does not say otherwise."""
    forking.check("CPU")
    with forking.compiling():
        compiled = devices.core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return forking.keep(compiled)


def _is_product_in(node: openvino.Node, begin: str, end: str) -> bool:
    """Whether a node is a product in a kernel whose name begins and ends so."""
    info = {key: node.get_rt_info()[key].astype(str) for key in ("layerType", "primitiveType")}
    kernel = info["primitiveType"]
    product = info["layerType"] in ("FullyConnected", "MatMul")
    return product and kernel.startswith(begin) and kernel.endswith(end)
