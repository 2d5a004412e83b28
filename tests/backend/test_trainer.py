"""predict and evaluate: as Keras defines them, with state that moves and current weights."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasvino.tensor import TracedValueError


def classifier(**compile_options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    if compile_options:
        model.compile(**compile_options)
    return model


def data(rows=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 4)).astype("float32"), rng.integers(0, 3, rows)


def by_hand(model, x):
    for layer in model.layers:
        kernel, bias = (np.asarray(w) for w in layer.weights)
        x = x @ kernel + bias
        if layer.activation.__name__ == "relu":
            x = np.maximum(x, 0)
        else:
            e = np.exp(x - x.max(-1, keepdims=True))
            x = e / e.sum(-1, keepdims=True)
    return x


@pytest.mark.parametrize("batch_size", [1, 3, 7, 32])
@pytest.mark.parametrize("eagerly", [False, True])
def test_predict_with_a_ragged_last_batch(batch_size, eagerly):
    model = classifier(loss="mse", run_eagerly=eagerly)
    x, _ = data()
    result = model.predict(x, batch_size=batch_size, verbose=0)
    assert isinstance(result, np.ndarray)
    assert result.flags.writeable
    np.testing.assert_allclose(result, by_hand(model, x), rtol=1e-5, atol=1e-6)


def test_weights_assigned_after_a_predict_are_seen():
    model, (x, _) = classifier(), data()
    model.predict(x, verbose=0)
    for scale in (0.5, -1.0, 2.0, 3.0):
        model.set_weights([w * scale for w in model.get_weights()])
        np.testing.assert_allclose(
            model.predict(x, verbose=0), by_hand(model, x), rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(
            model.predict_on_batch(x), by_hand(model, x), rtol=1e-4, atol=1e-6
        )


def test_loaded_weights_are_seen(tmp_path):
    model, other, (x, _) = classifier(), classifier(), data()
    other.set_weights([w + 0.1 for w in other.get_weights()])
    other.save_weights(tmp_path / "w.weights.h5")
    model.predict(x, verbose=0)
    model.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_allclose(model.predict(x, verbose=0), by_hand(other, x), rtol=1e-5, atol=1e-6)


def test_nested_inputs_and_outputs():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model({"a": a, "b": b}, {"sum": a + b, "parts": [a * 2, b * 3]})
    x = {"a": np.ones((5, 2), "float32"), "b": np.full((5, 2), 2, "float32")}
    out = model.predict(x, batch_size=2, verbose=0)
    np.testing.assert_array_equal(out["sum"], np.full((5, 2), 3))
    np.testing.assert_array_equal(out["parts"][1], np.full((5, 2), 6))


def batches(x, size):
    return [x[i : i + size] for i in range(0, len(x), size)]


class Sequence(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.parts = batches(x, 3)

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return (self.parts[index],)


def torch_loader(x):
    torch = pytest.importorskip("torch")
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(x))
    return torch.utils.data.DataLoader(dataset, batch_size=3)


def tf_dataset(x):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(x).batch(3)


@pytest.mark.parametrize(
    "source",
    [lambda x: x, lambda x: ((p,) for p in batches(x, 3)), Sequence, torch_loader, tf_dataset],
    ids=["array", "generator", "PyDataset", "DataLoader", "tf.data"],
)
def test_every_kind_of_data(source):
    model, (x, _) = classifier(), data()
    np.testing.assert_allclose(
        model.predict(source(x), verbose=0), by_hand(model, x), rtol=1e-5, atol=1e-6
    )


def test_no_data_is_said():
    with pytest.raises(ValueError):
        classifier().predict(np.zeros((0, 4), "float32"), verbose=0)


def test_an_unbuilt_model_builds_itself():
    model = keras.Sequential([layers.Dense(3), layers.Dropout(0.5)])
    assert model.predict(data()[0], verbose=0).shape == (7, 3)
    assert len(model.weights) == 2


def test_unbuilt_initialisers_run_once_and_are_kept():
    model = keras.Sequential([layers.Dense(3)])
    x, _ = data()
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_evaluate(eagerly, steps_per_execution):
    model = classifier(
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
        run_eagerly=eagerly,
        steps_per_execution=steps_per_execution,
    )
    x, y = data(10)
    weight = np.linspace(0.5, 2, 10).astype("float32")
    p = by_hand(model, x)
    losses = -np.log(p[np.arange(10), y])
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    assert logs["accuracy"] == pytest.approx((p.argmax(1) == y).mean())
    assert logs["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    top2 = [label in np.argsort(row)[-2:] for row, label in zip(p, y, strict=True)]
    assert logs["top2"] == pytest.approx(np.mean(top2))
    again = model.evaluate(x, y, batch_size=10, sample_weight=weight, verbose=0)
    assert again[0] == pytest.approx((losses * weight).mean(), rel=1e-5)
    single = model.test_on_batch(x, y, return_dict=True)
    assert single["accuracy"] == pytest.approx((p.argmax(1) == y).mean())


def test_callbacks_are_called():
    calls = []

    class Recorder(keras.callbacks.Callback):
        def __getattribute__(self, name):
            if name.startswith(("on_predict", "on_test")):
                return lambda *args, **kwargs: calls.append((name, args[:1]))
            return super().__getattribute__(name)

    model = classifier(loss="sparse_categorical_crossentropy")
    x, y = data()
    model.predict(x, batch_size=4, callbacks=[Recorder()], verbose=0)
    model.evaluate(x, y, batch_size=4, callbacks=[Recorder()], verbose=0)
    names = [name for name, _ in calls]
    assert names.count("on_predict_batch_end") == names.count("on_test_batch_begin") == 2
    assert names[0] == "on_predict_begin"
    assert names[-1] == "on_test_end"


def test_the_progress_bar(capsys):
    classifier().predict(data()[0], batch_size=2, verbose=1)
    assert "4/4" in capsys.readouterr().out


def test_stopping_from_a_callback():
    class Stop(keras.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            self.model.stop_predicting = True

    assert len(classifier().predict(data()[0], batch_size=2, callbacks=[Stop()], verbose=0)) == 2


def test_seeds_advance_inside_predict():
    class Noise(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(1)

        def call(self, x):
            return x + keras.random.normal(ops.shape(x), seed=self.seed_generator)

    model = keras.Sequential([keras.Input((4,)), Noise()])
    x = np.zeros((6, 4), "float32")
    first = model.predict(x, batch_size=3, verbose=0)
    assert not np.array_equal(first[:3], first[3:])
    assert not np.array_equal(first, model.predict(x, batch_size=3, verbose=0))
    assert int(model.layers[0].seed_generator.state.value[1]) == 4
    # the same numbers eagerly
    model.layers[0].seed_generator.state.assign([1, 0])
    np.testing.assert_allclose(model(x[:3]), first[:3], rtol=1e-5, atol=1e-6)


def test_a_stateful_recurrent_layer_keeps_its_state():
    keras.utils.set_random_seed(1)
    stateful = keras.Sequential([keras.Input(batch_shape=(2, 3, 4)), layers.LSTM(5, stateful=True)])
    whole = keras.Sequential([keras.Input((6, 4)), layers.LSTM(5)])
    whole.set_weights(stateful.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    stateful.predict(x[:, :3], batch_size=2, verbose=0)
    second = stateful.predict(x[:, 3:], batch_size=2, verbose=0)
    np.testing.assert_allclose(second, whole.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_users_variable_advances():
    class Counter(layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False
            )

        def call(self, x):
            self.calls.assign_add(1)
            return x + ops.cast(self.calls, x.dtype)

    model = keras.Sequential([keras.Input((1,)), Counter()])
    assert model.predict(np.zeros((4, 1)), batch_size=2, verbose=0).ravel().tolist() == [1, 1, 2, 2]
    assert int(model.layers[0].calls.value) == 2


def test_masks_reach_the_layers():
    model = keras.Sequential(
        [keras.Input((5,)), layers.Embedding(7, 4, mask_zero=True), layers.GlobalAveragePooling1D()]
    )
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    table = model.get_weights()[0]
    expected = [table[[i for i in row if i]].mean(0) for row in x]
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_an_overridden_predict_step_is_compiled():
    traces = []

    class Doubling(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

        def predict_step(self, data):
            traces.append(1)
            return super().predict_step(data) * 2

    model, (x, _) = Doubling(), data(8)
    result = model.predict(x, batch_size=2, verbose=0)
    np.testing.assert_allclose(result, np.asarray(model(x)) * 2, rtol=1e-5, atol=1e-6)
    assert len(traces) == 1


def test_python_values_of_traced_tensors_name_the_way_out():
    class Branching(layers.Layer):
        def call(self, x):
            return x if float(ops.sum(x)) > 0 else -x

    model = keras.Sequential([Branching()])
    with pytest.raises(Exception, match=r"keras\.ops"):
        model.predict(np.ones((2, 2), "float32"), verbose=0)


def test_int64_inputs_past_32_bits_raise():
    model = keras.Sequential([keras.Input((1,), dtype="int64"), layers.Lambda(lambda x: x * 2)])
    with pytest.raises(OverflowError, match="32 bits"):
        model.predict(np.array([[2**40]]), verbose=0)


class Tabulated(keras.layers.Layer):
    """Looks up in a Python dict, as Keras's lookup layers do in a TensorFlow table."""

    def __init__(self, supports_jit):
        super().__init__()
        self.supports_jit = supports_jit

    def call(self, x):
        table = {0.0: 5.0, 1.0: 7.0}
        return ops.convert_to_tensor([table[float(v)] for v in x.numpy()[:, 0]])

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape[:1], x.dtype)


