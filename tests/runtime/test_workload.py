"""On how many threads a program runs, and which thread runs it."""

import threading

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino import config
from kerasvino.graph import Spec, trace
from kerasvino.primitives.indexing import take_along_axis
from kerasvino.runtime import workload
from kerasvino.runtime.compiling import properties_for
from kerasvino.runtime.program import Program
from kerasvino.runtime.specialisation import Specialisation
from kerasvino.tensor import Tensor

LAYERS = {
    "small lstm": (lambda: keras.layers.LSTM(32), (1, 50, 16), True),
    "both directions": (lambda: keras.layers.Bidirectional(keras.layers.GRU(32)), (1, 50, 8), True),
    "wide lstm": (lambda: keras.layers.LSTM(512), (64, 10, 128), False),
    "small dense": (lambda: keras.layers.Dense(8), (1, 8), True),
    "wide dense": (lambda: keras.layers.Dense(2048), (64, 2048), False),
    "read weights": (lambda: keras.layers.Dense(2048), (1, 2048), False),
    "convolution": (lambda: keras.layers.Conv2D(64, 3), (1, 64, 64, 32), False),
    "grouped": (lambda: keras.layers.Conv2D(64, 3, groups=8), (4, 64, 64, 32), False),
    "transposed": (lambda: keras.layers.Conv2DTranspose(64, 3), (1, 64, 64, 32), False),
    "unknown batch": (lambda: keras.layers.LSTM(32), (None, 50, 16), False),
}


def graph_of(layer, shape):
    layer.build(shape)
    return trace(lambda x: [layer(x)], [Spec(shape, "float32")])


@pytest.mark.parametrize("name", LAYERS)
def test_one_thread_where_synchronising_costs_more(name, monkeypatch):
    monkeypatch.setattr(workload, "_cores", lambda: 4)
    layer, shape, expected = LAYERS[name]
    model = graph_of(layer(), shape).model
    assert workload.one_thread_is_faster(model) is expected


def test_a_loop_counts_each_time_round(monkeypatch):
    monkeypatch.setattr(workload, "_cores", lambda: 4)

    def function(times):
        def body(carry, x):
            return ops.tanh(ops.matmul(carry, x)), ops.sum(carry)

        return lambda w, x: list(ops.scan(body, x, ops.stack([w] * times)))

    specs = [Spec((32, 32), "float32"), Spec((1, 32), "float32")]
    alone, together = workload._seconds(trace(function(3), specs).model.get_ordered_ops(), 4)
    more = workload._seconds(trace(function(30), specs).model.get_ordered_ops(), 4)
    assert more[0] > 5 * alone
    assert more[1] > 5 * together


def test_one_core_synchronises_nothing(monkeypatch):
    monkeypatch.setattr(workload, "_cores", lambda: 1)
    assert not workload.one_thread_is_faster(graph_of(keras.layers.Dense(2), (1, 2)).model)


@pytest.mark.parametrize(
    ("settings", "streams"),
    [
        ({}, "0"),
        ({"performance": "latency"}, "0"),
        ({"performance": "throughput"}, None),
        ({"threads": 2}, None),
    ],
)
def test_what_the_user_sets_is_kept(settings, streams, monkeypatch):
    monkeypatch.setattr(workload, "_cores", lambda: 4)
    graph = graph_of(keras.layers.Dense(2), (1, 2))
    with config.using(**settings):
        assert properties_for(graph, config.get()).get("NUM_STREAMS") == streams


def out_of_bounds(**settings):
    """A program whose run fails, and its arguments."""
    specs = [Spec((5,), "float32"), Spec((1,), "int32")]
    graph = trace(lambda x, i: [take_along_axis(x, i, axis=0)], specs)
    with config.using(**settings):
        return Program(graph, config.get(), {}), [np.zeros(5, "f4"), np.array([99], "i4")]


