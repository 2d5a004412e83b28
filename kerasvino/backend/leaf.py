"""Calls of a built layer that holds no others, without what is settled before they are made.

`Layer.__call__` converts, checks, builds, looks for masks, contexts and symbolic tensors: three
quarters of the time of a small Dense, half of that of tracing a network. For a layer of Keras's own
that holds no others, little of it does anything:

- By itself, on a concrete tensor, none of it differs from one call to the next while the layer's
  attributes and the input's shape and dtype are the same and nothing surrounds the call. Then only
  `call` is left.
- Within the call of another layer (a model above all), the input is checked, the layer's name is
  opened and `training` is handed on as `Layer.__call__` does; the rest does nothing for one tensor
  of the layer's dtype without a mask.

If `call` fails, the whole of `Layer.__call__` runs, for the error that Keras gives.
"""

from __future__ import annotations

import functools
import inspect

from keras.src.backend.common.global_state import GLOBAL_STATE_TRACKER

from kerasvino.autodiff.recording import recording
from kerasvino.graph import current_trace
from kerasvino.tensor import Tensor

__all__ = ["is_surrounded", "shortened"]

# What surrounds a call, by Keras's name of it: scopes and a distribution, a call of another layer.
_SCOPES = (
    "autocast_scope", "stateless_scope", "symbolic_scope", "distribution", "remat_scope_stack",
)  # fmt: skip
_OUTER_CALL = "current_call_ctx"
_CONTEXT = {"training"}  # what is handed on to inner calls, unless a user registered more
_MARK = "_checked_call"  # in a layer: (assignments, shape, dtype) of the call that was checked


def shortened(whole):
    """`Layer.__call__` that leaves out what an earlier call like this has settled."""

    @functools.wraps(whole)
    def __call__(self, *args, **kwargs):
        if len(args) != 1 or type(args[0]) is not Tensor or args[0]._keras_mask is not None:
            return whole(self, *args, **kwargs)
        outer = GLOBAL_STATE_TRACKER.__dict__.get(_OUTER_CALL)
        if outer is not None:
            return _within(outer, whole, self, args[0], kwargs)
        if kwargs or args[0]._array is None:
            return whole(self, *args, **kwargs)
        return _alone(whole, self, args[0])

    return __call__


def _alone(whole, layer, x: Tensor):
    """A call of `layer` on the concrete `x`."""
    array, checked = x._array, layer.__dict__.get(_MARK)
    # losses that a user added are dropped by the next whole call
    if layer._losses or is_surrounded():
        return whole(layer, x)
    now = (layer._assignments, array.shape, array.dtype)
    if checked == now:
        try:
            return layer.call(x)
        except Exception:  # noqa: BLE001 - raised again, with what Keras says of it
            return whole(layer, x)
    result = whole(layer, x)
    if _arguments(type(layer)) is not None and _is_stateless(layer) and _is_plain(layer, x):
        layer.__dict__[_MARK] = (layer._assignments, array.shape, array.dtype)
    return result


def _within(outer, whole, layer, x: Tensor, kwargs):
    """A call of `layer` on `x` within a call of another layer, whose context is `outer`."""
    scopes = GLOBAL_STATE_TRACKER.__dict__
    taken = _arguments(type(layer))
    if (
        taken is None
        or not _says_the_phase(taken, kwargs)
        or any([scopes.get(name) for name in _SCOPES])
        or not layer._called
        or layer._call_context_args != _CONTEXT
        or not _is_plain(layer, x)
    ):
        return whole(layer, x, **kwargs)
    training = kwargs.get("training")
    if training is None:
        training = outer.get_value("training")
    if training is None:
        training = taken.get("training")
    outer.set_value("training", training)  # for those that the outer one calls after this one too
    hands_on = training is not None and "training" in taken
    try:
        if layer.input_spec is not None:
            layer._assert_input_compatibility(x)
        with layer._open_name_scope():
            return layer.call(x, training=training) if hands_on else layer.call(x)
    except Exception:  # noqa: BLE001 - raised again, with what Keras says of it
        return whole(layer, x, **kwargs)


def is_surrounded() -> bool:
    """Whether something that a call may depend on is going on around it in this thread."""
    scopes = GLOBAL_STATE_TRACKER.__dict__
    return (
        scopes.get(_OUTER_CALL) is not None
        or any([scopes.get(name) for name in _SCOPES])
        or current_trace() is not None
        or recording()
    )


@functools.cache
def _arguments(kind: type) -> dict | None:
    """Which of `training` and `mask` the `call` of a layer takes beside one tensor, with defaults.

    None if `kind` is not Keras's own, takes anything else, or changes masks.
    """
    from keras.src.layers import Layer

    if not kind.__module__.startswith("keras.src.layers."):
        return None
    if kind.compute_mask is not Layer.compute_mask:
        return None
    first, *others = list(inspect.signature(kind.call).parameters.values())[1:] or [None]
    if first is None or first.kind is not first.POSITIONAL_OR_KEYWORD:
        return None
    taken = {p.name: p.default for p in others}
    usual = taken.keys() <= {"training", "mask"} and taken.get("mask") is None
    return taken if usual and taken.get("training") in (None, False) else None


def _says_the_phase(taken: dict, kwargs) -> bool:
    """Whether arguments are at most a value of `training`, and that there is no mask."""
    return all(
        value is not None if name == "training" else value is None and name in taken
        for name, value in kwargs.items()
    )


def _is_plain(layer, x: Tensor) -> bool:
    """Whether `call` is all that a call of Keras's own `layer` on `x` is, in the layer's scope."""
    return (
        layer.built
        and not layer._layers
        and not layer._remat_mode
        and "call" not in layer.__dict__
        and layer.activity_regularizer is None
        and getattr(layer, "quantization_mode", None) is None
        and layer.compute_dtype == layer.variable_dtype
        and x.dtype == layer.input_dtype
    )


def _is_stateless(layer) -> bool:
    """Whether calls leave nothing behind in `layer`."""
    return not layer._losses and not layer._non_trainable_variables and not layer._seed_generators
