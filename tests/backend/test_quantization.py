"""Quantized models: compiled as eager, and the gradient that quantizers give themselves."""

import keras
import numpy as np
import pytest
from keras import layers, quantizers

import kerasvino
from kerasvino.dtypes import numpy_dtype
from tests.backend.forms import FORMS, run


def _model():
    keras.utils.set_random_seed(0)
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 16)(tokens)
    x = layers.EinsumDense("abc,cd->abd", output_shape=(None, 16), bias_axes="d")(x)
    x = layers.Dense(12, activation="relu")(x)
    return keras.Model(tokens, layers.Dense(4)(x))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_is_rounded_once(form, dtype):
    values = np.arange(256, dtype=np.uint8).view(numpy_dtype(dtype)).astype(np.float32)
    values = np.unique(values[np.isfinite(values)])
    ties = (values[1:] + values[:-1]) / 2
    x = np.concatenate([ties, ties * np.float32(1 + 1e-4), ties * np.float32(1 - 1e-4), values])
    found = run(form, lambda x: keras.ops.cast(keras.ops.cast(x, dtype), "float32"), x)
    np.testing.assert_array_equal(found, x.astype(numpy_dtype(dtype)).astype(np.float32))


@pytest.mark.parametrize(("mode", "error"), [("int8", 0.03), ("int4", 0.4), ("float8", 0.1)])
def test_a_quantized_model_predicts_compiled_as_eagerly(mode, error):
    model, tokens = _model(), np.random.default_rng(0).integers(0, 20, (3, 6))
    exact = model.predict(tokens, verbose=0)
    model.quantize(mode)
    compiled = model.predict(tokens, verbose=0)
    model.compile(run_eagerly=True)
    eager = model.predict(tokens, verbose=0)
    np.testing.assert_allclose(compiled, eager, rtol=1e-3, atol=2e-3 * np.abs(eager).max())
    assert np.abs(eager - exact).max() < error * np.abs(exact).max()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("narrow", "lowest"), [(False, 0), (True, 1)])
def test_fake_quantization_passes_gradients_on_within_its_range(compiled, narrow, lowest):
    x = np.array([-3.0, -1.0, 0.3, 0.9, 2.0, 7.0], "float32")

    def total(x):
        quantized = quantizers.fake_quant_with_min_max_vars(x, -1.0, 2.0, 8, narrow)
        return keras.ops.sum(quantized * np.arange(1, 7, dtype="float32"))

    slope = kerasvino.grad(total)
    slope = kerasvino.jit(slope) if compiled else slope
    # Limits are moved so that zero is one of the levels.
    step = 3.0 / (255 - lowest)
    zero = np.round(1.0 / step)
    least, most = -zero * step, (255 - lowest - zero) * step
    inside = (x >= least) & (x <= most)
    np.testing.assert_array_equal(slope(x), np.where(inside, np.arange(1, 7), 0))
