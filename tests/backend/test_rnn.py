"""The recurrent contract against a loop in NumPy, and the fused layers against their cells."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasvino.backend.jit import jit
from kerasvino.backend.rnn import rnn
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program

both = pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])
BATCH, TIME, FEATURES, UNITS = 3, 5, 2, 4


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.7, shape).astype("float32")


W, V, BIAS = values(FEATURES, UNITS, seed=1), values(UNITS, UNITS, seed=2), values(UNITS, seed=3)


def step(x, states):
    """Two states, one of rank 1, and a constant; the output is none of them."""
    h, count, bias = states
    h = ops.tanh(ops.matmul(x, W) + ops.matmul(h, V) + bias)
    return h * 2, [h, count + 1]


def reference(
    x, h, count, mask=None, go_backwards=False, time_major=False, zero_output_for_mask=False,
    return_all_outputs=True,
):  # fmt: skip
    if time_major:
        x, mask = np.swapaxes(x, 0, 1), None if mask is None else np.swapaxes(mask, 0, 1)
    order = range(x.shape[1])[:: -1 if go_backwards else 1]
    output, outputs = np.zeros_like(h), []
    for t in order:
        new = np.tanh(x[:, t] @ W + h @ V + BIAS)
        keep = np.ones(len(x), bool) if mask is None else mask[:, t]
        before = np.zeros_like(h) if zero_output_for_mask else output
        output = np.where(keep[:, None], new * 2, before)
        h, count = np.where(keep[:, None], new, h), np.where(keep, count + 1, count)
        outputs.append(output)
    rows = np.stack(outputs, 0 if time_major else 1) if outputs else None
    if not return_all_outputs:
        rows = np.expand_dims(output, 0 if time_major else 1)
    return output, rows, [h, count]


def check(found, wanted):
    last, outputs, states = found
    np.testing.assert_allclose(last, wanted[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs, wanted[1], rtol=1e-5, atol=1e-6)
    for a, b in zip(states, wanted[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def start():
    return values(BATCH, UNITS, seed=4), np.arange(BATCH, dtype="float32")


MASK = np.array([[1, 1, 1, 1, 1], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
OPTIONS = [
    dict(zip(("go_backwards", "time_major", "zero_output_for_mask"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=3)
]


@both
@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(k for k, v in o.items() if v))
def test_against_numpy(run, unroll, masked, options):
    x, mask = values(BATCH, TIME, FEATURES), MASK if masked else None
    if options["time_major"]:
        x, mask = np.swapaxes(x, 0, 1), None if mask is None else mask.T

    def function(x, mask, *states):
        return rnn(
            step, x, list(states), mask=mask, constants=[ops.convert_to_tensor(BIAS)],
            unroll=unroll, **options,
        )  # fmt: skip

    given = [None if a is None else ops.convert_to_tensor(a) for a in (x, mask, *start())]
    check(run(function)(*given), reference(x, *start(), mask, **options))


@both
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
def test_the_last_output_alone(run, masked, time_major):
    x, mask = values(BATCH, TIME, FEATURES), MASK if masked else None
    if time_major:
        x, mask = np.swapaxes(x, 0, 1), None if mask is None else mask.T
    options = {"time_major": time_major, "return_all_outputs": False}

    def function(x, mask, *states):
        return rnn(
            step, x, list(states), mask=mask, constants=[ops.convert_to_tensor(BIAS)], **options
        )

    given = [None if a is None else ops.convert_to_tensor(a) for a in (x, mask, *start())]
    check(run(function)(*given), reference(x, *start(), mask, **options))


@both
@pytest.mark.parametrize("masked", [False, True])
def test_no_steps(run, masked):
    def function(x, mask, *states):
        return rnn(step, x, list(states), mask=mask, constants=[ops.convert_to_tensor(BIAS)])

    mask = ops.convert_to_tensor(MASK[:, :0]) if masked else None
    given = [ops.convert_to_tensor(a) for a in (values(BATCH, 0, FEATURES), *start())]
    last, outputs, states = run(function)(given[0], mask, *given[1:])
    assert not np.any(last) and last.shape == (BATCH, UNITS)
    assert outputs.shape == (BATCH, 0, UNITS)
    for a, b in zip(states, start(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("masked", [False, True])
def test_any_batch_and_any_number_of_steps(masked):
    """One program; a number of steps of 0 among them, after a longer one."""

    def function(x, mask, *states):
        last, outputs, states = rnn(
            step, x, list(states), mask=mask if masked else None,
            constants=[ops.convert_to_tensor(BIAS)],
        )  # fmt: skip
        return [last, outputs, *states]

    specs = [Spec((None, None, FEATURES), "float32"), Spec((None, None), "bool"),
             Spec((None, UNITS), "float32"), Spec((None,), "float32")]  # fmt: skip
    program = Program(trace(function, specs), "CPU", {})
    for batch, time in ((3, 5), (1, 1), (3, 0), (2, 4)):
        x, mask = values(batch, time, FEATURES), MASK[:batch, :time]
        h, count = (a[:batch] for a in start())
        last, outputs, *states = program([x, np.ascontiguousarray(mask), h, count])
        wanted = reference(x, h, count, mask if masked else None)
        assert outputs.shape == (batch, time, UNITS)
        check((last, outputs, states), (wanted[0], outputs if not time else wanted[1], wanted[2]))


def test_unrolling_needs_steps():
    with pytest.raises(ValueError, match="fixed number of timesteps"):
        rnn(step, ops.ones((2, 0, FEATURES)), [*start()], unroll=True)


def test_nested_inputs_states_and_outputs():
    def nested(x, states):
        (state,) = states
        a = x["a"] + state["s"]
        return {"sum": a, "product": a * x["b"]}, [{"s": a}]

    x = {"a": values(2, 3, 4), "b": values(2, 3, 4, seed=1)}
    first = [{"s": values(2, 4, seed=2)}]
    eager = rnn(nested, x, first)
    traced = jit(lambda x, first: rnn(nested, x, first))(x, first)
    total = np.cumsum(x["a"], 1) + first[0]["s"][:, None]
    for last, outputs, states in (eager, traced):
        np.testing.assert_allclose(outputs["sum"], total, rtol=1e-5)
        np.testing.assert_allclose(outputs["product"], total * x["b"], rtol=1e-5)
        np.testing.assert_allclose(states[0]["s"], total[:, -1], rtol=1e-5)
        np.testing.assert_allclose(last["sum"], total[:, -1], rtol=1e-5)


# -- layers


@both
@pytest.mark.parametrize("merge", ["concat", "sum", None])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("sequences", [False, True])
def test_bidirectional_is_two_layers_of_cells(run, merge, kind, sequences):
    make, cell = {
        "lstm": (layers.LSTM, layers.LSTMCell), "gru": (layers.GRU, layers.GRUCell),
    }[kind]  # fmt: skip
    fused = layers.Bidirectional(make(UNITS, return_sequences=sequences), merge_mode=merge)
    x = ops.convert_to_tensor(values(BATCH, TIME, FEATURES))
    fused(x)
    stepped = [
        layers.RNN(cell(UNITS), return_sequences=sequences, go_backwards=back)
        for back in (False, True)
    ]
    for layer, source in zip(stepped, (fused.forward_layer, fused.backward_layer), strict=True):
        layer(x)
        layer.set_weights(source.get_weights())
    forward, backward = (layer(x) for layer in stepped)
    if sequences:
        backward = ops.flip(backward, 1)
    wanted = {
        "concat": lambda: ops.concatenate([forward, backward], -1),
        "sum": lambda: forward + backward,
        None: lambda: [forward, backward],
    }[merge]()
    found = run(lambda x: fused(x))(x)
    for a, b in zip(*map(keras.tree.flatten, (found, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_stateful_layer_goes_on_where_it_stopped():
    whole = layers.LSTM(UNITS, return_sequences=True)
    parts = layers.LSTM(UNITS, return_sequences=True, stateful=True)
    x = values(BATCH, 6, FEATURES)
    model = keras.Sequential([layers.Input(batch_shape=(BATCH, 3, FEATURES)), parts])
    wanted = whole(x)
    parts.set_weights(whole.get_weights())
    for _ in range(2):
        pieces = [model.predict(x[:, i : i + 3], batch_size=BATCH, verbose=0) for i in (0, 3)]
        np.testing.assert_allclose(np.concatenate(pieces, 1), wanted, rtol=1e-5, atol=1e-6)
        model.reset_states() if hasattr(model, "reset_states") else parts.reset_state()


@pytest.mark.parametrize("kind", ["lstm", "gru", "simple"])
def test_a_masked_layer_ignores_padding(kind):
    make = {"lstm": layers.LSTM, "gru": layers.GRU, "simple": layers.SimpleRNN}[kind]
    layer = make(UNITS)
    x = values(BATCH, TIME, FEATURES)
    lengths = [5, 3, 1]
    mask = np.arange(TIME) < np.array(lengths)[:, None]
    masked = jit(lambda x, m: layer(x, mask=m))(x, mask)
    for row, length in enumerate(lengths):
        alone = layer(ops.convert_to_tensor(x[row : row + 1, :length]))
        np.testing.assert_allclose(masked[row : row + 1], alone, rtol=1e-5, atol=1e-6)
