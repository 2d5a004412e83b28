"""A Function: Python code over tensors, traced and compiled once for each signature."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence

import numpy as np

from kerasvino.graph import Graph, Spec, state, trace
from kerasvino.graph.lengths import Watch
from kerasvino.nodes.codes import codes
from kerasvino.runtime import config
from kerasvino.runtime.prefetch import Guess
from kerasvino.runtime.program import Program, Run
from kerasvino.runtime.rows import is_rowwise
from kerasvino.runtime.workload import saved_by_several_runs
from kerasvino.tensor import Tensor

__all__ = ["Function", "Pending"]

# Each specialisation packs its own copy of the weights, so there are few, and none when weights
# are large: past either bound one program with dynamic axes serves every further shape.
MAX_SPECIALISATIONS = 4
MAX_PACKED_BYTES = 2 << 30
# So many where there can be no such program, since each further shape is compiled when it comes.
MAX_STATIC_SPECIALISATIONS = 16
# After this many assignments between calls, weights become inputs instead of a compile each time.
MAX_INVALIDATIONS = 2
# Of so many runs in a row several go on at a time, where that is faster and the weights, which are
# packed once more, are not larger than this.
MANY_RUNS = 8
MAX_TWICE_BYTES = 256 << 20

# What tracing with unknown lengths may raise where tracing with known ones does not: a lowering
# needs a length (LoweringError), or Python code computes with one that is None or a traced tensor.
# An error of another cause comes again when the known lengths are traced instead.
ASKS_FOR_LENGTH = (TypeError, ValueError, IndexError, ArithmeticError)

logger = logging.getLogger("kerasvino")

# Runs that assign state take turns, so that each sees what the one before it left.
_state_turn = threading.RLock()


class _Entry:
    """A traced signature: its graph, the program now valid, and the values compiled into it."""

    def __init__(self, graph: Graph, settings: config.Settings, structure):
        self.graph = graph
        self.settings = settings
        self.structure = structure
        self.program: Program | None = None
        self.guess: Guess | None = None  # of the first program's blob
        self.many: _Entry | None = None  # the same graph, compiled for several runs at a time
        self.lost = 0.0  # seconds that several runs at a time would have saved so far
        self.epoch = -1
        self.read_only = list(graph.foldable())
        self.packed_bytes = sum(array.nbytes for array in graph.foldable().values())

    def is_compiled(self) -> bool:
        """Whether there is a program to run."""
        return self.program is not None or (self.many is not None and self.many.program is not None)

    @functools.cached_property
    def saved(self) -> float:
        """The part of their time that several runs at a time save."""
        return saved_by_several_runs(self.graph.model)

    def has_lost(self, runs: int) -> bool:
        """Whether one run at a time costs as much, so far or in these `runs`, as compiling does.

        Of the `runs` in a row this is one; it is counted. As with the rent of `_Padded`, nobody
        knows how many more will come.
        """
        lost = self.saved * self.program.least_seconds
        self.lost += lost
        return max(self.lost, runs * lost) > self.program.compile_seconds

    def is_stale(self) -> bool:
        """Whether a variable that the program holds as a constant has another value now."""
        if self.program is None:
            return True
        reads = self.graph.reads
        return any(reads[i]._value._array is not a for i, a in self.program.constants.items())


class Pending:
    """The results of a call that may still be running."""

    def __init__(
        self, entry: _Entry, run: Run | _CutRun | None, results: list[Tensor] | None = None
    ):
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


class _Padded:
    """A signature of shorter batches that is served by the entry of a longer one (see `rows`).

    Filling up costs running time, a program of its own costs compiling once. Which is cheaper
    depends on how often the signature will be called, which nobody knows; so it pays rent, the
    time spent on surplus rows, until that has cost as much as compiling: then it was at most twice
    as dear as the better choice (the "ski rental" of online algorithms).
    """

    def __init__(
        self, entry: _Entry, own: _Entry, rows: int, length: int, batched: Collection[int]
    ):
        self.entry = entry
        self.own = own  # to be compiled when the rent is too high
        self.rows = rows
        self.length = length
        self.batched = batched
        self.rent = 0.0

    def filled(self, tensors) -> list[Tensor]:
        """The arguments with rows of zeros behind their own."""
        filled = list(tensors)
        for index in self.batched:
            array = tensors[index]._array
            whole = np.zeros((self.length, *array.shape[1:]), array.dtype)
            whole[: self.rows] = array
            filled[index] = Tensor._wrap(whole)
        return filled

    def is_dear(self) -> bool:
        """Whether the rent has cost as much as a program of its own would."""
        program = (self.entry.many or self.entry).program
        return program is not None and self.rent > program.compile_seconds


class _CutRun:
    """A run of a padded batch, of whose results the surplus rows are dropped."""

    def __init__(self, run: Run, padded: _Padded, start: float):
        self._run, self._padded, self._start = run, padded, start

    def wait(self) -> list[np.ndarray]:
        padded = self._padded
        results = [array[: padded.rows] for array in self._run.wait(padded.rows)]
        spent = time.perf_counter() - self._start
        padded.rent += spent * (1 - padded.rows / padded.length)
        return results


class Function:
    """Compiles `function` for each signature of its arguments, within the bounds above.

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
        # the last used at the end
        self._entries: OrderedDict[tuple, _Entry | _Padded] = OrderedDict()
        # by kinds of arguments: their shapes so far, None on axes whose length differs, and the
        # program that serves any such shape
        self._general: dict[tuple, tuple] = {}
        self._wide: dict[tuple, tuple[tuple, _Entry]] = {}
        self._static: set[tuple] = set()  # kinds of arguments of which no length may be unknown
        self._invalidations = 0
        self._lock = threading.RLock()

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
        entry = self._entry(tensors)
        if type(entry) is _Padded:
            start = time.perf_counter()
            running = entry.entry.many or entry.entry
            run = self._begin(running, entry.filled(tensors), None, ahead, overlap)
            return Pending(running, _CutRun(run, entry, start))
        if ahead >= MANY_RUNS and (settings := config.get().for_many_runs) is not None:
            entry = self._for_many_runs(entry, settings, ahead + 1)
        if not entry.graph.writes:
            return Pending(entry, self._begin(entry, tensors, into, ahead, overlap))
        with _state_turn:
            values = [Tensor._wrap(a) for a in self._begin(entry, tensors, into, 0).wait()]
            count = len(entry.graph.outputs)
            _assign(entry.graph.writes, values[count:])
        return Pending(entry, None, values[:count])

    def _for_many_runs(self, entry: _Entry, settings: config.Settings, runs: int) -> _Entry:
        """The entry whose program gets most done when many runs follow each other.

        One for several runs at a time is compiled when what it saves is worth that.
        """
        with self._lock:
            if entry.many is None:
                if entry.graph.writes or entry.packed_bytes > MAX_TWICE_BYTES or not entry.saved:
                    entry.many = entry
                elif entry.program is None or entry.has_lost(runs):
                    entry.many = _Entry(entry.graph, settings, entry.structure)
                    entry.many.read_only = entry.read_only
                    entry.many.guess, entry.guess = entry.guess, None
            return entry.many or entry

    def _begin(self, entry: _Entry, tensors, into, ahead, overlap=True) -> Run:
        program = self._current(entry)
        arrays = [tensor._array for tensor in tensors]
        constants = program.constants
        arrays += [v._value._array for i, v in enumerate(entry.graph.reads) if i not in constants]
        return program.start(arrays, into, ahead, overlap)

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
                entry.program = Program(entry.graph, entry.settings, constants, entry.guess)
                entry.guess = None
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
                with self._lock:  # others may be looking through the entries, or have dropped it
                    if (kinds, shapes) in self._entries:
                        self._entries.move_to_end((kinds, shapes))
            if type(known) is not _Padded or not known.is_dear():
                return known
        elif (wide := self._covering(kinds, shapes)) is not None:
            return wide
        with self._lock:
            return self._new_entry(settings, kinds, shapes, [t.dtype for t in tensors])

    def _covering(self, kinds, shapes) -> _Entry | None:
        """The signature of unknown lengths that serves these shapes, too."""
        general, entry = self._wide.get(kinds, (None, None))
        return entry if entry is not None and _covers(general, shapes) else None

    def _new_entry(self, settings, kinds, shapes, dtypes) -> _Entry | _Padded:
        known = self._entries.get((kinds, shapes))
        if known is not None and not (type(known) is _Padded and known.is_dear()):
            return known  # of another thread, meanwhile
        if known is None:
            if (wide := self._covering(kinds, shapes)) is not None:
                return wide
            own = self._padded_or_own(settings, kinds, shapes, dtypes)
            if type(own) is _Padded:
                self._entries[kinds, shapes] = own
                return own
        else:
            del self._entries[kinds, shapes]
            own = known.own
        general = self._general[kinds] = _generalised(self._general.get(kinds, shapes), shapes)
        mine = [k for k, e in self._entries.items() if k[0] == kinds and type(e) is _Entry]
        packed = sum(e.packed_bytes for e in self._entries.values() if type(e) is _Entry)
        packed += sum(entry.packed_bytes for _, entry in self._wide.values())
        crowded = len(mine) >= MAX_SPECIALISATIONS or packed > MAX_PACKED_BYTES
        if crowded and not settings.static_only and kinds not in self._static:
            wide = self._of_unknown_lengths(settings, general, dtypes)
            if wide is not None:
                self._wide[kinds] = general, wide  # one of fewer unknown lengths is served by it
                return wide
            self._static.add(kinds)
        most = MAX_SPECIALISATIONS
        if kinds in self._static and packed <= MAX_PACKED_BYTES:
            most = MAX_STATIC_SPECIALISATIONS
        self._drop(mine[: max(0, len(mine) - most + 1)])
        entry = self._entries[kinds, shapes] = own or self._traced(settings, shapes, dtypes)
        return entry

    def _of_unknown_lengths(self, settings, shapes, dtypes) -> _Entry | None:
        """The signature of `shapes`, which have None for lengths; None if there can be no such.

        Python code that is traced may need a length, or be given None where it has been given
        numbers, of which it may make something else.
        """
        watch = Watch()
        try:
            entry = self._traced(settings, shapes, dtypes, watch)
        except ASKS_FOR_LENGTH as error:
            why = str(error)
        else:
            if not watch.places and not watch.refused:
                return entry
            why = f"its code asks for lengths: {', '.join(map(str, watch.places)) or 'len()'}"
        logger.debug("%s keeps to programs of known shapes: %s", self._name, why)
        return None

    def _padded_or_own(self, settings, kinds, shapes, dtypes) -> _Padded | _Entry | None:
        """How a program of longer batches serves these shapes.

        Otherwise the traced signature, if it had to be made to find that none does, or None.
        """
        fits = [
            (fit, entry)
            for (other, longer), entry in self._entries.items()
            if other == kinds and type(entry) is _Entry and entry.is_compiled()
            if (fit := _shorter(shapes, longer)) is not None
        ]
        if not fits:
            return None
        (rows, length, batched), entry = min(fits, key=lambda found: found[0][1])
        own = self._traced(settings, shapes, dtypes)
        # numbers that are returned beside tensors may depend on the length as well
        if own.structure == entry.structure and is_rowwise(entry.graph, own.graph, batched):
            own.guess = None  # it may never be needed
            return _Padded(entry, own, rows, length, batched)
        return own

    def _traced(self, settings, shapes, dtypes, watch: Watch | None = None) -> _Entry:
        """Traces a signature; with `watch` one of unknown lengths, of which that is told."""
        specs = [Spec(s, name) for s, name in zip(shapes, dtypes, strict=True)]
        guess = None
        numerics = codes if settings.check_numerics else None
        if settings.cache_dir is not None and numerics is None and (known := self._variables()):
            guess = Guess(settings, self._name, specs, known)
        watching = watch or Watch()
        graph = trace(self._function, specs, self._name, watching, True, numerics)
        graph.argument = self._argument
        if watch is None:
            watching.warn()
        structure = self._structure() if self._structure is not None else None
        entry = _Entry(graph, settings, structure)
        entry.guess = guess
        self.assigned |= {id(v): v for v in graph.writes}
        if self._constant is not None:
            entry.read_only = [i for i in entry.read_only if self._constant(graph.reads[i])]
        return entry

    def _drop(self, keys) -> None:
        """Drops these signatures, and what is padded to be served by them."""
        for key in keys:
            dropped = self._entries.pop(key)
            for other, entry in list(self._entries.items()):
                if type(entry) is _Padded and entry.entry is dropped:
                    del self._entries[other]


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


