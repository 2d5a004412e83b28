"""Calls of primitives kept as a program, which can be run again on other tensors.

While a `Log` is open, the primitives called on its thread append their calls to it. A `Body` is the
part of them that its results need, as a function of parameters and of the tensors it closes over.
Reverse mode through control flow runs bodies again instead of the user's Python code, whose
variables, scopes and random state may have moved on meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kerasvino.tensor import Tensor

__all__ = ["Body", "Call", "Log", "append", "observe", "opened", "register_observer", "unlogged"]

_active = threading.local()
# The logs open on any thread, and None if calls are observed: while it is empty, as nearly always,
# primitives look no further.
opened: list[Log | None] = []


class Call(NamedTuple):
    """A call of a primitive; attributes may hold tensors, in tuples, lists and slices too."""

    primitive: Callable
    inputs: tuple
    attrs: dict
    outputs: tuple


class Log:
    """The calls made on this thread while it is open (a context manager), the innermost only.

    Args:
        concrete: whether to keep calls on concrete tensors as well, whose results are otherwise
            taken for constants.
    """

    def __init__(self, concrete: bool = False):
        self.calls: list[Call] = []
        self.concrete = concrete

    def __enter__(self):
        self._outer = getattr(_active, "log", None)
        _active.log = self
        opened.append(self)
        return self

    def __exit__(self, *_):
        _active.log = self._outer
        opened.remove(self)


@contextlib.contextmanager
def unlogged():
    """Inside, this thread's calls are in no log."""
    outer = getattr(_active, "log", None)
    _active.log = None
    try:
        yield
    finally:
        _active.log = outer


def logging() -> bool:
    """Whether a log is open on this thread."""
    return getattr(_active, "log", None) is not None


_observer: Callable[[Call], None] | None = None


def register_observer(function: Callable[[Call], None]) -> None:
    """Gives this layer what is told of every call on concrete tensors once `observe` was called."""
    global _observer
    _observer = function


def observe() -> None:
    """From now on, for as long as the process lives, the observer is told of calls."""
    if None not in opened:
        opened.append(None)


def append(call: Call, traced: bool) -> None:
    """Adds a call to the innermost log of this thread, if there is one that keeps it."""
    if _observer is not None and not traced and None in opened:
        _observer(call)
    log = getattr(_active, "log", None)
    if log is not None and (traced or log.concrete):
        log.calls.append(call)


class _Slot(int):
    """Stands for a value of a body: its position among the values computed so far."""


class Body:
    """What `results` are computed with, as a function of `parameters` and of free tensors.

    Free are the tensors from outside that may differ or carry a cotangent when the body runs again:
    symbolic and recorded ones. Other concrete tensors are constants.

    Args:
        parameters: tensors that a run replaces by its arguments.
        calls: the calls of a `Log`, in which `parameters` were used.
        results: tensors computed in it, or from outside.
        free: list to which free tensors are added; bodies of one operation share it.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        calls: Sequence[Call],
        results: Sequence[Tensor],
        free: list[Tensor],
    ):
        self._made = {id(t) for t in parameters}
        self._made.update(id(t) for call in calls for t in call.outputs)
        self._free_positions = {id(t): i for i, t in enumerate(free)}
        live = self._live(calls, results)
        outside: dict[int, int] = {}
        for call in live:
            _mapped((call.inputs, call.attrs), lambda t: self._close_over(t, free, outside))
        _mapped(results, lambda t: self._close_over(t, free, outside))
        self._taken = tuple(outside)
        slots = {id(t): _Slot(i) for i, t in enumerate(parameters)}
        first = len(slots)
        slots |= {id(free[position]): _Slot(first + i) for i, position in enumerate(outside)}

        def slot(tensor):
            origin = self._origin(tensor)
            return slots.get(id(origin), origin)

        self._steps = []
        size = len(slots)
        for call in live:
            inputs, attrs = _mapped((call.inputs, call.attrs), slot)
            self._steps.append((call.primitive, inputs, attrs, len(call.outputs)))
            for output in call.outputs:
                slots[id(output)] = _Slot(size)
                size += 1
        self._results = _mapped(tuple(results), slot)
        del self._made, self._free_positions

    def _origin(self, tensor):
        """The tensor known to the body of which this one is a twin (see `Tensor._restate`)."""
        origin = tensor
        while origin is not None and id(origin) not in self._made:
            origin = origin.origin if origin.is_symbolic else None
        return tensor if origin is None else origin

    def _live(self, calls, results):
        """The calls on which the results depend."""
        needed: set[int] = set()

        def need(tensor):
            needed.add(id(self._origin(tensor)))

        _mapped(results, need)
        live = []
        for call in reversed(calls):
            if any(id(t) in needed for t in call.outputs):
                live.append(call)
                _mapped((call.inputs, call.attrs), need)
        return live[::-1]

    def _close_over(self, tensor, free, outside):
        if id(self._origin(tensor)) in self._made:
            return
        if tensor.is_symbolic or tensor.record is not None:
            position = self._free_positions.setdefault(id(tensor), len(free))
            if position == len(free):
                free.append(tensor)
            outside[position] = position

    def __call__(self, arguments: Sequence[Tensor], free: Sequence[Tensor]) -> list[Tensor]:
        """The results for these parameters and free tensors, computed by the primitives anew."""
        values = [*arguments, *(free[position] for position in self._taken)]

        def value(item):
            return values[item] if type(item) is _Slot else item

        for primitive, inputs, attrs, count in self._steps:
            inputs, attrs = _mapped((inputs, attrs), value)
            outputs = primitive(*inputs, **attrs)
            values += [outputs] if isinstance(outputs, Tensor) else outputs[:count]
        return [value(item) for item in self._results]


def _mapped(value, function):
    """A nested value with its tensors and slots replaced by `function` of them."""
    kind = type(value)
    if kind is Tensor or kind is _Slot:
        return function(value)
    if kind is tuple or kind is list:
        return kind([_mapped(item, function) for item in value])
    if kind is dict:
        return {key: _mapped(item, function) for key, item in value.items()}
    if kind is slice:
        return slice(*_mapped((value.start, value.stop, value.step), function))
    return value
