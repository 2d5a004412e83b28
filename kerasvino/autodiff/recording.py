"""Recordings: which tensors and variables derivatives are taken of, and for how long.

A watched tensor starts a record (see `kerasvino.tensor.Record`); what is computed from it while the
recording is active is recorded too. Records name the recordings that they serve, so those within
each other (gradients of gradients) do not mix, and what is computed after the end of one is not
recorded: nothing grows from one training step to the next.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from kerasvino import dtypes
from kerasvino.tensor import Record, Tensor

__all__ = ["ALWAYS", "Recording", "leave", "read", "recording", "suspended"]

_local = threading.local()


class _Alias:
    """Stands in a record for the identity between a watched tensor and the one it is a twin of."""

    name = "watch"
    multiple = sparse = False
    nondifferentiable = None

    @staticmethod
    def vjp(g, inputs, output):
        return (g,)


def leave(tensor: Tensor) -> Tensor:
    """A twin of `tensor` that is recorded only by recordings active now, without the others."""
    if tensor.record is None:
        return tensor
    twin = tensor._restate(dict(tensor.__dict__))
    Record(_Alias, (tensor,), {}).attach((twin,))
    return twin


class Recording:
    """A stretch of computation that derivatives can be taken of; a context manager.

    Args:
        wants: `wants(variable)` says whether reads of a floating-point variable are watched.

    Attributes:
        active: whether what is computed from watched tensors is recorded now.
        done: whether no derivative will be asked any more.
    """

    def __init__(self, wants: Callable[[object], bool] | None = None):
        self.active = False
        self.done = False
        self._wants = wants
        # {id of variable: (variable, [(value, twin)])}, one twin for each value that it had
        self._reads: dict[int, tuple[object, list[tuple[Tensor, Tensor]]]] = {}

    def __enter__(self):
        _local.stack = (*_stack(), self)
        self.active = True
        return self

    def __exit__(self, *_):
        _local.stack = tuple(r for r in _stack() if r is not self)
        self.active = False

    def watch(self, tensor: Tensor) -> Tensor:
        """A twin of `tensor` whose dependants are recorded."""
        twin = leave(tensor)
        if twin is tensor:
            twin = tensor._restate(dict(tensor.__dict__))
        self.watch_in_place(twin)
        return twin

    def watch_in_place(self, tensor: Tensor) -> None:
        """Records the dependants of `tensor` itself, from now on."""
        record = tensor.record
        if record is None or all(r.done for r in record.recordings):
            record = Record(None, (), {})
        if self not in record.recordings:
            record.recordings = (*record.recordings, self)
            record.attach(record.outputs or (tensor,))

    def variables(self) -> list:
        """The variables that were read and watched."""
        return [variable for variable, _ in self._reads.values()]

    def twins(self, variable) -> list[Tensor]:
        """What reads of `variable` returned: a tensor for each value that it had meanwhile."""
        return [twin for _, twin in self._reads.get(id(variable), (None, []))[1]]

    def _twin_of(self, variable, value):
        for known, twin in self._reads.get(id(variable), (None, []))[1]:
            if known is value:
                return twin
        return None

    def _keep(self, variable, value, twin):
        self.watch_in_place(twin)
        if self._twin_of(variable, value) is None:
            self._reads.setdefault(id(variable), (variable, []))[1].append((value, twin))

    def close(self) -> None:
        """No derivative will be asked any more: what is kept for that may go."""
        self.active, self.done = False, True
        self._reads.clear()


def _stack() -> tuple[Recording, ...]:
    return getattr(_local, "stack", ())


def recording() -> bool:
    """Whether this thread is inside a recording."""
    return bool(_stack())


def read(variable, value: Tensor) -> Tensor:
    """What a read of `variable` returns: `value`, or its twin in the recordings that want it."""
    stack = _stack()
    if not stack or dtypes.TABLE[value.dtype].kind not in "fc":
        return value
    wanting = [r for r in stack if r._wants is not None and r._wants(variable)]
    if not wanting:
        return value
    found = (r._twin_of(variable, value) for r in wanting)
    twin = next((t for t in found if t is not None), None)
    if twin is None:
        twin = wanting[0].watch(value)
    for recording in wanting:
        recording._keep(variable, value, twin)
    return twin


@contextlib.contextmanager
def suspended():
    """Inside, this thread's reads of variables are not watched."""
    outer = _stack()
    _local.stack = ()
    try:
        yield
    finally:
        _local.stack = outer


# For rules that differentiate within themselves: whatever depends on what it watches is recorded.
ALWAYS = Recording()
ALWAYS.active = True
