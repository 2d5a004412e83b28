"""Models whose steps take their state, as they are written for JAX.

`KERAS_BACKEND=jax python -m tests.training.stateless_steps FILE` records what they give there. Each
is trained for 20 steps, evaluated and asked for predictions, with the same code on either backend:
only `value_and_grad` is JAX's or ours. Nothing is random in a step.
"""

import os
import sys

if os.environ["KERAS_BACKEND"] != "jax":  # the reference
    from kerasvino import value_and_grad
else:
    from jax import value_and_grad
import keras
import numpy as np
from keras import layers, ops

from tests.training.architectures import ON_JAX, numbers, randomised

STEPS = 20


def data():
    x = numbers(32, 6)
    return x, (x @ numbers(6, 1, seed=3) + 0.3).astype("float32")


def network(kind):
    """A model of class `kind` with normalization, whose moving statistics are state too."""
    inputs = keras.Input((6,))
    # the loss of the guide does not give the weights to regularizers
    regularizer = None if issubclass(kind, Updates) else "l2"
    x = layers.Dense(8, use_bias=False, kernel_regularizer=regularizer)(inputs)
    x = layers.BatchNormalization()(x)
    return randomised(kind(inputs, layers.Dense(1)(ops.tanh(x))))


class Updates(keras.Model):
    """The loss of Keras's guide to `fit` on JAX."""

    def loss_and_updates(self, trainable, non_trainable, x, y, weight=None, training=False):
        y_pred, non_trainable = self.stateless_call(trainable, non_trainable, x, training=training)
        loss = self.compute_loss(x, y, y_pred, sample_weight=weight)
        return loss, (y_pred, non_trainable)


class Minimal(Updates):
    """The first step of the guide: the metrics of compile(), in `metrics_variables`."""

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x, y = data
        differentiated = value_and_grad(self.loss_and_updates, has_aux=True)
        (loss, (y_pred, non_trainable)), grads = differentiated(
            trainable, non_trainable, x, y, training=True
        )
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
        logs, metrics = self.updated(metrics, loss, y, y_pred)
        return logs, (trainable, non_trainable, optimizer, metrics)

    def updated(self, metrics, loss, y, y_pred, weight=None):
        logs, new = {}, []
        for metric in self.metrics:
            own = metrics[len(new) : len(new) + len(metric.variables)]
            if metric.name == "loss":
                own = metric.stateless_update_state(own, loss)
            else:
                own = metric.stateless_update_state(own, y, y_pred, sample_weight=weight)
            logs[metric.name] = metric.stateless_result(own)
            new += own
        return logs, new


class Lower(Updates):
    """The guide's lower level: metrics of the model's own, nothing of compile() but Adam."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.mae = keras.metrics.MeanAbsoluteError(name="mae")

    @property
    def metrics(self):
        return [self.loss_tracker, self.mae]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(keras.losses.mean_squared_error(y, y_pred))

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x, y = data
        (loss, (y_pred, non_trainable)), grads = value_and_grad(
            self.loss_and_updates, has_aux=True
        )(trainable, non_trainable, x, y, training=True)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
        count = len(self.loss_tracker.variables)
        of_loss = self.loss_tracker.stateless_update_state(metrics[:count], loss)
        of_mae = self.mae.stateless_update_state(metrics[count:], y, y_pred)
        logs = {
            "loss": self.loss_tracker.stateless_result(of_loss),
            "mae": self.mae.stateless_result(of_mae),
        }
        return logs, (trainable, non_trainable, optimizer, of_loss + of_mae)


class Weighted(Minimal):
    """The guide's third: sample weights, and a step of evaluation."""

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        (loss, (y_pred, non_trainable)), grads = value_and_grad(
            self.loss_and_updates, has_aux=True
        )(trainable, non_trainable, x, y, weight, training=True)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
        logs, metrics = self.updated(metrics, loss, y, y_pred, weight)
        return logs, (trainable, non_trainable, optimizer, metrics)

    def test_step(self, state, data):
        trainable, non_trainable, metrics = state
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, (y_pred, non_trainable) = self.loss_and_updates(
            trainable, non_trainable, x, y, weight
        )
        logs, metrics = self.updated(metrics, loss, y, y_pred, weight)
        return logs, (trainable, non_trainable, metrics)

    def predict_step(self, state, data):
        trainable, non_trainable = state
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        y_pred, non_trainable = self.stateless_call(trainable, non_trainable, x, training=False)
        return {"y": y_pred, "rows": ops.sum(x, axis=1)}, non_trainable


