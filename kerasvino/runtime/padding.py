"""Short batches that are padded to the length of a longer one and run by its program.

This is right where rows of a batch do not mix (`rows`). Padding costs running time at each call, a
program of its own costs compiling once. Which is cheaper depends on how often the signature will be
called, which nobody knows. So the time spent on padding rows is added up, and once it has reached
the time of a compile, the signature gets its own program: the sum is then at most twice that of the
better choice (the "ski rental" problem of online algorithms).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from kerasvino.runtime.program import Run
from kerasvino.runtime.shapes import ShorterBatch
from kerasvino.runtime.specialisation import Specialisation
from kerasvino.tensor import Tensor

__all__ = ["PaddedBatch", "PaddedRun"]


class PaddedBatch:
    """A signature of shorter batches that is served by the program of a longer one.

    Args:
        longer: the signature of the longer batch.
        own: this signature, traced, to be compiled once padding has cost as much.
        lengths: of the two batches.

    Attributes:
        spent: seconds spent on padding rows so far.
    """

    def __init__(self, longer: Specialisation, own: Specialisation, lengths: ShorterBatch):
        self.longer = longer
        self.own = own
        self.lengths = lengths
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

    def is_due(self) -> bool:
        """Whether padding has cost as much as compiling a program of its own would."""
        program = self.longer.fastest.program
        return program is not None and self.spent > program.compile_seconds


class PaddedRun:
    """A run of a padded batch, of whose results the padding rows are dropped."""

    def __init__(self, run: Run, batch: PaddedBatch, start: float):
        self._run, self._batch, self._start = run, batch, start

    def wait(self) -> list[np.ndarray]:
        """The results, once; errors as of `Run.wait`."""
        rows, length, _ = self._batch.lengths
        results = [array[:rows] for array in self._run.wait(rows)]
        self._batch.spent += (time.perf_counter() - self._start) * (1 - rows / length)
        return results
