"""Steps that take the state of a model and return it, as they are written for JAX.

`train_step(self, state, data)` returns `(logs, state)`, where the step of the other backends,
`train_step(self, data)`, assigns variables and returns the logs. Which form a step has is told by
its signature. Both forms of each step of Keras exist, for one of the user's that calls `super()`.

    train_step    state: (trainable, non_trainable, optimizer, metrics)    returns (logs, state)
    test_step            (trainable, non_trainable, metrics)               returns (logs, state)
    predict_step         (trainable, non_trainable)               returns (outputs, non_trainable)

Each group is the list of the values of the model's variables, in their order.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from kerasvino.backend.keras_private import StatelessScope, unpack_x_y_sample_weight
from kerasvino.backend.transforms import value_and_grad
from kerasvino.tensor import TracedValueError

__all__ = ["StatelessLoss", "in_both_forms", "stateful", "takes_state"]

_GROUPS = {
    "trainable": lambda model: model.trainable_variables,
    "non_trainable": lambda model: model.non_trainable_variables,
    "optimizer": lambda model: () if model.optimizer is None else model.optimizer.variables,
    "metrics": lambda model: model.metrics_variables,
}
_TAKEN = {
    "train_step": ("trainable", "non_trainable", "optimizer", "metrics"),
    "test_step": ("trainable", "non_trainable", "metrics"),
    "predict_step": ("trainable", "non_trainable"),
}


# -- which form


def takes_state(model, name: str) -> bool:
    """Whether the step `name` of a model is to be called with `(state, data)`.

    A step whose signature does not tell, `(*args)`, hands on what it is given: what it decorates
    or overrides decides.
    """
    for owner in (model, *type(model).__mro__):
        step = vars(owner).get(name)
        if step is None:
            continue
        bound = step if owner is model else step.__get__(model, type(model))
        count = _arguments(bound)
        if count is None:
            hidden = _decorated(step, name)
            count = hidden and _arguments(hidden.__get__(model, type(model)))
        if count is not None:
            return count >= 2
    return False


def _arguments(step) -> int | None:
    """How many positional arguments a bound step must be given; None if it takes any number."""
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):  # not written in Python
        return None
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in named)
    return (
        None if not required and any(p.kind is p.VAR_POSITIONAL for p in parameters) else required
    )


def _decorated(step, name) -> Callable | None:
    """The step that a decorator without `functools.wraps` calls."""
    for cell in getattr(step, "__closure__", None) or ():
        try:
            found = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if getattr(found, "__name__", None) == name:
            return found
    return None


# -- from one form to the other


def stateful(model, name: str) -> Callable:
    """The step `name` of a model as a function of the data, which assigns the model's variables."""
    step = _explaining(model, name)
    if not takes_state(model, name):
        return step

    def stateful_step(data):
        groups = _variables(model, name)
        state = _values(groups)
        returned = step(state, data)
        result, new = _parted(returned, name, state)
        for given, variables, values in zip(state, groups, new, strict=True):
            for old, variable, value in zip(given, variables, values, strict=True):
                if value is not old:  # what a step leaves alone is not state that it writes
                    variable.assign(value)
        return result

    return stateful_step


def _explaining(model, name) -> Callable:
    """The step `name` of a model; it says what to write where it calls a library that fails."""
    step = getattr(model, name)

    def explaining(*args):
        try:
            return step(*args)
        except (AttributeError, TypeError, ValueError) as error:
            library = _library(error)
            if library is None:
                raise
            traced = isinstance(error, TracedValueError)  # run eagerly, the library may know it
            said, instead = _INSTEAD[library]
            raise (TracedValueError if traced else TypeError)(
                f"`{name}` of {model.name!r} calls {said} with a tensor of this backend: {error}\n"
                f"{instead} The step is compiled as a whole."
            ) from error

    return explaining


# What to write in place of the functions of other libraries, by the package's name.
_INSTEAD = {
    "jax": (
        "JAX",
        "Use kerasvino.value_and_grad, grad, vjp and jvp, which have the names and arguments of "
        "JAX's, and keras.ops and keras.random for jax.numpy, jax.nn, jax.lax and jax.random; "
        "leave jax.jit out.",
    ),
    "tensorflow": (
        "TensorFlow",
        "Use kerasvino.GradientTape, which has the arguments and methods of tf.GradientTape, and "
        "keras.ops and keras.random for tf, tf.math, tf.nn and tf.random; leave tf.function out.",
    ),
}


def in_both_forms(step):
    """A step of Keras, a method that takes `data`, which may be called with `(state, data)` too."""
    name = step.__name__

    @functools.wraps(step)
    def either(self, *args, **kwargs):
        if len(args) + len(kwargs) < 2:
            return step(self, *args, **kwargs)
        return (
            train(self, *args, **kwargs) if name == "train_step" else infer(self, *args, **kwargs)
        )

    def infer(model, state, data):
        result, new = _scoped(_variables(model, name), state, lambda: step(model, data))
        return result, new[1] if name == "predict_step" else new

    return either


