"""Where a graph spends its time: the plugin's counters for each node that it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import openvino

from kerasvino.graph import Graph
from kerasvino.runtime import config, devices
from kerasvino.runtime.compiling import compile_graph
from kerasvino.runtime.ov_tensors import to_ov

__all__ = ["Measurement", "RuntimeNode", "measure", "measure_runs"]


@dataclass(frozen=True)
class RuntimeNode:
    """A node of the graph that the plugin runs.

    Attributes:
        name: of the operation whose result it gives, mostly the last of `covers`.
        covers: names of the operations that were fused into it, where the plugin knows them.
        kind: as `Convolution`, `Eltwise`, `Reorder`, `Const`.
        kernel: the implementation, as `brgconv_avx512_f32`.
        shape: of its first output.
        precision: in which it computes, as `f32`.
        layout: order of the axes of its first output in memory, as `abcd`.
        sources: indices of the nodes whose results it takes.
        executed: whether it did anything; reshapes and reorders in place do not.
        seconds: that it takes in one run, on average.
    """

    name: str
    covers: tuple[str, ...]
    kind: str
    kernel: str
    shape: str
    precision: str
    layout: str
    sources: tuple[int, ...]
    executed: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Measurement:
    """What `measure` found.

    Attributes:
        device: full name of what ran it.
        properties: that it was compiled with.
        compile_seconds: what compiling took.
        run_seconds: of each run, the counters running.
        nodes: in the order of execution.
    """

    device: str
    properties: dict[str, str]
    compile_seconds: float
    run_seconds: tuple[float, ...]
    nodes: tuple[RuntimeNode, ...]


def measure(
    graph: Graph,
    arrays: Sequence[np.ndarray],
    runs: int = 20,
    warmup: int = 3,
    constant: Callable[[Any], bool] | None = None,
) -> Measurement:
    """Compiles a graph with the settings in force and runs it. What it assigns is not assigned.

    Args:
        graph: what to measure.
        arrays: one for each of its inputs.
        runs: how many are counted.
        warmup: how many go before.
        constant: which of the variables that it only reads are constants. Default: all.
    """
    return measure_runs(graph, [arrays] * (warmup + runs), warmup, constant=constant)


def measure_runs(
    graph: Graph,
    each: Sequence[Sequence[np.ndarray]],
    warmup: int = 3,
    state: Mapping[str, openvino.Tensor] | None = None,
    constant: Callable[[Any], bool] | None = None,
) -> Measurement:
    """As `measure`, with inputs that differ from run to run.

    Args:
        graph: what to measure.
        each: for each run an array for each input; the first `warmup` of them are not counted.
        warmup: how many go before.
        state: what the infer request holds before the first run, by name.
        constant: as of `measure`.
    """
    settings = config.get()
    constants = graph.foldable()
    if constant is not None:
        constants = {i: a for i, a in constants.items() if constant(graph.reads[i])}
    start = time.perf_counter()
    counting = {"PERF_COUNT": "YES"}
    compiled = compile_graph(graph, settings, constants, **counting)
    compile_seconds = time.perf_counter() - start
    request = compiled.create_infer_request()
    for held in request.query_state() if state else ():
        held.state = state[held.name]
    weights = [to_ov(v._value._array, v._dtype) for v in graph.fed(constants)]
    for index, tensor in enumerate(weights, len(graph.inputs)):
        request.set_input_tensor(index, tensor)
    durations, counters, before = [], [], {}
    for number, arrays in enumerate(each):
        if number == warmup:
            before = _counters(request) if warmup else {}
        pairs = zip(arrays, graph.inputs, strict=True)
        tensors = [to_ov(array, spec.dtype) for array, spec in pairs]
        for index, tensor in enumerate(tensors):
            request.set_input_tensor(index, tensor)
        durations.append(_timed(request))
        if number >= warmup and (not settings.on_cpu or number == len(each) - 1):
            counters.append(_counters(request))
    runs = len(each) - warmup
    if settings.on_cpu:
        # The CPU plugin gives the mean over all runs since the compilation, in microseconds.
        total = len(each)
        counted = {
            name: (seconds * total - before.get(name, 0.0) * warmup) / runs
            for name, seconds in counters[-1].items()
        }
    else:
        counted = {n: sum(one.get(n, 0.0) for one in counters) / runs for n in counters[-1]}
    nodes = tuple(
        replace(node, executed=True, seconds=max(counted[node.name], 0.0))
        if node.name in counted
        else node
        for node in _nodes(compiled.get_runtime_model())
    )
    return Measurement(
        _full_name(settings.device),
        {**settings.properties, **counting},
        compile_seconds,
        tuple(durations[warmup:]),
        nodes,
    )


def _timed(request: openvino.InferRequest) -> float:
    """Seconds that a run takes."""
    start = time.perf_counter()
    request.start_async()
    request.wait()
    return time.perf_counter() - start


def _counters(request: openvino.InferRequest) -> dict[str, float]:
    """Seconds of each node that was executed, as the plugin tells them."""
    found: dict[str, float] = {}
    for info in request.profiling_info:
        if info.status == openvino.ProfilingInfo.Status.EXECUTED:
            found[info.node_name] = found.get(info.node_name, 0.0) + info.real_time.total_seconds()
    return found


def _nodes(model: openvino.Model) -> list[RuntimeNode]:
    operations = model.get_ordered_ops()
    index = {op.get_friendly_name(): i for i, op in enumerate(operations)}

    def node(op) -> RuntimeNode:
        info = op.get_rt_info()

        def text(key: str) -> str:
            return str(info[key].astype(str)) if key in info else ""

        sources = [value.get_node().get_friendly_name() for value in op.input_values()]
        shape = op.output(0).get_partial_shape() if op.get_output_size() else ""
        return RuntimeNode(
            op.get_friendly_name(),
            tuple(name for name in text("originalLayersNames").split(",") if name),
            text("layerType") or op.get_type_name(),
            text("primitiveType"),
            str(shape),
            text("runtimePrecision"),
            text("outputLayouts").partition(",")[0],
            tuple(index[name] for name in sources),
        )

    return [node(op) for op in operations]


def _full_name(device: str) -> str:
    if ":" in device or device == "AUTO":  # a virtual one has no name of its own
        return device
    return str(devices.core().get_property(device, "FULL_DEVICE_NAME")).strip()
