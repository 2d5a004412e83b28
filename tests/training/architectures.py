"""Ten networks trained for 20 steps: `KERAS_BACKEND=jax python architectures.py losses.npz`.

Weights and data are drawn with NumPy, so that backends start alike; nothing is random in a step.
"""

import os
import sys

import numpy as np

if os.environ["KERAS_BACKEND"] != "jax":  # the reference
    import kerasvino
import keras
from keras import layers, ops

STEPS = 20
ON_JAX = keras.backend.backend() == "jax"


def randomised(*models):
    """The models with weights drawn from one generator, scaled to their fan-in."""
    rng = np.random.default_rng(7)
    for model in models:
        for variable in model.trainable_variables:
            shape = variable.shape
            if len(shape) > 1:
                scale = 1 / np.sqrt(np.prod(shape[:-1]))
                variable.assign(rng.normal(0, scale, shape).astype("float32"))
            elif "gamma" not in variable.path and "scale" not in variable.path:
                variable.assign(rng.normal(0, 0.1, shape).astype("float32"))
    return models if len(models) > 1 else models[0]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def labels(count, classes):
    return np.random.default_rng(1).integers(0, classes, count)


def fitted(model, x, y, loss="sparse_categorical_crossentropy", optimizer=None):
    model.compile(optimizer or keras.optimizers.Adam(3e-3), loss)
    history = randomised(model).fit(
        x, y, epochs=STEPS, batch_size=len(tree_first(x)), shuffle=False, verbose=0
    )
    return history.history["loss"]


def tree_first(x):
    return x[0] if isinstance(x, list) else x


def classifier(inputs, features, classes=4):
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(features))


def mlp():
    inputs = keras.Input((10,))
    x = layers.Dense(32, activation="relu", kernel_regularizer="l2")(inputs)
    x = layers.Dense(16, activation="gelu")(x)
    return fitted(classifier(inputs, x), numbers(32, 10), labels(32, 4))


def cnn():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, activation="relu", padding="same")(inputs)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(12, 3, strides=2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Flatten()(layers.ReLU()(x))
    return fitted(classifier(inputs, x), numbers(16, 12, 12, 3), labels(16, 4))


def resnet():
    inputs = keras.Input((8, 8, 6))
    x = inputs
    for filters, strides in ((6, 1), (8, 2)):
        short = x
        if strides > 1:
            short = layers.Conv2D(filters, 1, strides=strides)(x)
        x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(layers.Add()([x, short]))
    x = layers.GlobalAveragePooling2D()(x)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    return fitted(classifier(inputs, x), numbers(16, 8, 8, 6), labels(16, 4), optimizer=optimizer)


def separable():
    inputs = keras.Input((10, 10, 4))
    x = layers.SeparableConv2D(8, 3, depth_multiplier=2, activation="swish")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.LayerNormalization()(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.GlobalMaxPooling2D()(x)
    return fitted(classifier(inputs, x), numbers(16, 10, 10, 4), labels(16, 4))


def unet():
    inputs = keras.Input((8, 8, 2))
    a = layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    b = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D()(a))
    c = layers.Conv2D(10, 3, padding="same", activation="relu")(layers.MaxPooling2D()(b))
    x = layers.Conv2DTranspose(8, 2, strides=2)(c)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Concatenate()([x, b]))
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(layers.Concatenate()([x, a]))
    model = keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))
    x = numbers(8, 8, 8, 2)
    return fitted(model, x, (x[..., :1] > 0).astype("float32"), "binary_crossentropy")


def lstm():
    inputs = keras.Input((9,), dtype="int32")
    embedding = layers.Embedding(20, 8, mask_zero=True)
    x, mask = embedding(inputs), embedding.compute_mask(inputs)
    # said to both: in Keras 3.16 recurrent layers do not hand masks on (`supports_masking`)
    x = layers.LSTM(10, return_sequences=True)(x, mask=mask)
    x = layers.LSTM(12)(x, mask=mask)
    tokens = np.random.default_rng(2).integers(1, 20, (16, 9))
    tokens[3, 5:] = tokens[7, 2:] = 0
    return fitted(classifier(inputs, x), tokens, labels(16, 4))


def bidirectional_gru():
    inputs = keras.Input((7, 5))
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True))(inputs)
    x = layers.Bidirectional(layers.GRU(4, reset_after=False))(x)
    return fitted(classifier(inputs, x), numbers(16, 7, 5), labels(16, 4))


def transformer():
    inputs = keras.Input((8,), dtype="int32")
    positions = keras.Input((8,), dtype="int32")
    x = layers.Embedding(30, 16)(inputs) + layers.Embedding(8, 16)(positions)
    attended = layers.MultiHeadAttention(4, 4)(x, x, use_causal_mask=True)
    x = layers.LayerNormalization()(x + attended)
    hidden = layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
    x = layers.LayerNormalization()(x + hidden)
    tokens = np.random.default_rng(3).integers(0, 30, (16, 8))
    model = keras.Model([inputs, positions], layers.Dense(30, activation="softmax")(x))
    optimizer = keras.optimizers.AdamW(3e-3, global_clipnorm=1.0)
    x = [tokens, np.tile(np.arange(8), (16, 1))]
    return fitted(model, x, np.roll(tokens, -1, 1), optimizer=optimizer)


