"""A Program: a compiled graph with a pool of inference requests, callable from several threads."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Collection, Sequence

import numpy as np
import openvino

from kerasvino.distribution import current
from kerasvino.graph import Graph, Spec
from kerasvino.graph.index_bounds import check, index_error
from kerasvino.graph.refusal import refused_in_run
from kerasvino.graph.trace import lengths_of
from kerasvino.runtime import cache, config, forking
from kerasvino.runtime.compiling import release_freed_memory
from kerasvino.runtime.numerics import check_run
from kerasvino.runtime.ov_tensors import from_ov, receiver, to_ov
from kerasvino.runtime.prefetch import Guess

__all__ = ["Program", "Run"]

# A program that took longer leaves memory behind that the allocator holds back, of compiling and of
# its first run: a training step of ResNet50 300 MiB of 1,920, a small recurrent network 5 of 787.
# The least that OpenVINO takes for any graph is half of it.
LONG_COMPILE = 0.04
# A run that takes longer, in seconds, is not run by the waiting thread, out of reach of Ctrl-C.
LONG_RUN = 0.3
ASK_EVERY = 100  # milliseconds


class Program:
    """A graph compiled with some settings, its read-only variables as constants or as inputs.

    Args:
        graph: what to compile.
        settings: how; a device string for that device with the defaults.
        constants: arrays of `graph.reads` to compile in, by index; the others are inputs.
        guess: of the blob in the cache that holds it.

    Attributes:
        generation: of the process that compiled it (see `forking`).
        compile_seconds: what compiling took.
        least_seconds: what the fastest run so far took; 0 before the first.
    """

    def __init__(
        self,
        graph: Graph,
        settings: config.Settings | str,
        constants: dict[int, np.ndarray],
        guess: Guess | None = None,
    ):
        if isinstance(settings, str):
            settings = config.Settings(device=settings)
        self.graph = graph
        self.settings = settings
        self.constants = constants
        self.generation = forking.generation()
        start = time.perf_counter()
        self._compiled, self._blob = cache.compiled(graph, settings, constants, guess)
        self.compile_seconds = time.perf_counter() - start
        self._release_after_long_compile()
        fed = graph.fed(constants)
        self._input_dtypes = [s.dtype for s in graph.inputs] + [v._dtype for v in fed]
        self._outputs = [
            Spec(_static_shape(port, result), spec.dtype)
            for port, result, spec in zip(
                self._compiled.outputs,
                graph.model.get_results(),
                [*graph.outputs, *graph.write_specs],
                strict=False,  # the hidden ones follow
            )
        ]
        # assigned values, which are large and made again at every step, take turns in few arrays
        self._state = {
            index: _Turns(spec)
            for index, spec in enumerate(self._outputs)
            if index >= len(graph.outputs) and spec.shape is not None
        }
        self._of_arguments = [bound for bound in graph.bounds if bound.argument is not None]
        self._has_run = False
        self.least_seconds = 0.0
        self._idle: list[openvino.InferRequest] = []
        self._lock = threading.Lock()

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Runs on the arguments followed by the values of the variables that are inputs.

        Returns fresh arrays: the outputs, then the assigned values.
        """
        return self.start(arrays, ahead=0).wait()

    def start(
        self,
        arrays: Sequence[np.ndarray],
        into: Sequence[np.ndarray] | None = None,
        ahead: int = 1,
        overlap: bool = True,
        request: openvino.InferRequest | None = None,
    ) -> Run:
        """As a call, without waiting for the end. The arrays must not change until then.

        Args:
            arrays: what a call takes.
            into: arrays that the first outputs are to be written into, where they fit in shape and
                dtype; others are fresh.
            ahead: how many are begun before their results are asked for; 0: it runs when waited
                for, by the waiting thread if the device lets it.
            overlap: whether the caller has work to do until it asks for the results. If not, they
                are as with `ahead` 0 where the device works on one run at a time.
            request: the one to run on, whose state is read and written; default: any that is idle.

        Raises:
            IndexRangeError: an argument holds an index out of range.
        """
        forking.check_generation(self.generation)
        for bound in self._of_arguments:
            check(bound.where, arrays[bound.argument], bound.lengths)
        inputs = [to_ov(a, d) for a, d in zip(arrays, self._input_dtypes, strict=True)]
        places = [self._receiver(i, into) for i in range(len(self._outputs))]
        early = ahead > 0 and (overlap or self.parallel > 1)
        return Run(self, inputs, places, early or not self.inline, request)

    def request(self) -> openvino.InferRequest:
        """A request with empty state, the caller's own until `give_back`."""
        request = self._take()
        request.reset_state()
        return request

    def give_back(self, request: openvino.InferRequest) -> None:
        """Ends what `request` began."""
        with self._lock:
            self._idle.append(request)

    def check_hidden(
        self, request: openvino.InferRequest, rows: int | None, inputs: Sequence[openvino.Tensor]
    ) -> None:
        """Checks what a run computed beside its outputs.

        Args:
            request: whose run is over.
            rows: how many are checked.
            inputs: of the run.

        Raises:
            IndexRangeError: an index that the graph computed is out of range.
            NumericsError: there is NaN or an infinity, with the setting `check_numerics`.
        """

        def hidden(index):
            return request.get_output_tensor(len(self._outputs) + index).data

        for bound in self.graph.bounds:
            if bound.result is not None:
                lengths = bound.lengths if bound.measured is None else hidden(bound.measured)
                indices = hidden(bound.result)
                check(bound.where, indices if rows is None else indices[:rows], lengths)
        if self.graph.steps is not None:
            check_run(
                self.graph, hidden(len(self.graph.hidden) - 1), lambda i: self._input(i, inputs)
            )

    def _input(self, index: int, inputs: Sequence[openvino.Tensor]) -> np.ndarray:
        """The value of an argument, or of a variable behind the arguments, in a run."""
        variable = index - len(self.graph.inputs)
        if variable in self.constants:
            return self.constants[variable]
        place = index - sum(other < variable for other in self.constants)
        return from_ov(inputs[place], self._input_dtypes[place])

    def _receiver(self, index: int, into) -> tuple[np.ndarray, openvino.Tensor] | None:
        spec = self._outputs[index]
        if spec.shape is None:
            return None
        if into is not None and index < len(into) and into[index].shape == spec.shape:
            return receiver(spec.shape, spec.dtype, into[index])
        if index in self._state:
            return self._state[index].take()
        return receiver(spec.shape, spec.dtype)

    def _take(self) -> openvino.InferRequest:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._compiled.create_infer_request()

    def _give_back(self, request: openvino.InferRequest | None, seconds: float) -> None:
        """Takes note of a run; `request` is None where somebody keeps it."""
        with self._lock:
            if request is not None:
                self._idle.append(request)
            if seconds:
                self.least_seconds = min(self.least_seconds or seconds, seconds)
            first, self._has_run = not self._has_run, True
        if first:
            self._release_after_long_compile()

    def _release_after_long_compile(self) -> None:
        if self.compile_seconds > LONG_COMPILE:
            release_freed_memory()

    @property
    def is_slow(self) -> bool:
        """Whether a run takes, or may take, so long that somebody interrupts it."""
        return not 0 < self.least_seconds < LONG_RUN

    @functools.cached_property
    def parallel(self) -> int:
        """How many runs the device works on at a time."""
        return int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    @functools.cached_property
    def inline(self) -> bool:
        """Whether the waiting thread can run it itself, which saves two handovers of a thread.

        The CPU plugin would queue such a run where it has several streams. Where it has one of a
        single thread, it swallows the errors of the run and leaves the memory as it was.
        """
        if self.settings.device != "CPU":
            return False
        streams = int(self._compiled.get_property("NUM_STREAMS"))
        threads = int(self._compiled.get_property("INFERENCE_NUM_THREADS"))
        return streams == 0 or (streams == 1 and threads > 1)

    @property
    def runtime_model(self) -> openvino.Model:
        """The graph as the plugin runs it."""
        return self._compiled.get_runtime_model()


