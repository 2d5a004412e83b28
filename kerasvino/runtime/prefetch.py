"""The program that a function will probably need, loaded from the cache while it is traced.

Which blob of the cache holds a program is known when the function has been traced, and loading it
takes as long as tracing. So each function has a note in the cache of the blob that it led to last,
found by what is known before: its name, shapes, settings, and some bytes of each weight. A note is
a guess: what was loaded is used only if the traced graph turns out to be the one of that blob.
"""

from __future__ import annotations

import json
import pathlib
import re
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kerasvino.graph import Spec
from kerasvino.runtime import blobs, config, forking

__all__ = ["Guess"]

_KEY = re.compile("[0-9a-f]{32}")
_SAMPLES = 4  # of each weight, about


class _Note(NamedTuple):
    """What a program was loaded from or kept as."""

    key: str  # of the blob
    properties: dict[str, str]
    facts: list  # `blobs.facts` of the process


class Guess:
    """Begins to load what a function led to last, in a thread of its own.

    Args:
        settings: with a folder of the cache.
        name: of the function.
        specs: of its arguments.
        variables: that it will read, or most of them.
    """

    def __init__(
        self, settings: config.Settings, name: str, specs: Sequence[Spec], variables: Iterable
    ):
        folder = pathlib.Path(settings.cache_dir)
        known = repr((settings.key, name, specs)).encode()
        self._note = folder / f"{blobs.digest([known, *_samples(variables)]).hex()}.next"
        self._settings = settings
        self._said = _read(self._note)
        self._found = self._thread = None
        self._generation = forking.generation()
        if self._said is not None:
            file = blobs.opened(folder / f"{self._said.key}.blob")
            if file is not None:
                self._thread = threading.Thread(target=self._load, args=(file,))
                self._thread.start()
                blobs.facts(settings)  # OpenVINO loads the device's plugin while the bytes are read

    def loaded(self, key: str, properties: dict[str, str]) -> tuple | None:
        """The program of the blob `key` and what has to live as long, if that was the guess."""
        if self._thread is None or self._generation != forking.generation():
            return None
        if self._said != self._what_holds(key, properties):
            return None
        self._thread.join()
        return self._found

    def correct(self, key: str, properties: dict[str, str]) -> None:
        """Notes which blob the function led to."""
        note = self._what_holds(key, properties)
        if self._said != note:
            blobs.replace(self._note, [json.dumps(note).encode()])

    def _what_holds(self, key, properties):
        return _Note(key, properties, list(blobs.facts(self._settings)))

    def _load(self, file: blobs.Mapped) -> None:
        if not file.is_whole() or self._said.facts != list(blobs.facts(self._settings)):
            return
        try:
            self._found = blobs.imported(file, self._settings.device, self._said.properties)
        except RuntimeError:
            # of OpenVINO; comes again when the blob is loaded because it is the right one
            return


def _read(path: pathlib.Path) -> _Note | None:
    """What a note says; None where there is none, or a damaged one."""
    said = blobs.note(path)
    if not isinstance(said, list) or [type(item) for item in said] != [str, dict, list]:
        return None
    note = _Note(*said)
    usual = _KEY.fullmatch(note.key) and all(type(v) is str for v in note.properties.values())
    return note if usual else None


def _samples(variables: Iterable) -> Iterable[bytes]:
    """Some bytes of each weight: other weights are most probably told apart by them."""
    for variable in variables:
        if variable._value is not None:
            values = variable._value._array.reshape(-1)
            yield repr((variable.shape, variable.dtype)).encode()
            yield values[:: max(1, values.size // _SAMPLES)].tobytes()
