"""A Function: Python code over tensors, traced and compiled once for each signature.

`specialisations` says which program serves a call, `specialisation` keeps that program valid,
`padding` lets a program run shorter batches, `throughput` lets calls run side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from kerasvino.graph import Spec, trace
from kerasvino.graph.lengths import Watch
from kerasvino.locks import rlock
from kerasvino.nodes.codes import codes
from kerasvino.runtime import config
from kerasvino.runtime.collector import paused_collector
from kerasvino.runtime.padding import PaddedBatch, PaddedRun
from kerasvino.runtime.prefetch import Guess
from kerasvino.runtime.program import Run
from kerasvino.runtime.specialisation import Invalidations, Specialisation
from kerasvino.runtime.specialisations import Specialisations
from kerasvino.runtime.throughput import MANY_RUNS, for_many_runs
from kerasvino.tensor import Tensor

__all__ = ["Function", "Pending"]

# Runs that assign state take turns, so that each sees what the one before it left.
_state_turn = rlock()


class Pending:
    """The results of a call that may still be running."""

    def __init__(
        self,
        specialisation: Specialisation,
        run: Run | PaddedRun | None,
        results: list[Tensor] | None = None,
    ):
        self._specialisation = specialisation
        self._run = run
        self._results = results

    @property
    def parallel(self) -> int:
        """How many such calls the device works on at a time."""
        return self._specialisation.program.parallel if self._run is not None else 1

    def result(self) -> tuple[list[Tensor], object]:
        """(results, structure), when they are there."""
        if self._results is None:
            self._results = [Tensor._wrap(array) for array in self._run.wait()]
            self._run = None
        return self._results, self._specialisation.structure


class Function:
    """Compiles `function` for each signature of its arguments, as `specialisations` decides.

    Args:
        function: takes Tensors, returns a flat sequence of Tensors; its structure may not depend on
            values. It may read and assign variables.
        name: of the compiled models.
        structure: called after each trace; what it returns is handed out with the results of that
            signature (how to pack them, say).
        constant: `constant(variable)` says whether a variable that is read and not assigned may be
            compiled in, which is asked once for each signature; others are inputs. Default: any.
        variables: those that it will read, or most of them, by which its program is guessed in the
            cache before it is traced (see `prefetch`). Default: nothing is guessed.
        argument: `argument(index)` is what messages call an argument. Default: by its number.

    Attributes:
        assigned: {id: variable}, those that the signatures traced so far assign.
        specialisations: what has been traced.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        name: str = "kerasvino",
        structure: Callable[[], object] | None = None,
        constant: Callable[[object], bool] | None = None,
        variables: Callable[[], Sequence] = tuple,
        argument: Callable[[int], str] | None = None,
    ):
        self._argument = argument
        self._function = function
        self._structure = structure
        self._constant = constant
        self._variables = variables
        self.assigned: dict[int, object] = {}
        self._name = name
        self._invalidations = Invalidations()
        self._lock = rlock()
        self.specialisations = Specialisations(self._traced, name, self._lock)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Runs the compiled program for these (concrete) tensors; results are concrete tensors."""
        return self.run(tensors)[0]

    def run(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], object]:
        """(results, structure) of a call."""
        return self.start(tensors, ahead=0).result()

    def start(
        self,
        tensors: Sequence[Tensor],
        into: Sequence[np.ndarray] | None = None,
        ahead: int = 1,
        overlap: bool = True,
    ) -> Pending:
        """Begins a call. One that assigns state is over when this returns.

        Args:
            tensors: the arguments, unchanged until the end.
            into: arrays that the first results are written into where they fit (`Program.start`).
            ahead: how many such calls will be begun before their results are asked for; 0: it runs
                when its own is.
            overlap: whether there is other work until then (`Program.start`).
        """
        found = self.specialisations.serving(tensors, not ahead)
        if type(found) is PaddedBatch:
            return Pending(*found.start(tensors, ahead, overlap))
        if ahead >= MANY_RUNS and (settings := config.get().for_many_runs) is not None:
            found = for_many_runs(found, settings, ahead + 1, self._lock)
        if not found.graph.writes:
            return Pending(found, found.start(tensors, into, ahead, overlap))
        with _state_turn:
            values = [Tensor._wrap(a) for a in found.start(tensors, into, 0).wait()]
            count = len(found.graph.outputs)
            _assign(found.graph.writes, values[count:])
        return Pending(found, None, values[:count])

    def _traced(
        self, settings, shapes, dtypes, watch: Watch | None = None, prefetch: bool = True
    ) -> Specialisation:
        """Traces a signature; with `watch` one of unknown lengths, of which that is told."""
        specs = [Spec(s, name) for s, name in zip(shapes, dtypes, strict=True)]
        guess = None
        numerics = codes if settings.check_numerics else None
        prefetch = prefetch and settings.cache_dir is not None and numerics is None
        if prefetch and (known := self._variables()):
            guess = Guess(settings, self._name, specs, known)
        watching = watch or Watch()
        start = time.perf_counter()
        with paused_collector():
            graph = trace(self._function, specs, self._name, watching, True, numerics)
        seconds = time.perf_counter() - start
        graph.argument = self._argument
        if watch is None:
            watching.warn()
        structure = self._structure() if self._structure is not None else None
        self.assigned |= {id(v): v for v in graph.writes}
        read_only = list(graph.foldable())
        if self._constant is not None:
            read_only = [i for i in read_only if self._constant(graph.reads[i])]
        return Specialisation(
            graph,
            settings,
            structure,
            read_only,
            self._invalidations,
            self._lock,
            seconds,
            guess,
        )


def _assign(variables, values) -> None:
    """Assigns all, also when the user interrupts in between: half a step's state is of no use."""
    pairs = list(zip(variables, values, strict=True))
    try:
        for variable, value in pairs:
            variable._direct_assign(value)
    except KeyboardInterrupt:
        for variable, value in pairs:
            variable._direct_assign(value)
        raise
