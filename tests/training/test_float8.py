"""Training in float8: scales and histories of maxima are assigned what arrives as their gradients.

Keras's own test has a step for TensorFlow, JAX and PyTorch only.
"""

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers, ops

import kerasvino

LENGTH = 1024


def scale(history, before, top):
    """Keras's rule: the largest of the history is mapped to the largest number."""
    largest = history.max()
    return before if largest == 0 else np.float32(largest / top)


def pushed(history, values):
    """The history of maxima with the one of `values` put first."""
    return np.concatenate([[np.abs(values).max()], np.roll(history, -1)[1:]])


def taped(layer, optimizer):
    def step(x, dy):
        with kerasvino.GradientTape() as tape:
            y = layer(x, training=True)
            loss = ops.sum(y * ops.cast(dy, y.dtype))
        variables = layer.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    return step


def stateless(layer, optimizer):
    def loss(values, x, dy):
        y = layer.stateless_call(values, [], x, training=True)[0]
        return ops.sum(y * ops.cast(dy, y.dtype))

    def step(x, dy):
        values = [v.value for v in layer.trainable_variables]
        grads = kerasvino.grad(loss)(values, x, dy)
        state = [v.value for v in optimizer.variables]
        values, state = optimizer.stateless_apply(state, grads, values)
        for variable, value in zip(layer.trainable_variables, values, strict=True):
            variable.assign(value)
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)

    return step


@pytest.mark.parametrize("run", [lambda f: f, kerasvino.jit], ids=["eager", "traced"])
@pytest.mark.parametrize("written", [taped, stateless])
def test_scales_and_histories(written, run):
    rng = np.random.default_rng(0)
    layer = layers.Dense(8)
    layer.build((None, 6))
    layer.quantize("float8")
    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.build(layer.trainable_variables)
    step = run(written(layer, optimizer))
    narrow, wide = (ml_dtypes.finfo(kind).max for kind in ("float8_e4m3fn", "float8_e5m2"))
    tops = {"inputs": narrow, "kernel": narrow, "outputs_grad": wide}
    scales = dict.fromkeys(tops, np.float32(1))
    histories = dict.fromkeys(tops, np.zeros(LENGTH, "float32"))
    for _ in range(3):
        x = rng.normal(size=(4, 6)).astype("float32")
        dy = rng.normal(size=(4, 8)).astype("float32")
        seen = {"inputs": x, "kernel": np.array(layer._kernel), "outputs_grad": dy}
        for name, top in tops.items():
            scales[name] = scale(histories[name], scales[name], float(top))
            histories[name] = pushed(histories[name], seen[name])
        kernel = np.array(layer._kernel)
        step(ops.convert_to_tensor(x), ops.convert_to_tensor(dy))
        assert not np.array_equal(kernel, layer._kernel)
        for name in tops:
            np.testing.assert_allclose(getattr(layer, f"{name}_scale"), scales[name], rtol=1e-5)
            np.testing.assert_allclose(
                getattr(layer, f"{name}_amax_history"), histories[name], rtol=1e-5
            )
