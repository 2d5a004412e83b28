"""Assignments in a `keras.StatelessScope` within the bodies of a traced If or Loop.

A body is a graph of its own: its tensors mean nothing outside. What it assigns to variables leaves
it as results of the node, which the traces see to. A StatelessScope knows nothing of bodies and
would keep a tensor of theirs; so while they are traced its assignments go to their traces, and into
the scope when the node is there.
"""

from __future__ import annotations

import contextlib

from kerasvino.backend.keras_private import StatelessScope, get_stateless_scope
from kerasvino.graph import current_trace

__all__ = ["tracing_bodies"]


@contextlib.contextmanager
def tracing_bodies():
    """Around the making of an If or Loop, whose bodies may assign variables."""
    outer = get_stateless_scope()
    if outer is None:
        yield
        return
    bodies = _Bodies(outer, current_trace())
    with bodies.restoring():
        with bodies:
            yield
        assigned = bodies.assigned()
    for update in assigned:
        outer.add_update(update)


class _Bodies(StatelessScope):
    """The scope `outer` inside of bodies in `trace`: reads and assigns through their traces."""

    def __init__(self, outer, trace):
        super().__init__(collect_losses=outer.collect_losses)
        self.losses = outer.losses
        self._outer, self._trace = outer, trace
        # {id: (variable, its value in the scope or None, what the trace had as assigned)}
        self._known: dict[int, tuple] = {}

    def get_current_value(self, variable):
        if id(variable) in self._known or self._enters(variable):
            return current_trace().read(variable)
        return None  # the scope does not hold it: its value is the trace's

    def add_update(self, update):
        variable, value = update
        if id(variable) not in self._known:
            self._enters(variable, assigned=True)
        current_trace().write(variable, value)

    def _enters(self, variable, assigned=False) -> bool:
        """Makes the value in the scope that of the trace for now, if there is one."""
        value = self._outer.get_current_value(variable)
        if value is None and not assigned:
            return False
        self._known[id(variable)] = variable, value, self._trace.writes.get(id(variable))
        if value is not None:
            self._trace.write(variable, value)
        return True

    def assigned(self) -> list[tuple]:
        """(variable, value) of those that have another value than before."""
        found = ((v, self._trace.writes.get(id(v)), held) for v, held, _ in self._known.values())
        return [(v, now[1]) for v, now, held in found if now is not None and now[1] is not held]

    @contextlib.contextmanager
    def restoring(self):
        """Leaves the trace as it was: what the scope holds is not assigned by the program."""
        try:
            yield
        finally:
            for key, (_, _, before) in self._known.items():
                if before is None:
                    self._trace.writes.pop(key, None)
                else:
                    self._trace.writes[key] = before