def _shorter(shapes, longer) -> tuple[int, int, frozenset[int]] | None:
    """(rows, length, indices) if `shapes` are `longer` but for fewer rows along first axes."""
    batched = frozenset(i for i, (a, b) in enumerate(zip(shapes, longer, strict=True)) if a != b)
    pairs = {(shapes[i][:1], longer[i][:1]) for i in batched}
    if len(pairs) != 1 or any(shapes[i][1:] != longer[i][1:] for i in batched):
        return None
    ((rows,), (length,)) = pairs.pop()
    if length is None or not 0 < rows < length:
        return None
    # an input as long as the batch that stays so would not be cut with the others
    if any(s[:1] in ((rows,), (length,)) for i, s in enumerate(shapes) if i not in batched):
        return None
    return rows, length, batched


def _generalised(general: tuple, shapes: tuple) -> tuple:
    """`general` with None on every axis, too, whose length in `shapes` is another."""
    return tuple(
        tuple(a if a == b else None for a, b in zip(*pair, strict=True))
        for pair in zip(general, shapes, strict=True)
    )


def _covers(general: tuple, shapes: tuple) -> bool:
    """Whether `shapes` are `general` but for the lengths that are None there."""
    for lengths, shape in zip(general, shapes, strict=True):
        for length, other in zip(lengths, shape, strict=True):
            if length is not None and length != other:
                return False
    return True
