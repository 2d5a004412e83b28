"""Calls of one layer on a concrete tensor: when Keras's checks are left out, and when not."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino

X = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")


@pytest.fixture
def wholes(monkeypatch):
    """Names of the layers whose whole `__call__` runs."""
    found = []
    build = layers.Layer._maybe_build

    def noted(layer, spec):
        found.append(layer.name)
        return build(layer, spec)

    monkeypatch.setattr(layers.Layer, "_maybe_build", noted)
    return found


def settled(layer, x=X):
    """`layer` after a call, and its input as a tensor."""
    x = ops.convert_to_tensor(x)
    layer(x)
    return layer, x


def test_the_second_call_alike_is_short(wholes):
    dense, x = settled(layers.Dense(4, activation="relu", name="d"))
    assert wholes == ["d"]
    kernel, bias = (np.asarray(w) for w in dense.weights)
    np.testing.assert_allclose(dense(x), np.maximum(X @ kernel + bias, 0), rtol=1e-6)
    assert wholes == ["d"]
    dense.kernel.assign(2 * kernel)
    np.testing.assert_allclose(dense(x), np.maximum(2 * X @ kernel + bias, 0), rtol=1e-6)
    assert wholes == ["d"]


def _in(scope, dense, x):
    with scope:
        dense(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda dense, x: dense(x[:1]),
        lambda dense, x: dense(x, training=True),
        lambda dense, x: dense(inputs=x),
        lambda dense, x: dense(X),
        lambda dense, x: dense(ops.cast(x, "float16")),
        lambda dense, x: dense(keras.Input((3,))),
        lambda dense, x: keras.Sequential([dense])(x),
        lambda dense, x: kerasvino.jit(lambda y: dense(y) + dense(x))(x),
        lambda dense, x: kerasvino.grad(lambda y: ops.sum(dense(x) * y))(x[:, :1]),
        lambda dense, x: _in(keras.StatelessScope(), dense, x),
        lambda dense, x: _in(keras.src.backend.AutocastScope("float16"), dense, x),
    ],
)
def test_another_call_is_whole(call, wholes):
    dense, x = settled(layers.Dense(4, name="d"))
    wholes.clear()
    call(dense, x)
    assert "d" in wholes


def _regularize(dense):
    dense.activity_regularizer = keras.regularizers.L2(1.0)


def _patch(dense):
    dense.call = lambda x: x + 1


@pytest.mark.parametrize(
    "change",
    [
        _regularize,
        _patch,
        lambda dense: setattr(dense, "activation", ops.relu),
        lambda dense: setattr(dense, "dtype_policy", keras.DTypePolicy("mixed_bfloat16")),
        lambda dense: setattr(dense, "input_spec", layers.InputSpec(ndim=2)),
        lambda dense: dense.quantize("int8"),
        lambda dense: dense.enable_lora(1),
    ],
)
def test_a_changed_layer_is_called_whole(change, wholes):
    dense, x = settled(layers.Dense(4, name="d"))
    change(dense)
    wholes.clear()
    dense(x)
    assert wholes == ["d"]


def test_a_regularizer_of_activity_counts_at_each_call():
    dense, x = settled(layers.Dense(4, activity_regularizer="l2"))
    for _ in range(2):
        np.testing.assert_allclose(dense.losses[0], 0.01 * np.sum(np.square(dense(x))) / 2, 1e-5)


def test_losses_added_between_calls_are_dropped():
    dense, x = settled(layers.Dense(4))
    dense.add_loss(ops.ones(()))
    dense(x)
    assert dense.losses == []


def test_masks_are_handed_on():
    dense, x = settled(layers.Dense(4), np.ones((2, 5, 3), "float32"))
    masked = ops.convert_to_tensor(x.numpy())
    masked._keras_mask = ops.ones((2, 5), "bool")
    assert dense(masked)._keras_mask is masked._keras_mask
    assert dense(x)._keras_mask is None
    masking, x = settled(layers.Masking())
    assert all(masking(x)._keras_mask is not None for _ in range(3))


def test_training_of_an_outer_call_reaches_the_layer():
    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Dropout(0.9, seed=1)

        def call(self, x):
            return self.inner(x)

    outer = Outer()
    x = ops.ones((100,))
    for _ in range(3):
        np.testing.assert_array_equal(outer.inner(x), x)
        assert float(ops.sum(ops.equal(outer(x, training=True), 0))) > 50


def test_an_autocast_scope_holds():
    dense, x = settled(layers.Dense(4))
    with keras.src.backend.AutocastScope("float16"):
        inside = dense(x)
    assert inside.dtype == dense(x).dtype == "float32"


def test_a_layer_of_the_user_is_called_whole(wholes):
    class Mine(layers.Dense):
        pass

    mine, x = settled(Mine(4, name="mine"))
    mine(x)
    assert wholes == ["mine", "mine"]


def test_errors_are_those_of_the_whole_call(monkeypatch):
    reshape, x = settled(layers.Reshape((3,)), np.ones((2, 3), "float32"))
    reshape.target_shape = (4,)
    reshape(ops.ones((2, 4)))
    with pytest.raises(ValueError, match=r"Reshape|reshape"):
        reshape(x)
    dense, x = settled(layers.Dense(4))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        dense(ops.ones((2, 5)))

    def failing(layer, inputs, training=None):
        raise ValueError("no call")

    monkeypatch.setattr(layers.Dense, "call", failing)
    with pytest.raises(ValueError, match=r"Arguments received by Dense.call\(\)"):
        dense(x)


def test_copies_and_pickles_keep_working():
    dense, x = settled(layers.Dense(4))
    dense(x)
    for other in (copy.deepcopy(dense), pickle.loads(pickle.dumps(dense))):
        np.testing.assert_array_equal(other(x), dense(x))
        np.testing.assert_array_equal(other(x), dense(x))
