"""What Keras 3.16 adds to quantization: ternary layers, calibration, int2, reports."""

import keras
import numpy as np
import pytest
from keras import layers, quantizers

import kerasvino
from kerasvino.backend.keras_private import PLUGGABLE

pytestmark = pytest.mark.skipif(not PLUGGABLE, reason="new in Keras 3.16")

X = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")


def _both(model, x):
    """Predictions compiled, which have to be those of running it eagerly."""
    compiled = model.predict(x, verbose=0)
    model.run_eagerly = True
    np.testing.assert_allclose(compiled, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    model.run_eagerly = False
    return compiled


@pytest.mark.parametrize("threshold", [None, 0.1])
def test_ternary_dense_trains_and_freezes(tmp_path, threshold):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8,)), layers.TernaryDense(6, threshold=threshold), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    before = model.layers[0].kernel.numpy()
    losses = model.fit(X, X[:, :1], epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.abs(model.layers[0].kernel.numpy() - before).min() > 0  # straight through
    trained = _both(model, X)
    report = model.quantize("ternary")
    assert isinstance(report, quantizers.QuantizationReport)
    assert report.quantized[0][0] == model.layers[0].path
    frozen = _both(model, X)
    if model.layers[1].quantization_mode is None:
        np.testing.assert_allclose(frozen, trained, rtol=1e-3, atol=1e-3)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), frozen, rtol=1e-5, atol=1e-6)


def test_a_report_names_what_is_quantized_and_what_is_not():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4), layers.BatchNormalization()])
    with pytest.warns(UserWarning, match="quantiz"):
        report = model.quantize("int8")
    assert [path for path, *_ in report.quantized] == [model.layers[0].path]
    assert (model.layers[1].path, report.SKIP_NO_SUPPORT) in report.skipped
    model.quantization_summary()


@pytest.mark.parametrize("name", ["int2", "ternary"])
def test_packed_values_come_back(name):
    low, high = (-2, 2) if name == "int2" else (-1, 2)
    values = np.random.default_rng(1).integers(low, high, (7, 3)).astype("int8")
    packed, _, length = getattr(quantizers, f"pack_{name}")(values)
    assert packed.shape == (2, 3)
    unpacked = getattr(quantizers, f"unpack_{name}")(packed, length)
    np.testing.assert_array_equal(unpacked, values)


@pytest.mark.parametrize("config", ["GPTQConfig", "AWQConfig"])
def test_calibrated_quantization(config):
    keras.utils.set_random_seed(0)
    block = keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(8)])
    tokens = keras.Input((4,), dtype="int32")
    embedding, head = layers.Embedding(11, 8), layers.Dense(3)
    model = keras.Model(tokens, head(block(embedding(tokens))))
    data = [np.random.default_rng(i).integers(0, 11, (1, 4)) for i in range(8)]
    exact = model.predict(np.concatenate(data), verbose=0)
    settings = getattr(quantizers, config)(
        dataset=data,
        tokenizer=list,
        num_samples=8,
        sequence_length=4,
        group_size=-1,
        quantization_layer_structure={
            "pre_block_layers": [embedding],
            "sequential_blocks": [block],
        },
    )
    model.quantize(config=settings)
    found = _both(model, np.concatenate(data))
    assert 0 < np.abs(found - exact).max() < 0.5 * np.abs(exact).max()


def test_mosaic_runs_in_a_pipeline_and_a_model():
    images = np.random.default_rng(2).uniform(size=(4, 8, 8, 3)).astype("float32")
    layer = layers.Mosaic(seed=3)
    mixed = layer(images, training=True)
    assert mixed.shape == images.shape
    assert np.isin(np.round(mixed.numpy(), 5), np.round(images, 5)).mean() > 0.9
    np.testing.assert_array_equal(layer(images, training=False), images)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Mosaic(seed=3)(inputs))
    np.testing.assert_array_equal(model.predict(images, verbose=0), images)


