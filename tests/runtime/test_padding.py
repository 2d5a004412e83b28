"""Shorter batches on the program of a longer one: when, for how long, how much is traced for it."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino.runtime import padding, specialisations
from kerasvino.runtime.function import Function
from kerasvino.runtime.padding import PaddedBatch
from kerasvino.runtime.specialisation import Specialisation
from kerasvino.tensor import Tensor


def tensor(*shape, dtype="float32"):
    return Tensor(np.arange(np.prod(shape, dtype=int)).reshape(shape), dtype)


def counting(body):
    """`body` with the shapes that it is traced for."""

    def function(*args):
        function.traced.append(tuple(tuple(a._shape) for a in args))
        return body(*args)

    function.traced = []
    return function


@pytest.fixture
def comparisons(monkeypatch):
    """How many pairs of graphs are compared."""
    counts, whole = [], padding.is_rowwise
    monkeypatch.setattr(padding, "is_rowwise", lambda *a: (counts.append(1), whole(*a))[1])
    return counts


def of_kind(function, kind):
    return [e for e in function.specialisations.of_shapes.values() if type(e) is kind]


def test_all_lengths_are_served_after_one_more_trace(comparisons):
    body = counting(lambda x: [ops.matmul(x, np.ones((3, 2), "float32")), x * 2])
    function = Function(body)
    function(tensor(64, 3))
    for rows in (*range(63, 0, -1), *range(1, 64)):
        x = tensor(rows, 3)
        first, second = function(x)
        np.testing.assert_allclose(first, x.numpy().sum(1, keepdims=True).repeat(2, 1))
        np.testing.assert_allclose(second, x.numpy() * 2)
    assert body.traced == [((64, 3),), ((None, 3),)]
    assert len(comparisons) == 1
    assert len(of_kind(function, PaddedBatch)) == 63
    (longer,) = of_kind(function, Specialisation)
    assert longer.program is not None


def test_a_length_gets_its_own_program_when_padding_has_cost_as_much():
    body = counting(lambda x: [x * 2])
    function = Function(body)
    function(tensor(8, 3))
    function(tensor(5, 3))
    (padded,) = of_kind(function, PaddedBatch)
    assert padded.lengths[:2] == (5, 8)
    assert padded.spent > 0
    padded.spent = 1e9
    for _ in range(2):
        np.testing.assert_allclose(function(tensor(5, 3))[0], tensor(5, 3).numpy() * 2)
    assert body.traced == [((8, 3),), ((None, 3),), ((5, 3),)]
    assert not of_kind(function, PaddedBatch)
    assert all(e.program is not None for e in of_kind(function, Specialisation))


def test_code_that_asks_for_the_length_is_traced_and_compared_at_each(comparisons):
    body = counting(lambda x: [x * 2 if x.shape[0] == 5 else x * 3])
    function = Function(body)
    for rows, factor in ((8, 3), (5, 2), (4, 3), (6, 3), (7, 3), (5, 2), (4, 3)):
        x = tensor(rows, 2)
        np.testing.assert_allclose(function(x)[0], x.numpy() * factor)
    assert body.traced == [((n, 2),) for n in (8, None, 5, 4, 6, 7)]
    assert len(comparisons) == 4
    assert [e.own is not None for e in of_kind(function, PaddedBatch)] == [True] * 2


def test_numbers_beside_the_results_may_be_of_the_length():
    lengths = []

    def body(x):
        lengths[:] = [ops.shape(x)[0] if x._shape[0] is not None else x._shape[0]]
        return [x * 2]

    function = Function(body, structure=lambda: list(lengths))
    function(tensor(8, 3))
    function(tensor(5, 3))
    assert not of_kind(function, PaddedBatch)


def test_what_means_something_else_for_one_row_is_not_padded():
    function = Function(lambda x: [ops.squeeze(x)])
    for rows in (8, 5, 1, 3, 1):
        x = tensor(rows, 3)
        found = function(x)[0]
        np.testing.assert_array_equal(found, ops.squeeze(x))
    for rows in (*range(9, 20), 1):
        x = tensor(rows, 1)
        np.testing.assert_array_equal(function(x)[0], np.squeeze(x.numpy()))


def test_a_step_that_assigns_is_traced_once_for_each_length(comparisons):
    total = keras.Variable(0.0)

    def body(x):
        total.assign_add(ops.sum(x))
        return [x * 2]

    body = counting(body)
    function = Function(body)
    for rows in (8, 5, 8, 5):
        function(tensor(rows, 1))
    assert body.traced == [((8, 1),), ((5, 1),)]
    assert not comparisons
    assert float(total.value) == 2 * (28 + 10)


WEIGHTS = np.ones((512, 512), "float32")


@pytest.mark.parametrize(
    ("rows", "seconds", "is_padded"),
    [(200, 10.0, True), (20, 10.0, False), (20, 1e-6, True), (1, 10.0, False)],
)
def test_padding_is_bounded(rows, seconds, is_padded):
    """Not several times the work, unless that is little beside making a program."""
    body = counting(lambda x: [ops.relu(ops.matmul(ops.relu(ops.matmul(x, WEIGHTS)), WEIGHTS))])
    function = Function(body)
    function(tensor(600, 512))
    (longer,) = of_kind(function, Specialisation)
    longer.program.least_seconds = seconds
    longer.program.compile_seconds = 1.0
    function(tensor(rows, 512))
    assert len(of_kind(function, PaddedBatch)) == is_padded
    assert len(of_kind(function, Specialisation)) == 2 - is_padded


def test_the_end_of_a_long_predict_is_padded_and_a_single_call_is_not():
    model = keras.Sequential(
        [keras.Input((512,)), keras.layers.Dense(512), keras.layers.Dense(512)]
    )
    x = np.ones((601, 512), "float32")
    model.predict_on_batch(x[:300])
    (function,) = model.predict_function.compiled.functions.values()
    (longer,) = of_kind(function, Specialisation)
    longer.program.compile_seconds = 1e6
    found = model.predict(x, batch_size=300, verbose=0)
    (padded,) = of_kind(function, PaddedBatch)
    assert padded.lengths.rows == 1 and padded.suits_single_calls
    padded.suits_single_calls = False
    np.testing.assert_allclose(model.predict_on_batch(x[:1]), found[-1:], rtol=1e-5)
    assert not of_kind(function, PaddedBatch)
    longer.program.least_seconds, longer.program.compile_seconds = 10.0, 1.0
    assert longer.paddings[frozenset({0})].suits(150)
    assert not longer.paddings[frozenset({0})].suits(1)


@pytest.mark.parametrize(("length", "grows"), [(64, True), (8, False)])
def test_work_that_only_reads_weights_does_not_grow(length, grows):
    function = Function(lambda x: [ops.matmul(x, WEIGHTS)])
    function(tensor(length, 512))
    function(tensor(1, 512))
    longer = of_kind(function, Specialisation)[0]
    (found,) = longer.paddings.values()
    growth = [found.growth(rows) for rows in (length, length - 1, 4, 1)]
    assert growth[0] == 1 and growth == sorted(growth)
    assert (growth[-1] > growth[0]) == grows


def test_padded_lengths_are_forgotten(monkeypatch):
    monkeypatch.setattr(specialisations, "MAX_PADDED", 8)
    body = counting(lambda x: [x * 2])
    function = Function(body)
    function(tensor(100, 3))
    for rows in range(60, 100):
        function(tensor(60, 3))
        assert function(tensor(rows, 3))[0].shape == (rows, 3)
    kept = [e.lengths.rows for e in of_kind(function, PaddedBatch)]
    assert sorted(kept) == [60, *range(93, 100)]
    assert len(body.traced) == 2


def test_calls_of_many_shapes_do_no_more_work_than_the_first(monkeypatch):
    """`predict_on_batch` of 1,600 shapes; what is kept, traced and searched for is bounded."""
    model = keras.Sequential([keras.Input((None, 8)), keras.layers.Dense(4)])
    x = np.random.default_rng(0).normal(size=(40, 40, 8)).astype("float32")
    searches, new = [], specialisations.Specialisations._new

    def counted(*args):
        searches.append(1)
        return new(*args)

    monkeypatch.setattr(specialisations.Specialisations, "_new", counted)
    shapes = [(rows, steps) for rows in range(1, 41) for steps in range(1, 41)]
    for rows, steps in shapes:
        model.predict_on_batch(x[:rows, :steps])
    (function,) = model.predict_function.compiled.functions.values()
    kept = function.specialisations
    few = specialisations.MAX_SPECIALISATIONS
    assert len(of_kind(function, Specialisation)) <= few
    assert len(kept.of_shapes) <= few + specialisations.MAX_PADDED
    assert len(kept.of_patterns) == 1
    assert len(searches) < 200
    searches.clear()
    for rows, steps in shapes[::7]:
        found = model.predict_on_batch(x[:rows, :steps])
        wanted = x[:rows, :steps] @ np.asarray(model.layers[0].kernel)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert not searches