class Run:
    """An inference under way. It owns its memory: every request is bound anew for each run."""

    def __init__(
        self,
        program: Program,
        inputs: list,
        receivers: list,
        ahead: bool,
        request: openvino.InferRequest | None = None,
    ):
        self._program = program
        self._inputs = inputs
        self._receivers = receivers
        self._borrowed = request is not None
        self._request = request = request or program._take()
        for index, tensor in enumerate(inputs):
            request.set_input_tensor(index, tensor)
        for index, place in enumerate(receivers):
            if place is not None:
                request.set_output_tensor(index, place[1])
        self._ahead = ahead
        if ahead:
            self._begun = time.perf_counter()
            forking.begin(request, waits=False)
            request.start_async()

    def wait(
        self, rows: int | None = None, wanted: Collection[int] | None = None
    ) -> list[np.ndarray | None]:
        """The results, once.

        Args:
            rows: how many of them count, of a padded batch: the others are not checked.
            wanted: which results are wanted, None stands for the others; default: all.

        Raises:
            IndexRangeError: an index that the graph computed is out of range.
            NumericsError: there is NaN or an infinity, with the setting `check_numerics`.
        """
        request = self._request
        forking.check_generation(self._program.generation)
        seconds = 0.0  # of a run that fails
        try:
            if self._ahead:
                _finish(request)
            elif self._program.is_slow and threading.current_thread() is threading.main_thread():
                self._begun = time.perf_counter()
                forking.begin(request, waits=False)
                request.start_async()
                _finish(request)
            else:
                self._begun = time.perf_counter()
                forking.begin(request, waits=True)
                request.infer(share_outputs=True)
            seconds = time.perf_counter() - self._begun
            if self._program.graph.hidden:
                self._program.check_hidden(request, rows, self._inputs)
            return [
                self._result(index, place) if wanted is None or index in wanted else None
                for index, place in enumerate(self._receivers)
            ]
        except RuntimeError as error:
            said = str(error)
            group = current() if self._program.graph.exchanges else None
            if group is not None and group.failure is not None:
                raise group.failure from None
            found = index_error(said) or refused_in_run(said, self._given())
            if found is not None:
                raise found from error
            raise
        finally:
            forking.end(request)
            self._program._give_back(None if self._borrowed else request, seconds)

    def _result(self, index, place) -> np.ndarray:
        if place is not None:
            return place[0]
        return from_ov(self._request.get_output_tensor(index), self._program._outputs[index].dtype)

    def _given(self) -> str:
        """The arguments, for an error's message."""
        specs = self._program.graph.inputs  # what comes after them are variables
        pairs = zip(specs, self._inputs[: len(specs)], strict=True)
        return ", ".join(f"{spec.dtype}{list(tensor.shape)}" for spec, tensor in pairs)


