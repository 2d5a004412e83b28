"""Locks that are free in a forked child, whoever held them in the parent.

A fork copies a lock as it is, but not the thread that would release it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

__all__ = ["lock", "rlock"]

_all: weakref.WeakSet[Any] = weakref.WeakSet()


def lock() -> threading.Lock:
    """A `threading.Lock`."""
    return _known(threading.Lock())


def rlock() -> threading.RLock:  # type: ignore[valid-type]
    """A `threading.RLock`; in a child it stays with the thread that forked, if that held it."""
    return _known(threading.RLock())


def _known(new: Any) -> Any:
    _all.add(new)
    return new


def _free() -> None:
    for held in list(_all):
        if not (hasattr(held, "_is_owned") and held._is_owned()):
            held._at_fork_reinit()  # as the standard library does with its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free)
