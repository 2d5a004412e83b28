"""A training step as JAX has it: state goes in, and new state comes out.

    python examples/jax_style.py [--steps 200]

`kerasvino.value_and_grad` and `kerasvino.jit` take the place of JAX's; the rest is Keras.
"""

from __future__ import annotations

import argparse

import kerasvino  # before keras: selects the backend

import keras  # isort: skip
import numpy as np
from keras import ops


def main() -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(32, "gelu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.AdamW(1e-2)
    optimizer.build(model.trainable_variables)

    def loss_and_updates(trainable, non_trainable, x, y):
        predicted, non_trainable = model.stateless_call(trainable, non_trainable, x, training=True)
        return ops.mean(ops.square(predicted - y)), non_trainable

    gradient = kerasvino.value_and_grad(loss_and_updates, has_aux=True)

    @kerasvino.jit
    def step(state, x, y):
        trainable, non_trainable, moments = state
        (loss, non_trainable), grads = gradient(trainable, non_trainable, x, y)
        trainable, moments = optimizer.stateless_apply(moments, grads, trainable)
        return loss, (trainable, non_trainable, moments)

    random = np.random.default_rng(0)
    x = random.normal(size=(512, 8)).astype("float32")
    y = np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3]
    variables = model.trainable_variables, model.non_trainable_variables, optimizer.variables
    state = tuple([variable.value for variable in group] for group in variables)
    for number in range(steps):
        loss, state = step(state, x, y)
        if number % 50 == 49:
            print(f"step {number + 1}: loss {float(loss):.4f}")

    for group, values in zip(variables, state, strict=True):  # back into the model
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)
    return float(loss)


if __name__ == "__main__":
    main()
