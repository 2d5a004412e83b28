"""Errors of primitives: which operation, in which Keras layer, on what, and what is wrong."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import numpy as np

from kerasvino import dtypes
from kerasvino.errors import LoweringError
from kerasvino.graph.refusal import in_plain_words
from kerasvino.tensor import Tensor

__all__ = [
    "LoweringError", "attributed", "attributed_to", "described", "explained", "layer_path",
    "register_path",
]  # fmt: skip


def _no_path() -> str:
    return ""


_path: Callable[[], str] = _no_path


def register_path(function: Callable[[], str]) -> None:
    """Registers what tells the path of the Keras layer being called ("" outside of any)."""
    global _path
    _path = function


# Of each thread: the path that stands in for that of the layer being called.
_override = threading.local()


@contextlib.contextmanager
def attributed_to(path: str):
    """Inside, primitives belong to `path` (the gradient of a layer runs outside of its call)."""
    outer = getattr(_override, "path", None)
    _override.path = path
    try:
        yield
    finally:
        _override.path = outer


def layer_path() -> str:
    """Path of the Keras layer that primitives are called for now ("" outside of any)."""
    path = getattr(_override, "path", None)
    return _path() if path is None else path


def attributed(primitive: str, message: str | None = None) -> str:
    """`layer/path/primitive` as a node name, or with `message` a sentence for an error."""
    path = layer_path()
    if message is None:
        return f"{path}/{primitive}" if path else primitive
    return f"{primitive}{f' in layer {path}' if path else ''} {message}"


def explained(error: Exception, name: str, inputs, attrs: dict) -> Exception:
    """The error to raise for one that the primitive `name` met on these inputs and attributes.

    It is of the same class, which says whether shapes (ValueError) or dtypes (TypeError) are wrong;
    OpenVINO's RuntimeErrors become LoweringErrors, in plain words.
    """
    given = [described(tensor) for tensor in inputs]
    given += [f"{key}={described(value)}" for key, value in attrs.items()]
    if type(error) is RuntimeError:
        kind, reason = LoweringError, in_plain_words(str(error))
    else:
        kind, reason = type(error), str(error)
    message = attributed(name, f"on ({', '.join(given)}): {reason}")
    try:
        again = kind(message)
    except TypeError:  # it takes other arguments
        again = None
    if again is None or str(again) != message:
        again = next(base for base in _KINDS if isinstance(error, base))(message)
    return again


_KINDS = (TypeError, IndexError, ValueError, ArithmeticError, RuntimeError, Exception)


def described(value) -> str:
    """A value for an error's message: dtype and shape of a tensor, not its numbers."""
    if isinstance(value, Tensor):
        shape = value._shape if value._array is None else value._array.shape
        return f"{value.dtype}{'[…]' if shape is None else list(shape)}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{dtypes.name_of(value.dtype)}{list(value.shape)}"
    if isinstance(value, (list, tuple)):
        items = ", ".join(map(described, value))
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' * (len(value) == 1)})"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