def train(model, state, data):
    """Keras's step of training: from `(state, data)` to `(logs, state)`."""
    trainable, non_trainable, optimizer, metrics = state
    x, y, weight = unpack_x_y_sample_weight(data)
    differentiated = value_and_grad(model.compute_loss_and_updates, has_aux=True)
    (_, (loss, y_pred, non_trainable, metrics)), grads = differentiated(
        trainable, non_trainable, metrics, x, y, weight,
        training=True, optimizer_variables=optimizer,
    )  # fmt: skip
    trainable, optimizer = model.optimizer.stateless_apply(optimizer, grads, trainable)

    def tracked():
        model._track_loss(loss, x)
        return model.compute_metrics(x, y, y_pred, sample_weight=weight)

    logs, (metrics,) = _scoped([model.metrics_variables], [metrics], tracked)
    return logs, (trainable, non_trainable, optimizer, metrics)


class StatelessLoss:
    """The loss that Keras's step of training for JAX differentiates, for steps that call it."""

    def compute_loss_and_updates(
        self, trainable_variables, non_trainable_variables, metrics_variables, x, y, sample_weight,
        training=False, optimizer_variables=None,
    ):  # fmt: skip
        """`(loss, (unscaled_loss, y_pred, non_trainable_variables, metrics_variables))`.

        The loss is scaled where the optimizer does so, in training.
        """
        names = ["trainable", "non_trainable", "metrics"]
        state = [trainable_variables, non_trainable_variables, metrics_variables]
        if optimizer_variables is not None:
            names.append("optimizer")
            state.append(optimizer_variables)

        def losses():
            y_pred = self(x, training=training) if self._call_has_training_arg else self(x)
            loss = self._compute_loss(x, y, y_pred, sample_weight=sample_weight, training=training)
            scaled = training and self.optimizer is not None
            return self.optimizer.scale_loss(loss) if scaled else loss, loss, y_pred

        groups = [list(_GROUPS[name](self)) for name in names]
        (loss, unscaled, y_pred), new = _scoped(groups, state, losses)
        return loss, (unscaled, y_pred, new[1], new[2])


def _scoped(groups, state, function):
    """`(function(), state)`: what it returns and leaves where variables have these values."""
    pairs = [
        pair
        for variables, values in zip(groups, state, strict=True)
        for pair in zip(variables, values, strict=True)
    ]
    with StatelessScope(state_mapping=pairs, collect_losses=True) as scope:
        result = function()
    return result, tuple([scope.get_current_value(v) for v in variables] for variables in groups)


def _variables(model, name) -> list[list]:
    return [list(_GROUPS[group](model)) for group in _TAKEN[name]]


def _values(groups) -> tuple[list, ...]:
    return tuple([variable.value for variable in variables] for variables in groups)


def _parted(returned, name, state):
    """`(result, state)` of what a step returns; raises where it is not that."""
    wanted = _TAKEN[name]
    if isinstance(returned, (tuple, list)) and len(returned) == 2:
        result, new = returned
        if name == "predict_step":
            new = (state[0], new)
        if isinstance(new, (tuple, list)) and len(new) == len(wanted):
            for group, given, values in zip(wanted, state, new, strict=True):
                if len(values) != len(given):
                    raise ValueError(
                        f"`{name}` was given the values of {len(given)} {group} variables and "
                        f"returned {len(values)}. Return one for each, in the same order."
                    )
            return result, new
    result, groups = ("outputs", wanted[1]) if name == "predict_step" else ("logs", wanted)
    groups = groups if isinstance(groups, str) else f"({', '.join(groups)})"
    raise ValueError(
        f"A `{name}` that takes (state, data) returns ({result}, {groups}), where each group is "
        f"the list of values that it was given, or of new ones; given: {_described(returned)}."
    )


def _described(returned) -> str:
    if isinstance(returned, tuple):
        return f"({', '.join(map(_described, returned[:8]))})"
    return type(returned).__name__


def _library(error) -> str | None:
    """The library of `_INSTEAD` that raised an error, or called what raised it.

    Keras's layers that look up in tables call TensorFlow on their own account.
    """
    if type(error).__module__.partition(".")[0] == "jax":
        return "jax"
    if any("JAX" in note for note in getattr(error, "__notes__", ())):
        return "jax"  # which may leave out of the traceback what is inside of it
    of_layer = "Exception encountered when calling" in str(error)
    traceback, caller = error.__traceback__, ""
    while traceback is not None:
        found = str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if found == "jax" or (found == "tensorflow" and caller != "keras" and not of_layer):
            return found
        traceback, caller = traceback.tb_next, found
    return None
