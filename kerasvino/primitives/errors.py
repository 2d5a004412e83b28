"""Errors of primitives, attributed to the Keras layer that called them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from kerasvino.errors import LoweringError

__all__ = ["LoweringError", "attributed", "attributed_to", "layer_path", "register_path"]


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
