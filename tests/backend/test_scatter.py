"""Scattered updates, blocks and unstacking: against NumPy in every form."""

import numpy as np
import pytest
from keras import ops

from kerasvino.autodiff.reverse import pullback, watch
from kerasvino.backend.ops.core import convert_to_tensor
from tests.backend.forms import FORMS, nodes, run

X = np.arange(24, dtype=np.int32).reshape(4, 3, 2) * 2**26
PLACES = np.array([[0, 1], [-1, -1], [2, 0], [0, 1]], np.int32)
UPDATES = np.array([[1, 2], [3, 4], [2**31 - 1, 5], [6, -7]], np.int32)


def scattered(x, places, updates, reduction):
    x = x.copy()
    index = tuple(np.moveaxis(places, -1, 0))
    if reduction is None:
        x[index] = updates
    else:
        table = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}
        table[reduction].at(x, index, updates)
    return x


@pytest.mark.parametrize("reduction", [None, "add", "max", "min", "mul"])
@pytest.mark.parametrize("form", ["host", "recorded", "static"])
def test_scatter_update(form, reduction):
    found = run(form, lambda x, i, u: ops.scatter_update(x, i, u, reduction), X, PLACES, UPDATES)
    np.testing.assert_array_equal(found, scattered(X, PLACES, UPDATES, reduction))


def test_unknown_lengths():
    from kerasvino.graph import Spec, trace
    from kerasvino.runtime.program import Program

    for reduction in (None, "add"):
        graph = trace(
            lambda x, i, u, r=reduction: [ops.scatter_update(x, i, u, r)],
            [Spec((None, None, 2), "int32"), Spec((None, 2), "int32"), Spec((None, 2), "int32")],
        )
        (found,) = Program(graph, "CPU", {})([X, PLACES, UPDATES])
        np.testing.assert_array_equal(found, scattered(X, PLACES, UPDATES, reduction))
        (found,) = Program(graph, "CPU", {})([X, PLACES[:0], UPDATES[:0]])
        np.testing.assert_array_equal(found, X)


@pytest.mark.parametrize("form", ["host", "static"])
def test_the_last_update_of_a_place_stays(form):
    rng = np.random.default_rng(0)
    places = rng.integers(0, 10, (200_000, 1)).astype(np.int32)
    updates = rng.normal(size=200_000).astype(np.float32)
    found = run(form, ops.scatter_update, np.zeros(10, np.float32), places, updates)
    np.testing.assert_array_equal(found, scattered(np.zeros(10, np.float32), places, updates, None))


@pytest.mark.parametrize("form", ["host", "recorded", "static"])
def test_scatter_adds_into_zeros(form):
    found = run(form, lambda i, u: ops.scatter(i, u, (4, 3, 2)), PLACES, UPDATES)
    np.testing.assert_array_equal(found, scattered(X * 0, PLACES, UPDATES, "add"))


@pytest.mark.parametrize("form", ["host", "static"])
def test_nan_is_the_extreme_of_what_it_meets(form):
    x, places = np.array([1, np.nan, -1], np.float32), np.array([[0], [0], [1], [2]], np.int32)
    updates = np.array([np.nan, 5, 2, 7], np.float32)
    for reduction in ("max", "min"):
        found = run(form, lambda *xs, r=reduction: ops.scatter_update(*xs, r), x, places, updates)
        np.testing.assert_array_equal(found, scattered(x, places, updates, reduction))


def test_a_place_out_of_range_is_an_error():
    for form in ("host", "static"):
        with pytest.raises(IndexError):
            run(form, ops.scatter_update, X, PLACES + 5, UPDATES)


BLOCKS = [
    ((0, 0, 0), (4, 3, 2)),
    ((1, 1, 0), (2, 2, 2)),
    ((3, 2, 1), (2, 1, 1)),
    ((-1, 0, 9), (1, 3, 1)),
]


@pytest.mark.parametrize(("starts", "shape"), BLOCKS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("traced", [False, True])
def test_blocks_are_moved_to_lie_within(starts, shape, form, traced):
    begin = [min(a + n * (a < 0), n - m) for a, n, m in zip(starts, X.shape, shape, strict=True)]
    key = tuple(slice(a, a + m) for a, m in zip(begin, shape, strict=True))
    update = np.full(shape, -5, np.int32)
    written = X.copy()
    written[key] = update
    vector = np.array(starts, np.int32)

    def function(x, u, i):
        i = i if traced else starts
        return ops.slice(x, i, shape), ops.slice_update(x, i, u)

    read, found = run(form, function, X, update, vector)
    np.testing.assert_array_equal(read, X[key])
    np.testing.assert_array_equal(found, written)


def test_a_block_at_a_traced_start_has_a_known_shape():
    def function(cache, new, position):
        result = ops.slice_update(cache, (0, position, 0), new)
        assert result.shape == (4, 8, 2)
        assert ops.slice(cache, (0, position, 0), (4, 2, 2)).shape == (4, 2, 2)
        return result

    cache, new = np.zeros((4, 8, 2), np.float32), np.ones((4, 1, 2), np.float32)
    kinds = nodes(function, cache, new, np.int32(3))
    # one write of the cache, the rest is about the position
    assert kinds.count("ScatterUpdate") == 1
    assert not {"ScatterNDUpdate", "Transpose", "Gather", "Concat"} & set(kinds)
    found = run("static", function, cache, new, np.int32(3))
    assert found.sum() == found[:, 3].sum() == 8


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("form", ["host", "recorded", "static"])
def test_unstack(form, axis):
    found = run(form, lambda x: ops.unstack(x, axis=axis), X)
    for result, expected in zip(found, np.moveaxis(X, axis, 0), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_unstack_of_an_unknown_length_takes_the_number():
    found = run("dynamic", lambda x: ops.unstack(x, num=4), X)
    np.testing.assert_array_equal(np.stack(found), X)
    with pytest.raises(ValueError, match="`num`"):
        run("dynamic", lambda x: ops.unstack(x), X)


@pytest.mark.parametrize("traced", [False, True])
def test_only_the_update_that_stays_has_a_gradient(traced):
    places = np.array([[1], [0], [1]], np.int32)
    weights = np.array([2.0, 3.0, 5.0], np.float32)

    def function(x, updates):
        x, updates = watch(x), watch(updates)
        result = ops.scatter_update(x, places, updates)
        return pullback([result], [convert_to_tensor(weights)], [x, updates])

    form = "static" if traced else "host"
    dx, d_updates = run(form, function, np.zeros(3, np.float32), np.ones(3, np.float32))
    np.testing.assert_array_equal(dx, [0, 0, 5])
    np.testing.assert_array_equal(d_updates, [0, 2, 3])
