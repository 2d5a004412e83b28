"""Trainings that are run by one process and by several on the same global batches."""

import contextlib

import keras
import numpy as np
from keras import layers, ops

import kerasvino

STEPS = 50
BATCH = 16  # of all processes


class LocalMoments(layers.BatchNormalization):
    """What BatchNormalization is on two processes: each half of a batch has its own statistics."""

    def call(self, x, training=None):
        if not training:
            return super().call(x, training=False)
        halves, means, variances = [], [], []
        for half in ops.split(x, 2):
            mean, variance = ops.moments(half, (0, 1, 2))
            halves.append(
                ops.batch_normalization(
                    half, mean, variance, -1, self.beta, self.gamma, self.epsilon
                )
            )
            means.append(mean)
            variances.append(variance)
        for state, found in ((self.moving_mean, means), (self.moving_variance, variances)):
            kept = state * self.momentum
            state.assign(kept + (1 - self.momentum) * (found[0] + found[1]) / 2)
        return ops.concatenate(halves)


def _classes(rows, seed=0):
    return np.random.default_rng(seed).integers(0, 3, (rows,)).astype("int32")


def _numbers(rows, *shape, seed=1):
    return np.random.default_rng(seed).standard_normal((rows, *shape)).astype("float32")


def mlp(optimizer, dtype="float32", loss="sparse_categorical_crossentropy"):
    inputs = keras.Input((12,))
    x = layers.Dense(32, activation="relu", dtype=dtype, kernel_regularizer="l2")(inputs)
    x = layers.Dense(3, activation="softmax", dtype="float32")(x)
    model = keras.Model(inputs, x)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model, _numbers(STEPS * BATCH, 12), _classes(STEPS * BATCH)


def cnn(normalization):
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(inputs)
    x = normalization(x)
    x = layers.GlobalAveragePooling2D()(layers.Activation("swish")(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    return model, _numbers(STEPS * BATCH, 8, 8, 2), _classes(STEPS * BATCH)


def transformer():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 16, mask_zero=True)(inputs)
    attended = layers.MultiHeadAttention(2, 8)(x, x, use_causal_mask=True)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    x = layers.Add()([x, layers.Dense(16)(layers.Dense(32, activation="gelu")(x))])
    model = keras.Model(inputs, layers.Dense(20)(layers.LayerNormalization()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-4), loss, weighted_metrics=[])
    tokens = np.random.default_rng(2).integers(1, 20, (STEPS * BATCH, 7)).astype("int32")
    lengths = np.random.default_rng(3).integers(1, 7, (STEPS * BATCH, 1))
    x = np.where(np.arange(6) < lengths, tokens[:, :6], 0)
    return model, x, tokens[:, 1:]


def summed():
    """A loss that is a sum over the batch."""
    model = keras.Sequential([keras.Input((12,)), layers.Dense(3)])
    loss = keras.losses.MeanSquaredError(reduction="sum")
    model.compile(keras.optimizers.SGD(1e-3), loss)
    return model, _numbers(STEPS * BATCH, 12), _numbers(STEPS * BATCH, 3, seed=4)


class OwnStep(keras.Model):
    """A step of the user's: a tape, and a log that is no metric."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        x, y = data
        with kerasvino.GradientTape() as tape:
            loss = ops.mean((self(x) - y) ** 2)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"own": loss}


def own_step():
    model = OwnStep()
    model(_numbers(1, 12))  # builds it
    model.compile(keras.optimizers.Adam(0.01, global_clipnorm=0.5, epsilon=1e-4))
    return model, _numbers(STEPS * BATCH, 12), _numbers(STEPS * BATCH, 3, seed=4)


def _adam(**arguments):
    return keras.optimizers.Adam(0.002, epsilon=1e-4, **arguments)


def _scaled():
    return keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.05, clipnorm=1.0), initial_scale=2.0**9, dynamic_growth_steps=20
    )


# name -> (the model and data on several processes, those on one; default: the same)
CASES = {
    "adam": (lambda: mlp(_adam()), None),
    "clipped": (lambda: mlp(keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.1)), None),
    "accumulated": (lambda: mlp(_adam(gradient_accumulation_steps=2)), None),
    "mixed": (lambda: mlp(_scaled(), "mixed_float16"), None),
    "batch normalization": (
        lambda: cnn(layers.BatchNormalization()),
        lambda: cnn(LocalMoments()),
    ),
    "synchronized": (lambda: cnn(_synchronized()), lambda: cnn(layers.BatchNormalization())),
    "transformer": (transformer, None),
    "sum": (summed, None),
    "own step": (own_step, None),
}


# Those of `make test`; `make scale` runs all.
FEW = ("adam", "mixed", "batch normalization", "own step")


def _synchronized():
    layer = layers.BatchNormalization()
    layer.synchronized = True  # Keras's constructor takes it on TensorFlow alone
    return layer


def part(array, rank, size):
    """The rows of a process, of each global batch in turn."""
    rows = array.reshape(-1, size, BATCH // size, *array.shape[1:])
    return rows[:, rank].reshape(-1, *array.shape[1:])


def trained(case, rank=0, size=1, eagerly=False):
    """(weights, logs) of a case after its steps."""
    keras.utils.clear_session()  # which drops the distribution, too
    with parallel() if size > 1 else contextlib.nullcontext():
        return _trained(case, rank, size, eagerly)


def _trained(case, rank, size, eagerly):
    keras.utils.set_random_seed(7)
    several, one = CASES[case]
    model, x, y = (several if size > 1 or one is None else one)()
    model.run_eagerly = eagerly
    if size > 1:
        x, y = part(x, rank, size), part(y, rank, size)
    history = model.fit(x, y, BATCH // size, epochs=1, shuffle=False, verbose=0)
    logs = {name: values[-1] for name, values in history.history.items()}
    if case not in ("own step",):
        checked = model.evaluate(x, y, BATCH // size, verbose=0, return_dict=True)
        logs |= {f"val_{name}": value for name, value in checked.items()}
    return [np.array(w) for w in model.get_weights()], logs


@contextlib.contextmanager
def parallel():
    """Inside, data are distributed; each process is given its own part."""
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        yield
