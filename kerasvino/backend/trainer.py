"""The trainer that Keras gives its models: fit, evaluate and predict as compiled programs."""

from __future__ import annotations

import warnings

import numpy as np

from kerasvino.backend.assignments import STAMP, latest
from kerasvino.backend.calibrated import Calibrated
from kerasvino.backend.distribution_lib import replicas
from kerasvino.backend.keras_private import (
    CallbackList,
    EpochIterator,
    Optimizer,
    StatelessScope,
    array_slicing,
    class_weight_to_sample_weights,
    config,
    filter_traceback,
    pack_x_y_sample_weight,
    pythonify_logs,
    tree,
    unpack_x_y_sample_weight,
)
from kerasvino.backend.model_calls import DirectCalls
from kerasvino.backend.ops.core.spec import compute_output_spec
from kerasvino.backend.training.data import first_batch, holds_strings, hosted, plain, specs
from kerasvino.backend.training.hooks import batch_hooks
from kerasvino.backend.training.prediction import run_batches, starter
from kerasvino.backend.training.replicas import agree, together
from kerasvino.backend.training.stateless import StatelessLoss, takes_state
from kerasvino.backend.training.steps import Steps
from kerasvino.tensor import Tensor, TracedValueError

__all__ = ["OpenVINOTrainer", "Trainer"]

_BUILT_AS_OF = "_kerasvino_built_as_of"


