"""What a step of training moves beside the weights, and what it leaves alone."""

import keras
import numpy as np
import pytest
from keras import layers, ops

both = pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eager"])


def data(rows=32, width=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).astype("float32")
    return x, x.sum(1, keepdims=True)


def trained(model, x, y, eagerly=False, optimizer="sgd", **options):
    model.compile(optimizer, "mse", run_eagerly=eagerly)
    return model.fit(x, y, **{"batch_size": 8, "shuffle": False, "verbose": 0, **options})


@both
def test_moving_statistics(eagerly):
    x, _ = data()
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(momentum=0.5)])
    trained(model, x, x, eagerly)
    mean, variance = np.zeros(4), np.ones(4)
    for start in range(0, 32, 8):
        batch = x[start : start + 8]
        mean = 0.5 * mean + 0.5 * batch.mean(0)
        variance = 0.5 * variance + 0.5 * batch.var(0)
    layer = model.layers[0]
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)


def test_compiled_and_eager_steps_agree():
    x, y = data()
    models = []
    for eagerly in (False, True):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(8, "swish", kernel_regularizer="l2", kernel_constraint="max_norm"),
                layers.BatchNormalization(),
                layers.Dropout(0.3, seed=5),
                layers.Dense(1, activity_regularizer="l1"),
            ]
        )
        history = trained(model, x, y, eagerly, optimizer="adam", epochs=3)
        models.append((model, history.history["loss"]))
    (one, losses), (other, eager_losses) = models
    np.testing.assert_allclose(losses, eager_losses, rtol=1e-4)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@both
def test_dropout_differs_from_step_to_step(eagerly):
    seen = []

    class Watching(layers.Layer):
        def build(self, shape):
            self.last = self.add_weight(shape=(8, 4), initializer="zeros", trainable=False)

        def call(self, x):
            self.last.assign(x)
            return x

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(np.array(self.model.layers[1].last))

    model = keras.Sequential(
        [keras.Input((4,)), layers.Dropout(0.5, seed=1), Watching(), layers.Dense(1)]
    )
    trained(model, np.ones((24, 4)), np.ones((24, 1)), eagerly, callbacks=[Keep()])
    assert len({s.tobytes() for s in seen}) == 3
    assert all(set(np.unique(s)) == {0.0, 2.0} for s in seen)
    assert int(model.layers[0].seed_generator.state.value[1]) == 3


@both
def test_frozen_layers_stay(eagerly):
    x, y = data()
    frozen = layers.Dense(8, "relu")
    model = keras.Sequential([keras.Input((4,)), frozen, layers.Dense(1)])
    frozen.trainable = False
    before = model.get_weights()
    trained(model, x, y, eagerly)
    after = model.get_weights()
    for index, moved in enumerate((False, False, True, True)):
        assert np.array_equal(before[index], after[index]) != moved
    frozen.trainable = True
    trained(model, x, y, eagerly)
    assert not np.array_equal(before[0], model.get_weights()[0])


def test_frozen_weights_assigned_later_are_seen():
    frozen = layers.Dense(1, use_bias=False, trainable=False)
    model = keras.Sequential([keras.Input((1,)), frozen, layers.Rescaling(1.0)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="any trainable weights"):
        for value in (2.0, 3.0, 4.0, 5.0):
            frozen.kernel.assign([[value]])
            assert model.train_on_batch(np.ones((1, 1)), np.zeros((1, 1))) == value**2


@both
def test_a_stateful_recurrent_layer(eagerly):
    model = keras.Sequential(
        [keras.Input(batch_shape=(2, 3, 4)), layers.LSTM(5, stateful=True), layers.Dense(1)]
    )
    x = np.random.default_rng(0).normal(size=(4, 3, 4)).astype("float32")
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=eagerly)
    model.fit(x, np.zeros((4, 1)), batch_size=2, shuffle=False, verbose=0)
    whole = keras.Sequential([keras.Input((6, 4)), layers.LSTM(5)])
    whole.set_weights(model.get_weights()[:3])
    expected = whole.predict(np.concatenate([x[:2], x[2:]], axis=1), verbose=0)
    np.testing.assert_allclose(model.layers[0].states[0], expected, rtol=1e-4, atol=1e-5)


