"""What may surround the call of a layer: scopes that Keras keeps in its global state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["OUTER_CALL", "SCOPES", "Scope"]


class Scope(NamedTuple):
    """Something that may surround a call, and is a true value of Keras's global state then."""

    key: str
    where: str  # what opens it
    opened: Callable[[Any], Any]  # a context manager, given what is at `where`
    versions: str = ">=3.15"


class _Distributed:
    """A context in which a distribution is set, which distributes nothing."""

    def __init__(self, set_distribution):
        self._set = set_distribution

    def get_tensor_layout(self, path):
        return None

    def __enter__(self):
        self._set(self)

    def __exit__(self, *exc):
        self._set(None)


OUTER_CALL = "current_call_ctx"

SCOPES = (
    Scope(
        "autocast_scope", "keras.src.backend.common.variables:AutocastScope",
        lambda scope: scope("float16"),
    ),
    Scope(
        "stateless_scope", "keras.src.backend.common.stateless_scope:StatelessScope",
        lambda scope: scope(),
    ),
    Scope(
        "symbolic_scope", "keras.src.backend.common.symbolic_scope:SymbolicScope",
        lambda scope: scope(),
    ),
    Scope(
        "remat_scope_stack", "keras.src.backend.common.remat:RematScope",
        lambda scope: scope("full"),
    ),
    Scope(
        "distribution", "keras.src.distribution.distribution_lib:set_distribution", _Distributed
    ),
)  # fmt: skip
