"""Custom steps and loops: written for TensorFlow with the import changed, or as in Keras's guide
to JAX."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino

both = pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eager"])


def data(rows=32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype("float32")
    return x, (x @ [[1.0], [2.0], [-1.0]]).astype("float32")


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(1)])


def reference(epochs=4, **options):
    """Losses and weights of the built-in step."""
    model = network()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = data()
    history = model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, **options)
    return history.history, model.get_weights()


def same(weights, others):
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


class Taped(keras.Sequential):
    """The train_step of Keras's guide to TensorFlow."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with kerasvino.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


@both
def test_a_tape_of_tensorflow_names_ours(eagerly):
    tf = pytest.importorskip("tensorflow")

    class Foreign(keras.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            return {"loss": tape.gradient(loss, self.trainable_weights)}

    model = Foreign(network().layers)
    model.compile("sgd", "mse", run_eagerly=eagerly)
    with pytest.raises(TypeError, match=r"`train_step` of .* calls TensorFlow .*\n.*GradientTape"):
        model.fit(*data(), verbose=0)


@both
def test_what_tensorflow_refuses_in_a_layer_of_keras_is_said_as_it_is(eagerly):
    pytest.importorskip("tensorflow")
    table = layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Sequential([keras.Input((1,), dtype="int32"), table])
    model.compile(run_eagerly=eagerly)
    with pytest.raises(Exception) as caught:
        model.predict_on_batch(np.ones((2, 1), "int32"))
    assert "kerasvino" not in str(caught.value)


@both
def test_a_train_step_with_a_tape(eagerly):
    history, weights = reference()
    model = Taped(network().layers)
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], run_eagerly=eagerly)
    x, y = data()
    found = model.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0).history
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-4)
    same(model.get_weights(), weights)


@both
def test_an_overridden_compute_loss(eagerly):
    class Model(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            assert training
            return ops.mean(ops.square(y - y_pred)) + sum(self.losses)

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            return {**super().compute_metrics(x, y, y_pred, sample_weight), "last": ops.max(y)}

    history, weights = reference()
    model = Model(network().layers)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=eagerly)
    x, y = data()
    found = model.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0).history
    assert found["last"][-1] == pytest.approx(y[-8:].max())
    same(model.get_weights(), weights)
    assert history["loss"][-1] < history["loss"][0]


@both
def test_losses_added_by_layers(eagerly):
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(0.5 * ops.mean(ops.square(x)))
            return x

    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False), Penalty()])
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=eagerly)
    x, _ = data(8)
    w = model.get_weights()[0]
    loss = model.train_on_batch(x)
    assert all(not added.is_symbolic for added in model.losses)
    assert loss == pytest.approx(0.5 * np.mean((x @ w) ** 2), rel=1e-4)
    np.testing.assert_allclose(
        model.get_weights()[0], w - 0.1 * x.T @ (x @ w) / 8, rtol=1e-4, atol=1e-6
    )


def test_a_loop_as_in_the_guide_to_jax():
    history, weights = reference()
    model, optimizer = network(), keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    def loss_and_updates(trainable, non_trainable, x, y):
        y_pred, non_trainable = model.stateless_call(trainable, non_trainable, x, training=True)
        return ops.mean(ops.square(y_pred - y)), non_trainable

    gradient = kerasvino.value_and_grad(loss_and_updates, has_aux=True)

    @kerasvino.jit
    def train_step(state, data):
        trainable, non_trainable, optimizer_state = state
        (loss, non_trainable), grads = gradient(trainable, non_trainable, *data)
        trainable, optimizer_state = optimizer.stateless_apply(optimizer_state, grads, trainable)
        return loss, (trainable, non_trainable, optimizer_state)

    state = (
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
        [v.value for v in optimizer.variables],
    )
    x, y = data()
    for _ in range(4):
        losses = []
        for start in range(0, 32, 8):
            batch = x[start : start + 8], y[start : start + 8]
            loss, state = train_step(state, batch)
            losses.append(float(loss))
    assert np.mean(losses) == pytest.approx(history["loss"][-1], rel=1e-4)
    same(state[0], weights)
    assert not np.allclose(model.get_weights()[0], weights[0])


