"""A Program: a compiled graph with a pool of inference requests, callable from several threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import openvino

from kerasvino.graph import Graph
from kerasvino.runtime import config, devices
from kerasvino.runtime.boundary import from_ov, to_ov

__all__ = ["Program"]


class Program:
    """A graph compiled for a device, its read-only variables as constants or as inputs.

    Args:
        graph: what to compile.
        device: OpenVINO device string.
        constants: arrays of `graph.reads` to compile in, by index; the others are inputs.
        shapes: shapes of the arguments to specialise for, or None as traced.
    """

    def __init__(
        self,
        graph: Graph,
        device: str,
        constants: dict[int, np.ndarray],
        shapes: Sequence[tuple] | None = None,
    ):
        self.graph = graph
        self.device = device
        self.constants = constants
        model = graph.bind(constants)
        if shapes is not None and any(
            tuple(s) != i.shape for s, i in zip(shapes, graph.inputs, strict=True)
        ):
            graph.reshaped(model, shapes)
        self._compiled = _compile(model, device)
        fed = [v for index, v in enumerate(graph.reads) if index not in constants]
        self._input_dtypes = [s.dtype for s in graph.inputs] + [v._dtype for v in fed]
        self._output_dtypes = [s.dtype for s in [*graph.outputs, *graph.write_specs]]
        self._idle: list[openvino.InferRequest] = []
        self._lock = threading.Lock()

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Runs on the arguments followed by the values of the variables that are inputs.

        Returns fresh arrays: the outputs, then the assigned values.
        """
        tensors = [to_ov(a, d) for a, d in zip(arrays, self._input_dtypes, strict=True)]
        request = self._take()
        try:
            for index, tensor in enumerate(tensors):
                request.set_input_tensor(index, tensor)
            # `infer()` on a single thread loses run-time errors and leaves memory as it was
            request.start_async()
            request.wait()
            return [
                from_ov(request.get_output_tensor(index), dtype)
                for index, dtype in enumerate(self._output_dtypes)
            ]
        finally:
            with self._lock:
                self._idle.append(request)

    def _take(self):
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._compiled.create_infer_request()

    @property
    def runtime_model(self) -> openvino.Model:
        """The graph as the plugin runs it."""
        return self._compiled.get_runtime_model()


def _compile(model: openvino.Model, device: str) -> openvino.CompiledModel:
    return devices.core().compile_model(model, device, config.properties(device))
