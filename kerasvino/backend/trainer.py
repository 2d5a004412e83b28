"""The trainer that Keras gives its models under this backend: predict and evaluate as programs."""

from __future__ import annotations

import numpy as np
from keras.src import backend, tree
from keras.src import callbacks as keras_callbacks
from keras.src.backend.common import standardize_dtype
from keras.src.backend.common.keras_tensor import KerasTensor
from keras.src.trainers import trainer as base_trainer
from keras.src.trainers.data_adapters.data_adapter_utils import unpack_x_y_sample_weight
from keras.src.trainers.epoch_iterator import EpochIterator
from keras.src.utils.python_utils import pythonify_logs
from keras.src.utils.traceback_utils import filter_traceback

from kerasvino.backend.core.convert import convert_to_numpy, convert_to_tensor, shape
from kerasvino.backend.jit import Jitted
from kerasvino.tensor import Tensor

__all__ = ["OpenVINOTrainer"]

_NO_TRAINING = (
    "{} is not available yet: this version of kerasvino predicts and evaluates. Train with "
    "KERAS_BACKEND=jax, torch or tensorflow, save the model, and load it under kerasvino."
)


class OpenVINOTrainer(base_trainer.Trainer):
    """`predict_step(data)` and `test_step(data)` are traced and compiled whole.

    Both may be overridden; they read and assign variables as Python code does. `run_eagerly=True`
    runs them on concrete tensors instead.
    """

    def __init__(self):
        super().__init__()
        self.predict_function = self.test_function = None

    # -- steps

    def _call_for_inference(self, x):
        return self(x, training=False) if self._call_has_training_arg else self(x)

    def predict_step(self, data):
        return self._call_for_inference(unpack_x_y_sample_weight(data)[0])

    def test_step(self, data):
        x, y, weight = unpack_x_y_sample_weight(data)
        y_pred = self._call_for_inference(x)
        loss = self._compute_loss(x, y, y_pred, sample_weight=weight, training=False)
        batch = next(leaf for leaf in tree.flatten(x) if leaf is not None)
        self._loss_tracker.update_state(loss, sample_weight=shape(batch)[0])
        return self.compute_metrics(x, y, y_pred, sample_weight=weight)

    def make_predict_function(self, force=False):
        if self.predict_function is None or force:
            self.predict_function = self._over_steps(self.predict_step, "predict", _concatenated)
        return self.predict_function

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            self.test_function = self._over_steps(self.test_step, "test", lambda logs: logs[-1])
        return self.test_function

    def _over_steps(self, step, name, merge):
        """A function of the batches of one execution: runs `step` on each and merges."""
        compiled = Jitted(step, f"{self.name}_{name}")

        def function(batches):
            results = []
            for data in batches:
                eager = self.run_eagerly or _holds_strings(data)
                results.append(step(_owned(data)) if eager else compiled(data))
            return results[0] if len(results) == 1 else merge(results)

        return function

    # -- predict

    @filter_traceback
    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Predictions for `x`, as NumPy arrays in the structure that the model returns."""
        iterator = EpochIterator(
            x=x, batch_size=batch_size, steps_per_epoch=steps, shuffle=False,
            steps_per_execution=self.steps_per_execution,
        )  # fmt: skip
        self._build_to_predict(lambda: _first_batch(iterator))
        callbacks = self._callback_list(callbacks, verbose, iterator)
        run = self.make_predict_function()
        self.stop_predicting = False
        batches = []
        callbacks.on_predict_begin()
        for first, last, data in iterator:
            callbacks.on_predict_batch_begin(first)
            outputs = tree.map_structure(_as_array, run(data))
            batches.append(outputs)
            callbacks.on_predict_batch_end(last, {"outputs": outputs})
            if self.stop_predicting:
                break
        callbacks.on_predict_end()
        if not batches:
            raise ValueError("`predict` was given no data: the input has no batch.")
        return _concatenated(batches)

    def predict_on_batch(self, x):
        """Predictions for one batch, as NumPy arrays."""
        data = (x,)
        self._build_to_predict(lambda: data)
        return tree.map_structure(_as_array, self.make_predict_function()([data]))

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
        self._build_to_test(lambda: _first_batch(iterator))
        callbacks = self._callback_list(callbacks, verbose, iterator)
        run = self.make_test_function()
        self.stop_evaluating = False
        self.reset_metrics()
        logs = {}
        callbacks.on_test_begin()
        for first, last, data in iterator:
            callbacks.on_test_batch_begin(first)
            logs = run(data)
            callbacks.on_test_batch_end(last, logs)
            if self.stop_evaluating:
                break
        logs = pythonify_logs(self._get_metrics_result_or_logs(logs))
        callbacks.on_test_end(logs)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Loss and metrics on one batch."""
        self._assert_compile_called("test_on_batch")
        data = tree.map_structure(_plain, (x, y, sample_weight))
        self._build_to_test(lambda: data)
        logs = pythonify_logs(self.make_test_function()([data]))
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    # -- training comes with its own version

    def fit(self, *args, **kwargs):
        raise NotImplementedError(_NO_TRAINING.format("fit()"))

    def train_on_batch(self, *args, **kwargs):
        raise NotImplementedError(_NO_TRAINING.format("train_on_batch()"))

    # -- what both need

    def _build_to_predict(self, batch):
        """Creates the variables of a model that has not been called, from a batch's shapes.

        `batch` is called for the batch if it is needed.
        """
        if not all(layer.built for layer in self._flatten_layers()):
            x = unpack_x_y_sample_weight(batch())[0]
            backend.compute_output_spec(self._call_for_inference, _specs(x))

    def _build_to_test(self, batch):
        """As `_build_to_predict`, with the variables of losses and metrics."""
        parts = [part for part in (self._compile_metrics, self._compile_loss) if part is not None]
        if not all(part.built for part in (*self._flatten_layers(), *parts)):
            self._symbolic_build(data_batch=batch())

    def _callback_list(self, callbacks, verbose, iterator):
        if isinstance(callbacks, keras_callbacks.CallbackList):
            return callbacks
        return keras_callbacks.CallbackList(
            callbacks, add_progbar=verbose != 0, verbose=verbose, epochs=1,
            steps=iterator.num_batches, model=self,
        )  # fmt: skip


def _first_batch(iterator):
    """The first batch, which the iterator will give again."""
    _, _, (batch, *_) = next(iter(iterator))
    iterator.reset()
    return batch


def _specs(data):
    """A batch as KerasTensors."""
    return tree.map_structure(
        lambda v: v if v is None else KerasTensor(v.shape, standardize_dtype(v.dtype)), data
    )


def _holds_strings(data) -> bool:
    """Whether a batch holds strings, which no graph computes."""
    leaves = (leaf for leaf in tree.flatten(data) if isinstance(leaf, np.ndarray))
    return any(leaf.dtype.kind in "OSUT" for leaf in leaves)


def _owned(data):
    """A batch as tensors of their own."""
    return tree.map_structure(lambda v: v if v is None else convert_to_tensor(v), data)


def _plain(leaf):
    return leaf if leaf is None or isinstance(leaf, (Tensor, np.ndarray)) else np.asarray(leaf)


def _as_array(output):
    return convert_to_numpy(output) if isinstance(output, Tensor) else output


def _concatenated(batches):
    """Outputs of several batches joined along the first axis."""
    if len(batches) == 1:
        return batches[0]
    return tree.map_structure(
        lambda *parts: np.concatenate([_as_array(p) for p in parts]), *batches
    )
