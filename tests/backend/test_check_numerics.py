"""The setting `check_numerics`: the first NaN or infinity raises, with its layer."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from keras import Input, Model, layers, ops

import kerasvino
from kerasvino.errors import NumericsError
from kerasvino.runtime import config

NAN, INF = np.nan, np.inf


@pytest.fixture(autouse=True)
def checked():
    with config.using(check_numerics=True):
        yield


def _jit(function):
    return kerasvino.jit(function)


def _mlp():
    x = Input((3,))
    hidden = layers.Dense(4, activation="relu", name="hidden")(x)
    return Model(x, layers.Dense(2, activation="softmax", name="head")(hidden))


# -- compiled


def test_an_argument_is_named_with_the_layer_that_uses_it():
    model, x = _mlp(), np.ones((2, 3), np.float32)
    # of both signs: an infinity that `relu` makes 0 everywhere reaches no result
    model.layers[1].kernel.assign(np.float32([[1, -1, 1, -1]] * 3))
    assert np.isfinite(model.predict_on_batch(x)).all()
    for value, word in ((NAN, "NaN"), (INF, "an infinity"), (-INF, "an infinity")):
        x[1, 2] = value
        message = rf"{word} in x of the call \(float32\[2, 3\]\) at \[1, 2\], .*layer hidden"
        with pytest.raises(NumericsError, match=message):
            model.predict_on_batch(x)
    with pytest.raises(FloatingPointError):
        model.predict(x, batch_size=1, verbose=0)


def _of_two_inputs():
    inputs = {"left": Input((2,), name="left"), "right": Input((2,), name="right")}
    model = Model(inputs, layers.Dense(1)(inputs["left"] + inputs["right"]))
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("place", ["x['right']", "y", "sample_weight"])
def test_the_part_of_a_batch_is_named(place):
    model = _of_two_inputs()
    arrays = {
        "x['left']": np.ones((4, 2), np.float32), "x['right']": np.ones((4, 2), np.float32),
        "y": np.ones((4, 1), np.float32), "sample_weight": np.ones((4,), np.float32),
    }  # fmt: skip
    x = {"left": arrays["x['left']"], "right": arrays["x['right']"]}
    arrays[place][2] = NAN
    said = rf"NaN in {re.escape(place)} of the call \(float32\[4.*at \[2"
    with pytest.raises(NumericsError, match=said):
        model.fit(x, arrays["y"], sample_weight=arrays["sample_weight"], shuffle=False, verbose=0)
    if place.startswith("x"):
        with pytest.raises(NumericsError, match=said):
            model.predict_on_batch(x)


def test_an_argument_of_a_function_is_named():
    function = kerasvino.jit(lambda a, b, *, mask: a + b["c"][1] + mask)
    for bad, said in ((0, r"argument 1\['c'\]\[1\] of the call"), (1, "argument mask of the call")):
        values = [np.ones(2, np.float32) for _ in range(2)]
        values[bad][0] = NAN
        with pytest.raises(NumericsError, match=said):
            function(1.0, {"c": [None, values[0]]}, mask=values[1])


@pytest.mark.parametrize("as_inputs", [False, True])
def test_a_variable_is_named(as_inputs):
    model, x = _mlp(), np.ones((2, 3), np.float32)
    weights = model.get_weights()
    if as_inputs:  # after two assignments they are no constants
        for _ in range(3):
            model.predict_on_batch(x)
            model.set_weights(weights)
    model.layers[2].kernel.assign(np.full((4, 2), NAN, np.float32))
    with pytest.raises(NumericsError, match=r"NaN in variable head/kernel, first used by .* head"):
        model.predict_on_batch(x)


RAISES = {
    "log": (lambda x: ops.log(x), [-1, 1], "NaN made by log, whose inputs are finite"),
    "overflow": (lambda x: ops.exp(x) * 0.5, [1000, 1], "an infinity made by exp"),
    "swallowed": (lambda x: 1 / (1 / x), [0, 1], "an infinity made by divide"),
    "squashed": (lambda x: ops.tanh(ops.exp(x)), [1000, 1], "an infinity made by exp"),
    "masked row": (
        lambda x: ops.softmax(ops.where(x > 0, x, -INF)), [-1, -2],
        "NaN made by softmax, of an infinity in the result of select",
    ),
    "narrow": (lambda x: ops.cast(x, "float16"), [1e6, 1], "an infinity made by cast"),
    "scalar": (lambda x: ops.log(ops.sum(x)), [-1, 1], "an infinity made by log"),
    "second": (lambda x: ops.sqrt(ops.log(x)), [0.5, 1], "NaN made by sqrt"),
    "loop": (
        lambda x: ops.fori_loop(0, ops.cast(x[0], "int32"), lambda i, v: v * 1e30, x), [5, 1],
        "an infinity made by loop",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RAISES)
def test_what_counts(name):
    function, values, message = RAISES[name]
    with pytest.raises(NumericsError, match=message):
        _jit(function)(np.float32(values))


FINE = {
    "where": (lambda x: ops.where(x > 0, ops.log(x), 0.0), [-1, 0]),
    "where, of several": (lambda x: ops.where(x > 0, ops.log(x) * 2 + 1, 0.0), [-1, 0]),
    "mask": (lambda x: ops.softmax(ops.where(x > 0, x, -INF)), [-1, 1]),
    "imputed": (lambda x: ops.where(ops.isnan(x), 0.0, x) * 2, [NAN, 1]),
    "nan_to_num": (lambda x: ops.nan_to_num(x), [NAN, INF]),
    "clip": (lambda x: ops.clip(ops.log(x), -100, 100), [0, 1]),
    "infinite argument": (lambda x: ops.minimum(x, 1.0), [INF, 1]),
    "integers": (lambda x: ops.cast(x, "int32") + 1, [2, 1]),
    "a constant": (lambda x: ops.maximum(x, np.float32([-INF, -INF])), [2, 1]),
    "an infinite result of a constant": (lambda x: ops.where(x > 0, x, INF), [-1, 1]),
    "unit normalization": (lambda x: ops.normalize(x[None]), [0, 0]),
    "nothing": (lambda x: ops.log(x[:0]), [0, 0]),
}


@pytest.mark.parametrize("name", FINE)
def test_what_does_not_count(name):
    function, values = FINE[name]
    values = np.float32(values)
    with config.using(check_numerics=False):
        expected = np.asarray(_jit(function)(values))
    np.testing.assert_array_equal(np.asarray(_jit(function)(values)), expected)


def test_unknown_lengths():
    function = _jit(lambda x: ops.log(x))
    for length in range(1, 8):
        x = np.ones(length, np.float32)
        function(x)
        x[-1] = -1
        with pytest.raises(NumericsError):
            function(x)


class Root(layers.Layer):
    def call(self, x):
        return ops.sqrt(x)


@pytest.mark.parametrize("eager", [False, True])
def test_backward(eager):
    x = Input((2,))
    model = Model(x, Root(name="root")(layers.Dense(2, kernel_initializer="zeros")(x)))
    model.compile("sgd", "mse", run_eagerly=eager)
    before = model.get_weights()
    with pytest.raises(NumericsError, match="made by divide in the gradient of layer root"):
        model.fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("eager", [False, True])
def test_a_training_that_is_sound_raises_nothing(eager):
    x, y = Input((6, 5)), None
    h = layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
    h = layers.GRU(4)(layers.LayerNormalization()(layers.Masking()(x + h)))
    h = layers.BatchNormalization()(layers.Dense(4, activation="gelu")(layers.Dropout(0.2)(h)))
    model = Model(x, layers.Dense(3, activation="softmax")(h))
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=eager)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 6, 5)).astype(np.float32), rng.integers(0, 3, 5)
    x[0, 3:] = 0
    model.fit(x, y, epochs=2, verbose=0)
    assert np.isfinite(model.predict(x, verbose=0)).all()


def test_batches_are_not_filled_up():
    """Zeros that no one gave would divide by 0."""
    x = Input((2,))
    model = Model(x, x / ops.sum(x, axis=1, keepdims=True))
    assert np.isfinite(model.predict(np.ones((7, 2), np.float32), batch_size=4, verbose=0)).all()


# -- eagerly


def test_eager_operations():
    x = ops.convert_to_tensor(np.float32([-1, 0, NAN, INF]))
    with pytest.raises(NumericsError, match="NaN made by log, whose inputs are finite"):
        ops.log(x[:1])
    with pytest.raises(NumericsError, match="an infinity made by log"):
        ops.log(x[1:2])
    with pytest.raises(NumericsError, match="multiply gives NaN: its input 0 holds NaN"):
        ops.multiply(x, 2)
    with pytest.raises(NumericsError, match="NaN made by subtract, of an infinity"):
        ops.subtract(x[3:], x[3:])
    ops.add(x[3:], 1)
    assert np.asarray(ops.where(ops.isnan(x), 0.0, ops.reshape(x, (4,))))[2] == 0


def test_an_eager_layer_and_a_convolution_are_named():
    dense, convolution = layers.Dense(2, name="own"), layers.Conv2D(1, 1, name="pixels")
    with pytest.raises(NumericsError, match="matmul in layer own gives NaN: its input 0"):
        dense(np.float32([[NAN, 1]]))
    with pytest.raises(NumericsError, match="conv in layer pixels gives NaN: its input 0"):
        convolution(np.full((1, 2, 2, 1), NAN, np.float32))


def test_narrow_floats():
    with pytest.raises(NumericsError, match="an infinity made by cast"):
        ops.cast(np.float32([1e6]), "float16")
    with pytest.raises(NumericsError, match="NaN made by log"):
        ops.log(ops.cast(np.float32([-1]), "bfloat16"))


# -- the setting


def test_it_is_of_its_block_and_of_its_programs():
    function = _jit(lambda x: ops.log(x))
    bad = np.float32([-1])
    with pytest.raises(NumericsError):
        function(bad)
    with config.using(check_numerics=False):
        assert np.isnan(function(bad)).all()
        assert np.isnan(ops.log(bad)).all()
    with pytest.raises(NumericsError):
        function(bad)


def test_with_a_cache_of_programs(tmp_path):
    with config.using(cache_dir=tmp_path), pytest.raises(NumericsError):
        _jit(lambda x: ops.log(x))(np.float32([-1]))
    assert not list(tmp_path.glob("*.blob"))


def test_values_of_the_setting():
    for value in (True, "1", "on", "True"):
        with config.using(check_numerics=value) as settings:
            assert settings.check_numerics is True
    with pytest.raises(ValueError, match="check_numerics='maybe'; accepted: True, False"):
        config.using(check_numerics="maybe")


def test_the_environment():
    code = """
import kerasvino, keras, numpy as np
for call in (keras.ops.log, kerasvino.jit(keras.ops.log)):
    try:
        call(np.float32([-1]))
    except kerasvino.errors.NumericsError as error:
        print(error)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "KERASVINO_CHECK_NUMERICS": "1"},
    )  # fmt: skip
    assert found.stdout.count("NaN made by log") == 2