@pytest.mark.parametrize("run", [lambda f: f, kerasvino.jit], ids=["eager", "traced"])
def test_a_loop_over_variables(run):
    history, weights = reference()
    model, optimizer = network(), keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    def train_step(x, y):
        loss = lambda: ops.mean(ops.square(model(x, training=True) - y))
        value, grads = kerasvino.value_and_grad(loss, variables=model.trainable_variables)()
        optimizer.apply(grads, model.trainable_variables)
        return value

    step = run(train_step)
    x, y = data()
    for _ in range(4):
        losses = [float(step(x[i : i + 8], y[i : i + 8])) for i in range(0, 32, 8)]
    assert np.mean(losses) == pytest.approx(history["loss"][-1], rel=1e-4)
    same(model.get_weights(), weights)
    assert int(optimizer.iterations) == 16


def test_callbacks_around_a_compiled_step(tmp_path):
    model = network()
    model.compile(keras.optimizers.SGD(0.05, use_ema=True), "mse")
    x, y = data()
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append((float(self.model.optimizer.learning_rate), dict(logs)))

    file = tmp_path / "best.weights.h5"
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=2, restore_best_weights=True, start_from_epoch=0
    )
    model.fit(
        x, y, batch_size=8, epochs=12, verbose=0, validation_data=(x[:5], y[:5]),
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: 0.05 if epoch < 4 else 0.9),
            keras.callbacks.ModelCheckpoint(file, save_best_only=True, save_weights_only=True),
            keras.callbacks.TerminateOnNaN(), stopping, Rates(),
        ],
    )  # fmt: skip
    values = [logs["val_loss"] for _, logs in rates]
    assert 4 < len(rates) < 12
    assert [rate for rate, _ in rates] == pytest.approx([0.05] * 4 + [0.9] * (len(rates) - 4))
    assert all(isinstance(v, float) for _, logs in rates for v in logs.values())
    best = min(values)
    assert model.evaluate(x[:5], y[:5], verbose=0) == pytest.approx(best, rel=1e-5)
    model.load_weights(file)
    assert model.evaluate(x[:5], y[:5], verbose=0) == pytest.approx(best, rel=1e-5)


def test_a_saved_model_goes_on_where_it_was(tmp_path):
    _, weights = reference(epochs=4)
    model = network()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = data()
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "half.keras")
    again = keras.saving.load_model(tmp_path / "half.keras")
    again.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    same(again.get_weights(), weights)
    assert int(again.optimizer.iterations) == 16


@both
def test_batches_of_many_lengths(eagerly):
    """Past a few shapes a step is traced with an unknown length."""
    x, y = data(40)
    model, other = network(), network()
    for m, eager in ((model, eagerly), (other, True)):
        m.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=eager)
    for rows in (3, 5, 7, 9, 11, 4, 13):
        a, b = (m.train_on_batch(x[:rows], y[:rows]) for m in (model, other))
        assert a == pytest.approx(b, rel=1e-4)
    same(model.get_weights(), other.get_weights())


def test_a_one_shot_generator_loses_no_batch():
    x, y = data(24)
    model, other = network(), network()
    for m in (model, other):
        m.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"])
    model.fit(((x[i : i + 8], y[i : i + 8]) for i in (0, 8, 16)), verbose=0)
    other.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 3
    same(model.get_weights(), other.get_weights())


class Logging(layers.Layer):
    """Reads a value while it is called, as writers of summaries do."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x):
        self.seen.append(float(ops.sum(x)))
        return x

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_without_jit_compile_a_step_that_cannot_be_traced_runs_eagerly():
    x, y = data(8)
    model = keras.Sequential([keras.Input((3,)), Logging(), layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    for _ in range(2):
        model.train_on_batch(x, y)
    assert model.layers[0].seen == [pytest.approx(x.sum(), rel=1e-4)] * 2
    model.compile("sgd", "mse", jit_compile=True)
    with pytest.raises(Exception, match="traced tensor"):
        model.train_on_batch(x, y)
    other = network()
    other.compile("sgd", "mse", jit_compile=False)
    other.train_on_batch(x, y)
    assert len(other.train_function.compiled.assigned()) > 4


def test_an_unbuilt_model_that_runs_eagerly_trains_from_its_first_step():
    class Unbuilt(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1, kernel_initializer="zeros", use_bias=False)

        def call(self, x):
            assert float(ops.max(x)) < 100
            return self.dense(x)

    x, y = data(8)
    model = Unbuilt()
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"], run_eagerly=True)
    model.train_on_batch(x, y)
    np.testing.assert_allclose(model.get_weights()[0], 0.1 * 2 * x.T @ y / 8, rtol=1e-4)
    assert np.isfinite(model.fit(x, y, verbose=0).history["mae"][0])


def test_no_optimizer_is_said():
    model = network()
    model.compile(optimizer=None, loss="mse")
    with pytest.raises(ValueError, match="optimizer=None"):
        model.train_on_batch(*data(8))
