"""Tells whether a compiled function is still that of its model: the model's version.

    version = Version()
    with version.tracing([model]):    # Python code runs and becomes a graph
        ...
    version.is_current()              # before each later run of that graph

A graph holds what Python code read while it was traced: a layer's rate, its activation, its list
of blocks, the optimizer's `beta_1`. Keras keeps all of these as attributes. So each object that a
model is made of gets a `Stamp`, which remembers when an attribute was last assigned. As long as
nothing at all is assigned, `is_current` compares two integers.

Values of variables do not count: programs see them as they are (`runtime.function`). Nor does what
a call assigns to its own layer while it is traced, since that happens once.

Other objects that these hold are looked at before each run: those of a user's own classes, and what
a user's function reads (an activation, a loss). Not seen are a large NumPy array that is written in
place, a number that a function takes from its module.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import xxhash

from kerasvino.backend import assignments
from kerasvino.backend.assignments import (
    SMALL,
    Stamp,
    containers,
    is_model,
    is_same,
    latest,
    watched_kinds,
)
from kerasvino.backend.keras_private import (
    OF_COMPILE,
    OF_NO_EFFECT,
    OF_NO_EFFECT_IN_MODELS,
    STAMP,
    config,
)
from kerasvino.backend.keras_private import Variable as KerasVariable
from kerasvino.tensor import Tensor

__all__ = ["Version", "traced_calls"]

MAX_ITEMS = 4096  # longer lists are data

# {id: layer} called so far, for each function that is being traced: whoever calls one adds it.
traced_calls: list[dict[int, object]] = []


class Version:
    """What was traced, and whether it is still as it was then.

    Args:
        training: whether what is traced depends on the optimizer, the loss, the metrics and on
            which variables are trainable.
    """

    def __init__(self, training: bool = True):
        self._training = training
        self._stamps: dict[int, Stamp] = {}
        self._polled: list[_Items | _Contents] = []
        self._as_of = self._checked = latest()
        self._walked = -1  # when all roots were looked through last
        self._config = _keras_config()
        self.flags: tuple = ()

    def is_current(self) -> bool:
        """Whether nothing was assigned since that the traces so far depend on."""
        now = latest()
        if now != self._checked:
            if self._last_change() > self._as_of:
                return False
            self._read_flags()
            self._checked = now
        if self._config != _keras_config():
            return False
        return not self._polled or all([polled.is_unchanged() for polled in self._polled])

    def _last_change(self) -> int:
        stamps = self._stamps.values()
        last = max([stamp.changed for stamp in stamps], default=0)
        if self._training:
            last = max(last, max([stamp.compiled for stamp in stamps], default=0))
        return last

    def reason(self) -> str:
        """What was assigned since, for a message."""
        latest_stamp = max(self._stamps.values(), key=lambda stamp: stamp.changed, default=None)
        if latest_stamp is None or latest_stamp.changed <= self._as_of:
            return "an object that it holds"
        return latest_stamp.label

    def _read_flags(self) -> None:
        self.flags = tuple([stamp.trainable for stamp in self._stamps.values()])

    @contextlib.contextmanager
    def tracing(self, roots: Sequence):
        """Inside, a function is traced; afterwards this is the version of what it depends on.

        Args:
            roots: what it is made of: layers, functions, objects that hold them.
        """
        if not self._stamps:
            self._as_of = latest()
        if self._walked != latest():
            self.include(roots)
        calls: dict[int, object] = {}
        traced_calls.append(calls)
        before = assignments.traced()
        given = [polled for polled in self._polled if polled.is_unchanged()]
        try:
            yield
        finally:
            for polled in given:  # what the trace has changed in them was done once
                polled.look()
            # not `remove`, which compares: two that are empty are equal
            del traced_calls[next(n for n, c in enumerate(traced_calls) if c is calls)]
            new = [layer for layer in calls.values() if not self._knows(layer)]
            if assignments.traced() != before:  # layers were built, say
                new += roots
            if new:
                self.include(new)

    def _knows(self, layer) -> bool:
        return id(vars(layer).get(STAMP)) in self._stamps

    def include(self, roots: Iterable) -> None:
        """Adds what `roots` are made of."""
        walk = _Walk(self._training)
        for root in roots:
            walk.visit(root)
        self._walked = latest()
        self._stamps |= walk.stamps
        known = {polled.identity for polled in self._polled}
        self._polled += [polled for polled in walk.polled if polled.identity not in known]
        self._read_flags()


def _keras_config() -> tuple:
    return config.floatx(), config.epsilon(), config.image_data_format()


# -- what a model is made of


class _Walk:
    """Finds everything that roots are made of, and stamps it.

    Attributes:
        stamps: of what was found, by their id.
        polled: what has to be looked at, since its assignments are not told.
    """

    def __init__(self, training: bool):
        self._training = training
        self._containers = containers()
        self._seen: dict[int, object] = {}  # keeps them alive, so that no id is used twice
        self._seen_polled: set[tuple[int, _Polls]] = set()
        self.stamps: dict[int, Stamp] = {}
        self.polled: list[_Items | _Contents] = []

    def visit(self, root) -> None:
        """Adds `root` and its parts: by a list of what is left to do, since layers nest deeply."""
        left: list[tuple[object, _Polls]] = [(root, False)]
        while left:
            value, polls = left.pop()
            kind = _kind(type(value))
            if kind == _PLAIN:
                continue
            if kind in (_WATCHED, _VARIABLE):
                polls = False  # they tell by themselves
            if self._is_new(value, polls):
                left += _PARTS[kind](self, value, polls)

    def _is_new(self, value, polls) -> bool:
        if polls:
            seen = self._seen_polled
            if (id(value), polls) in seen or (id(value), True) in seen:
                return False
            seen.add((id(value), polls))
        elif id(value) in self._seen:
            return False
        self._seen[id(value)] = value
        return True

    # What each kind of value is made of, as (part, whether its changes have to be looked for):
    # those of what a layer of a user's class holds, and of objects and functions of the user's that
    # Keras's layers, losses and others hold. In place of True, names: those of the attributes that
    # a function may read of an object.

    def _of_watched(self, value, polls):
        stamp = self._stamped(value)
        own = not _is_of_library(type(value).__module__)
        told = hasattr(value, "_tracker")  # lists and dicts assigned to it become `containers()`
        skipped = OF_NO_EFFECT
        if is_model(value):
            skipped = OF_NO_EFFECT_IN_MODELS if self._training else _OF_TRAINING
        parts: list[tuple[object, _Polls]] = []
        for name, part in list(vars(value).items()):  # threads may assign meanwhile
            kind = _kind(type(part))
            if kind == _PLAIN or name in skipped:
                continue
            if kind == _CONTAINER:
                if type(part) in self._containers:
                    self._stamped(part, stamp)
                # lists that a tracker does not track are Keras's own
                if not told if type(part) in (list, dict, set) else own:
                    parts.append((part, True))
                elif part:  # an empty one is looked through again when it is filled
                    parts += self._of_container(part, False)
            elif kind != _FUNCTION or _may_hold(part):
                parts.append((part, own or kind in _OF_USER))
        return parts

    def _stamped(self, value, stamp: Stamp | None = None) -> Stamp:
        """The stamp of `value`, which is `stamp` or a new one if it has none."""
        found = value.__dict__.get(STAMP)
        if found is None:
            if stamp is None:
                name = getattr(value, "name", "")
                label = f"{type(value).__name__} {name!r}" if name else type(value).__name__
                stamp = Stamp(label, getattr(value, "_trainable", None))
            found = value.__dict__.setdefault(STAMP, stamp)  # of another thread, meanwhile
        self.stamps[id(found)] = found
        return found

    def _of_container(self, value, polls):
        tells = type(value) in self._containers
        if tells:
            self._stamped(value)
        if len(value) > MAX_ITEMS:
            return []
        if polls and not tells and not isinstance(value, tuple):
            self.polled.append(_Items(value))
        items = value.values() if isinstance(value, dict) else value
        return [(part, polls) for part in list(items) if _kinds.get(type(part)) != _PLAIN]

    def _of_variable(self, value, polls):
        if value.stamp is None:
            value.__dict__.setdefault("stamp", Stamp(value.path, value.trainable))
        if self._training:
            self.stamps[id(value.stamp)] = value.stamp
        return [(value._regularizer, polls), (value._constraint, polls)]

    def _of_function(self, value, polls):
        """What a user's function is closed over, and what it takes from its module by name."""
        if isinstance(value, functools.partial):
            return [(part, polls) for part in (value.func, *value.args, value.keywords)]
        if isinstance(value, types.MethodType):
            code = getattr(value.__func__, "__code__", None)
            names = frozenset(_names_of(code) if code is not None else ())
            return [(value.__self__, polls and names), (value.__func__, polls)]
        if _is_of_library(value.__module__):
            return []
        cells, known = value.__closure__ or (), value.__globals__
        names = _names_of(value.__code__)
        parts = [cell.cell_contents for cell in cells if cell != _EMPTY_CELL]
        parts += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        parts += [known[name] for name in names if name in known]
        return [(part, polls and frozenset(names)) for part in parts]

    def _of_array(self, value, polls):
        if polls and value.flags.writeable and value.nbytes <= SMALL:
            self.polled.append(_Contents(value))
        return []

    def _of_foreign(self, value, polls):
        if isinstance(polls, frozenset):
            polls = _names_through(type(value), polls)
        if polls:
            self.polled.append(_Attributes(value, None if polls is True else polls))
        return [(part, polls) for part in _Attributes(value).held().values()]


