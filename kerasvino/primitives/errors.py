"""Errors of primitives, attributed to the Keras layer that called them."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["LoweringError", "attributed", "register_path"]


class LoweringError(ValueError):
    """An operation has no form in a compiled graph, or OpenVINO refused the one it was given."""


def _no_path() -> str:
    return ""


_path: Callable[[], str] = _no_path


def register_path(function: Callable[[], str]) -> None:
    """Registers what tells the path of the Keras layer being called ("" outside of any)."""
    global _path
    _path = function


def attributed(primitive: str, message: str | None = None) -> str:
    """`layer/path/primitive` as a node name, or with `message` a sentence for an error."""
    path = _path()
    if message is None:
        return f"{path}/{primitive}" if path else primitive
    return f"{primitive}{f' in layer {path}' if path else ''} {message}"