def _finish(request: openvino.InferRequest) -> None:
    """Waits for a run; Python asks now and then for Ctrl-C, which cancels it."""
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        request.wait()
        return
    try:
        while not request.wait_for(ASK_EVERY):
            pass
        request.wait()  # for its error
    except KeyboardInterrupt:
        request.cancel()
        with contextlib.suppress(RuntimeError):  # that it was cancelled
            request.wait()
        raise


def _static_shape(port, result) -> tuple[int, ...] | None:
    """The shape of an output whose memory can be given beforehand, or None."""
    # An input that is a result itself is not written into the memory given.
    if result.input_value(0).get_node().get_type_name() == "Parameter":
        return None
    shape = port.get_partial_shape()
    return lengths_of(shape) if shape.is_static else None


class _Turns:
    """Arrays for one assigned value, used again when nobody else holds them.

    A new array costs a page fault for each 4 KiB, more than computing what is written into it. Who
    holds one, a variable, a tensor of the user, a view, a constant of another program, counts as a
    reference to it; only an array without any is written again.
    """

    MOST = 3

    def __init__(self, spec: Spec):
        self._spec = spec
        self._kept: list[tuple] = []
        self._free = 0

    def take(self) -> tuple[np.ndarray, openvino.Tensor] | None:
        for entry in self._kept:
            if sys.getrefcount(entry[0]) == self._free:
                return entry
        entry = receiver(self._spec.shape, self._spec.dtype)
        if entry is not None and len(self._kept) < self.MOST and entry[0].nbytes >= 1 << 14:
            self._free = sys.getrefcount(entry[0])
            self._kept.append(entry)
        return entry