def _may_hold(function) -> bool:
    """Whether `_of_function` may find something in it."""
    return not (type(function) is types.FunctionType and _is_of_library(function.__module__))


_Polls = bool | frozenset[str]
_EMPTY_CELL = types.CellType()


@functools.lru_cache(1024)
def _names_of(code: types.CodeType) -> tuple[str, ...]:
    """The global names in a function and those defined in it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return (*code.co_names, *(name for part in inner for name in _names_of(part)))


def _names_through(kind: type, names: Iterable[str]) -> frozenset[str]:
    """`names`, and those in the methods and properties of a class that they are names of."""
    found: set[str] = set()
    left = [*names, "__call__", "__getattr__", "__getitem__", "__iter__"]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            member = getattr(kind, name, None)
            code = getattr(getattr(member, "fget", member), "__code__", None)
            left += _names_of(code) if code is not None else ()
    return frozenset(found)


_PLAIN, _WATCHED, _CONTAINER, _VARIABLE, _FUNCTION, _ARRAY, _FOREIGN = range(7)
_PARTS = {
    _WATCHED: _Walk._of_watched,
    _CONTAINER: _Walk._of_container,
    _VARIABLE: _Walk._of_variable,
    _FUNCTION: _Walk._of_function,
    _ARRAY: _Walk._of_array,
    _FOREIGN: _Walk._of_foreign,
}


_OF_USER = (_FUNCTION, _FOREIGN)

_OF_TRAINING = OF_NO_EFFECT_IN_MODELS | OF_COMPILE
_kinds: dict[type, int] = {}


def _kind(kind: type) -> int:
    known = _kinds.get(kind)
    if known is None:
        known = _kind_of(kind)
        if _is_of_library(kind.__module__):  # others may be dropped, with what they hold
            _kinds[kind] = known
    return known


def _kind_of(kind: type) -> int:
    if issubclass(kind, (type, types.ModuleType, Tensor, str, bytes, int, float, complex)):
        return _PLAIN
    if issubclass(kind, KerasVariable):
        return _VARIABLE
    if issubclass(kind, watched_kinds()):
        return _WATCHED
    if issubclass(kind, (dict, list, tuple, set, frozenset, deque)):
        return _CONTAINER
    if issubclass(kind, (types.FunctionType, types.MethodType, functools.partial)):
        return _FUNCTION
    if issubclass(kind, np.ndarray):
        return _ARRAY
    if not _is_of_library(kind.__module__):
        return _FOREIGN if kind.__dictoffset__ or _slots(kind) else _PLAIN
    return _FOREIGN if f"{kind.__module__}.{kind.__qualname__}" in _HOLDERS else _PLAIN


# Classes of libraries that hold what their user puts into them.
_HOLDERS = (
    "argparse.Namespace",
    "collections.UserDict",
    "collections.UserList",
    "keras.src.dtype_policies.dtype_policy_map.DTypePolicyMap",
    "types.SimpleNamespace",
)


def _slots(kind: type) -> list:
    """The members of objects of this class that are not in their `__dict__`."""
    members = (member for base in kind.__mro__ for member in vars(base).values())
    return [member for member in members if type(member) is types.MemberDescriptorType]


@functools.lru_cache(4096)
def _is_of_library(module: str | None) -> bool:
    """Whether a module is Python's, ours, or installed: not code that a user works on."""
    if module is None or module == "__main__":
        return False
    if module.partition(".")[0] in ("keras", "kerasvino"):
        return True
    path = getattr(sys.modules.get(module), "__file__", None)
    return path is None or path.startswith(_INSTALLED)