@pytest.mark.parametrize(
    "settings", [{}, {"threads": 1}, {"threads": 2}, {"performance": "throughput"}]
)
def test_errors_of_a_run_are_raised_by_whoever_runs_it(settings):
    program, arrays = out_of_bounds(**settings)
    assert program.inline is (settings.get("threads") != 1 and "performance" not in settings)
    with pytest.raises(IndexError, match="take_along_axis"):
        program(arrays)
    with pytest.raises(IndexError, match="take_along_axis"):
        program.start(arrays).wait()
    assert program.least_seconds == 0
    arrays[1][0] = 2
    assert program(arrays)[0].tolist() == [0]
    assert program.least_seconds > 0


@pytest.mark.parametrize("width", [4, 600])
def test_threads_that_run_a_program_themselves_do_not_meet(width):
    weight = np.random.default_rng(0).normal(size=(width, width)).astype("f4")
    graph = trace(
        lambda x: [ops.tanh(ops.matmul(x, Tensor(weight)))], [Spec((8, width), "float32")]
    )
    program = Program(graph, config.get(), {})
    inputs = [np.full((8, width), value / width, "f4") for value in range(8)]
    expected = [program([x])[0] for x in inputs]
    wrong = []

    def run(number):
        for _ in range(100):
            if not np.array_equal(program([inputs[number]])[0], expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def recurrent():
    keras.utils.set_random_seed(3)
    layers = [keras.Input((40, 8)), keras.layers.GRU(16), keras.layers.Dense(3)]
    return keras.Sequential(layers)


def entries(model):
    (function,) = model.predict_function.compiled.functions.values()
    return [
        entry
        for entry in function.specialisations.of_shapes.values()
        if type(entry) is Specialisation
    ]


@pytest.mark.parametrize("rows", [80, 77, 81])
def test_many_batches_of_short_steps_run_side_by_side(rows, monkeypatch):
    monkeypatch.setattr(workload, "_cores", lambda: 4)
    model, x = recurrent(), np.random.default_rng(0).normal(size=(rows, 40, 8)).astype("f4")
    found = model.predict(x, 8, verbose=0)
    (entry, *_) = entries(model)
    assert entry.program is None and entry.fastest.program.parallel > 1
    expected = np.concatenate([model.predict_on_batch(x[n : n + 8]) for n in range(0, rows, 8)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    weights = [w * 2 for w in model.get_weights()]
    model.set_weights(weights)
    changed = recurrent()
    changed.set_weights(weights)
    np.testing.assert_allclose(
        model.predict(x, 8, verbose=0), changed.predict(x, rows, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_they_are_compiled_for_it_when_that_is_worth_it(monkeypatch):
    monkeypatch.setattr(workload, "_cores", lambda: 4)
    model, x = recurrent(), np.random.default_rng(0).normal(size=(96, 40, 8)).astype("f4")
    expected = np.concatenate([model.predict_on_batch(x[n : n + 8]) for n in range(0, 96, 8)])
    (entry,) = entries(model)
    entry.program.compile_seconds = 1e6
    model.predict(x, 8, verbose=0)
    assert entry.fastest is entry and entry.throughput.lost > 0
    # lost in two predicts and a half
    entry.program.compile_seconds = 2.5 * entry.throughput.lost
    entry.program.least_seconds = entry.throughput.lost / entry.throughput.saved / 12
    model.predict(x, 8, verbose=0)
    assert entry.fastest is entry
    np.testing.assert_allclose(model.predict(x, 8, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert entry.fastest.program.parallel > 1


@pytest.mark.parametrize(
    ("settings", "rows"), [({"performance": "latency"}, 80), ({"threads": 2}, 80), ({}, 24)]
)
def test_otherwise_one_after_the_other(settings, rows, monkeypatch):
    monkeypatch.setattr(workload, "_cores", lambda: 4)
    model, x = recurrent(), np.zeros((rows, 40, 8), "f4")
    with config.using(**settings):
        model.predict(x, 8, verbose=0)
    assert all(entry.throughput is None for entry in entries(model))
