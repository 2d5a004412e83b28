"""Calls of a single built layer on a concrete tensor, without what a call like it has settled.

`Layer.__call__` converts, checks, builds, looks for masks, contexts and symbolic tensors: three
quarters of the time of a small Dense. For a layer of Keras's own that holds no others, none of that
differs from one call to the next while its attributes and the input's shape and dtype are the same
and nothing surrounds the call. Then only `call` is left. If that fails, the whole of
`Layer.__call__` runs, for the error that Keras gives.
"""

from __future__ import annotations

import functools
import inspect

from keras.src.backend.common.global_state import GLOBAL_STATE_TRACKER

from kerasvino.autodiff.recording import recording
from kerasvino.graph import current_trace
from kerasvino.tensor import Tensor

__all__ = ["is_surrounded", "shortened"]

# What surrounds a call, by Keras's name of it: a call of another layer, scopes, a distribution.
_SURROUNDINGS = (
    "current_call_ctx", "autocast_scope", "stateless_scope", "symbolic_scope", "distribution",
    "remat_scope_stack",
)  # fmt: skip
_MARK = "_checked_call"  # in a layer: (assignments, shape, dtype) of the call that was checked


def shortened(whole):
    """`Layer.__call__` that leaves out what an earlier call like this has settled."""

    @functools.wraps(whole)
    def __call__(self, *args, **kwargs):
        if len(args) != 1 or kwargs or type(args[0]) is not Tensor:
            return whole(self, *args, **kwargs)
        x = args[0]
        array, checked = x._array, self.__dict__.get(_MARK)
        # losses that a user added are dropped by the next whole call
        if array is None or x._keras_mask is not None or self._losses or is_surrounded():
            return whole(self, x)
        now = (self._assignments, array.shape, array.dtype)
        if checked == now:
            try:
                return self.call(x)
            except Exception:  # noqa: BLE001 - raised again, with what Keras says of it
                return whole(self, x)
        result = whole(self, x)
        if _is_leaf(type(self)) and _is_settled(self, x):
            self.__dict__[_MARK] = (self._assignments, array.shape, array.dtype)
        return result

    return __call__


def is_surrounded() -> bool:
    """Whether something that a call may depend on is going on around it in this thread."""
    scopes = GLOBAL_STATE_TRACKER.__dict__
    return (
        any([scopes.get(name) for name in _SURROUNDINGS])
        or current_trace() is not None
        or recording()
    )


@functools.cache
def _is_leaf(kind: type) -> bool:
    """Whether `kind` is Keras's own, takes one tensor, and hands on masks as they are."""
    from keras.src.layers import Layer

    if not kind.__module__.startswith("keras.src.layers."):
        return False
    first, *others = list(inspect.signature(kind.call).parameters.values())[1:]
    return (
        first.kind is first.POSITIONAL_OR_KEYWORD
        and all(p.name in ("training", "mask") and p.default is None for p in others)
        and kind.compute_mask is Layer.compute_mask
    )


def _is_settled(layer, x: Tensor) -> bool:
    """Whether the next call like this can leave out the checks."""
    return (
        layer.built
        and not layer._layers
        and not layer._losses
        and not layer._non_trainable_variables
        and not layer._seed_generators
        and not layer._remat_mode
        and "call" not in layer.__dict__
        and layer.activity_regularizer is None
        and getattr(layer, "quantization_mode", None) is None
        and layer.compute_dtype == layer.variable_dtype
        and x.dtype == layer.input_dtype
    )
