"""The one door to Keras: its private names that we use, its functions that we replace or imitate.

Keras may rename or change any of them in any version. Each is a row of a table here, which says
what it is for, in which versions of Keras, and how to find out whether it is there (its probe). A
test runs every probe on the installed Keras.

- `PLUGGABLE`: which layout the installed Keras has; `VERSION`: its version.
- `names.NAMES`: names that are read or called. A name of a module is imported from here:
  `from kerasvino.backend.keras_private import tree`. Names of attributes are only listed.
- `names.MISREADING_LENGTHS`: functions that are not told that a length is unknown.
- `surroundings.SCOPES`: what may surround a call, by its key in Keras's global state.
- `changes.PATCHES`: methods of Keras that are replaced; `changes.WHEN_DISTRIBUTED`: those that are
  when a process joins others.
- `changes.WATCHED`, `CONTAINERS`: classes of which methods are wrapped, to learn of assignments.
- `sources.IMITATED`: functions whose behaviour is built again elsewhere, in shortened calls.

Keras replaces some of its objects while a program runs: `clear_session` makes another
`GLOBAL_STATE_TRACKER`. They are never held, but looked up in their module each time they are used.
"""

from __future__ import annotations

from typing import Any

from keras.src.backend.common import global_state
from keras.src.version import __version__ as VERSION

from kerasvino.backend.keras_private.changes import (
    CONTAINERS,
    OF_COMPILE,
    OF_NO_EFFECT,
    OF_NO_EFFECT_IN_MODELS,
    PATCHES,
    STAMP,
    WATCHED,
    WHEN_DISTRIBUTED,
)
from kerasvino.backend.keras_private.names import MISREADING_LENGTHS, NAMES, at
from kerasvino.backend.keras_private.sources import IMITATED, Source, imitated
from kerasvino.backend.keras_private.surroundings import OUTER_CALL, SCOPES

__all__ = [
    "CONTAINERS",
    "IMITATED",
    "MISREADING_LENGTHS",
    "NAMES",
    "OF_COMPILE",
    "OF_NO_EFFECT",
    "OF_NO_EFFECT_IN_MODELS",
    "OUTER_CALL",
    "PATCHES",
    "PLUGGABLE",
    "SCOPES",
    "STAMP",
    "VERSION",
    "WATCHED",
    "WHEN_DISTRIBUTED",
    "Source",
    "at",
    "global_state",
    "imitated",
]

# Keras 3.16 takes this backend from a package of its own, with the modules of the operations in
# `ops`, and reads `backend.rnn.lstm` where Keras 3.15 reads `backend.lstm`.
PLUGGABLE = tuple(int(part) for part in VERSION.split(".")[:2]) >= (3, 16)


def __getattr__(name: str) -> Any:
    """A name of one of Keras's modules, imported when it is first asked for."""
    for row in NAMES:
        if row.name == name and row.is_imported:
            value = at(row.where)
            if value is None:
                raise ImportError(f"The installed Keras has no {row.where}, which kerasvino uses.")
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
