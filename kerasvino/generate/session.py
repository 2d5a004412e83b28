"""The state of one generation: what an infer request has read so far, and how it goes on."""

from __future__ import annotations

import logging
import time
import weakref
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import openvino

from kerasvino.generate.notes import Notes
from kerasvino.runtime.ov_tensors import to_ov
from kerasvino.tensor import Tensor

__all__ = ["Run", "Session", "kept_of", "recorded"]


def kept_of(name: str, cache: Tensor, length: int) -> dict[str, openvino.Tensor]:
    """The first positions of a cache [batch, …, positions, heads, size] as state, by name.

    Args:
        name: of the state (`primitives.memory.Kept.made`).
        length: how many positions.
    """
    array, found = cache.numpy(), {}
    for place in np.ndindex(array.shape[1:-3]):
        kept = array[(slice(None), *place, slice(length))].swapaxes(1, 2)
        found[".".join(map(str, (name, *place)))] = to_ov(np.array(kept, order="C"), cache.dtype)
    return found


logger = logging.getLogger("kerasvino")
_told: weakref.WeakSet = weakref.WeakSet()
_runs = Notes()


class Run(NamedTuple):
    """A run of a step, as `recorded` notes it.

    Attributes:
        specialisation: what was run.
        arrays: what it was run on, in the order of the graph's inputs.
        new: how many positions it read.
        state: {name: tensor} before the run; only of the first of a program's runs in a row.
        begin, end: seconds of `time.perf_counter`.
    """

    specialisation: object
    arrays: list
    new: int
    state: dict[str, openvino.Tensor] | None
    begin: float
    end: float


def recorded() -> AbstractContextManager[list[Run]]:
    """Notes the runs of this thread's sessions in the list that it yields."""
    return _runs.collected()


class Session:
    """Runs of the programs of a step, one after the other, on one state.

    Attributes:
        length: how many positions the state holds.
    """

    def __init__(self):
        self.length = 0
        self._program = None
        self._request: openvino.InferRequest | None = None
        self._past: dict[str, openvino.Tensor] = {}  # before the first run

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Gives the infer request back, and what it holds with it."""
        self._give_back()
        self._past, self.length = {}, 0

    def run(self, stepped, tensors, new: int, rows: np.ndarray, wanted=None) -> list:
        """The results of `new` more positions, as tensors.

        Args:
            stepped: the `Specialisation` of a step.
            tensors: what it is run on.
            new: how many positions these are.
            rows: int32 [batch], which rows of the state as it is each of them goes on with.
            wanted: which results; None stands for the others. Default: all.
        """
        begin = time.perf_counter()
        program = stepped.current()
        is_other = program is not self._program
        if is_other:
            self._move_to(program)
        arrays = [tensor._array for tensor in tensors]
        arrays = stepped.with_weights(program, [*arrays, np.array(self.length, np.int32), rows])
        noted = _runs.found
        state = None
        if noted is not None and is_other:
            held_now = self._request.query_state() if self.length else ()
            state = {held.name: _copy(held.state) for held in held_now}
        # a prompt may be long: it is begun such that Ctrl-C ends it
        run = program.start(arrays, ahead=int(new > 1), request=self._request)
        self.length += new
        results = [a if a is None else Tensor._wrap(a) for a in run.wait(wanted=wanted)]
        if noted is not None:
            given = arrays[: len(stepped.graph.inputs)]
            noted.append(Run(stepped, given, new, state, begin, time.perf_counter()))
        return results

    def begin(self, past: dict[str, openvino.Tensor], length: int) -> None:
        """Takes `past`, of `length` positions, for what was read so far."""
        self._past, self.length = past, length

    def counted(self) -> int:
        """How many positions the request has, which a step may not have appended as told."""
        return self._request.query_state()[0].state.shape[2]

    def shorten(self, length: int) -> None:
        """Forgets the positions from `length` on."""
        for held in self._request.query_state():
            held.state = openvino.Tensor(np.ascontiguousarray(held.state.data[:, :, :length]))
        self.length = length

    def _move_to(self, program) -> None:
        _tell(program)
        request = program.request()
        past = self._past
        if self._request is not None:
            past = {held.name: held.state for held in self._request.query_state()}
        if self.length:
            for held in request.query_state():
                held.state = past[held.name] if past is self._past else _copy(past[held.name])
        self._give_back()
        self._program, self._request = program, request

    def _give_back(self) -> None:
        if self._request is not None:
            self._program.give_back(self._request)
            self._program = self._request = None


def _copy(tensor: openvino.Tensor) -> openvino.Tensor:
    copied = openvino.Tensor(tensor.element_type, tensor.shape)
    tensor.copy_to(copied)
    return copied


def _tell(program) -> None:
    """Says once of a program, at the level DEBUG, how it generates."""
    if not logger.isEnabledFor(logging.DEBUG) or program in _told:
        return
    _told.add(program)
    nodes = program.runtime_model.get_ops()
    kinds = [node.get_rt_info()["layerType"].astype(str) for node in nodes]
    logger.debug(
        "%s keeps its cache as state: %d arrays of keys or values. %d attentions append to theirs "
        "in one kernel.",
        program.graph.model.get_friendly_name(),
        kinds.count("MemoryInput"),
        kinds.count("ScaledDotProductAttention"),
    )
