"""Calls of one layer on a concrete tensor: when Keras's checks are left out, and when not."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.backend.common.variables import AutocastScope

import kerasvino
from kerasvino.backend import layer_calls

X = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")


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
        lambda dense, x: kerasvino.jit(lambda y: dense(y) + dense(x))(x),
        lambda dense, x: kerasvino.grad(lambda y: ops.sum(dense(x) * y))(x[:, :1]),
        lambda dense, x: _in(keras.StatelessScope(), dense, x),
        lambda dense, x: _in(AutocastScope("float16"), dense, x),
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


def test_losses_added_in_a_scope_are_forgotten():
    dense, x = settled(layers.Dense(4))
    with keras.StatelessScope(collect_losses=True):
        dense.add_loss(ops.ones(()))
    assert dense._loss_ids
    dense(x)
    assert not dense._loss_ids


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
    with AutocastScope("float16"):
        inside = dense(x)
    assert inside.dtype == dense(x).dtype == "float32"


def test_a_layer_of_the_user_is_called_whole(wholes):
    class Mine(layers.Dense):
        pass

    mine, x = settled(Mine(4, name="mine"))
    mine(x)
    assert wholes == ["mine", "mine"]


def _failing(layer, inputs, training=None):
    raise ValueError("no call")


def test_errors_are_those_of_the_whole_call(monkeypatch):
    reshape, x = settled(layers.Reshape((3,)), np.ones((2, 3), "float32"))
    reshape.target_shape = (4,)
    reshape(ops.ones((2, 4)))
    with pytest.raises(ValueError, match=r"Reshape|reshape"):
        reshape(x)
    dense, x = settled(layers.Dense(4))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        dense(ops.ones((2, 5)))
    monkeypatch.setattr(layers.Dense, "call", _failing)
    with pytest.raises(ValueError, match=r"Arguments received by Dense.call\(\)"):
        dense(x)


def test_functions_of_the_user_see_the_call_around_them():
    """A model within an activation is not compiled as if it were called by itself."""
    surrounded = []

    def activation(x):
        surrounded.append(layer_calls.is_surrounded())
        return x

    dense, x = settled(layers.Dense(4, activation=activation))
    dense(x)
    assert surrounded == [True, True]


def test_a_mask_that_a_layer_was_given_a_method_for():
    dense, x = settled(layers.Dense(4))
    dense.compute_mask = lambda x, mask: ops.ones((2,), "bool")
    for _ in range(3):
        assert dense(x)._keras_mask is not None


def test_a_call_replaced_in_its_class_is_whole(monkeypatch, wholes):
    dense, x = settled(layers.Dense(4, name="d"))
    monkeypatch.setattr(layers.Dense, "call", lambda self, x: x + layer_calls.is_surrounded())
    wholes.clear()
    for _ in range(2):
        np.testing.assert_array_equal(dense(x), X + 1)
    assert wholes == ["d", "d"]


def test_a_policy_that_changes_in_a_map_is_heard():
    policies = keras.dtype_policies.DTypePolicyMap()
    dense = layers.Dense(4, dtype=policies, name="d")
    dense.build((2, 3))
    x = ops.convert_to_tensor(X)
    for _ in range(3):
        assert dense(x).dtype == "float32"
    policies[dense.path] = keras.DTypePolicy("mixed_bfloat16")
    assert dense(x).dtype == "bfloat16"


def test_what_listens_to_the_calls_of_a_layer_hears_them():
    """As Keras does, from 3.16 on, while it calibrates a quantization."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="d")])
    dense, x = settled(model.layers[0])
    assert layer_calls._within and dense(x) is not None
    heard = []
    object.__setattr__(dense, "_calibration_capture", lambda *args, **kwargs: heard.append(args))
    dense(x)
    model(x)
    expected = 2 if hasattr(layers.Layer, "_calibration_capture") else 0
    assert len(heard) == expected


# -- clear_session replaces what says what surrounds a call


@pytest.fixture
def cleared():
    keras.utils.clear_session(free_memory=False)


def test_scopes_are_seen_after_clear_session(cleared):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, kernel_initializer="ones")])
    dense, x = settled(model.layers[0])
    zeros = [(v, ops.zeros(v.shape)) for v in model.variables]
    for called in (dense, model):
        for _ in range(4):
            assert np.any(called(x))
        with keras.StatelessScope(zeros):
            assert not np.any(called(x))


def test_a_scope_is_left_after_clear_session(wholes):
    dense, x = settled(layers.Dense(1, name="d"))
    with keras.StatelessScope():
        keras.utils.clear_session(free_memory=False)  # this scope is no longer one
        wholes.clear()
        dense(x)
        assert wholes == []


