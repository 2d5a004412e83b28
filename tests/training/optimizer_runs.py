"""Every optimizer for 50 steps: `KERAS_BACKEND=jax python optimizer_runs.py runs.npz`."""

import os
import sys

import numpy as np

if os.environ["KERAS_BACKEND"] != "jax":  # the reference
    import kerasvino  # noqa: F401
import keras
from keras import layers, optimizers
from keras.optimizers import schedules

STEPS = 50

RUNS = {
    "sgd": lambda: optimizers.SGD(0.05),
    "sgd_momentum": lambda: optimizers.SGD(0.02, momentum=0.9),
    "sgd_nesterov": lambda: optimizers.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "rmsprop_centered": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adam": lambda: optimizers.Adam(0.01),
    "adam_amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.05),
    "adamax": lambda: optimizers.Adamax(0.01),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "adafactor": lambda: optimizers.Adafactor(0.02),
    "adafactor_absolute": lambda: optimizers.Adafactor(
        0.02, relative_step=False, beta_2_decay=-0.7
    ),
    "ftrl": lambda: optimizers.Ftrl(0.05, l1_regularization_strength=0.01),
    "lion": lambda: optimizers.Lion(0.003),
    "lamb": lambda: optimizers.Lamb(0.01),
    "muon": lambda: optimizers.Muon(0.01),
    "schedule_free_adamw": lambda: optimizers.ScheduleFreeAdamW(0.01, warmup_steps=10),
    # what every optimizer may do
    "clipnorm": lambda: optimizers.SGD(0.1, clipnorm=0.5),
    "clipvalue": lambda: optimizers.SGD(0.1, clipvalue=0.2),
    "global_clipnorm": lambda: optimizers.Adam(0.01, global_clipnorm=0.5),
    "ema": lambda: optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=7),
    "ema_at_the_end": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "accumulation": lambda: optimizers.Adam(0.02, gradient_accumulation_steps=4, clipnorm=1.0),
    "loss_scale_factor": lambda: optimizers.SGD(0.05, loss_scale_factor=128.0),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(
        optimizers.Adam(0.01), initial_scale=256.0, dynamic_growth_steps=6
    ),
    "loss_scale_overflow": lambda: optimizers.LossScaleOptimizer(
        optimizers.SGD(0.05), initial_scale=3e38, dynamic_growth_steps=9
    ),
    # schedules
    "exponential": lambda: optimizers.SGD(schedules.ExponentialDecay(0.1, 7, 0.8, staircase=True)),
    "polynomial": lambda: optimizers.SGD(schedules.PolynomialDecay(0.1, 20, 0.01, 2.0, cycle=True)),
    "piecewise": lambda: optimizers.SGD(
        schedules.PiecewiseConstantDecay([10, 30], [0.1, 0.03, 0.01])
    ),
    "inverse_time": lambda: optimizers.SGD(schedules.InverseTimeDecay(0.1, 5, 0.5)),
    "cosine": lambda: optimizers.Adam(
        schedules.CosineDecay(0.0, 40, 0.1, warmup_target=0.03, warmup_steps=10)
    ),
    "cosine_restarts": lambda: optimizers.SGD(schedules.CosineDecayRestarts(0.1, 11, 1.5, 0.9)),
}  # fmt: skip


def run(name):
    """{quantity: array} after training with the optimizer of that name."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 5)).astype("float32")
    y = np.tanh(x @ rng.normal(size=(5, 2))).astype("float32")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(6, "tanh"), layers.Dense(2)])
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape).astype("float32"))
    optimizer = RUNS[name]()
    model.compile(optimizer, "mse")
    history = model.fit(x, y, batch_size=24, epochs=STEPS, shuffle=False, verbose=0).history
    found = {"loss": np.array(history["loss"]), "iterations": np.asarray(optimizer.iterations)}
    for index, weight in enumerate(model.get_weights()):
        found[f"weight_{index}"] = weight
    for index, variable in enumerate(optimizer.variables):
        found[f"state_{index}"] = np.asarray(variable)
    return found


def main(path, *names):
    found = {}
    for name in names or RUNS:
        keras.utils.clear_session()
        found |= {f"{name}/{key}": value for key, value in run(name).items()}
        print(name, found[f"{name}/loss"][[0, -1]], flush=True)
    np.savez(path, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
