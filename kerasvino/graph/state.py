"""A counter of variable assignments, by which programs notice cheaply that a constant is stale."""

from __future__ import annotations

import itertools

__all__ = ["bump", "epoch"]

_counter = itertools.count(1)
_epoch = 0


def epoch() -> int:
    """Changes with every assignment to any variable outside a trace."""
    return _epoch


def bump() -> None:
    """Says that a variable was assigned."""
    global _epoch
    _epoch = next(_counter)
