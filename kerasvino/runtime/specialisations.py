"""Which specialisation of a function serves a call, and how many there are.

One for each signature while they are few and their weights small; past either bound one of unknown
lengths for all further shapes. A batch that is shorter than another may be padded instead.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from kerasvino.graph.lengths import Watch
from kerasvino.runtime import config
from kerasvino.runtime.padding import PaddedBatch
from kerasvino.runtime.rows import is_rowwise
from kerasvino.runtime.shapes import covers, merged, shorter_batch
from kerasvino.runtime.specialisation import Specialisation
from kerasvino.tensor import Tensor

__all__ = ["Specialisations"]

# Each specialisation packs its own copy of the weights, so there are few, and none when weights
# are large: past either bound one program with dynamic axes serves every further shape.
MAX_SPECIALISATIONS = 4
MAX_PACKED_BYTES = 2 << 30
# So many where there can be no such program, since each further shape is compiled when it comes.
MAX_STATIC_SPECIALISATIONS = 16

# What tracing with unknown lengths may raise where tracing with known ones does not: a lowering
# needs a length (LoweringError), or Python code computes with one that is None or a traced tensor.
# An error of another cause comes again when the known lengths are traced instead.
ASKS_FOR_LENGTH = (TypeError, ValueError, IndexError, ArithmeticError)

logger = logging.getLogger("kerasvino")


class Specialisations:
    """The specialisations of one function.

    Args:
        traced: `traced(settings, shapes, dtypes, watch)` traces the function; with a `Watch`, for
            shapes of unknown lengths.
        name: of the function, for messages.
        lock: held while a specialisation is looked for that is not there yet.

    Attributes:
        of_shapes: {(kinds, shapes): Specialisation or PaddedBatch}, the last used at the end.
            "Kinds" are the settings with the dtypes and ranks of the arguments.
        of_patterns: {kinds: (pattern, Specialisation)}, those of unknown lengths.
    """

    def __init__(self, traced: Callable[..., Specialisation], name: str, lock: threading.RLock):
        self._traced = traced
        self._name = name
        self._lock = lock
        self.of_shapes: OrderedDict[tuple, Specialisation | PaddedBatch] = OrderedDict()
        self.of_patterns: dict[tuple, tuple[tuple, Specialisation]] = {}
        self._seen: dict[tuple, tuple] = {}  # by kinds: the pattern of all shapes so far
        self._static: set[tuple] = set()  # kinds of which no length may be unknown

    def serving(self, tensors: Sequence[Tensor]) -> Specialisation | PaddedBatch:
        """What runs a call with these arguments, traced if need be."""
        settings = config.get()
        shapes = tuple([t._array.shape for t in tensors])
        kinds = (settings.key, tuple([t._array.dtype for t in tensors]), tuple(map(len, shapes)))
        known = self.of_shapes.get((kinds, shapes))
        if known is not None:
            if self._static:
                with self._lock:  # others may be looking through them, or have dropped it
                    if (kinds, shapes) in self.of_shapes:
                        self.of_shapes.move_to_end((kinds, shapes))
            if type(known) is not PaddedBatch or not known.is_due():
                return known
        elif (general := self._of_pattern(kinds, shapes)) is not None:
            return general
        with self._lock:
            return self._new(settings, kinds, shapes, [t.dtype for t in tensors])

    def _of_pattern(self, kinds, shapes) -> Specialisation | None:
        """The specialisation of unknown lengths that serves these shapes, too."""
        pattern, found = self.of_patterns.get(kinds, (None, None))
        return found if found is not None and covers(pattern, shapes) else None

    def _new(self, settings, kinds, shapes, dtypes) -> Specialisation | PaddedBatch:
        known = self.of_shapes.get((kinds, shapes))
        if known is not None and not (type(known) is PaddedBatch and known.is_due()):
            return known  # of another thread, meanwhile
        if known is None:
            if (general := self._of_pattern(kinds, shapes)) is not None:
                return general
            own = self._padded_or_own(settings, kinds, shapes, dtypes)
            if type(own) is PaddedBatch:
                self.of_shapes[kinds, shapes] = own
                return own
        else:
            del self.of_shapes[kinds, shapes]
            own = known.own
        pattern = self._seen[kinds] = merged(self._seen.get(kinds, shapes), shapes)
        mine = [k for k, e in self.of_shapes.items() if k[0] == kinds and type(e) is Specialisation]
        packed = self._packed_bytes()
        crowded = len(mine) >= MAX_SPECIALISATIONS or packed > MAX_PACKED_BYTES
        if crowded and not settings.static_only and kinds not in self._static:
            general = self._of_unknown_lengths(settings, pattern, dtypes)
            if general is not None:
                self.of_patterns[kinds] = pattern, general  # it covers the one before it
                return general
            self._static.add(kinds)
        most = MAX_SPECIALISATIONS
        if kinds in self._static and packed <= MAX_PACKED_BYTES:
            most = MAX_STATIC_SPECIALISATIONS
        self._drop(mine[: max(0, len(mine) - most + 1)])
        own = self.of_shapes[kinds, shapes] = own or self._traced(settings, shapes, dtypes)
        return own

    def _packed_bytes(self) -> int:
        """Size of the weights of all programs."""
        shapes = [e for e in self.of_shapes.values() if type(e) is Specialisation]
        patterns = [found for _, found in self.of_patterns.values()]
        return sum(found.packed_bytes for found in (*shapes, *patterns))

    def _of_unknown_lengths(self, settings, pattern, dtypes) -> Specialisation | None:
        """The specialisation of a pattern; None if there can be no such.

        Python code that is traced may need a length, or be given None where it has been given
        numbers, of which it may make something else.
        """
        watch = Watch()
        try:
            found = self._traced(settings, pattern, dtypes, watch)
        except ASKS_FOR_LENGTH as error:
            why = str(error)
        else:
            if not watch.places and not watch.refused:
                return found
            why = f"its code asks for lengths: {', '.join(map(str, watch.places)) or 'len()'}"
        logger.debug("%s keeps to programs of known shapes: %s", self._name, why)
        return None

    def _padded_or_own(
        self, settings, kinds, shapes, dtypes
    ) -> PaddedBatch | Specialisation | None:
        """How a program of longer batches serves these shapes.

        Otherwise the traced signature, if it had to be made to find that none does, or None.
        """
        fits = [
            (lengths, found)
            for (other, longer), found in self.of_shapes.items()
            if other == kinds and type(found) is Specialisation and found.is_compiled()
            if (lengths := shorter_batch(shapes, longer)) is not None
        ]
        if not fits:
            return None
        lengths, longer = min(fits, key=lambda fit: fit[0].length)
        own = self._traced(settings, shapes, dtypes)
        # numbers that are returned beside tensors may depend on the length as well
        if own.structure == longer.structure and is_rowwise(
            longer.graph, own.graph, lengths.batched
        ):
            own.guess = None  # it may never be needed
            return PaddedBatch(longer, own, lengths)
        return own

    def _drop(self, keys) -> None:
        """Drops these signatures, and the shorter batches that they serve."""
        for key in keys:
            dropped = self.of_shapes.pop(key)
            for other, found in list(self.of_shapes.items()):
                if type(found) is PaddedBatch and found.longer is dropped:
                    del self.of_shapes[other]
