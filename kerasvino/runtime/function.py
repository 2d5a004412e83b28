"""A Function: Python code over tensors, traced and compiled once for each signature."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from kerasvino.graph import Graph, Spec, state, trace
from kerasvino.runtime import config
from kerasvino.runtime.program import Program, Run
from kerasvino.tensor import Tensor, TracedValueError

__all__ = ["Function", "Pending"]

# Each specialisation packs its own copy of the weights, so there are few, and none when weights
# are large: past either bound one program with dynamic axes serves every further shape.
MAX_SPECIALISATIONS = 4
MAX_PACKED_BYTES = 2 << 30
# After this many assignments between calls, weights become inputs instead of a compile each time.
MAX_INVALIDATIONS = 2

# Runs that assign state take turns, so that each sees what the one before it left.
_state_turn = threading.RLock()


class _Entry:
    """A traced signature: its graph, the program now valid, and the values compiled into it."""

    def __init__(self, graph: Graph, settings: config.Settings, structure):
        self.graph = graph
        self.settings = settings
        self.structure = structure
        self.program: Program | None = None
        self.epoch = -1
        written = {id(v) for v in graph.writes}
        # uint32 constants are clipped to 2**31 - 1 by the CPU plugin (see graph.trace.Held)
        self.read_only = [
            i for i, v in enumerate(graph.reads) if id(v) not in written and v._dtype != "uint32"
        ]
        self.packed_bytes = sum(graph.reads[i]._value._array.nbytes for i in self.read_only)

    def is_stale(self) -> bool:
        """Whether a variable that the program holds as a constant has another value now."""
        if self.program is None:
            return True
        reads = self.graph.reads
        return any(reads[i]._value._array is not a for i, a in self.program.constants.items())


class Pending:
    """The results of a call that may still be running."""

    def __init__(self, entry: _Entry, run: Run | None, results: list[Tensor] | None = None):
        self._entry = entry
        self._run = run
        self._results = results

    @property
    def parallel(self) -> int:
        """How many such calls the device works on at a time."""
        return self._entry.program.parallel if self._run is not None else 1

    def result(self) -> tuple[list[Tensor], object]:
        """(results, structure), when they are there."""
        if self._results is None:
            self._results = [Tensor._wrap(array) for array in self._run.wait()]
            self._run = None
        return self._results, self._entry.structure


class Function:
    """Compiles `function` for each signature of its arguments, within the bounds above.

    Args:
        function: takes Tensors, returns a flat sequence of Tensors; its structure may not depend on
            values. It may read and assign variables.
        name: of the compiled models.
        structure: called after each trace; what it returns is handed out with the results of that
            signature (how to pack them, say).
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        name: str = "kerasvino",
        structure: Callable[[], object] | None = None,
    ):
        self._function = function
        self._structure = structure
        self._name = name
        # the last used at the end
        self._entries: OrderedDict[tuple, _Entry] = OrderedDict()
        self._seen: dict[tuple, list[tuple]] = {}
        self._static: set[tuple] = set()  # kinds of arguments of which no length may be unknown
        self._invalidations = 0
        self._lock = threading.RLock()

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Runs the compiled program for these (concrete) tensors; results are concrete tensors."""
        return self.run(tensors)[0]

    def run(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], object]:
        """(results, structure) of a call."""
        return self.start(tensors).result()

    def start(self, tensors: Sequence[Tensor], into: Sequence[np.ndarray] | None = None) -> Pending:
        """Begins a call. One that assigns state is over when this returns.

        Args:
            tensors: the arguments, unchanged until the end.
            into: arrays that the first results are written into where they fit (`Program.start`).
        """
        entry = self._entry(tensors)
        if not entry.graph.writes:
            return Pending(entry, self._begin(entry, tensors, into))
        with _state_turn:
            values = [Tensor._wrap(a) for a in self._begin(entry, tensors, into).wait()]
            count = len(entry.graph.outputs)
            for variable, value in zip(entry.graph.writes, values[count:], strict=True):
                variable._direct_assign(value)
        return Pending(entry, None, values[:count])

    def _begin(self, entry: _Entry, tensors, into) -> Run:
        program = self._current(entry)
        arrays = [tensor._array for tensor in tensors]
        constants = program.constants
        arrays += [v._value._array for i, v in enumerate(entry.graph.reads) if i not in constants]
        return program.start(arrays, into)

    def _current(self, entry: _Entry) -> Program:
        """The entry's program, compiled anew if a constant in it was assigned since."""
        now = state.epoch()
        if entry.program is not None and entry.epoch == now:
            return entry.program
        with self._lock:
            if entry.is_stale():
                if entry.program is not None:
                    self._invalidations += 1
                reads = entry.graph.reads
                constants = {}
                if self._invalidations < MAX_INVALIDATIONS:
                    constants = {i: reads[i]._value._array for i in entry.read_only}
                entry.program = Program(entry.graph, entry.settings, constants)
            entry.epoch = now
            return entry.program

    # -- which signature

    def _entry(self, tensors) -> _Entry:
        settings = config.get()
        shapes = tuple([t._array.shape for t in tensors])
        kinds = (settings.key, tuple([t._array.dtype for t in tensors]), tuple(map(len, shapes)))
        known = self._entries.get((kinds, shapes))
        if known is not None:
            if self._static:
                self._entries.move_to_end((kinds, shapes))
            return known
        with self._lock:
            return self._new_entry(settings, kinds, shapes, [t.dtype for t in tensors])

    def _new_entry(self, settings, kinds, shapes, dtypes) -> _Entry:
        seen = self._seen.setdefault(kinds, [])
        if shapes not in seen:
            seen.append(shapes)
        packed = sum(e.packed_bytes for e in self._entries.values())
        crowded = len(seen) > MAX_SPECIALISATIONS or packed > MAX_PACKED_BYTES
        if crowded and not settings.static_only and kinds not in self._static:
            wide = _generalised(seen)
            if (kinds, wide) in self._entries:
                return self._entries[kinds, wide]
            try:
                return self._trace(settings, kinds, wide, dtypes)
            except TracedValueError:
                # Python code asks for a length: such a function has programs of known shapes only
                self._static.add(kinds)
        if crowded:
            self._drop_oldest(kinds)
        return self._trace(settings, kinds, shapes, dtypes)

    def _trace(self, settings, kinds, shapes, dtypes) -> _Entry:
        specs = [Spec(s, name) for s, name in zip(shapes, dtypes, strict=True)]
        graph = trace(self._function, specs, self._name)
        structure = self._structure() if self._structure is not None else None
        entry = self._entries[kinds, shapes] = _Entry(graph, settings, structure)
        return entry

    def _drop_oldest(self, kinds) -> None:
        """Makes room for one more specialisation of the same kinds of arguments."""
        mine = [key for key in self._entries if key[0] == kinds]
        for key in mine[: len(mine) - MAX_SPECIALISATIONS + 1]:
            del self._entries[key]
            self._seen[kinds].remove(key[1])


def _generalised(seen: list[tuple]) -> tuple:
    """The shapes with None on every axis whose length differs between the signatures in `seen`."""
    return tuple(
        tuple(
            lengths[0] if len(set(lengths)) == 1 else None for lengths in zip(*shapes, strict=True)
        )
        for shapes in zip(*seen, strict=True)
    )
