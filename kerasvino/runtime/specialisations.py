"""Which specialisation of a function serves a call, and how many there are.

One for each signature while they are few and their weights small. Past either bound one of unknown
lengths serves all further shapes; where weights are large, it also takes the place of those before
it, so that there is one packed copy. A batch that is shorter than another may be padded instead.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence

from kerasvino.graph.lengths import Watch
from kerasvino.runtime import config
from kerasvino.runtime.padding import PaddedBatch, Padding
from kerasvino.runtime.shapes import covers, merged, shorter_batch, unknown_axes
from kerasvino.runtime.specialisation import Specialisation
from kerasvino.tensor import Tensor

__all__ = ["Specialisations"]

# Each specialisation packs its own copy of the weights, so there are few, and one when weights are
# large: past either bound one program with dynamic axes serves every further shape.
MAX_SPECIALISATIONS = 4
MAX_PACKED_BYTES = 2 << 30
# So many where there can be no such program, since each further shape is compiled when it comes.
MAX_STATIC_SPECIALISATIONS = 16
# So many lengths of padded batches are remembered; one that is forgotten is looked at again.
MAX_PADDED = 256

# What tracing with unknown lengths may raise where tracing with known ones does not: a lowering
# needs a length (LoweringError), or Python code computes with one that is None or a traced tensor.
# An error of another cause comes again when the known lengths are traced instead.
ASKS_FOR_LENGTH = (TypeError, ValueError, IndexError, ArithmeticError)

logger = logging.getLogger("kerasvino")


class Specialisations:
    """The specialisations of one function.

    Args:
        traced: `traced(settings, shapes, dtypes, watch, prefetch)` traces the function; with a
            `Watch`, for shapes of unknown lengths; `prefetch`: its program will be needed.
        name: of the function, for messages.
        lock: held while a specialisation is looked for that is not there yet.

    Attributes:
        of_shapes: {(kinds, shapes): Specialisation or PaddedBatch}. "Kinds" are the settings with
            the dtypes and ranks of the arguments.
        of_patterns: {kinds: (pattern, Specialisation)}, those of unknown lengths.
    """

    def __init__(self, traced: Callable[..., Specialisation], name: str, lock: threading.RLock):
        self._traced = traced
        self._name = name
        self._lock = lock
        self.of_shapes: dict[tuple, Specialisation | PaddedBatch] = {}
        self.of_patterns: dict[tuple, tuple[tuple, Specialisation]] = {}
        self._seen: dict[tuple, tuple] = {}  # by kinds: the pattern of all shapes so far
        self._static: set[tuple] = set()  # kinds of which no length may be unknown
        self._asked: dict[tuple, set] = {}  # by kinds: axes whose lengths its code asks for
        # by kinds: what was traced last for unknown lengths, of which there is no program yet
        self._traced_patterns: dict[tuple, tuple[tuple, Specialisation]] = {}
        self._calls = itertools.count(1)

    def serving(self, tensors: Sequence[Tensor], single: bool) -> Specialisation | PaddedBatch:
        """What runs a call with these arguments, traced if need be.

        Args:
            tensors: the arguments.
            single: whether somebody waits for this call alone; it is not one of many in a row.
        """
        settings = config.get()
        shapes = tuple([t._array.shape for t in tensors])
        kinds = (settings.key, tuple([t._array.dtype for t in tensors]), tuple(map(len, shapes)))
        known = self.of_shapes.get((kinds, shapes))
        if known is not None:
            known.used = next(self._calls)
            if type(known) is not PaddedBatch or not known.is_due(single):
                return known
        elif (general := self._of_pattern(kinds, shapes)) is not None:
            return general
        with self._lock:
            found = self._new(settings, kinds, shapes, [t.dtype for t in tensors], single)
        found.used = next(self._calls)
        return found

    def _of_pattern(self, kinds, shapes) -> Specialisation | None:
        """The specialisation of unknown lengths that serves these shapes, too."""
        pattern, found = self.of_patterns.get(kinds, (None, None))
        return found if found is not None and covers(pattern, shapes) else None

    def _new(self, settings, kinds, shapes, dtypes, single) -> Specialisation | PaddedBatch:
        known = self.of_shapes.get((kinds, shapes))
        if known is not None:
            if type(known) is not PaddedBatch or not known.is_due(single):
                return known  # of another thread, meanwhile
            del self.of_shapes[kinds, shapes]
        if (general := self._of_pattern(kinds, shapes)) is not None:
            return general
        own = known.own if known is not None else None
        if known is None:
            own = self._padded_or_own(settings, kinds, shapes, dtypes, single)
            if type(own) is PaddedBatch:
                self._drop_padded()
                self.of_shapes[kinds, shapes] = own
                return own
        pattern = self._seen[kinds] = merged(self._seen.get(kinds, shapes), shapes)
        mine = [k for k, e in self.of_shapes.items() if k[0] == kinds and type(e) is Specialisation]
        packed = self._packed_bytes()
        large = any(self.of_shapes[key].is_large for key in mine)
        crowded = large or len(mine) >= MAX_SPECIALISATIONS or packed > MAX_PACKED_BYTES
        if crowded and not settings.static_only:
            general = self._of_unknown_lengths(settings, kinds, pattern, dtypes)
            if general is not None:
                self.of_patterns[kinds] = pattern, general  # it covers the one before it
                if large:
                    self._drop(mine)
                return general
            self._static.add(kinds)
        most = MAX_SPECIALISATIONS
        if kinds in self._static and packed <= MAX_PACKED_BYTES:
            most = MAX_STATIC_SPECIALISATIONS
        mine.sort(key=lambda key: self.of_shapes[key].used)
        self._drop(mine[: max(0, len(mine) - most + 1)])
        own = self.of_shapes[kinds, shapes] = own or self._traced(settings, shapes, dtypes)
        return own

    def _packed_bytes(self) -> int:
        """Size of the weights of all programs."""
        shapes = [e for e in self.of_shapes.values() if type(e) is Specialisation]
        patterns = [found for _, found in self.of_patterns.values()]
        return sum(found.packed_bytes for found in (*shapes, *patterns))

    def _of_unknown_lengths(
        self, settings, kinds, pattern, dtypes, prefetch=True
    ) -> Specialisation | None:
        """The specialisation of a pattern; None if there can be no such.

        Python code that is traced may need a length, or be given None where it has been given
        numbers, of which it may make something else.
        """
        unknown = unknown_axes(pattern)
        asked = self._asked.setdefault(kinds, set())
        if kinds in self._static or any(axes <= unknown for axes in asked):
            return None
        known, found = self._traced_patterns.get(kinds, (None, None))
        if known == pattern:
            return found
        watch = Watch()
        try:
            found = self._traced(settings, pattern, dtypes, watch, prefetch)
        except ASKS_FOR_LENGTH as error:
            why = str(error)
        else:
            if not watch.places and not watch.refused:
                self._traced_patterns[kinds] = pattern, found
                return found
            why = f"its code asks for lengths: {', '.join(map(str, watch.places)) or 'len()'}"
        logger.debug("%s keeps to programs of known shapes: %s", self._name, why)
        asked.add(unknown)
        return None

    def _padded_or_own(
        self, settings, kinds, shapes, dtypes, single
    ) -> PaddedBatch | Specialisation | None:
        """How a program of longer batches serves these shapes.

        Otherwise the traced signature, if it had to be made to find that none does, or None.
        """
        fits = [
            (lengths, key)
            for key, found in self.of_shapes.items()
            if key[0] == kinds and type(found) is Specialisation
            if found.is_compiled() and not found.graph.writes
            if (lengths := shorter_batch(shapes, key[1])) is not None
        ]
        if not fits:
            return None
        lengths, (_, longer) = min(fits, key=lambda fit: fit[0].length)
        padding = self._padding(settings, kinds, longer, dtypes, lengths.batched)
        if single and not padding.suits(lengths.rows):
            return None
        if padding.for_all_lengths:
            return PaddedBatch(padding, lengths)
        own = self._traced(settings, shapes, dtypes)
        if not padding.may_run(own):
            return own
        own.guess = None  # it may never be needed
        return PaddedBatch(padding, lengths, own)

    def _padding(self, settings, kinds, longer, dtypes, batched) -> Padding:
        """Which shorter batches the specialisation of the shapes `longer` may run."""
        specialisation = self.of_shapes[kinds, longer]
        found = specialisation.paddings.get(batched)
        if found is None:
            found = specialisation.paddings[batched] = Padding(
                specialisation,
                longer,
                batched,
                lambda pattern: self._of_unknown_lengths(settings, kinds, pattern, dtypes, False),
            )
        return found

    def _drop(self, keys) -> None:
        """Drops these signatures, and the shorter batches that they serve."""
        for key in keys:
            dropped = self.of_shapes.pop(key)
            for other, found in list(self.of_shapes.items()):
                if type(found) is PaddedBatch and found.longer is dropped:
                    del self.of_shapes[other]

    def _drop_padded(self) -> None:
        """Drops the padded batch that was used last before all others, if there are many."""
        padded = [key for key, found in self.of_shapes.items() if type(found) is PaddedBatch]
        if len(padded) >= MAX_PADDED:
            del self.of_shapes[min(padded, key=lambda key: self.of_shapes[key].used)]