class Inherited(keras.Model):
    """Steps that hand on to those of Keras, in the same form."""

    def train_step(self, state, data):
        logs, state = super().train_step(state, data)
        return {**logs, "norm": ops.sum(ops.square(state[0][0]))}, state

    def test_step(self, state, data):
        return super().test_step(state, data)

    def predict_step(self, state, data):
        outputs, non_trainable = super().predict_step(state, data)
        return outputs * 2, non_trainable


class Scaled(keras.Model):
    """The loss of Keras's own step, scaled by the optimizer; the metrics are left alone."""

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        (_, aux), grads = value_and_grad(self.compute_loss_and_updates, has_aux=True)(
            trainable, non_trainable, metrics, x, y, weight,
            training=True, optimizer_variables=optimizer,
        )  # fmt: skip
        loss, _, non_trainable, metrics = aux
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
        return {"unscaled": loss}, (trainable, non_trainable, optimizer, metrics)


class Generators(keras.Model):
    """Two losses and two optimizers, whose variables are state of the model; no `call`."""

    def __init__(self):
        super().__init__()
        inputs = keras.Input((6,))
        self.first = randomised(keras.Sequential([inputs, layers.Dense(6, activation="tanh")]))
        self.second = randomised(keras.Sequential([keras.Input((6,)), layers.Dense(1)]))
        self.built = ON_JAX  # which builds by a call

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x, y = data
        mine, others = trainable[:2], trainable[2:]

        def loss_of(mine, others):
            hidden, _ = self.first.stateless_call(mine, [], x)
            found, _ = self.second.stateless_call(others, [], hidden)
            return ops.mean(ops.square(found - y))

        loss, grads = value_and_grad(loss_of, argnums=(0, 1))(mine, others)
        grads = [*(0.5 * g for g in grads[0]), *grads[1]]
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
        return {"fit": loss}, (trainable, non_trainable, optimizer, metrics)


def run(name, **options):
    """{name: array}: the logs of each epoch, those of `evaluate`, predictions, all variables."""
    kind, optimizer, metrics = RUNS[name]
    model = kind() if kind is Generators else network(kind)
    loss = None if kind is Generators else "mse"
    model.compile(optimizer(), loss, metrics=metrics, **options)
    x, y = data()
    weight = np.linspace(0.5, 2, 32).astype("float32") if kind is Weighted else None
    history = model.fit(
        x, y, sample_weight=weight, epochs=STEPS // 2, batch_size=16, shuffle=False, verbose=0
    ).history
    found = {f"fit {key}": np.asarray(value) for key, value in history.items()}
    if kind is not Generators:
        logs = model.evaluate(
            x, y, sample_weight=weight, batch_size=16, verbose=0, return_dict=True
        )
        found |= {f"evaluate {key}": np.asarray(value) for key, value in logs.items()}
        predicted = model.predict(x, batch_size=8, verbose=0)
        predicted = predicted if isinstance(predicted, dict) else {"y": predicted}
        found |= {f"predict {key}": value for key, value in predicted.items()}
    for group in ("trainable", "non_trainable", "metrics"):
        for number, variable in enumerate(getattr(model, f"{group}_variables")):
            found[f"{group} {number}"] = np.asarray(variable.value)
    for number, variable in enumerate(model.optimizer.variables):
        found[f"optimizer {number}"] = np.asarray(variable.value)
    return found


RUNS = {
    "minimal": (Minimal, lambda: keras.optimizers.Adam(0.01), ["mae"]),
    "lower": (Lower, lambda: keras.optimizers.Adam(0.01), None),
    "weighted": (Weighted, lambda: keras.optimizers.SGD(0.05, momentum=0.9), ["mae"]),
    "inherited": (Inherited, lambda: keras.optimizers.AdamW(0.01), ["mae"]),
    "scaled": (
        Scaled,
        lambda: keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.05), initial_scale=64.0, dynamic_growth_steps=6
        ),
        None,
    ),
    "generators": (Generators, lambda: keras.optimizers.RMSprop(0.01), None),
}


def main(path):
    found = {}
    for name in RUNS:
        keras.utils.clear_session()
        found |= {f"{name}/{key}": value for key, value in run(name).items()}
    np.savez(path, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