class OpenVINOTrainer(Calibrated, DirectCalls, StatelessLoss, Steps):
    """Keras's `Trainer`; the steps on one batch are those of `Steps`."""

    # -- fit

    @filter_traceback
    def fit(
        self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None,
        validation_split=0.0, validation_data=None, shuffle=True, class_weight=None,
        sample_weight=None, initial_epoch=0, steps_per_epoch=None, validation_steps=None,
        validation_batch_size=None, validation_freq=1,
    ):  # fmt: skip
        """Trains for `epochs` passes over the data; returns the History of the logs."""
        self._assert_compile_called("fit")
        epochs = _capped(epochs)
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = array_slicing.train_validation_split(
                (x, y, sample_weight), validation_split=validation_split
            )
        iterator = EpochIterator(
            x=x, y=y, sample_weight=sample_weight, batch_size=batch_size, shuffle=shuffle,
            steps_per_epoch=steps_per_epoch, class_weight=class_weight,
            steps_per_execution=self.steps_per_execution,
        )  # fmt: skip
        self._eval_epoch_iterator = None
        self._build_to_train(lambda: first_batch(iterator))
        callbacks = self._callback_list(callbacks, verbose, iterator, epochs, add_history=True)
        run = self.make_train_function()
        self.stop_training = False
        logs = {}
        callbacks.on_train_begin()
        initial_epoch = self._initial_epoch or initial_epoch
        if (group := replicas()) is not None:
            initial_epoch = agree(group, self, initial_epoch)
        for epoch in range(initial_epoch, epochs):
            callbacks.on_epoch_begin(epoch)
            logs = self._epoch(run, iterator, callbacks)
            if validation_data is not None and self._should_eval(epoch, validation_freq):
                logs.update(
                    self._validate(
                        validation_data, validation_batch_size or batch_size, validation_steps,
                        callbacks,
                    )
                )  # fmt: skip
            callbacks.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        if isinstance(self.optimizer, Optimizer) and epochs > 0:
            self.optimizer.finalize_variable_values(self.trainable_weights)
        self._eval_epoch_iterator = None
        callbacks.on_train_end(logs=logs)
        return self.history

    def _epoch(self, run, iterator, callbacks):
        """One pass over the data; returns its logs."""
        self.reset_metrics()
        logs = {}
        begin, end = batch_hooks(callbacks, "train")
        for first, last, data in _steps_of(iterator):
            begin(first)
            logs = run(data)
            end(last, logs)
            if self.stop_training:
                break
        return dict(pythonify_logs(self._get_metrics_result_or_logs(logs)))

    def _validate(self, data, batch_size, steps, callbacks):
        x, y, weight = unpack_x_y_sample_weight(data)
        if self._eval_epoch_iterator is None:
            self._eval_epoch_iterator = EpochIterator(
                x=x, y=y, sample_weight=weight, batch_size=batch_size, shuffle=False,
                steps_per_epoch=steps, steps_per_execution=self.steps_per_execution,
            )  # fmt: skip
        logs = self.evaluate(
            x=x, y=y, sample_weight=weight, batch_size=batch_size, steps=steps,
            callbacks=callbacks, return_dict=True, _use_cached_eval_dataset=True,
        )  # fmt: skip
        return {f"val_{name}": value for name, value in logs.items()}

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """One update of the weights on one batch; returns loss and metrics."""
        self._assert_compile_called("train_on_batch")
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError(
                    "Arguments `sample_weight` and `class_weight` cannot be specified at the same "
                    f"time. Received: sample_weight={sample_weight}, class_weight={class_weight}"
                )
            sample_weight = class_weight_to_sample_weights(y, class_weight)
        data = self._as_loaded("train_step", *tree.map_structure(plain, (x, y, sample_weight)))
        self._build_to_train(lambda: data)
        self.reset_metrics()
        logs = pythonify_logs(self.make_train_function()([data]))
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    # -- predict

    @filter_traceback
    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Predictions for `x`, as NumPy arrays in the structure that the model returns."""
        iterator = EpochIterator(
            x=x, batch_size=batch_size, steps_per_epoch=steps, shuffle=False,
            steps_per_execution=self.steps_per_execution,
        )  # fmt: skip
        self._build_to_predict(lambda: first_batch(iterator))
        callbacks = self._callback_list(callbacks, verbose, iterator)
        run = self.make_predict_function()
        self.stop_predicting = False
        callbacks.on_predict_begin()
        outputs = run_batches(self, run, iterator, callbacks)
        callbacks.on_predict_end()
        if outputs is None:
            raise ValueError("`predict` was given no data: the input has no batch.")
        return outputs

    def predict_on_batch(self, x):
        """Predictions for one batch, as NumPy arrays."""
        if not isinstance(x, (np.ndarray, Tensor)):
            x = tree.map_structure(hosted, x)
        data = self._as_loaded("predict_step", x)
        self._build_to_predict(lambda: data)
        return starter(self.make_predict_function())([data], None, ahead=0).arrays()

    def _as_loaded(self, step, *data):
        """One batch in the form in which `fit` or `predict` load it, to run the same program.

        A step of the user's gets what Keras gives it.
        """
        return data if self._has_own(step) else pack_x_y_sample_weight(*data)

    def _has_own(self, step) -> bool:
        """Whether a step is one of the user's."""
        return getattr(type(self), step) is not getattr(Steps, step) or step in vars(self)

    # -- evaluate

    @filter_traceback
    def evaluate(
        self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, steps=None,
        callbacks=None, return_dict=False, **kwargs,
    ):  # fmt: skip
        """Loss and metrics on the data: a list in the order of `metrics_names`, or a dict."""
        self._assert_compile_called("evaluate")
        cached = kwargs.pop("_use_cached_eval_dataset", False)
        if kwargs:
            raise ValueError(f"Arguments not recognized: {kwargs}")
        if cached:
            iterator = self._eval_epoch_iterator
        else:
            iterator = EpochIterator(
                x=x, y=y, sample_weight=sample_weight, batch_size=batch_size, shuffle=False,
                steps_per_epoch=steps, steps_per_execution=self.steps_per_execution,
            )  # fmt: skip
        self._build_to_test(lambda: first_batch(iterator))
        callbacks = self._callback_list(callbacks, verbose, iterator)
        run = self.make_test_function()
        self.stop_evaluating = False
        self.reset_metrics()
        logs = {}
        begin, end = batch_hooks(callbacks, "test")
        callbacks.on_test_begin()
        for first, last, data in _steps_of(iterator):
            begin(first)
            logs = run(data)
            end(last, logs)
            if self.stop_evaluating:
                break
        logs = pythonify_logs(self._get_metrics_result_or_logs(logs))
        callbacks.on_test_end(logs)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Loss and metrics on one batch."""
        self._assert_compile_called("test_on_batch")
        data = self._as_loaded("test_step", *tree.map_structure(plain, (x, y, sample_weight)))
        self._build_to_test(lambda: data)
        self.reset_metrics()
        logs = pythonify_logs(self.make_test_function()([data]))
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    # -- what they need; `batch` is called for the first batch if it is needed

    def _build_to_predict(self, batch):
        """Creates the variables of a model that has not been called, from a batch's shapes."""
        if self._layers_are_built():
            return
        self._build("predict_step", batch, self._build_by_call)

    def _layers_are_built(self) -> bool:
        """Whether all layers are built, looked up again once a layer has been assigned to."""
        known = self.__dict__
        now = latest()
        if known.get(_BUILT_AS_OF) == now:
            return True
        built = all(layer.built for layer in self._flatten_layers())
        if built and STAMP in known:  # from then on assignments are told
            known[_BUILT_AS_OF] = now
        return built

    def _build_to_test(self, batch, step="test_step"):
        """As `_build_to_predict`, with the variables of losses and metrics."""
        parts = [part for part in (self._compile_metrics, self._compile_loss) if part is not None]
        if self._layers_are_built() and all(part.built for part in parts):
            return
        self._build(step, batch, lambda data: self._symbolic_build(data_batch=data))

    def _build_to_train(self, batch):
        """As `_build_to_test`, with the variables of the optimizer."""
        self._build_to_test(batch, "train_step")
        if self.optimizer is None or self.optimizer.built:
            return
        # a step that is given its variables cannot create them, if the model has a `call` or not
        whole = not takes_state(self, "train_step")
        if all(layer.built for layer in self._flatten_layers(include_self=whole)):
            self.optimizer.build(self.trainable_variables)

    def _build(self, step, batch, by_call):
        """Creates variables: `by_call(data)` calls the model with the shapes of a batch.

        A model may have no `call`, or none of such data, and a step of its user's own that trains
        what is in it: then the step creates them. It is the first to run where a model runs
        eagerly, but for a step that is given the values of the variables.
        """
        own = self._has_own(step)
        if own and self._has_run(step):
            return
        given = own and takes_state(self, step)
        if self.run_eagerly and not given:
            return
        data = batch()
        if holds_strings(data) and not given:
            return  # it will run eagerly
        if own and not _has_call(self):
            if not given:
                self._build_by_step(step, data)
            return
        try:
            by_call(data)
        except Exception as error:
            if own and not given:
                self._build_by_step(step, data)  # which may never call the model
                return
            cause = error.__context__ if isinstance(error, RuntimeError) else error
            if self.jit_compile or not isinstance(cause, TracedValueError):
                raise

    def _has_run(self, step) -> bool:
        """Whether a step has been compiled, and nothing was added since that has to be built."""
        compiled = getattr(self, step.replace("step", "function")) is not None
        return compiled and all(layer.built for layer in self._flatten_layers(include_self=False))

    def _build_by_call(self, data):
        x = unpack_x_y_sample_weight(data)[0]
        compute_output_spec(self._call_for_inference, specs(x))

    def _build_by_step(self, name, data):
        """Runs a step on the shapes of a batch, so that whatever it uses is built."""

        def step(data):
            with StatelessScope(collect_losses=True):
                return getattr(self, name)(data)

        try:
            compute_output_spec(step, specs(data))
        except TracedValueError:
            if self.jit_compile:
                raise
        finally:
            self._clear_losses()

    def _callback_list(self, callbacks, verbose, iterator, epochs=1, add_history=False):
        if isinstance(callbacks, CallbackList):
            return callbacks
        return CallbackList(
            callbacks, add_history=add_history, add_progbar=verbose != 0, verbose=verbose,
            epochs=epochs, steps=iterator.num_batches, model=self,
        )  # fmt: skip


Trainer = OpenVINOTrainer  # as Keras 3.16 names it


def _has_call(model) -> bool:
    """Whether a model says what it computes when it is called."""
    from kerasvino.backend.keras_private import Model  # which imports the backend

    return type(model).call is not Model.call or "call" in vars(model)


def _steps_of(iterator):
    """The batches of an epoch: equally many on each of the processes that train together."""
    group = replicas()
    return iterator if group is None else together(group, iterator)


def _capped(epochs):
    """`epochs`, or the limit that KERAS_MAX_EPOCHS sets."""
    limit = config.max_epochs()
    if limit and limit < epochs:
        warnings.warn(f"Limiting epochs to {limit}", stacklevel=3)
        return limit
    return epochs
