"""Variable: Keras's, with its reads and assignments told to the innermost trace."""

from __future__ import annotations

import numpy as np

from kerasvino.autodiff import recording
from kerasvino.backend.assignments import variable_assigned
from kerasvino.backend.distribution_lib import check_current
from kerasvino.backend.keras_private import Variable as KerasVariable
from kerasvino.backend.keras_private import get_stateless_scope
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.graph import current_trace, state
from kerasvino.graph.trace import untraced
from kerasvino.tensor import Tensor

__all__ = ["Variable"]


class Variable(KerasVariable):
    """A Keras variable over a Tensor.

    Inside a trace a read gives a placeholder (or what was assigned in it) and an assignment
    replaces the value for the rest of the trace; the program that results reads and assigns the
    variable when it runs. A `keras.StatelessScope` comes first, as everywhere in Keras.
    """

    stamp = None  # of a variable that a program depends on (see `backend.version`)

    @property
    def value(self):
        scope = get_stateless_scope()
        if scope is not None:
            held = scope.get_current_value(self)
            if held is not None:
                return self._maybe_autocast(recording.read(self, held))
        trace = current_trace()
        if trace is not None:
            return self._maybe_autocast(recording.read(self, trace.read(self)))
        held = self._value
        if held is None:  # created in a StatelessScope and asked for its shape and dtype
            held = convert_to_tensor(self._initializer(self._shape, dtype=self._dtype))
        return self._maybe_autocast(recording.read(self, held))

    def _initialize_with_initializer(self, initializer):
        # A layer may be built while its call is traced: its weights are concrete all the same.
        with untraced(), recording.suspended():
            self._initialize(initializer(self._shape, dtype=self._dtype))

    def _initialize(self, value):
        check_current()
        self._value = convert_to_tensor(value, dtype=self._dtype)

    def _direct_assign(self, value: Tensor):
        if value.record is not None:  # a variable holds a value, not how it came about
            value = value._restate({})
        trace = current_trace()
        if trace is not None:
            trace.write(self, value)
            return
        self._value = value
        state.bump()

    def _convert_to_tensor(self, value, dtype=None):
        return convert_to_tensor(value, dtype=dtype)

    def __array__(self, dtype=None, copy=None):
        return self.value.__array__(dtype, copy)

    def numpy(self) -> np.ndarray:
        return np.array(self.value.numpy())


def _told(flag: property) -> property:
    """A property of Keras's whose assignments are known to the versions of models."""

    def assign(self, value):
        flag.fset(self, value)
        if self.stamp is not None:
            variable_assigned(self, flag.fset.__name__)

    return property(flag.fget, assign, doc=flag.__doc__)


for _name in ("trainable", "regularizer", "constraint", "overwrite_with_gradient"):
    setattr(Variable, _name, _told(getattr(KerasVariable, _name)))
