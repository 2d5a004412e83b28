"""A Function: Python code over tensors, traced and compiled once for each signature."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from kerasvino.graph import Graph, Spec, state, trace
from kerasvino.runtime import devices
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor

__all__ = ["Function"]

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

    def __init__(self, graph: Graph, device: str):
        self.graph = graph
        self.device = device
        self.program: Program | None = None
        self.epoch = -1
        written = {id(v) for v in graph.writes}
        # uint32 constants are clipped to 2**31 - 1 by the CPU plugin (see graph.trace.Held)
        self.read_only = [
            i for i, v in enumerate(graph.reads) if id(v) not in written and v._dtype != "uint32"
        ]
        self.structure = None
        self.packed_bytes = sum(graph.reads[i]._value._array.nbytes for i in self.read_only)

    def is_stale(self) -> bool:
        """Whether a variable that the program holds as a constant has another value now."""
        if self.program is None:
            return True
        reads = self.graph.reads
        return any(reads[i]._value._array is not a for i, a in self.program.constants.items())


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
        self._entries: dict[tuple, _Entry] = {}
        self._seen: dict[tuple, list[tuple]] = {}
        self._invalidations = 0
        self._lock = threading.RLock()

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Runs the compiled program for these (concrete) tensors; results are concrete tensors."""
        return self.run(tensors)[0]

    def run(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], object]:
        """(results, structure) of a call."""
        entry = self._entry(tensors)
        if entry.graph.writes:
            with _state_turn:
                return self._run(entry, tensors), entry.structure
        return self._run(entry, tensors), entry.structure

    def _run(self, entry: _Entry, tensors):
        program = self._current(entry)
        graph = entry.graph
        arrays = [tensor._array for tensor in tensors]
        arrays += [v._value._array for i, v in enumerate(graph.reads) if i not in program.constants]
        results = [Tensor._wrap(array) for array in program(arrays)]
        count = len(graph.outputs)
        for variable, value in zip(graph.writes, results[count:], strict=True):
            variable._direct_assign(value)
        return results[:count]

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
                entry.program = Program(entry.graph, entry.device, constants)
            entry.epoch = now
            return entry.program

    def _entry(self, tensors) -> _Entry:
        device = devices.current()
        shapes = tuple(t.shape for t in tensors)
        kinds = (device, tuple(t.dtype for t in tensors), tuple(map(len, shapes)))
        known = self._entries.get((kinds, shapes))
        if known is not None:
            return known
        with self._lock:
            seen = self._seen.setdefault(kinds, [])
            packed = sum(e.packed_bytes for e in self._entries.values())
            if shapes not in seen:
                seen.append(shapes)
            if len(seen) > MAX_SPECIALISATIONS or packed > MAX_PACKED_BYTES:
                shapes = _generalised(seen)
            key = (kinds, shapes)
            if key not in self._entries:
                specs = [Spec(s, t.dtype) for s, t in zip(shapes, tensors, strict=True)]
                entry = _Entry(trace(self._function, specs, self._name), device)
                if self._structure is not None:
                    entry.structure = self._structure()
                self._entries[key] = entry
            return self._entries[key]


def _generalised(seen: list[tuple]) -> tuple:
    """The shapes with None on every axis whose length differs between the signatures in `seen`."""
    return tuple(
        tuple(
            lengths[0] if len(set(lengths)) == 1 else None for lengths in zip(*shapes, strict=True)
        )
        for shapes in zip(*seen, strict=True)
    )
