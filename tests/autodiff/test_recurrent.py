"""Gradients of whole recurrences: against torch, and against the step-by-step recurrence."""

import keras
import numpy as np
import pytest
import torch
from keras import layers, ops

import kerasvino
from kerasvino.backend.jit import jit

both = pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])
BATCH, TIME, FEATURES, UNITS = 3, 6, 4, 5


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype("float32")


def close(found, wanted, tolerance=2e-5):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def weights(layer):
    return [w.numpy() for w in layer.weights]


def gradients(layer, run, x, states, reads):
    """Gradients of the input, initial states and weights of a layer, for a sum that reads all."""

    def function(x, *states):
        with kerasvino.GradientTape() as tape:
            for tensor in (x, *states):
                tape.watch(tensor)
            outputs, *last = layer(x, initial_state=list(states))
            loss = ops.sum(outputs * reads)
            for position, state in enumerate(last):
                loss = loss + ops.sum(ops.sin(state)) * (position + 1)
        return tape.gradient(loss, [x, *states, *layer.trainable_variables])

    found = run(function)(*map(ops.convert_to_tensor, (x, *states)))
    return [np.asarray(g) for g in found]


def torch_gradients(kind, arrays, x, states, reads):
    """The same from torch, whose layers know the order of gates and both biases of Keras."""
    kernel, recurrent, bias = arrays
    if kind == "gru":  # torch: reset, update; Keras: update, reset
        swap = [*range(UNITS, 2 * UNITS), *range(UNITS), *range(2 * UNITS, 3 * UNITS)]
        kernel, recurrent, bias = kernel[:, swap], recurrent[:, swap], bias[:, swap]
    module = (torch.nn.GRU if kind == "gru" else torch.nn.LSTM)(FEATURES, UNITS, batch_first=True)
    biases = bias if kind == "gru" else (bias, np.zeros_like(bias))
    for parameter, array in zip(module.parameters(), (kernel.T, recurrent.T, *biases), strict=True):
        parameter.data = torch.tensor(array)
    inputs = [torch.tensor(a, requires_grad=True) for a in (x, *states)]
    held = [s[None] for s in inputs[1:]]
    outputs, last = module(inputs[0], held[0] if kind == "gru" else tuple(held))
    loss = (outputs * torch.tensor(reads)).sum()
    for position, state in enumerate([last] if kind == "gru" else last):
        loss = loss + torch.sin(state).sum() * (position + 1)
    loss.backward()
    found = [p.grad.numpy() for p in module.parameters()]
    kernel, recurrent, *biases = found
    kernel, recurrent = kernel.T, recurrent.T
    bias = np.stack(biases) if kind == "gru" else biases[0]
    if kind == "gru":
        kernel, recurrent, bias = (a[:, np.argsort(swap)] for a in (kernel, recurrent, bias))
    return [*(t.grad.numpy() for t in inputs), kernel, recurrent, bias]


LAYERS = {"lstm": (layers.LSTM, 2), "gru": (layers.GRU, 1)}


@both
@pytest.mark.parametrize("kind", LAYERS)
def test_gradient_is_that_of_torch(run, kind):
    make, count = LAYERS[kind]
    layer = make(UNITS, return_sequences=True, return_state=True, bias_initializer="normal")
    x, reads = values(BATCH, TIME, FEATURES), values(BATCH, TIME, UNITS, seed=1)
    states = [values(BATCH, UNITS, seed=2 + i) for i in range(count)]
    layer(x)
    wanted = torch_gradients(kind, weights(layer), x, states, reads)
    close(gradients(layer, run, x, states, reads), wanted)


VARIANTS = [
    ("lstm", {}),
    ("lstm", {"go_backwards": True}),
    ("lstm", {"activation": "relu", "recurrent_activation": "sigmoid"}),
    ("lstm", {"use_bias": False}),
    ("gru", {}),
    ("gru", {"go_backwards": True}),
    ("gru", {"reset_after": False}),
    ("gru", {"reset_after": False, "go_backwards": True, "activation": "relu"}),
    ("gru", {"use_bias": False}),
]
CELLS = {"lstm": layers.LSTMCell, "gru": layers.GRUCell}


def pair(kind, options, time=TIME):
    """A layer with a fused kernel, and the same by its cell, with the same weights."""
    cell_options = {k: v for k, v in options.items() if k != "go_backwards"}
    both = {"return_sequences": True, "return_state": True}
    fused = LAYERS[kind][0](UNITS, **both, **options, bias_initializer="normal")
    stepped = layers.RNN(
        CELLS[kind](UNITS, **cell_options), **both, go_backwards=options.get("go_backwards", False)
    )
    x = values(BATCH, time, FEATURES)
    fused(x), stepped(x)
    stepped.set_weights(fused.get_weights())
    return fused, stepped