@both
def test_class_and_sample_weights(eagerly):
    x = np.ones((4, 1), "float32")
    y = np.array([0, 1, 1, 0])
    model = keras.Sequential([keras.Input((1,)), layers.Dense(2, "softmax", use_bias=False)])
    model.compile(
        keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", run_eagerly=eagerly,
        weighted_metrics=["accuracy"],
    )  # fmt: skip
    model.set_weights([np.array([[0.0, np.log(3)]])])
    losses = -np.log([0.25, 0.75, 0.75, 0.25])
    weighted = model.fit(x, y, class_weight={0: 3.0, 1: 0.5}, verbose=0).history
    assert weighted["loss"][0] == pytest.approx((losses * [3, 0.5, 0.5, 3]).mean(), rel=1e-5)
    assert weighted["accuracy"][0] == pytest.approx(1 / 7)
    sample = np.array([1.0, 2.0, 0.0, 4.0])
    weighted = model.fit(x, y, sample_weight=sample, verbose=0).history
    assert weighted["loss"][0] == pytest.approx((losses * sample).mean(), rel=1e-5)
    single = model.train_on_batch(x, y, class_weight={0: 3.0, 1: 0.5}, return_dict=True)
    assert single["loss"] == pytest.approx((losses * [3, 0.5, 0.5, 3]).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="same time"):
        model.train_on_batch(x, y, sample_weight=sample, class_weight={0: 1.0, 1: 2.0})


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    x, y = data(64)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(16, "relu", dtype=policy), layers.Dense(1)]
    )
    full = keras.Sequential([keras.Input((4,)), layers.Dense(16, "relu"), layers.Dense(1)])
    full.set_weights(model.get_weights())
    losses = [
        trained(m, x, y, optimizer=keras.optimizers.SGD(0.05), epochs=10).history["loss"]
        for m in (model, full)
    ]
    assert losses[0][-1] < 0.5 * losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)
    assert all(w.dtype == "float32" for w in model.weights)


def test_float16_policy_scales_the_loss():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.dtype_policy = keras.DTypePolicy("mixed_float16")
    x, y = data()
    history = trained(model, x, y, epochs=20)
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert history.history["loss"][-1] < 0.2 * history.history["loss"][0]
    assert int(model.optimizer.iterations) == 80


def test_an_overflow_skips_the_step():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=64.0)
    model.compile(optimizer, "mse")
    before = model.get_weights()[0]
    model.train_on_batch(np.array([[1e30]]), np.array([[1.0]]))
    np.testing.assert_array_equal(model.get_weights()[0], before)
    assert float(optimizer.dynamic_scale.value) == 32
    model.train_on_batch(np.array([[1.0]]), np.array([[before.item() + 1]]))
    np.testing.assert_allclose(model.get_weights()[0], before + 0.2, rtol=1e-5)


@both
def test_lora(eagerly):
    x, y = data()
    dense = layers.Dense(4)
    model = keras.Sequential([keras.Input((4,)), dense, layers.Dense(1, trainable=False)])
    dense.enable_lora(2)
    kernel = np.array(dense._kernel)
    history = trained(model, x, y, eagerly, optimizer="adam", epochs=5)
    np.testing.assert_array_equal(dense._kernel, kernel)
    assert np.abs(np.array(dense.lora_kernel_b)).max() > 0
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_an_interrupt_leaves_the_weights_of_the_last_step():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                raise KeyboardInterrupt

    x, y = data()
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    with pytest.raises(KeyboardInterrupt):
        trained(model, x, y, callbacks=[Interrupt()])
    trained(other, x[:16], y[:16])
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert int(model.optimizer.iterations) == 2


def test_one_trace_for_each_signature():
    traces = []

    class Counting(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x, training=None):
            if ops.is_tensor(x) and x.is_symbolic:
                traces.append(training)
            return self.dense(x)

    x, y = data(20)
    model = Counting()
    model(x)
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=8, epochs=4, validation_data=(x, y), verbose=0)
    del traces[: traces.index(True)]  # Keras calls once more to build losses
    assert sorted(traces) == [False, False, True, True]


def test_programs_outlive_epochs_and_learning_rates(monkeypatch):
    from kerasvino.runtime import specialisation

    compiled = []

    class Program(specialisation.Program):
        def __init__(self, *args, **kwargs):
            compiled.append(1)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(specialisation, "Program", Program)
    x, y = data(16)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.Dense(1)])
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (1 + epoch))
    trained(model, x, y, epochs=5, validation_data=(x[:8], y[:8]), callbacks=[schedule])
    assert len(compiled) == 2  # the step of training, that of validation