@pytest.mark.parametrize("training", [False, True])
def test_training_of_an_outer_call_holds_after_clear_session(training, cleared):
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Sequential([keras.Input((1000,)), layers.Dropout(0.5, seed=1)])
            self.mine = layers.ReLU()

        def call(self, x, training=None):
            return self.mine(self.inner(x))

    outer, x = Outer(), ops.ones((1, 1000))
    for _ in range(4):
        outer(x, training=not training)
    zeros = [int(ops.sum(ops.equal(outer(x, training=training), 0))) for _ in range(4)]
    assert all(400 < count < 600 for count in zeros) if training else zeros == [0] * 4


def test_copies_and_pickles_keep_working():
    dense, x = settled(layers.Dense(4))
    dense(x)
    for other in (copy.deepcopy(dense), pickle.loads(pickle.dumps(dense))):
        np.testing.assert_array_equal(other(x), dense(x))
        np.testing.assert_array_equal(other(x), dense(x))


# -- within the call of another layer


def image_model(**first):
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv", **first)(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Dropout(0.5, seed=1, name="drop")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D(name="pool")(x), name="net")


def _called_whole(outer, whole, layer, x, kwargs):
    return whole(layer, x, **kwargs)


IMAGES = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")


@pytest.mark.parametrize("how", ["eagerly", "predict", "jit"])
def test_layers_of_a_model_are_called_short(how, wholes):
    model = image_model()
    model.compile(run_eagerly=how == "eagerly")
    wholes.clear()
    call = {"jit": kerasvino.jit(model)}.get(how, model.predict_on_batch)
    call(ops.convert_to_tensor(IMAGES))
    assert wholes == ["net"]


@pytest.mark.parametrize("training", [False, True, None])
@pytest.mark.parametrize("traced", [False, True])
def test_a_model_computes_what_it_does_with_whole_calls(training, traced, monkeypatch):
    found = []
    for short in (True, False):
        if not short:
            monkeypatch.setattr(layer_calls, "_within", _called_whole)
        keras.utils.set_random_seed(3)
        model = image_model()
        call = kerasvino.jit(model) if traced else model
        outputs = [np.asarray(call(IMAGES, training=training)) for _ in range(2)]
        found.append([*outputs, *[np.asarray(v) for v in model.variables]])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_training_given_to_one_layer_holds_for_the_later_ones(monkeypatch):
    """As `Layer.__call__` does; outputs differ where it does not."""

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.ReLU(), layers.Dropout(0.9, seed=1)

        def call(self, x):
            return self.second(self.first(x, training=True))

    zeros = []
    for short in (True, False):
        if not short:
            monkeypatch.setattr(layer_calls, "_within", _called_whole)
        outer = Outer()
        x = ops.ones((1000,))
        outer(x)
        zeros.append(int(ops.sum(ops.equal(outer(x), 0))))
    assert zeros[0] > 800
    assert zeros[1] > 800


def _registered(layer):
    layer._called = False
    layer._register_call_context_args("foo")
    layer._called = True


@pytest.mark.parametrize(
    "change",
    [
        _registered,
        _regularize,
        lambda layer: setattr(layer, "dtype_policy", "mixed_bfloat16"),
        lambda layer: layer.quantize("int8"),
        lambda layer: setattr(layer, "_called", False),
    ],
)
def test_a_layer_of_a_model_is_called_whole_where_it_differs(change, wholes):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="d")], name="net")
    change(model.layers[0])
    wholes.clear()
    model(X)
    assert wholes[-1] == "d"


@pytest.mark.parametrize("scope", [keras.StatelessScope, lambda: AutocastScope("float16")])
def test_scopes_around_a_model_hold_in_its_layers(scope, wholes):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="d")])
    wholes.clear()
    with scope():
        model(X)
    assert "d" in wholes


def test_masks_within_a_model_are_handed_on():
    ids = keras.Input((4,), dtype="int32")
    x = layers.Embedding(9, 3, mask_zero=True)(ids)
    x = layers.Dense(3)(x)
    model = keras.Model(ids, layers.GlobalAveragePooling1D()(x))
    tokens = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    embedded = model.layers[1].embeddings.numpy()[tokens]
    kernel, bias = (np.asarray(w) for w in model.layers[2].weights)
    dense = embedded @ kernel + bias
    expected = np.stack([dense[0, :2].mean(0), dense[1, 0]])
    for call in (model, model.predict_on_batch):
        np.testing.assert_allclose(call(tokens), expected, rtol=1e-5, atol=1e-6)


def test_errors_within_a_model_name_the_layer(monkeypatch):
    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2, name="inner")

        def call(self, x):
            return self.dense(x)

    outer = Outer()
    outer(X)
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        outer(X[:, :2])
    monkeypatch.setattr(layers.Dense, "call", _failing)
    with pytest.raises(ValueError, match=r"Arguments received by Dense.call\(\)"):
        outer(X)