@both
@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_fused_and_stepped_agree(run, kind, options):
    fused, stepped = pair(kind, options)
    x, reads = values(BATCH, TIME, FEATURES), values(BATCH, TIME, UNITS, seed=1)
    states = [values(BATCH, UNITS, seed=2 + i) for i in range(LAYERS[kind][1])]

    def forward(layer):
        return run(lambda x, *s: layer(x, initial_state=list(s)))(x, *states)

    x, states = ops.convert_to_tensor(x), [ops.convert_to_tensor(s) for s in states]
    close(forward(fused), forward(stepped), 1e-5)
    found, wanted = (gradients(layer, run, x, states, reads) for layer in (fused, stepped))
    close(found, wanted)


@pytest.mark.parametrize("time", [20, 23])  # whole blocks of steps, and some that are left
@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_blocks_of_steps_agree(kind, options, time):
    fused, stepped = pair(kind, options, time)
    x, reads = values(BATCH, time, FEATURES), values(BATCH, time, UNITS, seed=1)
    states = [values(BATCH, UNITS, seed=2 + i) for i in range(LAYERS[kind][1])]
    x, states = ops.convert_to_tensor(x), [ops.convert_to_tensor(s) for s in states]
    found, wanted = (gradients(layer, jit, x, states, reads) for layer in (fused, stepped))
    close(found, wanted, 1e-4)


@pytest.mark.parametrize("kind", LAYERS)
def test_second_order_of_blocks(kind):
    fused, stepped = pair(kind, {}, 23)
    x = values(BATCH, 23, FEATURES)

    def function(layer):
        inner = kerasvino.grad(lambda x: ops.sum(ops.sin(layer(x)[0])))
        return kerasvino.grad(lambda x: ops.sum(inner(x) ** 2))

    close([jit(function(fused))(x)], [jit(function(stepped))(x)], 1e-4)


@pytest.mark.parametrize(
    ("kind", "options"), [("lstm", {}), ("gru", {}), ("gru", {"reset_after": False})]
)
def test_second_order(kind, options):
    fused, stepped = pair(kind, options)
    x = values(BATCH, TIME, FEATURES)

    def function(layer):
        def squared(x):
            inner = kerasvino.grad(lambda x: ops.sum(ops.sin(layer(x)[0])))
            return ops.sum(inner(x) ** 2)

        return kerasvino.grad(squared)

    close([jit(function(fused))(x)], [jit(function(stepped))(x)], 1e-4)
    close([function(fused)(ops.convert_to_tensor(x))], [jit(function(stepped))(x)], 1e-4)


@pytest.mark.parametrize("layer", ["lstm", "bidirectional", "masked", "simple"])
def test_training_lowers_the_loss(layer):
    keras.utils.set_random_seed(0)
    made = {
        "lstm": lambda: [layers.LSTM(8)],
        "bidirectional": lambda: [layers.Bidirectional(layers.GRU(4))],
        "masked": lambda: [layers.Masking(), layers.LSTM(8, dropout=0.1, recurrent_dropout=0.1)],
        "simple": lambda: [layers.SimpleRNN(8, return_sequences=True), layers.SimpleRNN(8)],
    }[layer]()
    model = keras.Sequential([layers.Input((TIME, FEATURES)), *made, layers.Dense(1)])
    x = values(32, TIME, FEATURES)
    x[::3, 4:] = 0
    y = x.sum((1, 2), keepdims=False)[:, None]
    model.compile("adam", "mse")
    model.optimizer.learning_rate = 0.02
    history = model.fit(x, y, epochs=8, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@both
def test_gradient_in_a_branch(run):
    # the branch is traced without being recorded, and run again with
    fused, stepped = pair("lstm", {})
    x = ops.convert_to_tensor(values(BATCH, TIME, FEATURES))

    def function(layer):
        def loss(x):
            return ops.cond(ops.sum(x) > -1e9, lambda: ops.sum(layer(x)[0]), lambda: ops.sum(x))

        def step(c, x):
            return c + ops.sum(layer(x[None])[0]), None

        return run(kerasvino.grad(lambda x: loss(x) * ops.scan(step, ops.sum(x), x)[0]))

    close([function(fused)(x)], [function(stepped)(x)], 1e-4)
