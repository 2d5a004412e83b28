"""Short batches that are padded to the length of a longer one and run by its program.

This is right where the rows of a batch do not depend on each other. `Padding` proves that once for
all lengths: the function is traced with an unknown length of the batch, and `rows` compares that
graph at two lengths. Python code that asked for the length may branch on it; then each length is
traced by itself and compared with the longer batch (`is_rowwise` with two traces).

Padding costs running time at each call, a program of its own costs tracing and compiling once.
Which is cheaper depends on how often the length will be called, which nobody knows. So the time
spent on padding rows is added up, and once it has reached that of a new program, the length gets
one: the sum is then at most twice that of the better choice (the "ski rental" problem of online
algorithms). Somebody waits for a single call, so that is bounded as well (`Padding.suits`): it is
not padded where it would take several times as long. The last batch of a longer `predict` may be
padded from any length: it takes at most as long as each of those before it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np

from kerasvino.graph import Graph, Spec
from kerasvino.runtime.program import Run
from kerasvino.runtime.rows import is_rowwise
from kerasvino.runtime.shapes import ShorterBatch, open_batch
from kerasvino.runtime.specialisation import Specialisation
from kerasvino.runtime.workload import work
from kerasvino.tensor import Tensor

__all__ = ["PaddedBatch", "PaddedRun", "Padding"]

# A padded call takes at most so many times as long as one of its own program, by the estimate of
# `workload`, ...
MAX_GROWTH = 4
# ... unless so many calls lose less time than a new program takes to make.
CALLS_PER_PROGRAM = 64


class Padding:
    """Which shorter batches one specialisation may run.

    Args:
        longer: the specialisation of the longer batch.
        shapes: of its arguments.
        batched: indices of the arguments that have a row for each sample.
        general: `general(pattern)` is the function traced with the lengths that are None in the
            pattern unknown, or None where its code asks for one. It is called at most once.

    Attributes:
        for_all_lengths: whether every shorter batch may be padded.
    """

    def __init__(
        self,
        longer: Specialisation,
        shapes: tuple,
        batched: frozenset[int],
        general: Callable[[tuple], Specialisation | None],
    ):
        self.longer = longer
        self._batched = batched
        self._length = shapes[min(batched)][0]
        self._few = min(2, self._length - 1)  # rows of the shorter batch that is looked at
        self._ratio = self._few / self._length  # of the work of few rows to that of all
        self.for_all_lengths = False
        if (traced := general(open_batch(shapes, batched))) is not None:
            self._compare(traced, shapes)

    def _compare(self, traced: Specialisation, shapes: tuple) -> None:
        try:
            whole, few = (
                _with_rows(traced.graph, shapes, self._batched, rows)
                for rows in (self._length, self._few)
            )
        except RuntimeError:  # OpenVINO's: the graph takes some lengths only
            return
        # numbers that are returned beside tensors may depend on the length as well
        same = traced.structure == self.longer.structure
        self.for_all_lengths = same and is_rowwise(whole, few, self._batched)
        works = work(few.model), work(whole.model)
        if None not in works and works[1] > 0:
            self._ratio = works[0] / works[1]

    def growth(self, rows: int) -> float:
        """How many times the work of `rows` the longer batch is.

        Work grows linearly with the rows; reading the weights is the part that does not grow.
        """
        slope = (1 - self._ratio) / (self._length - self._few)
        return 1 / min(1.0, max(1 - slope * (self._length - rows), 1 / self._length))

    def suits(self, rows: int) -> bool:
        """Whether a single call of `rows` may be padded.

        Not where it would take several times as long as by a program of its own, unless that is
        little beside what making the program takes.
        """
        growth = self.growth(rows)
        program = self.longer.fastest.program
        if growth <= MAX_GROWTH or program is None:
            return True
        lost = program.least_seconds * (1 - 1 / growth)
        return lost * CALLS_PER_PROGRAM <= self.longer.seconds_to_make

    def may_run(self, own: Specialisation) -> bool:
        """Whether the shorter batch of the specialisation `own` may be padded."""
        same = own.structure == self.longer.structure
        return same and is_rowwise(self.longer.graph, own.graph, self._batched)


def _with_rows(graph: Graph, shapes: tuple, batched: Collection[int], rows: int) -> Graph:
    """A graph of an unknown length of the batch, for a batch of `rows`."""
    given = [(rows, *s[1:]) if i in batched else s for i, s in enumerate(shapes)]
    inputs = [Spec(s, spec.dtype, spec.name) for s, spec in zip(given, graph.inputs, strict=True)]
    model = graph.reshaped(graph.model.clone(), given)
    return dataclasses.replace(graph, model=model, inputs=inputs)


class PaddedBatch:
    """A signature of shorter batches that is served by the program of a longer one.

    Args:
        padding: of the longer batch.
        lengths: of the two batches.
        own: this signature, if it had to be traced.

    Attributes:
        spent: seconds spent on padding rows so far.
        used: when it was used last, in calls of the function.
        surplus: the part of a run's time that goes to padding rows, by the estimate.
        suits_single_calls: `Padding.suits`.
    """

    def __init__(self, padding: Padding, lengths: ShorterBatch, own: Specialisation | None = None):
        self.longer = padding.longer
        self.own = own
        self.lengths = lengths
        self.used = 0
        self.surplus = 1 - 1 / padding.growth(lengths.rows)
        self.suits_single_calls = padding.suits(lengths.rows)
        self.spent = 0.0

    def start(
        self, tensors: Sequence[Tensor], ahead: int, overlap: bool
    ) -> tuple[Specialisation, PaddedRun]:
        """Begins a run, and says of which specialisation it is."""
        start = time.perf_counter()
        running = self.longer.fastest
        run = running.start(self.padded(tensors), None, ahead, overlap)
        return running, PaddedRun(run, self, start)

    def padded(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The arguments with rows of zeros after their own."""
        found = list(tensors)
        for index in self.lengths.batched:
            array = tensors[index]._array
            whole = np.zeros((self.lengths.length, *array.shape[1:]), array.dtype)
            whole[: self.lengths.rows] = array
            found[index] = Tensor._wrap(whole)
        return found

    def is_due(self, single: bool) -> bool:
        """Whether a program of its own is due, for a single call or one of many in a row."""
        if single and not self.suits_single_calls:
            return True
        return self.spent > self.longer.seconds_to_make


class PaddedRun:
    """A run of a padded batch, of whose results the padding rows are dropped."""

    def __init__(self, run: Run, batch: PaddedBatch, start: float):
        self._run, self._batch, self._start = run, batch, start

    def wait(self) -> list[np.ndarray]:
        """The results, once; errors as of `Run.wait`."""
        rows = self._batch.lengths.rows
        results = [array[:rows] for array in self._run.wait(rows)]
        self._batch.spent += (time.perf_counter() - self._start) * self._batch.surplus
        return results
