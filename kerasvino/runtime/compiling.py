"""Compiling a graph for a device."""

from __future__ import annotations

import ctypes
import functools
import logging
import sys

import numpy as np
import openvino

from kerasvino.graph import Graph
from kerasvino.passes import pipeline as _pipeline  # noqa: F401 - registers itself with Graph.bind
from kerasvino.runtime import config, devices, forking
from kerasvino.runtime.collector import paused_collector
from kerasvino.runtime.narrow import narrow_for, rest_of
from kerasvino.runtime.workload import one_thread_is_faster

__all__ = ["compile_graph", "properties_for", "release_freed_memory", "run_once"]

logger = logging.getLogger("kerasvino")

# Errors of the CPU plugin about a group of nodes that it fuses (OpenVINO 2026.4).
_OF_FUSING = (
    # It has more values than the processor has registers: batch normalization with its gradient is
    # one, see the traps.
    "Can't allocate registers for a snippet",
    # It lost the order of its nodes: gradients of attention and a recurrent layer, of one row.
    "Topological order is required, but not set",
)


def properties_for(graph: Graph, settings: config.Settings) -> dict[str, str]:
    """What `graph` is compiled with: the settings, and what they leave to choose.

    Where one thread of the CPU is faster than several, that is the one that waits for the result.
    """
    found = settings.properties
    if graph.model.get_sinks():
        found = {**found, **settings.of_state}
    if (precision := rest_of(graph, settings)) is not None:
        found = {**found, "INFERENCE_PRECISION_HINT": precision}
    if settings.may_run_inline and one_thread_is_faster(graph.model):
        return {**found, "NUM_STREAMS": "0"}
    return found


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
    properties = {**properties_for(graph, settings), **properties}
    if settings.on_cpu and settings.precision is None:
        _tell_precision()

    def compiled(**more):
        model = graph.bind(constants, narrow_for(graph, settings, constants))
        forking.check(settings.device)
        with forking.compiling():
            made = devices.core().compile_model(model, settings.device, {**properties, **more})
        return forking.keep(made)

    try:
        with paused_collector():
            return compiled()
    except RuntimeError as error:
        if not settings.on_cpu or not any(text in str(error) for text in _OF_FUSING):
            raise
    return compiled(SNIPPETS_MODE="DISABLE")


def run_once(model: openvino.Model, *arrays: np.ndarray) -> list[np.ndarray]:
    """The results of any model on the CPU, computed as its types say.

    A core of its own compiles it: that knows of the extensions that were imported since.
    """
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    with forking.compiling():
        compiled = forking.keep(openvino.Core().compile_model(model, "CPU", exact))
    return [np.array(result) for result in forking.infer(compiled, arrays).values()]


@functools.cache
def _tell_precision() -> None:
    """Says once in the log that float32 is a choice, where the processor has another."""
    if "BF16" in devices.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        logger.info(
            "Models are computed in float32. This processor is faster in bfloat16, which has 8 "
            "bits of precision: kerasvino.config.set(precision='bf16') or KERASVINO_PRECISION=bf16."
        )


def release_freed_memory() -> None:
    """Gives memory that was freed back to the system, where the C library has a call for it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)
