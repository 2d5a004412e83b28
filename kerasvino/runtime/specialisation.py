"""A Specialisation: a function traced for one signature, and its program that is valid now."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import numpy as np

from kerasvino.graph import Graph, state
from kerasvino.runtime import config, forking
from kerasvino.runtime.prefetch import Guess
from kerasvino.runtime.program import Program, Run

__all__ = ["Invalidations", "Specialisation"]

# Weights that are larger than this are packed for one program at a time.
MAX_TWICE_BYTES = 128 << 20
# After this many assignments between calls, weights become inputs instead of a compile each time.
MAX_INVALIDATIONS = 2


class Invalidations:
    """How often programs of one function were compiled anew because a weight was assigned.

    Args:
        most: after so many, weights are inputs of the programs. `math.inf` keeps them constants.
    """

    def __init__(self, most: float = MAX_INVALIDATIONS):
        self.count = 0
        self._most = most

    @property
    def are_many(self) -> bool:
        """Whether weights are inputs of the programs from now on."""
        return self.count >= self._most


class Specialisation:
    """A graph with the program that now computes it.

    Args:
        graph: of the function, traced for the signature.
        settings: the program is compiled with.
        structure: what the function's results are packed into.
        read_only: indices of `graph.reads` that may be compiled in as constants.
        invalidations: of the function that was traced.
        lock: held while a program is compiled.
        trace_seconds: what tracing took.
        guess: of the first program's file in the cache.

    Attributes:
        program: None before the first call, perhaps stale after it (`current`).
        throughput: `throughput.Throughput`, once many calls in a row have been begun.
        paddings: {indices of arguments: `padding.Padding`}, which shorter batches it may run.
        used: when it was used last, in calls of the function.
        packed_bytes: size of the weights, of which a program has a copy in an order of its own.
    """

    def __init__(
        self,
        graph: Graph,
        settings: config.Settings,
        structure: object,
        read_only: Sequence[int],
        invalidations: Invalidations,
        lock: threading.RLock,
        trace_seconds: float = 0.0,
        guess: Guess | None = None,
    ):
        self.graph = graph
        self.settings = settings
        self.structure = structure
        self.read_only = read_only
        self.guess = guess
        self.program: Program | None = None
        self.throughput = None
        self.paddings = {}
        self.used = 0
        self.packed_bytes = sum(array.nbytes for array in graph.foldable().values())
        self._invalidations = invalidations
        self._lock = lock
        self._trace_seconds = trace_seconds
        self._epoch = -1

    def for_settings(self, settings: config.Settings) -> Specialisation:
        """The same graph, to be compiled with other settings."""
        return Specialisation(
            self.graph,
            settings,
            self.structure,
            self.read_only,
            self._invalidations,
            self._lock,
            self._trace_seconds,
        )

    @property
    def fastest(self) -> Specialisation:
        """The one that serves many calls in a row: another of the same graph, or this one."""
        chosen = self.throughput.chosen if self.throughput is not None else None
        return chosen or self

    @property
    def seconds_to_make(self) -> float:
        """What tracing and compiling took; infinite before there is a program."""
        program = self.fastest.program or self.program
        return math.inf if program is None else self._trace_seconds + program.compile_seconds

    @property
    def is_large(self) -> bool:
        """Whether its weights are too large for a second program beside it."""
        return self.packed_bytes > MAX_TWICE_BYTES

    def is_compiled(self) -> bool:
        """Whether there is a program to run."""
        return self.fastest.program is not None or self.program is not None

    def is_stale(self) -> bool:
        """Whether a variable that the program holds as a constant has another value now."""
        if self.program is None or self.program.generation != forking.generation():
            return True
        reads = self.graph.reads
        return any(reads[i]._value._array is not a for i, a in self.program.constants.items())

    def current(self) -> Program:
        """The program, compiled anew if a constant in it was assigned since."""
        now = state.epoch()
        if self.program is not None and self._epoch == now:
            return self.program
        with self._lock:
            if self.is_stale():
                if self.program is not None and self.program.generation == forking.generation():
                    self._invalidations.count += 1
                reads = self.graph.reads
                constants = {}
                if not self._invalidations.are_many:
                    constants = {i: reads[i]._value._array for i in self.read_only}
                self.program = Program(self.graph, self.settings, constants, self.guess)
                self.guess = None
            self._epoch = now
            return self.program

    def with_weights(self, program: Program, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """`arrays`, the arguments of a run, with the variables that `program` has as inputs."""
        constants = program.constants
        reads = enumerate(self.graph.reads)
        return arrays + [v._value._array for i, v in reads if i not in constants]

    def start(
        self,
        tensors: Sequence,
        into: Sequence[np.ndarray] | None,
        ahead: int,
        overlap: bool = True,
    ) -> Run:
        """Begins a run of the current program; arguments as of `Function.start`."""
        program = self.current()
        arrays = self.with_weights(program, [tensor._array for tensor in tensors])
        return program.start(arrays, into, ahead, overlap)
