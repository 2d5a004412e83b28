"""The key of a random operation, and Keras's global generator as programs use it."""

from __future__ import annotations

import types

from kerasvino.backend.keras_private import SeedGenerator, draw_seed, global_seed_generator
from kerasvino.backend.ops.core.scopes import random_seed_dtype
from kerasvino.backend.ops.core.variable import Variable
from kerasvino.graph import current_trace

__all__ = ["drawn"]


class _GlobalState(Variable):
    """The state of the generator that is the global one when it is read or assigned.

    `set_random_seed` and `clear_session` have Keras make another, and each thread has its own. A
    program that held the one of its trace would go on with that one.
    """

    def _initialize_with_initializer(self, initializer):
        pass  # it has no value of its own

    @property
    def _value(self):
        return global_seed_generator().state._value

    def _direct_assign(self, value):
        held = self if current_trace() is not None else global_seed_generator().state
        Variable._direct_assign(held, value)


_state = _GlobalState(
    lambda shape, dtype: None,
    shape=(2,),
    dtype=random_seed_dtype(),
    trainable=False,
    name="global_seed_generator_state",
)
_global = types.SimpleNamespace(state=_state)


def drawn(seed):
    """What Keras's `draw_seed` gives; a program asks for the global generator when it runs."""
    if seed is None and current_trace() is not None:
        return SeedGenerator.next(_global, ordered=False)
    return draw_seed(seed)