class VAE(keras.Model):
    """A variational autoencoder whose noise is an input; its loss is compute_loss on JAX and in a
    train_step written for TensorFlow elsewhere."""

    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential([keras.Input((12,)), layers.Dense(16, "tanh")])
        self.mean, self.log_variance = layers.Dense(3), layers.Dense(3)
        self.decoder = keras.Sequential(
            [keras.Input((3,)), layers.Dense(16, "tanh"), layers.Dense(12)]
        )

    def call(self, inputs):
        x, noise = inputs
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        code = mean + ops.exp(0.5 * log_variance) * noise
        return self.decoder(code), mean, log_variance

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        decoded, mean, log_variance = y_pred
        error = ops.mean(ops.sum(ops.square(x[0] - decoded), axis=1))
        divergence = -0.5 * ops.sum(
            1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=1
        )
        return error + 0.1 * ops.mean(divergence)


class TapedVAE(VAE):
    def __init__(self):
        super().__init__()
        self.tracker = keras.metrics.Mean("loss")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with kerasvino.GradientTape() as tape:
            loss = self.compute_loss(inputs, None, self(inputs, training=True))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def vae():
    model = VAE() if ON_JAX else TapedVAE()
    x = [numbers(16, 12), numbers(16, 3, seed=4)]
    model([part[:1] for part in x])
    model.compile(keras.optimizers.Adam(3e-3))
    history = randomised(model).fit(x, epochs=STEPS, batch_size=16, shuffle=False, verbose=0)
    return history.history["loss"]


def gan_networks():
    generator = keras.Sequential([keras.Input((4,)), layers.Dense(16, "relu"), layers.Dense(6)])
    discriminator = keras.Sequential(
        [keras.Input((6,)), layers.Dense(16), layers.LeakyReLU(), layers.Dense(1)]
    )
    return randomised(generator, discriminator)


def gan_loss(logits, real):
    target = ops.ones_like(logits) if real else ops.zeros_like(logits)
    return ops.mean(keras.losses.binary_crossentropy(target, logits, from_logits=True))


def gan_optimizers():
    return keras.optimizers.Adam(5e-3, beta_1=0.5), keras.optimizers.RMSprop(2e-3)


def gan():
    return (gan_stateless if ON_JAX else gan_taped)(numbers(16, 6), numbers(16, 4, seed=5))


def gan_taped(real, noise):
    class GAN(keras.Model):
        def __init__(self):
            super().__init__()
            self.generator, self.discriminator = gan_networks()
            self.built = True

        def compile(self, g_optimizer, d_optimizer):
            super().compile()
            self.g_optimizer, self.d_optimizer = g_optimizer, d_optimizer

        def train_step(self, data):
            real, noise = data
            with kerasvino.GradientTape() as tape:
                fake = self.generator(noise)
                d_loss = gan_loss(self.discriminator(real), True) + gan_loss(
                    self.discriminator(fake), False
                )
            weights = self.discriminator.trainable_weights
            self.d_optimizer.apply(tape.gradient(d_loss, weights), weights)
            with kerasvino.GradientTape() as tape:
                g_loss = gan_loss(self.discriminator(self.generator(noise)), True)
            weights = self.generator.trainable_weights
            self.g_optimizer.apply(tape.gradient(g_loss, weights), weights)
            return {"d": d_loss, "g": g_loss}

    model = GAN()
    model.compile(*gan_optimizers())
    history = model.fit(real, noise, epochs=STEPS, batch_size=16, shuffle=False, verbose=0).history
    return [*history["d"], *history["g"]]


def gan_stateless(real, noise):
    import jax

    generator, discriminator = gan_networks()
    g_optimizer, d_optimizer = gan_optimizers()
    g, d = [[v.value for v in m.trainable_variables] for m in (generator, discriminator)]
    g_optimizer.build(generator.trainable_variables)
    d_optimizer.build(discriminator.trainable_variables)
    g_state, d_state = [[v.value for v in o.variables] for o in (g_optimizer, d_optimizer)]

    def call(model, weights, x):
        return model.stateless_call(weights, [], x)[0]

    def d_loss(d, g):
        fake = call(generator, g, noise)
        return gan_loss(call(discriminator, d, real), True) + gan_loss(
            call(discriminator, d, fake), False
        )

    def g_loss(g, d):
        return gan_loss(call(discriminator, d, call(generator, g, noise)), True)

    found = []
    for _ in range(STEPS):
        d_value, gradient = jax.value_and_grad(d_loss)(d, g)
        d, d_state = d_optimizer.stateless_apply(d_state, gradient, d)
        g_value, gradient = jax.value_and_grad(g_loss)(g, d)
        g, g_state = g_optimizer.stateless_apply(g_state, gradient, g)
        found.append((float(d_value), float(g_value)))
    return np.transpose(found).ravel()


ARCHITECTURES = {
    f.__name__: f
    for f in (
        mlp, cnn, resnet, separable, unet, lstm, bidirectional_gru, transformer, vae, gan
    )
}  # fmt: skip


def main(path, *names):
    losses = {}
    for name in names or ARCHITECTURES:
        keras.utils.clear_session()
        losses[name] = np.asarray(ARCHITECTURES[name]())
        print(name, losses[name][[0, -1]], flush=True)
    np.savez(path, **losses)


if __name__ == "__main__":
    main(*sys.argv[1:])
