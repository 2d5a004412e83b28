"""What a task computes once for each generation, compiled: encoders, and caches they fill.

A method that asks for a Python value of a tensor cannot be compiled. It runs eagerly, and the
logger `kerasvino` says so at the level DEBUG.
"""

from __future__ import annotations

import logging
import weakref

from kerasvino.backend.jit import jitted_of
from kerasvino.errors import TracedValueError

__all__ = ["ENCODERS", "compiled", "encoding"]

# Layers of a backbone that a task calls before the first token.
ENCODERS = frozenset({"vision_encoder", "vit_encoder", "image_encoder", "audio_encoder", "qformer"})

logger = logging.getLogger("kerasvino")
_known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def compiled(model, name: str, function):
    """A callable that does what `function` does, in a program that belongs to `model`.

    Args:
        name: what the function is called; the model's programs are kept by it.
        function: of tensors, in any nest; it may refer to the model weakly only.
    """
    of_model = _known.setdefault(model, {})
    if name not in of_model:
        of_model[name] = _Compiled(model, name, function)
    return of_model[name]


class _Compiled:
    def __init__(self, model, name: str, function):
        self._function, self._name = function, f"{model.name}/{name}"
        self._eager = False
        self._jitted = jitted_of(model, name, lambda _, args, kwargs: function(*args, **kwargs))

    def __call__(self, *args, **kwargs):
        if not self._eager:
            try:
                return self._jitted(args, kwargs)
            except TracedValueError as why:
                logger.debug("%s runs eagerly: %s", self._name, why)
                self._eager = True
        return self._function(*args, **kwargs)


class _Encoding:
    """A backbone whose encoders are compiled."""

    def __init__(self, model, backbone):
        self._model, self._backbone = model, backbone

    def __getattr__(self, name):
        value = getattr(self._backbone, name)
        if name not in ENCODERS or not callable(value):
            return value
        layer = weakref.ref(value)
        return compiled(self._model, name, lambda *args, **kwargs: layer()(*args, **kwargs))


def encoding(model):
    """The backbone of `model` for the code around its steps."""
    return _Encoding(model, model.backbone)
