"""The proof that rows of a batch do not mix: what it accepts, what it must not."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasvino.graph import Spec, trace
from kerasvino.runtime.rows import is_rowwise


def proven(function, *shapes, batched=0):
    """The verdict on `function`, for 6 and for 4 rows in place of None."""

    def graph(rows):
        specs = [Spec(tuple(rows if n is None else n for n in s), "float32") for s in shapes]
        return trace(lambda *xs: [function(*xs)], specs)

    return is_rowwise(graph(6), graph(4), {batched})


WEIGHT = np.ones((4, 5), "float32")
TABLE = np.ones((7, 3), "float32")

ROWWISE = {
    "elementwise": lambda x: ops.relu(x * 2 + 1),
    "bias": lambda x: x + np.arange(4, dtype="float32"),
    "matmul": lambda x: ops.matmul(x, WEIGHT),
    "matmul of rows": lambda x: ops.matmul(ops.expand_dims(x, 1), ops.expand_dims(x, 2)),
    "flatten": lambda x: ops.reshape(ops.reshape(x, (-1, 2, 2)), (-1, 4)),
    "reshape by its shape": lambda x: ops.reshape(x, (ops.shape(x)[0], 2, 2)),
    "transposed and back": lambda x: ops.transpose(ops.transpose(x) * 2),
    "softmax": lambda x: ops.softmax(x),
    "normalized": lambda x: (x - ops.mean(x, -1, keepdims=True)) / ops.std(x, -1, keepdims=True),
    "joined": lambda x: ops.concatenate([x, x * 2], axis=-1),
    "gathered": lambda x: ops.take(TABLE, ops.cast(x, "int32"), axis=0),
    "columns": lambda x: x[:, 1:3],
    "zeros of its length": lambda x: x + ops.zeros((ops.shape(x)[0], 4)),
    "zeros of its Python length": lambda x: x + np.zeros((x.shape[0], 4), "float32"),
    "cumulative": lambda x: ops.cumsum(x, axis=1),
}
MIXED = {
    "centred over the batch": lambda x: x - ops.mean(x, axis=0),
    "sum": lambda x: ops.sum(x, axis=0, keepdims=True),
    "softmax over the batch": lambda x: ops.softmax(x, axis=0),
    "divided by the length": lambda x: x / ops.cast(ops.shape(x)[0], "float32"),
    "all to all": lambda x: ops.matmul(x, ops.transpose(x)),
    "reversed": lambda x: ops.flip(x, axis=0),
    "rolled": lambda x: ops.roll(x, 1, axis=0),
    "cumulative over the batch": lambda x: ops.cumsum(x, axis=0),
    "sorted": lambda x: ops.sort(x, axis=0),
    "pairs of rows": lambda x: ops.reshape(x, (-1, 8)),
    "halves of rows": lambda x: ops.reshape(x, (-1, 2)),
    "first row": lambda x: x + x[:1],
    "numbered": lambda x: x + ops.expand_dims(ops.cast(ops.arange(ops.shape(x)[0]), "float32"), 1),
    "columns first": lambda x: ops.transpose(x),
    "divided by its Python length": lambda x: x / (x.shape[0] or 1),
    "scaled if short": lambda x: x * 2 if (x.shape[0] or 0) < 5 else x,
    "as many ones": lambda x: x + np.arange(x.shape[0], dtype="float32")[:, None],
    "constant": lambda x: ops.ones((3, 4)),
}


@pytest.mark.parametrize("name", ROWWISE)
def test_rows_apart(name):
    assert proven(ROWWISE[name], (None, 4))


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_mix(name):
    assert not proven(MIXED[name], (None, 4))


def test_an_unbatched_input_is_a_constant():
    assert proven(lambda x, w: ops.matmul(x, w), (None, 4), (4, 2))
    assert not proven(lambda x, w: ops.matmul(x, w), (3, 4), (4, None), batched=1)


def test_state_is_never_rowwise():
    counter = keras.Variable(0.0)

    def function(x):
        counter.assign(counter + 1)
        return x * 2

    assert not proven(function, (None, 4))


def _networks():
    yield "dense", keras.Sequential([layers.Dense(3, activation="gelu"), layers.Dense(2)]), (5,)
    yield "convolutions", keras.Sequential([
        layers.Conv2D(4, 3, padding="same", strides=2), layers.BatchNormalization(), layers.ReLU(),
        layers.DepthwiseConv2D(3), layers.MaxPooling2D(), layers.UpSampling2D(), layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]), (16, 16, 3)  # fmt: skip
    yield "recurrent", keras.Sequential([
        layers.LSTM(4, return_sequences=True), layers.Bidirectional(layers.GRU(3)),
    ]), (6, 2)  # fmt: skip
    x = keras.Input((6, 8))
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    yield "attention", keras.Model(x, layers.GlobalAveragePooling1D()(y)), (6, 8)


@pytest.mark.parametrize(("model", "shape"), [pytest.param(m, s, id=n) for n, m, s in _networks()])
def test_networks_of_layers(model, shape):
    model(np.zeros((1, *shape), "float32"))
    assert proven(lambda x: model(x, training=False), (None, *shape))
