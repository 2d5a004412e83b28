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

from kerasvino.graph import Spec
from kerasvino.runtime import blobs, config

__all__ = ["Guess"]

_KEY = re.compile("[0-9a-f]{64}")
_SAMPLES = 4  # of each weight, about


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
        known = repr((blobs.facts(settings), settings.key, name, specs)).encode()
        self._note = folder / f"{blobs.digest([known, *_samples(variables)]).hex()}.next"
        self._device = settings.device
        self._guessed = _read(self._note)
        self._found = self._thread = None
        if self._guessed is not None:
            data = blobs.opened(folder / f"{self._guessed[0]}.blob")
            if data is not None:
                self._thread = threading.Thread(target=self._load, args=(data,))
                self._thread.start()

    def loaded(self, key: str, properties: dict[str, str]) -> tuple | None:
        """The program of the blob `key` and what has to live as long, if that was the guess."""
        if self._thread is None or self._guessed != (key, properties):
            return None
        self._thread.join()
        return self._found

    def correct(self, key: str, properties: dict[str, str]) -> None:
        """Notes which blob the function led to."""
        if self._guessed != (key, properties):
            blobs.replace(self._note, [json.dumps([key, properties]).encode()])

    def _load(self, data) -> None:
        blob = blobs.checked(data)
        if blob is None:
            return
        try:
            self._found = blobs.imported(blob, self._device, self._guessed[1])
        except RuntimeError:
            # of OpenVINO; comes again when the blob is loaded because it is the right one
            return


def _read(note: pathlib.Path) -> tuple[str, dict[str, str]] | None:
    """(key, properties) that a note says; None where there is none, or a damaged one."""
    try:
        key, properties = json.loads(note.read_bytes())
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if isinstance(key, str) and _KEY.fullmatch(key) and isinstance(properties, dict):
        return key, properties
    return None


def _samples(variables: Iterable) -> Iterable[bytes]:
    """Some bytes of each weight: other weights are most probably told apart by them."""
    for variable in variables:
        if variable._value is not None:
            values = variable._value._array.reshape(-1)
            yield repr((variable.shape, variable.dtype)).encode()
            yield values[:: max(1, values.size // _SAMPLES)].tobytes()
