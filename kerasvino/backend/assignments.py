"""Tells of assignments to the attributes of what models are made of: layers, optimizers, losses.

An object that a compiled function depends on has a `Stamp`. Assigning to one of its attributes
changes the stamp, and the number `latest()`, by which a `version.Version` notices at little cost.
Objects without a stamp, nearly all, pay one look into a dict.
"""

from __future__ import annotations

import functools
import itertools

from kerasvino.backend import keras_private
from kerasvino.backend.keras_private import (
    CONTAINERS,
    OF_COMPILE,
    OF_NO_EFFECT,
    OF_NO_EFFECT_IN_MODELS,
    OUTER_CALL,
    STAMP,
    WATCHED,
    at,
    global_state,
)
from kerasvino.graph import current_trace
from kerasvino.tensor import Tensor

__all__ = [
    "SMALL",
    "STAMP",
    "Stamp",
    "assigned",
    "containers",
    "is_same",
    "latest",
    "traced",
    "watched_kinds",
]

# A tensor that is assigned as an attribute, and a NumPy array that a user's layer holds, are
# compared by what they hold, up to so many bytes.
SMALL = 1 << 16

_counter = itertools.count(1)
_traced = 0
_latest = 0  # the number of the last assignment to any watched object


def is_model(value) -> bool:
    """Whether `value` is a layer with a trainer."""
    return hasattr(type(value), "train_step")


class Stamp:
    """When an object was last assigned to, as a number that grows with each assignment anywhere.

    A layer shares its stamp with the lists that are its attributes.

    Attributes:
        changed: for what every program depends on.
        compiled: for what only training and evaluation depend on (`OF_COMPILE`).
        trainable: the object's flag of that name, which may go back to what it was.
        written: (id of the object or of its list, name of the attribute or method) of what the
            object's own call assigned while it was traced.
        label: the object and the attribute that was assigned last, for messages.
    """

    __slots__ = ("_owner", "changed", "compiled", "name", "trainable", "written")

    def __init__(self, owner: str, trainable: bool | None = None):
        self._owner = owner
        self.changed = self.compiled = 0
        self.trainable = trainable
        self.name = ""
        self.written: frozenset[tuple[int, str]] = frozenset()

    @property
    def label(self) -> str:
        return f"{self.name!r} of {self._owner}"

    def __reduce__(self):  # a copy of the object is another object
        return Stamp, (self._owner, self.trainable)


def latest() -> int:
    """A number that changes with every assignment to any object that has a stamp."""
    return _latest


def traced() -> int:
    """How often what has a stamp was assigned to while it was traced."""
    return _traced


def is_same(value, before) -> bool:
    """Whether assigning `value` in place of `before` changes nothing."""
    if value is before:
        return True
    kind = type(value)
    if kind is Tensor and type(before) is Tensor:
        return _same_bits(value._array, before._array)
    # not zeros, of which there are two
    return kind in (int, float, str) and kind is type(before) and value == before and bool(value)


def _same_bits(one, other) -> bool:
    """Whether two small arrays of tensors that hold one are the same."""
    return (
        one is not None
        and other is not None
        and (one.dtype, one.shape) == (other.dtype, other.shape)
        and one.nbytes <= SMALL
        and one.tobytes() == other.tobytes()
    )


def assigned(owner, name: str) -> None:
    """Says that the attribute `name` of `owner` has another value now."""
    stamp = owner.__dict__.get(STAMP)
    if stamp is None:
        return
    of_model = is_model(owner)
    if name in (OF_NO_EFFECT_IN_MODELS if of_model else OF_NO_EFFECT):
        return
    if current_trace() is not None:
        stamp.written |= {(id(owner), name)}
        global _traced
        _traced += 1
        return
    if stamp.written and (id(owner), name) in stamp.written and _is_in_call():
        return
    if name == "_trainable":
        stamp.trainable = owner._trainable
    elif of_model and name in OF_COMPILE:
        stamp.compiled = next(_counter)
    else:
        stamp.changed, stamp.name = next(_counter), name
    _tell()


def variable_assigned(variable, name: str) -> None:
    """As `assigned`, of a flag, the regularizer or the constraint of a variable with a stamp."""
    stamp = variable.stamp
    if name == "trainable":
        stamp.trainable = variable.trainable
    else:
        stamp.changed, stamp.name = next(_counter), name
    _tell()


def _tell() -> None:
    global _latest
    _latest = next(_counter)


def _is_in_call() -> bool:
    return global_state.GLOBAL_STATE_TRACKER.__dict__.get(OUTER_CALL) is not None


# -- whose assignments are told


@functools.cache
def watched_kinds() -> tuple[type, ...]:
    """The classes of what a model is made of; from the first call on they tell of assignments.

    Layers do from the start (see `backend.layer`), and lists that hold them (`containers`).
    """
    told = tuple(at(row.where) for row in WATCHED)
    for kind in told:
        kind.__setattr__ = _telling(kind.__setattr__)
        kind.__delattr__ = _telling(kind.__delattr__)
    return (keras_private.Layer, *told)


def _telling(whole):
    """`__setattr__` or `__delattr__` of a class, which tells what it does."""

    @functools.wraps(whole)
    def told(self, name, *value):
        before = self.__dict__.get(name, self)
        whole(self, name, *value)
        # a property is not in the dict, and assigns what is
        if not is_same(self.__dict__.get(name, self), before):
            assigned(self, name)

    return told


@functools.cache
def containers() -> tuple[type, ...]:
    """Keras's list, dict and set of attributes; from the first call on they tell of changes."""
    kinds = tuple(at(row.where) for row in CONTAINERS)
    for kind in kinds:
        for method in _MUTATORS.intersection(dir(kind)):
            setattr(kind, method, _mutating(getattr(kind, method)))
    return kinds


_MUTATORS = frozenset(
    ("__setitem__", "__delitem__", "__iadd__", "__imul__", "__ior__", "__iand__", "__ixor__",
     "__isub__", "append", "insert", "extend", "remove", "pop", "clear", "reverse", "sort",
     "update", "popitem", "setdefault", "add", "discard", "difference_update",
     "intersection_update", "symmetric_difference_update", "move_to_end")
)  # fmt: skip


def _mutating(method):
    @functools.wraps(method)
    def mutator(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        finally:
            assigned(self, method.__name__)

    return mutator