_INSTALLED = tuple(
    path for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (path := sysconfig.get_path(name))
)  # fmt: skip


# -- what is looked at before each run


class _Items:
    """Items of a container of a kind that does not tell of changes."""

    def __init__(self, items):
        self._items = items
        self.identity: object = id(items)
        self.look()

    def look(self) -> None:
        """Takes note of what is there."""
        self._held = self._now()

    def _now(self) -> list:
        items = self._items
        return [*items, *items.values()] if isinstance(items, dict) else list(items)

    def is_unchanged(self) -> bool:
        now, held = self._now(), self._held
        return len(now) == len(held) and all(map(is_same, now, held))


class _Attributes(_Items):
    """Attributes of an object, all or those of some names."""

    def __init__(self, owner, names: frozenset[str] | None = None):
        self._names = names
        self._slots = _slots(type(owner))
        if names is not None:
            self._slots = [slot for slot in self._slots if slot.__name__ in names]
        super().__init__(owner)
        self.identity = id(owner), names

    def _now(self) -> list:
        held = self.held()
        return [*held, *held.values()]

    def held(self) -> dict[str, object]:
        """Those that are set."""
        owner, names = self._items, self._names
        held = getattr(owner, "__dict__", {})
        held = dict(held) if names is None else {n: held[n] for n in names if n in held}
        for slot in self._slots:
            with contextlib.suppress(AttributeError):  # one that is not set
                held[slot.__name__] = slot.__get__(owner)
        return held


class _Contents:
    """A small NumPy array, which may be written in place."""

    def __init__(self, array: np.ndarray):
        self._array = array
        self.identity = id(array)
        self.look()

    def look(self) -> None:
        self._digest = self._now()

    def _now(self) -> int:
        return xxhash.xxh3_64_intdigest(np.ascontiguousarray(self._array).view(np.uint8).data)

    def is_unchanged(self) -> bool:
        return self._now() == self._digest
