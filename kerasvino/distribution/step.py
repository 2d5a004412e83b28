"""The step of a distributed training that this thread traces or runs."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, NamedTuple

from kerasvino.distribution.group import Group

__all__ = ["Step", "current_step", "stepping"]

_active = threading.local()


class Step(NamedTuple):
    """One step on this process's part of a global batch.

    Attributes:
        group: the processes.
        rows: how many samples the part has, a float32 scalar tensor; 0: it does not count.
    """

    group: Group
    rows: Any


def current_step() -> Step | None:
    """The step of this thread, or None."""
    return getattr(_active, "step", None)


@contextlib.contextmanager
def stepping(step: Step | None):
    """Inside, `step` is that of this thread."""
    outer = current_step()
    _active.step = step
    try:
        yield
    finally:
        _active.step = outer
