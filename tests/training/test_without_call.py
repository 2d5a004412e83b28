"""Models without a `call` whose own steps train what is in them: GANs, autoencoders."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino

both = pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eager"])
built = pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])


def data(rows=24):
    return np.random.default_rng(0).normal(size=(rows, 4)).astype("float32")


def networks(built):
    """A discriminator of 4 numbers and a generator from 3, with or without their shapes."""
    keras.utils.set_random_seed(0)
    shapes = ([keras.Input((4,))], [keras.Input((3,))]) if built else ([], [])
    discriminator = [layers.Dense(8, "relu", kernel_regularizer="l2"), layers.Dense(1)]
    generator = [layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dense(4)]
    return (
        keras.Sequential([*shapes[0], *discriminator]), keras.Sequential([*shapes[1], *generator])
    )  # fmt: skip


class GAN(keras.Model):
    """The GAN of Keras's guide, with steps of evaluation and prediction."""

    def __init__(self, discriminator, generator):
        super().__init__()
        self.discriminator, self.generator = discriminator, generator
        self.d_tracker, self.g_tracker = keras.metrics.Mean("d"), keras.metrics.Mean("g")
        self.seeds = keras.random.SeedGenerator(1)
        self.runs = 0

    @property
    def metrics(self):
        return [self.d_tracker, self.g_tracker]

    def compile(self, d_optimizer, g_optimizer, loss_fn, **options):
        super().compile(**options)
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        self.loss_fn = loss_fn

    def noise(self, real):
        return keras.random.normal((ops.shape(real)[0], 3), seed=self.seeds)

    def train_step(self, data):
        self.runs += 1
        (real,) = data if isinstance(data, tuple) and len(data) == 1 else (data,)
        real, *_ = real if isinstance(real, tuple) else (real,)
        ones, zeros = ops.ones_like(real[:, :1]), ops.zeros_like(real[:, :1])
        fake = self.generator(self.noise(real), training=True)
        weights = self.discriminator.trainable_weights
        with kerasvino.GradientTape() as tape:
            found = self.discriminator(ops.concatenate([fake, real]), training=True)
            d_loss = self.loss_fn(ops.concatenate([ones, zeros]), found)
            d_loss += sum(self.discriminator.losses)
        # a step may ask for weights before anything has built them
        weights = weights or self.discriminator.trainable_weights
        self.d_optimizer.apply(tape.gradient(d_loss, weights), weights)
        with kerasvino.GradientTape() as tape:
            found = self.discriminator(self.generator(self.noise(real), training=True))
            g_loss = self.loss_fn(zeros, found)
        weights = self.generator.trainable_weights
        self.g_optimizer.apply(tape.gradient(g_loss, weights), weights)
        self.d_tracker.update_state(d_loss)
        self.g_tracker.update_state(g_loss)
        return {"d": self.d_tracker.result(), "g": self.g_tracker.result()}

    def test_step(self, data):
        real = data[0] if isinstance(data, tuple) else data
        loss = self.loss_fn(ops.zeros_like(real[:, :1]), self.discriminator(real))
        self.d_tracker.update_state(loss)
        return {"d": self.d_tracker.result()}

    def predict_step(self, data):
        return self.generator(data[0] if isinstance(data, tuple) else data)


def gan(built=False, **options):
    model = GAN(*networks(built))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.02), loss, **options)
    return model


@built
def test_a_gan(built):
    """Every entry point, compiled, against the same run eagerly."""
    found = []
    x = data()
    for eagerly in (False, True):
        model = gan(built or eagerly, run_eagerly=eagerly, steps_per_execution=1 + built)
        history = model.fit(
            x, batch_size=8, epochs=2, shuffle=False, verbose=0, validation_data=(x[:8],)
        ).history
        assert int(model.d_optimizer.iterations) == int(model.g_optimizer.iterations) == 6
        assert not model.optimizer.built  # the one of compile(), which nothing uses
        found.append([
            *history.values(), model.train_on_batch(x), model.train_on_batch(x[:5]),
            model.test_on_batch(x), model.evaluate(x, batch_size=8, verbose=0),
            model.predict(x[:, :3], batch_size=8, verbose=0), model.predict_on_batch(x[:, :3]),
            *model.get_weights(),
        ])  # fmt: skip
    assert len(found[0]) == len(found[1]) == 3 + 6 + 12
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@both
@pytest.mark.parametrize("first", ["predict", "predict_on_batch", "evaluate", "test_on_batch"])
def test_any_of_its_steps_may_come_first(first, eagerly):
    model = gan(run_eagerly=eagerly)
    x = data()[:, :3] if "predict" in first else data()
    found = getattr(model, first)(x)
    assert np.all(np.isfinite(found))
    assert np.shape(found) == ((24, 4) if "predict" in first else ())
    assert np.isfinite(model.train_on_batch(data())).all()


