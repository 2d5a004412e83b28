"""`model(x)` on concrete values, compiled once it has been called a few times alike.

Only models whose layers are all Keras's own are compiled: their `call` has no effect but on
variables, so the results and effects stay the same. A model with code of its user (a subclass, a
Lambda layer, a patched `call`) runs eagerly, prints and branches, as does one inside another call,
a trace, a StatelessScope or the recording of a gradient. `kerasvino.jit(model)` compiles any.
"""

from __future__ import annotations

import functools
import logging
import weakref

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.calibrated import RANGES, note_ranges
from kerasvino.backend.jit import Jitted
from kerasvino.backend.keras_private import PLUGGABLE, imitated, tree
from kerasvino.backend.layer_calls import CAPTURE, is_surrounded
from kerasvino.backend.version import Version
from kerasvino.primitives.operation_errors import LoweringError
from kerasvino.tensor import Tensor, TracedValueError

__all__ = ["DirectCalls"]

# Calls of one signature that run eagerly before one is compiled: a model is often called once or
# twice, to be built or looked at, and compiling a large one takes seconds.
EAGER_CALLS = 2
MAX_SIGNATURES = 256

logger = logging.getLogger("kerasvino")
_states: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class DirectCalls:
    """Base of the trainer, and thereby of every model: see the module."""

    def __call__(self, *args, **kwargs):
        if args and not self.run_eagerly and self.built and not is_surrounded():
            state = _states.get(self)
            if state is None or not state.is_current(self):
                state = _states[self] = _State(self)
            if state.compiles(args, kwargs):
                return state(self, args, kwargs)
        result = super().__call__(*args, **kwargs)
        if RANGES in self.__dict__:
            note_ranges(self, kwargs)
        return result


class _State:
    """What is known of a model's direct calls since it was last changed."""

    def __init__(self, model):
        # without the model: a value that refers to its weak key would keep it for ever
        self._counts: dict[tuple, int] = {}
        self._function: Jitted | None = None
        self._assignments = model._assignments
        self._layers = list(model._flatten_layers(include_self=False))
        self._refused = _impurity(model, self._layers)
        self._version: Version | None = None
        if self._refused is None:
            self._version = Version(training=False)
            self._version.include([model])
        else:
            logger.debug("%s(x) stays eager: %s", model.name, self._refused)

    def is_current(self, model) -> bool:
        """Whether the model is as it was; of one that stays eager, roughly."""
        if self._version is None:
            return self._assignments == model._assignments
        return self._version.is_current()

    def _is_observed(self) -> bool:
        """Whether a quantization is being calibrated by what the layers are called with."""
        return PLUGGABLE and any(
            [layer.__dict__.get(CAPTURE) is not None for layer in self._layers]
        )

    def compiles(self, args, kwargs) -> bool:
        """Whether this call is to run as a program."""
        if self._refused is not None:
            return False
        signature = _signature(args, kwargs)
        if signature is None or self._is_observed():
            return False
        count = self._counts.get(signature, 0)
        if count < EAGER_CALLS:
            if len(self._counts) >= MAX_SIGNATURES:
                self._counts.clear()
            self._counts[signature] = count + 1
            return False
        return True

    def __call__(self, model, args, kwargs):
        if self._function is None:
            reference = weakref.ref(model)
            self._function = Jitted(
                _traced_call(reference),
                f"{model.name}_call",
                variables=lambda: reference().weights,
                roots=lambda: (reference(),),
                training=False,
            )
        try:
            return self._function(*_converted(model, args, kwargs))
        except (TracedValueError, LoweringError, _Impure) as error:
            self._refused = str(error)
            logger.debug("%s(x) stays eager: %s", model.name, error)
            return model(*args, **kwargs)


class _Impure(Exception):
    """A call that was traced left something behind beside its outputs and variables."""


def _traced_call(reference):
    def call(args, kwargs):
        traced = reference()
        outputs = traced(*args, **kwargs)
        if any(layer._losses for layer in traced._flatten_layers()):
            traced._clear_losses()
            raise _Impure("a layer adds losses")
        if any(getattr(leaf, "_keras_mask", None) is not None for leaf in tree.flatten(outputs)):
            raise _Impure("the output carries a mask")
        return outputs

    return call


def _signature(args, kwargs) -> tuple | None:
    """Shapes and dtypes of a call's tensors, and its other arguments; None if it must be eager."""
    found = []
    for leaf in tree.flatten((args, kwargs)):
        if isinstance(leaf, Tensor):
            if leaf._array is None or leaf.record is not None or leaf.__dict__:
                return None
            leaf = leaf._array
        if isinstance(leaf, np.ndarray):
            if leaf.dtype.kind not in "biuf" and dtypes.name_of(leaf.dtype) not in dtypes.TABLE:
                return None
            found.append((leaf.shape, leaf.dtype))
        elif leaf is None or isinstance(leaf, (bool, int, float, str)):
            found.append(leaf)
        else:
            return None
    return tuple(found) + tuple(kwargs)


def _converted(model, args, kwargs):
    """The arguments as `Layer.__call__` converts them; float64 above all, which no graph has."""

    def convert(leaf):
        if isinstance(leaf, (Tensor, np.ndarray)) and model._convert_input_args:
            return model.dtype_policy.convert_input(leaf, model.autocast, model.input_dtype)
        return leaf

    return tree.map_structure(convert, args), tree.map_structure(convert, kwargs)


def _impurity(model, layers) -> str | None:
    """Why calling `model` may do more than compute from its variables; None if it does not."""
    if imitated("scopes") is None:
        return "what surrounds a call cannot be seen in this version of Keras"
    for layer in (model, *layers):
        kind = type(layer)
        if "call" in vars(layer) or not _is_keras(kind):
            return f"{layer.name!r} runs code of its own ({kind.__module__}.{kind.__qualname__})"
        if kind.__name__ == "Lambda":
            return f"{layer.name!r} is a Lambda layer"
        for name, value in list(vars(layer).items()):  # others may assign meanwhile
            if _is_of_user(value):
                return f"{layer.name!r} calls a function of its user, {name}"
        if getattr(layer, "activity_regularizer", None) is not None:
            return f"{layer.name!r} has an activity regularizer"
    return None


def _is_of_user(value) -> bool:
    """Whether a value can be called and is not Keras's: a function, an object with `__call__`."""
    while isinstance(value, functools.partial):
        value = value.func
    return callable(value) and not isinstance(value, type) and not _is_keras(value)


def _is_keras(kind) -> bool:
    """Whether a class or function is defined by Keras or us."""
    return (kind.__module__ or "").partition(".")[0] in ("keras", "keras_hub", "kerasvino")
