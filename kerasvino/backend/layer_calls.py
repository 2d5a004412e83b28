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

If `call` fails, the whole of `Layer.__call__` runs, for the error that Keras gives. It always runs
where the installed Keras has another `Layer.__call__` than those that were read for this
(`keras_private.IMITATED`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

from kerasvino.autodiff.recording import recording
from kerasvino.backend.keras_private import OUTER_CALL, SCOPES, global_state, imitated
from kerasvino.backend.version import traced_calls
from kerasvino.graph import current_trace
from kerasvino.tensor import Tensor

__all__ = ["CAPTURE", "is_surrounded", "shortened"]

# What surrounds a call, beside a call of another layer: scopes and a distribution.
_SCOPES = tuple(scope.key for scope in SCOPES)
_CONTEXT = {"training"}  # what is handed on to inner calls, unless a user registered more
_MARK = "_checked_call"  # in a layer: (assignments, shape, dtype, method) of the call checked last
CAPTURE = "_calibration_capture"  # in a layer: sees the inputs of each call


def shortened(whole):
    """`Layer.__call__` that leaves out what an earlier call like this has settled."""

    @functools.wraps(whole)
    def __call__(self, *args, **kwargs):
        for calls in traced_calls:
            calls[id(self)] = self
        if len(args) != 1 or type(args[0]) is not Tensor or args[0]._keras_mask is not None:
            return whole(self, *args, **kwargs)
        outer = global_state.GLOBAL_STATE_TRACKER.__dict__.get(OUTER_CALL)
        if outer is not None:
            return _within(outer, whole, self, args[0], kwargs)
        if kwargs or args[0]._array is None:
            return whole(self, *args, **kwargs)
        return _alone(whole, self, args[0])

    return __call__


def _alone(whole, layer, x: Tensor):
    """A call of `layer` on the concrete `x`."""
    array, known = x._array, layer.__dict__
    # losses that a user added are dropped by the next whole call
    if layer._losses or layer._loss_ids or known.get(CAPTURE) is not None or is_surrounded():
        return whole(layer, x)
    method = type(layer).call
    if known.get(_MARK) == (layer._assignments, array.shape, array.dtype, method):
        try:
            return layer.call(x)
        except Exception:  # noqa: BLE001 - raised again, with what Keras says of it
            return whole(layer, x)
    result = whole(layer, x)
    if (
        _arguments(type(layer)) is not None
        and _leaves_nothing_behind(layer)
        and _is_plain(layer, x)
        and not _calls_its_user(layer)
    ):
        known[_MARK] = (layer._assignments, array.shape, array.dtype, method)
    return result


def _within(outer, whole, layer, x: Tensor, kwargs):
    """A call of `layer` on `x` within a call of another layer, whose context is `outer`."""
    scopes = global_state.GLOBAL_STATE_TRACKER.__dict__
    taken = _arguments(type(layer))
    if (
        taken is None
        or not _says_the_phase(taken, kwargs)
        or any([scopes.get(name) for name in _SCOPES])
        or not layer._called
        or layer._call_context_args != _CONTEXT
        or layer.__dict__.get(CAPTURE) is not None
        or not _is_plain(layer, x)
    ):
        return whole(layer, x, **kwargs)
    if "training" in kwargs:
        training = kwargs["training"]  # None too, which then holds for later layers
    else:
        training = outer.get_value("training")
        if training is None:
            training = taken.handed_on
    outer.set_value("training", training)  # for those that the outer one calls after this one too
    hands_on = taken.training and (training is not None or "training" in kwargs)
    try:
        if layer.input_spec is not None:
            layer._assert_input_compatibility(x)
        with layer._open_name_scope():
            return layer.call(x, training=training) if hands_on else layer.call(x)
    except Exception:  # noqa: BLE001 - raised again, with what Keras says of it
        return whole(layer, x, **kwargs)


def is_surrounded() -> bool:
    """Whether something that a call may depend on is going on around it in this thread."""
    scopes = global_state.GLOBAL_STATE_TRACKER.__dict__
    return (
        scopes.get(OUTER_CALL) is not None
        or any([scopes.get(name) for name in _SCOPES])
        or current_trace() is not None
        or recording()
    )


class _Arguments(NamedTuple):
    """What the `call` of a layer takes beside one tensor."""

    training: bool
    mask: bool
    handed_on: bool | None  # `training` for layers called later, where nobody has said it


# By class: its `call`, which a user may replace, and what that takes.
_known: dict[type, tuple[Callable, _Arguments | None]] = {}


def _arguments(kind: type) -> _Arguments | None:
    """What the `call` of Keras's own `kind` takes; None where calls of it are to be whole."""
    if not kind.__module__.startswith("keras.src.layers."):
        return None
    known = _known.get(kind)
    if known is None or known[0] is not kind.call:
        known = _known[kind] = (kind.call, _read_arguments(kind))
    return known[1]


def _read_arguments(kind):
    from kerasvino.backend.keras_private import Layer  # which imports the backend

    source = imitated("call")
    if source is None or imitated("scopes") is None:
        return None
    if kind.compute_mask is not Layer.compute_mask or not kind.call.__module__.startswith("keras."):
        return None
    first, *others = list(inspect.signature(kind.call).parameters.values())[1:] or [None]
    if first is None or first.kind is not first.POSITIONAL_OR_KEYWORD:
        return None
    taken = {p.name: p.default for p in others}
    default = taken.get("training")
    if not taken.keys() <= {"training", "mask"} or taken.get("mask") is not None:
        return None
    if default not in (None, False):
        return None
    return _Arguments(
        training="training" in taken,
        mask="mask" in taken,
        handed_on=default if source.hands_on_defaults else None,
    )


def _says_the_phase(taken: _Arguments, kwargs) -> bool:
    """Whether arguments are at most `training`, and that there is no mask."""
    return all(
        [
            value is None or type(value) is bool
            if name == "training"
            else value is None and name == "mask" and taken.mask
            for name, value in kwargs.items()
        ]
    )


def _is_plain(layer, x: Tensor) -> bool:
    """Whether `call` is all that a call of Keras's own `layer` on `x` is, in the layer's scope."""
    return (
        layer.built
        and not layer._layers
        and not layer._remat_mode
        and "call" not in layer.__dict__
        and "compute_mask" not in layer.__dict__
        and layer.activity_regularizer is None
        and getattr(layer, "quantization_mode", None) is None
        and layer.compute_dtype == layer.variable_dtype
        and x.dtype == layer.input_dtype
    )


def _leaves_nothing_behind(layer) -> bool:
    """Whether calls change nothing in `layer`, and nothing changes its calls unnoticed."""
    return (
        not layer._losses
        and not layer._non_trainable_variables
        and not layer._seed_generators
        and not isinstance(layer._dtype_policy, Mapping)  # a DTypePolicyMap, changed in place
    )


def _calls_its_user(layer) -> bool:
    """Whether `layer` holds a function of its user, which may ask what surrounds it."""
    return any(
        callable(value) and not (value.__module__ or "").startswith(("keras.", "kerasvino."))
        for value in list(layer.__dict__.values())
    )
