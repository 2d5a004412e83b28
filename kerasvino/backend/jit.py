"""Compiled functions over nested structures: tensors are traced, everything else is static."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from kerasvino.autodiff.recording import recording
from kerasvino.backend.keras_private import Variable as KerasVariable
from kerasvino.backend.keras_private import tree
from kerasvino.backend.ops.core.convert import convert_to_numpy, convert_to_tensor
from kerasvino.backend.ops.core.foreign import is_foreign
from kerasvino.backend.version import Version
from kerasvino.graph import current_trace
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor

__all__ = ["Ended", "Jitted", "jit", "jitted_of", "within"]

# Flags of a model (`trainable`) whose programs are kept beside those of the present ones.
MAX_FLAGS = 8
# A function that was traced anew so often, since a model was changed, warns of what it costs.
MANY_RENEWALS = 9


class Jitted:
    """`function` compiled once for each structure, static leaf, shape and dtype of its arguments.

    Arguments may be nested. Tensors and arrays in them, those of other libraries too, are traced;
    other leaves (None, numbers, strings) are part of the signature and must be hashable. An array
    handed in must not be written by another thread during the call.

    Args:
        function: what is compiled.
        name: of the compiled models.
        constant: `constant(variable)` says whether a variable that a program reads and does not
            assign may be compiled into it; others are inputs. Default: any may.
        variables: those that it will read, or most of them (see `Function`).
        roots: layers, functions and other objects that the function is made of: when one of them
            changes, what was traced of it is dropped (see `Version`).
        training: as of `Version`.
        called: `called(args, path)` is what messages call the tensor at `path`, a tuple of indices
            and keys, of arguments of that structure. Default: by its number.

    Attributes:
        renewals: how often that has happened.

    Raises:
        TracedValueError: the function asks for a Python value that only the running graph knows.
    """

    def __init__(
        self,
        function: Callable,
        name: str | None = None,
        constant: Callable[[object], bool] | None = None,
        variables: Callable[[], Sequence] = tuple,
        roots: Callable[[], Sequence] = tuple,
        training: bool = True,
        called: Callable[[object, tuple], str] | None = None,
    ):
        self._function = function
        self._called = called
        self._name = name or getattr(function, "__name__", "function")
        self._constant = constant
        self._variables = variables
        self._roots = roots
        self._training = training
        self.renewals = -1
        self._renew()

    def _renew(self) -> None:
        self.renewals += 1
        self._traces = _Traces(self._training)

    def __getstate__(self):
        """What a pickle or a copy takes along: it compiles anew."""
        return {key: value for key, value in vars(self).items() if key != "_traces"}

    def __setstate__(self, state):
        vars(self).update(state, renewals=-1)
        self._renew()

    def refresh(self) -> int:
        """Drops what was traced before something that it depends on changed.

        Returns how often that has happened so far.
        """
        version = self._traces.version
        if not version.is_current():
            if self.renewals == MANY_RENEWALS:
                _warn_of_renewals(self._name, version.reason())
            self._renew()
        return self.renewals

    @property
    def functions(self) -> dict[tuple, Function]:
        """What was traced of the present version, by signature."""
        return self._traces.functions()

    def assigned(self) -> list:
        """The variables that programs assign, of those traced so far."""
        return [v for function in self.functions.values() for v in function.assigned.values()]

    def __call__(self, *args):
        return self.start(*args, ahead=0).result()

    def start(self, *args, into=None, ahead=1, overlap=True):
        """A call that may still be running when this returns; `.result()` waits for it.

        Args:
            *args: as of a call; their arrays must not change until the end.
            into: arrays that the flat results are written into where they fit.
            ahead: how many such calls will be begun before their results are asked for; 0: it runs
                when its own is.
            overlap: whether there is other work until then (`Program.start`).
        """
        leaves = tree.flatten(args)
        traced = [isinstance(leaf, (Tensor, np.ndarray)) for leaf in leaves]
        if not all(traced):
            leaves = [x if type(x) in _USUAL else _own(x) for x in leaves]
            traced = [isinstance(leaf, (Tensor, np.ndarray)) for leaf in leaves]
        statics = None
        if not all(traced):
            statics = tuple(
                None if moves else (type(x), x if type(x) is not float else _float_key(x))
                for x, moves in zip(leaves, traced, strict=True)
            )
        key = (_skeleton(args), statics)
        self.refresh()
        traces = self._traces
        functions = traces.functions()
        function = functions.get(key)
        if function is None:
            function = functions[key] = self._compiled(args, leaves, traced, traces)
        tensors = [
            leaf if isinstance(leaf, Tensor) else Tensor._wrap(leaf)
            for leaf, moves in zip(leaves, traced, strict=True)
            if moves
        ]
        return _Packing(function.start(tensors, into, ahead, overlap))

    def _compiled(self, args, leaves, traced, traces):
        latest = []

        def flat_function(*tensors):
            rest = iter(tensors)
            filled = [
                next(rest) if moves else leaf for leaf, moves in zip(leaves, traced, strict=True)
            ]
            with traces.version.tracing(self._roots()):
                result = self._function(*tree.pack_sequence_as(args, filled))
            traces.found()
            outputs, pattern = [], []
            for leaf in tree.flatten(result):
                if hasattr(leaf, "dtype"):
                    outputs.append(convert_to_tensor(leaf))
                    leaf = _TENSOR
                pattern.append(leaf)
            latest[:] = [(tree.map_structure(lambda _: 0, result), pattern)]
            return outputs

        # the arguments of this first call are not kept alive by the closure
        leaves = [None if moves else leaf for leaf, moves in zip(leaves, traced, strict=True)]
        args = tree.map_structure(lambda _: 0, args)

        def argument(index):
            paths = zip(tree.flatten_with_path(args), traced, strict=True)
            return self._called(args, [path for (path, _), moves in paths if moves][index])

        return Function(
            flat_function, self._name, lambda: latest[0], self._constant, self._variables,
            argument if self._called else None,
        )  # fmt: skip


def jitted_of(
    model, name: str, function: Callable, roots: Callable[[Any], Sequence] = lambda model: (model,)
) -> Jitted:
    """`function(model, *args)` compiled, in inference mode, as a callable of `args`.

    It holds the model weakly, so that a dictionary by models may keep it.

    Args:
        model: whose variables and layers it depends on.
        name: of the compiled models, behind that of the model.
        function: what is compiled; it may refer to the model by its first argument only.
        roots: `roots(model)`, as of `Jitted`. Default: the model.
    """
    known = weakref.ref(model)
    return Jitted(
        lambda *args: function(known(), *args),
        f"{model.name}/{name}",
        variables=lambda: known().weights,
        roots=lambda: roots(known()),
        training=False,
    )


class _Traces:
    """What was traced of one version of a function, apart for each value of its flags.

    Old adversarial training flips `trainable` at every step.
    """

    def __init__(self, training):
        self.version = Version(training)
        flags = self.version.flags
        self._turned: tuple[tuple, dict[tuple, Function]] = (flags, {})  # those of now
        self._by_flags = {flags: self._turned[1]}

    def functions(self) -> dict[tuple, Function]:
        """{signature: function}, of the present flags."""
        flags, functions = self._turned
        now = self.version.flags
        if now is flags:
            return functions
        if now != flags:
            functions = self._by_flags.get(now)
            if functions is None:
                if len(self._by_flags) > MAX_FLAGS:
                    self._by_flags = {}
                functions = self._by_flags.setdefault(now, {})
        self._turned = now, functions
        return functions

    def found(self) -> None:
        """Takes note of what a trace found the function to be made of: there are more flags."""
        flags, functions = self._turned
        now = self.version.flags
        if len(now) != len(flags):
            self._by_flags = {now: functions}
            self._turned = now, functions


class _Packing:
    """The results of a call to be, in the structure that the function returns."""

    def __init__(self, pending):
        self._pending = pending

    @property
    def parallel(self):
        return self._pending.parallel

    def result(self):
        return self._packed(self._pending.result())

    def arrays(self):
        """The result as NumPy arrays, handed over to the caller: no tensor keeps them."""
        results, structure = self._pending.result()
        return self._packed(([tensor._array for tensor in results], structure))

    @staticmethod
    def _packed(found):
        results, structure = found
        rest = iter(results)
        packed = [next(rest) if leaf is _TENSOR else leaf for leaf in structure[1]]
        return tree.pack_sequence_as(structure[0], packed)


class Ended:
    """The results of a call that is over."""

    parallel = 1

    def __init__(self, results):
        self._results = results

    def result(self):
        return self._results

    def arrays(self):
        return tree.map_structure(
            lambda leaf: convert_to_numpy(leaf) if isinstance(leaf, Tensor) else leaf, self._results
        )


_TENSOR = object()
_USUAL = {Tensor, np.ndarray, type(None), bool, int, float, str}


def _own(leaf):
    """A leaf of the arguments, as a tensor if it is an array of another library."""
    if isinstance(leaf, np.generic):
        return leaf  # a number, which is static
    return convert_to_tensor(leaf) if is_foreign(leaf) else leaf


def _float_key(number: float) -> float | str:
    """A number as part of a signature: -0.0 is not 0.0 there, and NaN is equal to itself."""
    return number if number < 0 or number > 0 else repr(number)


def _warn_of_renewals(name: str, reason: str) -> None:
    warnings.warn(
        f"{name} has been traced and compiled {MANY_RENEWALS + 1} times, since {reason} was "
        "assigned in between. Keep a value that changes from call to call in a keras.Variable, "
        "or give it as a tensor.",
        stacklevel=3,
    )


def _skeleton(structure):
    """A hashable description of a nested structure: containers, keys, places of leaves."""
    if isinstance(structure, dict):
        return (type(structure), *((k, _skeleton(structure[k])) for k in sorted(structure)))
    if isinstance(structure, (list, tuple)):
        return (type(structure), *map(_skeleton, structure))
    return None


class _Static:
    """An argument that is part of the signature, whatever it is."""

    def __init__(self, value):
        self.value = value
        # 1, 1.0 and True are three signatures
        self._key = type(value), _float_key(value) if type(value) is float else value

    def __eq__(self, other):
        return type(other) is _Static and self._key == other._key

    def __hash__(self):
        return hash(self._key)


_Function = TypeVar("_Function", bound=Callable[..., Any])


@overload
def jit(
    fun: _Function,
    *,
    static_argnums: int | Sequence[int] = ...,
    static_argnames: str | Sequence[str] = ...,
) -> _Function: ...


@overload
def jit(
    fun: None = None,
    *,
    static_argnums: int | Sequence[int] = ...,
    static_argnames: str | Sequence[str] = ...,
) -> Callable[[_Function], _Function]: ...


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Callable[..., Any]:
    """`fun` of (nested) tensors, compiled for each signature; JAX's name and meaning.

    Python numbers are static here too, since they promote weakly: give one that changes from call
    to call as a tensor. Within a trace or the recording of a gradient `fun` itself is called, and
    becomes part of that. It may read and assign variables.

    Args:
        fun: takes and returns nested structures; None to use this as a decorator with arguments.
        static_argnums: positional arguments that are part of the signature; they must be hashable.
        static_argnames: keyword arguments of that kind.

    Raises:
        TracedValueError: `fun` asks for a Python value that only the running graph knows.
        TypeError: a static argument is not hashable.
    """
    if fun is None:
        return functools.partial(
            jit, static_argnums=static_argnums, static_argnames=static_argnames
        )
    numbers = {static_argnums} if isinstance(static_argnums, int) else set(static_argnums)
    names = {static_argnames} if isinstance(static_argnames, str) else set(static_argnames)

    def opened(leaf):
        return leaf.value if isinstance(leaf, _Static) else leaf

    def flat(args, kwargs):
        return fun(*tree.map_structure(opened, args), **tree.map_structure(opened, kwargs))

    name = getattr(fun, "__name__", None) or getattr(fun, "name", type(fun).__name__)
    compiled = Jitted(
        flat,
        name,
        variables=lambda: _weights(fun),
        roots=lambda: (fun,),
        training=not _is_layer(fun),
        called=_called,
    )

    def entering(value, static):
        if static:
            return _Static(value)
        return tree.map_structure(lambda x: x.value if isinstance(x, KerasVariable) else x, value)

    @functools.wraps(fun, updated=())
    def function(*args, **kwargs):
        if current_trace() is not None or recording():
            return fun(*args, **kwargs)
        static = {n % len(args) for n in numbers} if args else ()
        args = tuple(entering(value, n in static) for n, value in enumerate(args))
        return compiled(args, {key: entering(v, key in names) for key, v in kwargs.items()})

    return function


def within(keys) -> str:
    """`['a'][0]`, for the indices and keys that lead to a leaf."""
    return "".join(f"[{key!r}]" for key in keys)


def _called(args, path):
    """What messages call the tensor at `path` of (arguments, keyword arguments)."""
    _, name, *keys = path
    return f"argument {name}{within(keys)}"


def _weights(fun) -> Sequence[KerasVariable]:
    return fun.weights if _is_layer(fun) else ()


def _is_layer(fun) -> bool:
    from kerasvino.backend.keras_private import Layer  # which imports the backend

    return isinstance(fun, Layer)
