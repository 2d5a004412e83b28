"""The table of layers of one input that models are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from keras import layers

from tests.model_fuzz.own import Counting, MeanOfSteps, PerLength, Scaled, Tabled, bump, wave

__all__ = ["ENTERING", "LAYERS", "Row", "layer_for"]

_ACTIVATIONS = (
    None, None, "relu", "tanh", "sigmoid", "gelu", "silu", "elu", "softplus", "softmax", "selu",
    "leaky_relu", "mish", "hard_sigmoid", bump,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """How a layer is made.

    Attributes:
        ranks: of its input, with the batch.
        make: `make(rng, shape)`, shape with the batch.
        least: of the lengths between batch and channels; an unknown one is at least 5.
        known: whether all lengths have to be known.
        weight: how often it is drawn.
    """

    ranks: tuple[int, ...]
    make: Callable
    least: int = 1
    known: bool = False
    weight: float = 1.0

    def fits(self, shape) -> bool:
        inner = shape[1:-1]
        return (
            len(shape) in self.ranks
            and shape[-1] is not None
            and all(n is None or n >= self.least for n in inner)
            and not (self.known and None in shape[1:])
        )


def layer_for(name, rng, shape):
    """The layer of a row for an input of `shape`, or None where it does not fit."""
    return LAYERS[name].make(rng, shape) if LAYERS[name].fits(shape) else None


def _activation(rng):
    return rng.choice(_ACTIVATIONS)


def _units(rng):
    return rng.choice([2, 3, 4, 5])


def _floats(rng, shape):
    return np.random.default_rng(rng.randrange(2**16)).normal(size=shape).astype("float32")


def _padding(rng, shape):
    """An unknown length may be short after other layers."""
    chosen = rng.choice(["same", "valid"])
    return "same" if None in shape[1:] else chosen


def _spatial(kind, strided=True, filters=True):
    def make(rng, shape):
        attrs = {"padding": _padding(rng, shape), "activation": _activation(rng)}
        if strided and rng.random() < 0.3:
            attrs["strides"] = 2
        elif strided and rng.random() < 0.2 and all(n is None or n >= 5 for n in shape[1:-1]):
            attrs["dilation_rate"] = 2
        return kind(*([_units(rng)] if filters else []), rng.choice([2, 3]), **attrs)

    return make


def _causal(rng, shape):
    return layers.Conv1D(_units(rng), 3, padding="causal", dilation_rate=rng.choice([1, 2]))


def _grouped(rng, shape):
    groups = max(g for g in (1, 2, 3, 4) if shape[-1] % g == 0)
    return layers.Conv2D(groups * 2, 3, padding="same", groups=groups)


def _pooling(kind):
    return lambda rng, shape: kind(2, padding=_padding(rng, shape))


def _recurrent(kind, **more):
    def make(rng, shape):
        return kind(
            _units(rng), return_sequences=rng.random() < 0.6, go_backwards=rng.random() < 0.2,
            **{name: draw(rng) for name, draw in more.items()},
        )  # fmt: skip

    return make


def _bidirectional(rng, shape):
    kind = rng.choice([layers.LSTM, layers.GRU, layers.SimpleRNN])
    inner = kind(_units(rng), return_sequences=rng.random() < 0.6)
    return layers.Bidirectional(inner, merge_mode=rng.choice(["concat", "sum", "ave"]))


def _stacked(rng, shape):
    cells = [layers.LSTMCell(_units(rng)), layers.GRUCell(_units(rng))]
    return layers.RNN(cells, return_sequences=rng.random() < 0.6)


def _normalization(rng, shape):
    made = layers.Normalization(axis=-1)
    made.adapt(_floats(rng, (8, *[n or 5 for n in shape[1:]])) * 2 + 0.5)
    return made


def _groups(rng, shape):
    return layers.GroupNormalization(max(g for g in (1, 2, 3) if shape[-1] % g == 0))


def _permuted(rng, shape):
    order = list(range(1, len(shape)))
    rng.shuffle(order)
    return layers.Permute(tuple(order))


def _reshaped(rng, shape):
    target = [(int(np.prod(shape[1:])),), (-1, shape[-1]), (1, -1)]
    return layers.Reshape(rng.choice(target))


def _einsum(rng, shape):
    return layers.EinsumDense("abc,cd->abd", (None, _units(rng)), bias_axes="d")


def _steps(rng, shape):
    inner = [layers.Dense(3, "tanh"), layers.LayerNormalization(), layers.Dropout(0.3)]
    return layers.TimeDistributed(rng.choice(inner))


_ANY = (2, 3, 4)
LAYERS: dict[str, Row] = {
    "dense": Row(_ANY, lambda r, s: layers.Dense(_units(r), _activation(r)), weight=4),
    "dense with decay": Row(_ANY, lambda r, s: layers.Dense(4, kernel_regularizer="l2")),
    "dense with activity": Row(_ANY, lambda r, s: layers.Dense(4, activity_regularizer="l2")),
    "activation": Row(_ANY, lambda r, s: layers.Activation(_activation(r)), weight=2),
    "leaky relu": Row(_ANY, lambda r, s: layers.LeakyReLU(0.2)),
    "prelu": Row(_ANY, lambda r, s: layers.PReLU(), known=True),
    "elu": Row(_ANY, lambda r, s: layers.ELU(0.7)),
    "softmax": Row(_ANY, lambda r, s: layers.Softmax()),
    "dropout": Row(_ANY, lambda r, s: layers.Dropout(r.choice([0.2, 0.5])), weight=2),
    "noise": Row(_ANY, lambda r, s: layers.GaussianNoise(0.3)),
    "rescaling": Row(_ANY, lambda r, s: layers.Rescaling(0.5, 0.1)),
    "batch norm": Row(_ANY, lambda r, s: layers.BatchNormalization(), weight=2),
    "layer norm": Row(_ANY, lambda r, s: layers.LayerNormalization()),
    "group norm": Row((3, 4), _groups),
    "unit norm": Row(_ANY, lambda r, s: layers.UnitNormalization()),
    "adapted norm": Row(_ANY, _normalization, weight=2),
    "lambda": Row(_ANY, lambda r, s: layers.Lambda(r.choice([wave, bump]))),
    "scaled": Row(_ANY, lambda r, s: Scaled(r.choice([0.5, 1.3])), weight=2),
    "tabled": Row(_ANY, lambda r, s: Tabled(_floats(r, s[-1])), weight=2),
    "counting": Row(_ANY, lambda r, s: Counting(), weight=0.5),
    "per length": Row((3, 4), lambda r, s: PerLength(), weight=0.5),
    "mean of steps": Row((3, 4), lambda r, s: MeanOfSteps()),
    "flatten": Row((3, 4), lambda r, s: layers.Flatten(), known=True),
    "permute": Row((3, 4), _permuted, known=True),
    "reshape": Row(_ANY, _reshaped, known=True),
    "repeat": Row((2,), lambda r, s: layers.RepeatVector(3), weight=2),
    # series
    "conv1d": Row((3,), _spatial(layers.Conv1D), least=3, weight=2),
    "causal conv1d": Row((3,), _causal),
    "transposed conv1d": Row((3,), _spatial(layers.Conv1DTranspose, strided=False)),
    "depthwise conv1d": Row(
        (3,), _spatial(layers.DepthwiseConv1D, strided=False, filters=False), least=3
    ),
    "separable conv1d": Row((3,), _spatial(layers.SeparableConv1D, strided=False), least=3),
    "max pooling 1d": Row((3,), _pooling(layers.MaxPooling1D), least=2),
    "average pooling 1d": Row((3,), _pooling(layers.AveragePooling1D), least=2),
    "global average 1d": Row((3,), lambda r, s: layers.GlobalAveragePooling1D()),
    "global max 1d": Row((3,), lambda r, s: layers.GlobalMaxPooling1D()),
    "upsampling 1d": Row((3,), lambda r, s: layers.UpSampling1D(2)),
    "padding 1d": Row((3,), lambda r, s: layers.ZeroPadding1D((1, 0))),
    "cropping 1d": Row((3,), lambda r, s: layers.Cropping1D((1, 0)), least=3),
    "spatial dropout 1d": Row((3,), lambda r, s: layers.SpatialDropout1D(0.3)),
    "masking": Row((3,), lambda r, s: layers.Masking(0.0), weight=2),
    "lstm": Row((3,), _recurrent(layers.LSTM, unit_forget_bias=lambda r: True), weight=2),
    "gru": Row((3,), _recurrent(layers.GRU, reset_after=lambda r: r.random() < 0.7), weight=2),
    "simple rnn": Row((3,), _recurrent(layers.SimpleRNN)),
    "rnn with dropout": Row((3,), _recurrent(layers.LSTM, dropout=lambda r: 0.3)),
    "bidirectional": Row((3,), _bidirectional, weight=2),
    "stacked cells": Row((3,), _stacked),
    "time distributed": Row((3, 4), _steps),
    "einsum dense": Row((3,), _einsum),
    # images
    "conv2d": Row((4,), _spatial(layers.Conv2D), least=3, weight=3),
    "grouped conv2d": Row((4,), _grouped, least=3),
    "transposed conv2d": Row((4,), _spatial(layers.Conv2DTranspose, strided=False)),
    "depthwise conv2d": Row(
        (4,), _spatial(layers.DepthwiseConv2D, strided=False, filters=False), least=3
    ),
    "separable conv2d": Row((4,), _spatial(layers.SeparableConv2D, strided=False), least=3),
    "max pooling 2d": Row((4,), _pooling(layers.MaxPooling2D), least=2, weight=2),
    "average pooling 2d": Row((4,), _pooling(layers.AveragePooling2D), least=2),
    "global average 2d": Row((4,), lambda r, s: layers.GlobalAveragePooling2D(), weight=2),
    "global max 2d": Row((4,), lambda r, s: layers.GlobalMaxPooling2D()),
    "upsampling 2d": Row((4,), lambda r, s: layers.UpSampling2D(2)),
    "resizing": Row((4,), lambda r, s: layers.Resizing(5, 4, r.choice(["bilinear", "nearest"]))),
    "padding 2d": Row((4,), lambda r, s: layers.ZeroPadding2D(((1, 0), (0, 2)))),
    "cropping 2d": Row((4,), lambda r, s: layers.Cropping2D(((1, 0), (0, 1))), least=3),
    "spatial dropout 2d": Row((4,), lambda r, s: layers.SpatialDropout2D(0.3)),
}


def _embedding(rng):
    return layers.Embedding(12, _units(rng), mask_zero=rng.random() < 0.5)


# The layer that turns an input of another kind into floats.
ENTERING: dict[str, Callable] = {
    "pixels": lambda rng: layers.Rescaling(1 / 128, -1.0),
    "ids": _embedding,
    "counts": lambda rng: layers.CategoryEncoding(12, rng.choice(["multi_hot", "count"])),
}