class Printing(keras.Model):
    """Asks for values; builds its layer in its first call."""

    def __init__(self):
        super().__init__()
        self.dense, self.seen = layers.Dense(1), []

    def call(self, x):
        y = self.dense(x)
        self.seen.append(float(y[0, 0]))
        return y


def test_an_unbuilt_model_that_runs_eagerly_is_built_by_its_first_step():
    model = Printing()
    model.compile(run_eagerly=True)
    y = model.predict(np.ones((3, 2)), batch_size=2, verbose=0)
    np.testing.assert_allclose(model.seen, y[[0, 2], 0])


class Counting(keras.Model):
    """A weighted number of letters of each string."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, kernel_initializer="ones")

    def call(self, x):
        return self.dense(ops.convert_to_tensor([[len(str(v))] for v in ops.convert_to_numpy(x)]))


STRINGS = np.array(["a", "bcd", ""])


@pytest.mark.parametrize("kind", ["array", "object", "tensor"])
@pytest.mark.parametrize("entry", ["predict_on_batch", "test_on_batch", "train_on_batch"])
def test_an_unbuilt_model_of_strings_is_built_by_its_first_step(entry, kind):
    x = {"array": STRINGS, "object": STRINGS.astype(object)}.get(kind)
    x = ops.convert_to_tensor(STRINGS) if x is None else x
    model = Counting()
    model.compile("sgd", "mse", metrics=["mae"])
    if entry == "predict_on_batch":
        np.testing.assert_array_equal(model.predict_on_batch(x), [[1], [3], [0]])
        return
    for _ in range(2):
        loss, error = getattr(model, entry)(x, np.array([[2.0], [3.0], [0.0]]))
        assert entry == "train_on_batch" or (loss, error) == pytest.approx((1 / 3, 1 / 3))
    assert model.built and (entry != "train_on_batch" or int(model.optimizer.iterations) == 2)


def test_an_unbuilt_model_with_text_vectorization():
    pytest.importorskip("tensorflow")
    vectorize = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)
    model = keras.Sequential([vectorize, layers.Embedding(5, 2)])
    found = model.predict_on_batch(np.array(["a b", "b"]))
    np.testing.assert_array_equal(
        found, np.asarray(model.layers[1].embeddings)[[[2, 3, 0], [3, 0, 0]]]
    )


def test_a_layer_that_says_that_it_cannot_be_traced_runs_eagerly():
    x = np.array([[0.0], [1.0], [1.0]], "float32")
    model = keras.Sequential([Tabulated(supports_jit=False)])
    np.testing.assert_array_equal(model.predict(x, batch_size=2, verbose=0), [5.0, 7.0, 7.0])
    with pytest.raises(TracedValueError):
        keras.Sequential([Tabulated(supports_jit=True)]).predict(x, verbose=0)