def test_prediction_needs_no_compile():
    model = GAN(*networks(built=False))
    assert model.predict_on_batch(data()[:, :3]).shape == (24, 4)
    assert model.predict(data()[:, :3], verbose=0).shape == (24, 4)


def test_a_step_is_run_once_more_where_nothing_was_built_and_changes_nothing():
    model = gan()
    model.train_on_batch(data())
    assert model.runs == 2
    assert int(model.d_optimizer.iterations) == 1
    model.train_on_batch(data())
    assert model.runs == 2
    for _ in range(2):  # of another structure: traced, but everything is there
        model.fit(data(), batch_size=24, verbose=0)
    assert model.runs == 3
    other, seeds = gan(run_eagerly=True), []
    for m in (model, other):
        for _ in range(1 if m is model else 5):
            m.train_on_batch(data())
        seeds.append(m.seeds.state.numpy())
    np.testing.assert_array_equal(*seeds)


@both
def test_nested_gradients(eagerly):
    """A WGAN with a gradient penalty."""

    class WGAN(GAN):
        def penalty(self, real, fake):
            share = keras.random.uniform((ops.shape(real)[0], 1), seed=self.seeds)
            mixed = real + share * (fake - real)
            with kerasvino.GradientTape() as tape:
                tape.watch(mixed)
                found = self.discriminator(mixed, training=True)
            squares = ops.sum(ops.square(tape.gradient(found, mixed)), axis=1)
            return ops.mean(ops.square(ops.sqrt(squares + 1e-12) - 1))

        def train_step(self, real):
            for _ in range(2):
                with kerasvino.GradientTape() as tape:
                    fake = self.generator(self.noise(real), training=True)
                    cost = ops.mean(self.discriminator(fake)) - ops.mean(self.discriminator(real))
                    cost += 10 * self.penalty(real, fake)
                weights = self.discriminator.trainable_weights
                self.d_optimizer.apply(tape.gradient(cost, weights), weights)
            self.d_tracker.update_state(cost)
            return {"d": self.d_tracker.result()}

    losses = []
    for eager in {eagerly, True}:
        model = WGAN(*networks(built=eager))
        model.compile(keras.optimizers.Adam(0.01), None, None, run_eagerly=eager)
        losses.append(
            model.fit(data(), batch_size=8, epochs=4, shuffle=False, verbose=0).history["d"]
        )
        assert int(model.d_optimizer.iterations) == 24
        assert losses[-1][-1] < losses[-1][0]
    np.testing.assert_allclose(losses[0], losses[-1], rtol=1e-3)


