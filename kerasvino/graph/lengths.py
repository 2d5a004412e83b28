"""Which Python code is given the length of an axis that a graph does not know.

`x.shape` has None there. Code that was written for numbers then takes another branch, without a
word: `if x.shape[0]: …`. A `Watch` tells who was given a None, so that a program of unknown lengths
is not used where its Python code may have computed something else than it does for a number.

Our own code, and what `register_reader` names, knows what None means; nothing else is trusted. A
shape counts as asked for when a None is taken out of it, not when `x.shape` is: `x.shape[-1]` of a
known last axis is a number like any other.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple

__all__ = ["Place", "Watch", "register_reader"]


class Place(NamedTuple):
    """A line of code that was given an unknown length."""

    file: str
    line: int

    def __str__(self):
        return f"{self.file}:{self.line}"


_warned: dict = {}  # of the warnings module: each line is warned of once


class Watch:
    """What the code that builds one graph is given of unknown lengths.

    Attributes:
        places: the lines that were given None for a length, in order.
        refused: whether code was refused a Python value (a length with `len()`, say), which it may
            have caught, or one of our operations means something else where a length is 1.
    """

    def __init__(self):
        self.places: dict[Place, None] = {}
        self.refused = False

    def shape(self, shape: tuple, frame: FrameType) -> tuple:
        """`shape`, which has a None, as the code that runs in `frame` is given it."""
        if _is_ours(frame):
            return shape
        return _Shape.of(shape, self, _understands_none(frame))

    def note(self, frame: FrameType) -> None:
        """Notes that the code that runs in `frame` was given a None, unless it knows of it."""
        if not _understands_none(frame):
            self.places[Place(frame.f_code.co_filename, frame.f_lineno)] = None

    def refuse(self, frame: FrameType | None) -> None:
        """Notes that the code which called our methods, of which `frame` is one, got an error."""
        while frame is not None and _is_ours(frame):
            frame = frame.f_back
        if frame is not None and not _understands_none(frame):
            self.refused = True

    def warn(self) -> None:
        """Warns of each line that was given None although all arguments have known lengths."""
        for place in self.places:
            warnings.warn_explicit(
                f"{place}: this code of a compiled function asks a tensor's shape for a length "
                "that depends on values, and is given None, not a number as eagerly. Use "
                "keras.ops.shape(x)[axis], which is right in both.",
                UserWarning,
                *place,
                registry=_warned,
            )


class _Shape(tuple):
    """A shape with unknown lengths; it tells its watch who takes one out.

    What is made of it by slicing and joining is one again. One that untrusted code asked for tells
    of any reader, since that code may hand it to others to compute with.
    """

    _watch: Watch
    _trusted: bool

    @classmethod
    def of(cls, lengths, watch, trusted):
        shape = cls(lengths)
        shape._watch, shape._trusted = watch, trusted
        return shape

    def _derived(self, lengths):
        return _Shape.of(lengths, self._watch, self._trusted) if None in lengths else lengths

    def _given(self):
        frame = sys._getframe(2)
        if not self._trusted:
            # The line that asked for the shape may be another one; this is where it is used.
            self._watch.places[Place(frame.f_code.co_filename, frame.f_lineno)] = None
        else:
            self._watch.note(frame)

    def __getitem__(self, key):
        found = tuple.__getitem__(self, key)
        if type(found) is tuple:
            return self._derived(found)
        if found is None:
            self._given()
        return found

    def __add__(self, other):
        return self._derived(tuple.__add__(_plain(self), _plain(other)))

    def __radd__(self, other):
        return self._derived(tuple.__add__(_plain(other), _plain(self)))


def _plain(shape):
    return tuple(tuple.__iter__(shape)) if isinstance(shape, _Shape) else shape


def _telling(name):
    method = getattr(tuple, name)

    def told(self, *args):
        if tuple.__contains__(self, None):
            self._given()
        return method(self, *args)

    told.__name__ = name
    return told


# All else that looks at the lengths looks at the unknown ones too.
for _name in (
    "__contains__", "__eq__", "__ge__", "__gt__", "__hash__", "__iter__", "__le__", "__lt__",
    "__mul__", "__ne__", "__repr__", "__rmul__", "count", "index",
):  # fmt: skip
    setattr(_Shape, _name, _telling(_name))


# -- who knows what None means


def _nobody(module: str, function: str) -> bool:
    return False


_reader: Callable[[str, str], bool] = _nobody


def register_reader(function: Callable[[str, str], bool]) -> None:
    """Registers what tells whether the code of a module's function knows what None means.

    Args:
        function: `function(module, qualified name of the function)`.
    """
    global _reader
    _reader = function


def _module(frame):
    return frame.f_globals.get("__name__") or ""


def _is_ours(frame) -> bool:
    return _module(frame).partition(".")[0] == "kerasvino"


def _understands_none(frame) -> bool:
    return _is_ours(frame) or _reader(_module(frame), frame.f_code.co_qualname)