def test_every_call_is_observed_while_a_quantization_is_calibrated():
    from keras.src.quantizers.capture import calibration_scope

    block = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, activation="relu"), layers.Dense(8)]
    )
    expected = [block(X + i).numpy() for i in range(6)]  # from the third on, compiled
    seen = {layer: [] for layer in block.layers}
    with calibration_scope({layer: inputs.append for layer, inputs in seen.items()}):
        found = [block(X + i).numpy() for i in range(6)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    first, second = seen.values()
    np.testing.assert_array_equal(first, [X + i for i in range(6)])
    assert len(second) == 6
    np.testing.assert_allclose(block.layers[1](second[5]), expected[5], rtol=1e-5, atol=1e-6)
    block(X)
    assert len(second) == 6


def _levels(x, low, high, bits, narrow):
    """The nearest of the levels between `low` and `high`, which zero is moved onto."""
    first, last = int(narrow), 2**bits - 1
    step = (high - low) / (last - first)
    zero = np.clip(np.round(first - low / step), first, last)
    nudged = (first - zero) * step, (last - zero) * step
    clipped = np.clip(x, *nudged)
    return np.floor((clipped - nudged[0]) / step + 0.5) * step + nudged[0], nudged


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("axis", [None, 1])
def test_fake_quantization_and_its_gradients(axis, narrow):
    low, high = np.float32([-1.1, -0.4, -2, -0.3]), np.float32([1.3, 2.2, 0.5, 0.9])
    if axis is None:
        low, high = low[0], high[0]
    x = np.random.default_rng(4).uniform(-3, 3, (9, 4)).astype("float32")
    wanted, (least, most) = _levels(x, low, high, 4, narrow)

    def function(x, low, high):
        return quantizers.fake_quant_with_min_max_vars(
            x, low, high, num_bits=4, narrow_range=narrow, axis=axis
        )

    def slopes(x, low, high):
        weighted = lambda *a: keras.ops.sum(function(*a) * slope_of)
        return keras.ops.grad(weighted, argnums=(0, 1, 2))(x, low, high)

    slope_of = np.random.default_rng(5).uniform(1, 2, x.shape).astype("float32")
    inside = (x >= least) & (x <= most)
    over = None if axis is None else 0
    rules = (
        np.where(inside, slope_of, 0),
        np.where(x <= least, slope_of, 0).sum(over),
        np.where(x >= most, slope_of, 0).sum(over),
    )
    for run in (lambda f: f, kerasvino.jit):
        np.testing.assert_allclose(run(function)(x, low, high), wanted, rtol=1e-5, atol=1e-6)
        for slope, rule in zip(run(slopes)(x, low, high), rules, strict=True):
            np.testing.assert_allclose(slope, rule, rtol=1e-5, atol=1e-6)


def test_fake_quantization_in_a_model_that_is_saved(tmp_path):
    inputs = keras.Input((4,))
    outputs = quantizers.fake_quant_with_min_max_vars(inputs, -1.1, 1.0, num_bits=3)
    model = keras.Model(inputs, outputs)
    x = np.linspace(-2, 2, 24, dtype="float32").reshape(6, 4)
    found = _both(model, x)
    np.testing.assert_allclose(found, _levels(x, -1.1, 1.0, 3, False)[0], rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), found)


def test_a_model_with_mosaic_trains():
    rng = np.random.default_rng(6)
    images, labels = (
        rng.uniform(size=(8, 8, 8, 3)).astype("float32"),
        np.eye(4, dtype="f4")[np.arange(8) % 4],
    )
    mixed = layers.Mosaic(seed=3)({"images": images, "labels": labels}, training=True)
    np.testing.assert_allclose(np.sum(mixed["labels"], axis=-1), 1, rtol=1e-5)
    inputs = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Mosaic(seed=3)(inputs))
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(x))
    model.compile("adam", "categorical_crossentropy")
    losses = model.fit(images, labels, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    before = model.layers[-1].kernel.numpy()
    model.train_on_batch(images, labels)
    assert np.abs(model.layers[-1].kernel.numpy() - before).max() > 0
