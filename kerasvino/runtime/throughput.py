"""Many calls in a row: whether they run side by side, by a second program compiled for that.

A program for single calls shares each node among all cores. One for throughput runs several calls
at a time, on one core each, which is faster for graphs of short nodes (`workload`). It costs a
second compile and a second copy of the weights.
"""

from __future__ import annotations

import functools
import threading

from kerasvino.runtime import config
from kerasvino.runtime.specialisation import Specialisation
from kerasvino.runtime.workload import saved_by_several_runs

__all__ = ["MANY_RUNS", "Throughput", "for_many_runs"]

# From this many calls in a row on, a program for throughput is considered.
MANY_RUNS = 8


class Throughput:
    """Which program serves many calls in a row of one specialisation.

    Args:
        single: the specialisation, whose program is for single calls.

    Attributes:
        chosen: the specialisation that runs them, `single` or one compiled for throughput; None
            while that is undecided.
        lost: seconds that a program for throughput would have saved so far.
    """

    def __init__(self, single: Specialisation):
        self.single = single
        self.chosen: Specialisation | None = None
        self.lost = 0.0

    @functools.cached_property
    def saved(self) -> float:
        """The part of their time that calls save when they run side by side."""
        return saved_by_several_runs(self.single.graph.model)

    def choose(self, settings: config.Settings, runs: int) -> Specialisation:
        """What runs this call, one of `runs` in a row; it is decided when compiling is worth it."""
        single = self.single
        if self.chosen is None:
            if single.graph.writes or single.is_large or not self.saved:
                self.chosen = single
            elif single.program is None or self._is_worth_compiling(runs):
                self.chosen = single.for_settings(settings)
                self.chosen.guess, single.guess = single.guess, None
        return self.chosen or single

    def _is_worth_compiling(self, runs: int) -> bool:
        """Whether single calls lose as much time, so far or in these `runs`, as compiling takes.

        As with padding (`padding`), nobody knows how many more calls will come.
        """
        lost = self.saved * self.single.program.least_seconds
        self.lost += lost
        return max(self.lost, runs * lost) > self.single.program.compile_seconds


def for_many_runs(
    single: Specialisation, settings: config.Settings, runs: int, lock: threading.RLock
) -> Specialisation:
    """The specialisation that runs one of `runs` calls in a row.

    Args:
        single: of the signature.
        settings: of programs for throughput.
        runs: how many calls follow each other.
        lock: of the function.
    """
    with lock:
        if single.throughput is None:
            single.throughput = Throughput(single)
        return single.throughput.choose(settings, runs)
