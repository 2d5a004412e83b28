"""The table of what only Functional models do: several inputs, operations, slices, inner models.

`apply(rng, x, pool)` takes the tensor `x` of the pool of a model's tensors, and returns a tensor or
a list of them, or None where it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers, ops

from tests.model_fuzz.of_layers import LAYERS, layer_for

__all__ = ["GRAPHS", "Graph"]


@dataclass(frozen=True)
class Graph:
    """A row: ranks of `x` with the batch, the function, whether lengths are to be known, weight."""

    ranks: tuple[int, ...]
    apply: Callable
    known: bool = False
    weight: float = 1.0

    def fits(self, shape) -> bool:
        return len(shape) in self.ranks and not (self.known and None in shape[1:])


def _alike(rng, x, pool):
    """Another tensor of the shape of `x`, or a function of `x`."""
    others = [t for t in pool if t is not x and t.shape == x.shape]
    return rng.choice(others) if others else ops.cos(x)


def _merged(kind):
    return lambda rng, x, pool: kind()([x, _alike(rng, x, pool)])


def _concatenated(rng, x, pool):
    others = [t for t in pool if len(t.shape) == len(x.shape) and t.shape[:-1] == x.shape[:-1]]
    return layers.Concatenate()([x, rng.choice(others)])


def _attention(rng, x, pool):
    kind = rng.choice([layers.Attention, layers.AdditiveAttention])
    return kind()([x, _alike(rng, x, pool)])


def _heads(rng, x, pool):
    if rng.random() < 0.3:
        layer = layers.GroupQueryAttention(4, 4, 2)
    else:
        layer = layers.MultiHeadAttention(2, 4, dropout=rng.choice([0.0, 0.2]))
    return layer(x, _alike(rng, x, pool), use_causal_mask=rng.random() < 0.4)


def _states(rng, x, pool):
    encoder = layers.LSTM(3, return_sequences=True, return_state=True)
    sequence, *state = encoder(x)
    return [layers.LSTM(3, return_sequences=True)(sequence, initial_state=state), state[0]]


def _gru_state(rng, x, pool):
    return layers.GRU(4, return_state=True)(x)


_SLICES = {
    2: [lambda x: x[:, 1:], lambda x: x[:, :-1], lambda x: x[:, ::-1], lambda x: x[:, None]],
    3: [lambda x: x[:, 1:], lambda x: x[:, -1], lambda x: x[..., :2], lambda x: x[:, ::2],
        lambda x: x[:, :-1], lambda x: x[:, None], lambda x: x[:, ::-1]],
    4: [lambda x: x[:, 1:, :-1], lambda x: x[:, :, 0], lambda x: x[..., ::-1],
        lambda x: x[:, ::2, ::2], lambda x: x[..., :1]],
}  # fmt: skip


def _slice(rng, x, pool):
    return rng.choice(_SLICES[len(x.shape)])(x)


def _function(rng, x, pool):
    return rng.choice(
        [
            lambda: ops.where(x > 0, x, x * 0.1),
            lambda: ops.clip(x, -0.5, 1.0),
            lambda: ops.sort(x, axis=-1),
            lambda: ops.cumsum(x, axis=1),
            lambda: ops.flip(x, axis=1),
            lambda: ops.roll(x, 1, axis=1),
            lambda: ops.softmax(x, axis=1),
            lambda: ops.logsumexp(x, axis=-1, keepdims=True),
            lambda: ops.max(x, axis=1, keepdims=True) - x,
            lambda: ops.mean(x, axis=-1, keepdims=True) + x,
            lambda: ops.maximum(x, 0.1) / 2,
            lambda: ops.take(x, [1, 0, 1], axis=-1) if x.shape[-1] >= 2 else ops.abs(x),
            lambda: ops.pad(x, [(0, 0)] * (len(x.shape) - 1) + [(1, 2)]),
            lambda: ops.cast(ops.cast(x, "float16"), x.dtype),
            lambda: ops.logical_and(x > -1, x < 1),
            lambda: -x + 0.3,
            lambda: ops.sqrt(ops.abs(x) + 1.0),
        ]
    )()


def _split(rng, x, pool):
    if x.shape[-1] % 2:
        return None
    return list(ops.split(x, 2, axis=-1))


def _statistics(rng, x, pool):
    return ops.mean(x, axis=1), ops.var(x, axis=-1)


def _reshape(rng, x, pool):
    return ops.reshape(x, (-1, x.shape[2], x.shape[1]))


def _transpose(rng, x, pool):
    return ops.transpose(x, (0, 2, 1))


def _einsum(rng, x, pool):
    scores = ops.einsum("btc,bsc->bts", x, _alike(rng, x, pool))
    return ops.einsum("bts,bsc->btc", ops.softmax(scores), x)


def _matmul(rng, x, pool):
    return ops.matmul(ops.transpose(x, (0, 2, 1)), x) / 4


def _gathered(rng, x, pool):
    indices = ops.argsort(ops.stop_gradient(x), axis=1)
    return ops.take_along_axis(x, indices, axis=1)


def _layers(rng, x, count):
    """A list of layers that follow each other from `x`."""
    found, shape = [], x.shape
    for name in rng.sample(sorted(LAYERS), len(LAYERS)):
        if len(found) == count:
            break
        layer = layer_for(name, rng, shape)
        if layer is not None and name not in ("counting", "per length"):
            found.append(layer)
            shape = layer.compute_output_shape(shape)
            if shape is None or len(shape) > 4:
                return found
    return found


def _inner_model(rng, x, pool):
    entry = keras.Input(x.shape[1:], dtype=x.dtype)
    y = entry
    for layer in _layers(rng, x, rng.randint(1, 2)):
        y = layer(y)
    model = keras.Model(entry, y)
    once = model(x)
    if rng.random() < 0.5:
        return [once, model(_alike(rng, x, pool))]
    return once


def _inner_sequence(rng, x, pool):
    return keras.Sequential(_layers(rng, x, 2))(x)


def _shared(rng, x, pool):
    layer = layers.Dense(x.shape[-1], "tanh")
    return layer(layer(x)) + layer(_alike(rng, x, pool))


def _residual(rng, x, pool):
    (layer,) = _layers(rng, x, 1)
    y = layer(x)
    return layers.Add()([x, y]) if tuple(y.shape) == tuple(x.shape) else y


_ANY = (2, 3, 4)
GRAPHS: dict[str, Graph] = {
    "add": Graph(_ANY, _merged(layers.Add)),
    "multiply": Graph(_ANY, _merged(layers.Multiply)),
    "subtract": Graph(_ANY, _merged(layers.Subtract)),
    "average": Graph(_ANY, _merged(layers.Average)),
    "maximum": Graph(_ANY, _merged(layers.Maximum)),
    "concatenate": Graph(_ANY, _concatenated, weight=2),
    "dot": Graph((2, 3), lambda r, x, pool: layers.Dot(-1)([x, _alike(r, x, pool)])),
    "attention": Graph((3,), _attention, weight=2),
    "heads": Graph((3,), _heads, weight=3),
    "lstm states": Graph((3,), _states, weight=2),
    "gru state": Graph((3,), _gru_state),
    "slice": Graph(_ANY, _slice, weight=3),
    "function": Graph(_ANY, _function, weight=6),
    "split": Graph(_ANY, _split),
    "statistics": Graph((3, 4), _statistics),
    "ops.reshape": Graph((3,), _reshape, known=True),
    "ops.transpose": Graph((3,), _transpose, known=True),
    "ops.einsum": Graph((3,), _einsum),
    "ops.matmul": Graph((3,), _matmul),
    "gathered": Graph((3,), _gathered),
    "inner model": Graph(_ANY, _inner_model, weight=3),
    "inner sequence": Graph(_ANY, _inner_sequence, weight=2),
    "shared": Graph(_ANY, _shared, weight=2),
    "residual": Graph(_ANY, _residual, weight=2),
}