class Sampling(layers.Layer):
    """Adds noise, and its divergence as a loss."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(2)

    def call(self, inputs):
        mean, log = inputs
        self.add_loss(-0.5 * ops.mean(1 + log - ops.square(mean) - ops.exp(log)))
        return mean + ops.exp(log / 2) * keras.random.normal(ops.shape(mean), seed=self.seeds)


class Autoencoder(keras.Model):
    def __init__(self, in_call):
        super().__init__()
        self.mean, self.log = layers.Dense(2), layers.Dense(2)
        self.sampling, self.decoder = Sampling(), layers.Dense(4)
        self.tracker = keras.metrics.Mean(name="total")
        self.in_call = in_call

    def train_step(self, data):
        x = data[0] if isinstance(data, tuple) else data
        with kerasvino.GradientTape() as tape:
            decoded = self.decoder(self.sampling((self.mean(x), self.log(x))))
            loss = ops.mean(ops.square(decoded - x))
            if not self.in_call:
                self.add_loss(loss)
                loss = 0
            loss = loss + sum(self.losses)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        self.tracker.update_state(loss)
        return {"total": self.tracker.result()}


@pytest.mark.parametrize("in_call", [True, False], ids=["of a layer", "of the step"])
def test_losses_that_are_added(in_call):
    histories = []
    for eagerly in (False, True):
        keras.utils.set_random_seed(0)
        model = Autoencoder(in_call)
        model.compile(keras.optimizers.Adam(0.05), run_eagerly=eagerly)
        histories.append(
            model.fit(data(), batch_size=8, epochs=6, shuffle=False, verbose=0).history["total"]
        )
    np.testing.assert_allclose(*histories, rtol=1e-3)
    assert histories[0][-1] < 0.9 * histories[0][0]


@both
def test_weights_that_are_asked_for_before_they_are_made(eagerly):
    class Early(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def train_step(self, data):
            weights = self.trainable_weights
            with kerasvino.GradientTape() as tape:
                loss = ops.mean(ops.square(self.dense(data)))
            if weights:
                self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"value": loss}

    model = Early()
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=eagerly)
    history = model.fit(data(), batch_size=24, epochs=4, shuffle=False, verbose=0).history
    values = history["value"]
    # the first step that runs eagerly finds none, as with TensorFlow
    assert (values[1] == values[0]) is eagerly
    assert values[3] < values[2] < values[1]


def test_a_call_that_takes_other_data_than_the_step():
    """Contrastive training: pairs of batches, of which `call` takes one."""

    class Contrastive(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder = layers.Dense(2)
            self.called = 0

        def call(self, x):
            self.called += 1
            if isinstance(x, dict):
                raise TypeError("one batch at a time")
            return self.encoder(x)

        def train_step(self, data):
            data = data[0] if isinstance(data, tuple) else data
            with kerasvino.GradientTape() as tape:
                a, b = self.encoder(data["a"]), self.encoder(data["b"])
                loss = ops.mean(ops.square(a - b - 1))
            weights = self.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"value": loss}

    model = Contrastive()
    model.compile(keras.optimizers.SGD(0.1))
    x = {"a": data(), "b": data()[::-1]}
    values = model.fit(x, batch_size=24, epochs=5, verbose=0).history["value"]
    assert values[-1] < values[0]
    called = model.called
    model.train_on_batch(x)
    assert model.called == called > 0  # in vain, when nothing was built


def test_metrics_and_losses_of_compile_are_used_by_an_own_step():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def train_step(self, data):
            x, y = data
            with kerasvino.GradientTape() as tape:
                y_pred = self.dense(x)
                loss = self.compute_loss(x, y, y_pred)
            weights = self.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            self._loss_tracker.update_state(loss)
            return self.compute_metrics(x, y, y_pred)

    model = Model()
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(data(), data()[:, :1], epochs=2, verbose=0).history
    assert set(history) == {"loss", "mae"}
    assert model.optimizer.built


# -- what fails is seen


@pytest.mark.parametrize("mode", ["fit", "evaluate", "predict"])
def test_without_an_own_step_the_missing_call_is_said(mode):
    model = keras.Model()
    model.compile("sgd", "mse")
    arguments = (data(),) if mode == "predict" else (data(), data())
    with pytest.raises((RuntimeError, NotImplementedError), match="does not have a `call"):
        getattr(model, mode)(*arguments, verbose=0)


@both
def test_an_error_of_a_step_is_seen(eagerly):
    class Failing(keras.Model):
        def train_step(self, data):
            raise KeyError("mine")

    class Calling(Failing):
        def call(self, x):
            raise OSError("of the call")

        def train_step(self, data):
            return {"value": self(data)}

    for kind, error, message in ((Failing, KeyError, "mine"), (Calling, OSError, "of the call")):
        model = kind()
        model.compile(run_eagerly=eagerly)
        with pytest.raises(error, match=message):
            model.fit(data(), verbose=0)
        with pytest.raises(error, match=message):
            model.train_on_batch(data())


@pytest.mark.parametrize("own", [False, True])
def test_a_model_that_cannot_be_built_says_why(own):
    class Wrong(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return ops.matmul(self.dense(x), ops.ones((7, 2)))

    class Own(Wrong):
        def train_step(self, data):
            return super().train_step(data)

    model = (Own if own else Wrong)()
    model.compile("sgd", "mse")
    with pytest.raises(Exception, match=r"7, ?2"):
        model.fit(data(), data(), verbose=0)
