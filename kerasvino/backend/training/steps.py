"""The steps of a model on one batch, and the functions that run them compiled."""

from __future__ import annotations

import warnings

from kerasvino.autodiff import Recording, leave
from kerasvino.backend.distribution_lib import check_current, replicas
from kerasvino.backend.jit import Ended, Jitted, within
from kerasvino.backend.keras_private import trainer as keras_trainer
from kerasvino.backend.keras_private import tree, unpack_x_y_sample_weight
from kerasvino.backend.ops.core.convert import convert_to_tensor, shape
from kerasvino.backend.training.data import concatenated, holds_strings, owned
from kerasvino.backend.training.replicas import shared_step, weighed
from kerasvino.backend.training.stateless import in_both_forms, stateful
from kerasvino.backend.transforms import gradients
from kerasvino.tensor import Tensor, TracedValueError

__all__ = ["Steps"]


# renamed in Keras 3.16
BaseTrainer = getattr(keras_trainer, "BaseTrainer", None) or keras_trainer.Trainer


class Steps(BaseTrainer):
    """`train_step(data)`, `test_step(data)` and `predict_step(data)` are traced and compiled whole.

    Each may be overridden; they read and assign variables as Python code does, or take and return
    their values as on JAX (see `stateless`). `run_eagerly=True` runs them on concrete tensors
    instead. With `jit_compile=False`, or a layer whose `supports_jit` is False (those that look up
    in tables), a step that cannot be traced runs so too.
    """

    def __init__(self):
        super().__init__()
        self.train_function = self.test_function = self.predict_function = None

    @in_both_forms
    def train_step(self, data):
        """One update of the weights on a batch; returns the logs, a dict of tensors."""
        x, y, weight = unpack_x_y_sample_weight(data)
        recording = Recording(lambda variable: variable.trainable)
        try:
            with recording:
                y_pred = self(x, training=True) if self._call_has_training_arg else self(x)
                loss = self._compute_loss(x, y, y_pred, sample_weight=weight, training=True)
                self._track_loss(loss, x)
                if self.optimizer is not None:
                    loss = self.optimizer.scale_loss(loss)
            variables = self.trainable_weights  # the call may have built some
            if variables and self.optimizer is None:
                raise ValueError(
                    "The model was compiled with optimizer=None, so nothing updates its weights. "
                    "Give compile() an optimizer, or override train_step."
                )
            if variables:
                loss = convert_to_tensor(loss)
                one = convert_to_tensor(1, loss.dtype)
                self.optimizer.apply(gradients(recording, [loss], [one], variables), variables)
            else:
                warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        finally:
            recording.close()
        return self.compute_metrics(x, y, y_pred, sample_weight=weight)

    @in_both_forms
    def test_step(self, data):
        """Loss and metrics of a batch: the logs, a dict of tensors."""
        x, y, weight = unpack_x_y_sample_weight(data)
        y_pred = self._call_for_inference(x)
        loss = self._compute_loss(x, y, y_pred, sample_weight=weight, training=False)
        self._track_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight=weight)

    @in_both_forms
    def predict_step(self, data):
        """The model's outputs for a batch."""
        return self._call_for_inference(unpack_x_y_sample_weight(data)[0])

    def _call_for_inference(self, x):
        return self(x, training=False) if self._call_has_training_arg else self(x)

    def _track_loss(self, loss, x):
        batch = next(leaf for leaf in tree.flatten(x) if leaf is not None)
        self._loss_tracker.update_state(loss, sample_weight=shape(batch)[0])

    # -- functions of the batches of one execution

    def make_train_function(self, force=False):
        if force or not _serves(self.train_function, replicas()):
            # callbacks assign scalars: the learning rate, a weight of a loss
            self.train_function = self._over_steps(
                "train_step", "train", _last, constant=lambda variable: variable.ndim > 0
            )
        return self.train_function

    def make_test_function(self, force=False):
        if force or not _serves(self.test_function, replicas()):
            self.test_function = self._over_steps(
                "test_step", "test", _last, constant=self._is_untrained
            )
        return self.test_function

    def make_predict_function(self, force=False):
        check_current()
        if self.predict_function is None or force:
            self.predict_function = self._over_steps("predict_step", "predict", concatenated)
        return self.predict_function

    def _is_untrained(self, variable):
        """Whether no step of training so far assigns a variable: else it will change again."""
        compiled = getattr(self.train_function, "compiled", None)
        return compiled is None or all(v is not variable for v in compiled.assigned())

    def _over_steps(self, step, name, merge, constant=None):
        """A function of the batches of one execution: runs the step on each and merges.

        The step is looked up by its name when it is traced: a model may be given another. Where
        processes train together, it is one of them all, and takes the number of samples, too.
        """
        group = replicas() if name != "predict" else None

        def run(data, rows=None):
            whole = stateful(self, step)
            return whole(data) if group is None else shared_step(group, self, whole, data, rows)

        def traced(data, rows=None):
            try:
                return run(data, rows)
            finally:
                self._clear_losses()  # tensors of the trace, of no use after it

        compiled = Jitted(
            traced,
            f"{self.name}_{name}",
            constant,
            variables=lambda: self.weights,
            roots=lambda: (self,),
            training=name != "predict" or type(self).predict_step is not Steps.predict_step,
            called=_called,
        )
        untraceable = None  # the renewal of `compiled` that could not be traced

        def eagerly(data, *rows):
            self._clear_losses()  # those of the step before, which nobody has to have called
            return tree.map_structure(_unrecorded, run(owned(data), *rows))

        def begin(data, into=None, ahead=0, overlap=True):
            """A call with one batch; the first of so many, it may run when this returns."""
            nonlocal untraceable
            args = (data,) if group is None else weighed(data)
            if self.run_eagerly or holds_strings(args[0]):
                return Ended(eagerly(*args))
            if untraceable is not None and untraceable == compiled.refresh():
                return Ended(eagerly(*args))
            try:
                return compiled.start(*args, into=into, ahead=ahead, overlap=overlap)
            except TracedValueError:
                if self.jit_compile:
                    raise
                # Not meant to be compiled: by compile(), or by a layer that says so of itself.
                untraceable = compiled.renewals
                return Ended(eagerly(*args))

        def function(batches):
            results = [begin(data).result() for data in batches]
            return results[0] if len(results) == 1 else merge(results)

        def start(batches, into, ahead=1, overlap=True):
            if len(batches) > 1:
                return Ended(function(batches))
            return begin(batches[0], into, ahead, overlap)

        function.start, function.compiled, function.group = start, compiled, group
        return function


def _serves(function, group) -> bool:
    """Whether a function of steps is there, and made for these processes."""
    return function is not None and getattr(function, "group", group) is group


def _called(args, path):
    """What messages call an array of a batch."""
    _, *keys = path
    if not isinstance(args[0], tuple):
        return f"x{within(keys)}"
    if len(args[0]) > 3:  # what a step of the user's takes
        return f"data{within(keys)}"
    return ("x", "y", "sample_weight")[keys[0]] + within(keys[1:])


def _last(results):
    return results[-1]


def _unrecorded(leaf):
    return leave(leaf) if isinstance(leaf, Tensor) else leaf
