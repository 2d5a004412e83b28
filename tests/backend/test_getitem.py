"""Indexing: NumPy's rules for concrete, recorded and traced tensors."""

import numpy as np
import pytest
from keras import Variable, ops

from kerasvino.autodiff.reverse import pullback, watch
from kerasvino.backend.ops.core import convert_to_tensor
from tests.backend.forms import FORMS, nodes, run

X = np.arange(120, dtype=np.int32).reshape(4, 5, 6) * 2**23 + 7
ROWS = np.array([[0, -1], [3, 1]], np.int32)
MASK = X % 5 < 2
S = slice

KEYS = [
    0, -1, (1, 2), (1, 2, 3), (-4, -5, -6), (), None, ..., (..., 0), (0, ...), (None, 0), (0, None),
    (..., None), (None, ..., None, 2), S(None), S(1, 3), S(-2, None), S(None, None, -1),
    S(3, 0, -2), S(9, None), S(-9, 2), S(2, 1), S(-9, None, -1), (S(None), S(4, None, -3), 2),
    (1, S(None, None, 2)),
    (S(1, 1), None, 0), np.int64(2), (np.int32(1), np.uint8(3)), [0, 2], [-1, 0, 0], [],
    ROWS, (S(None), ROWS), (..., ROWS), (ROWS, ROWS), (ROWS, S(None), ROWS), (S(None), ROWS, ROWS),
    (0, S(None), [1, 2]), (0, [1, 2]), ([1, 2], 0), (S(None), 0, [1, 2]), ([1], None, [2]),
    ([1, 2], ..., [0, 5]), (ROWS, None, 0), (S(1, 3), [4, 0], S(None, None, -1)),
    (ROWS, [1, 2], [[3], [4]]), (None, [1, 2], [0, 1], None), MASK, MASK[:, 0, 0],
    (S(None), MASK[0]), (MASK[..., 0], 0),
    (MASK[:, 0, 0], S(None), [1]), (0, MASK[0, :, 0]), (MASK[0, :, 0][:4], MASK[0, :, 0], 0),
    np.zeros((4,), bool), np.ones((4, 5), bool), (ROWS.astype(np.int64), ROWS.astype(np.uint8) % 5),
    ([True, False, False, True], 2), ([True, True, False, False], S(1, None)),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_keys_mean_what_they_mean_to_numpy(form):
    found = run(form, lambda x: [x[key] for key in KEYS], X)
    for key, result in zip(KEYS, found, strict=True):
        np.testing.assert_array_equal(result, X[key], err_msg=repr(key))
        assert result.dtype == X.dtype


@pytest.mark.parametrize("form", FORMS)
def test_index_tensors_masks_and_bounds_may_be_traced(form):
    def function(x, i, rows, mask, row):
        return [
            x[i], x[0, i], x[:, i], x[rows], x[:, rows], x[rows, i], x[i, :, rows], x[rows, rows],
            x[mask], x[mask[:, 0, 0]], x[row, 1:], x[i:], x[:i], x[i : i + 2, ::2], x[..., -i:],
            x[i::-1], x[:, None, i], x[[i, i + 1]], x[-i, rows[0]],
        ]  # fmt: skip

    i, row = np.int32(2), np.array([True, False, True, True])
    want = function(X, int(i), ROWS, MASK, row)
    found = run(form, function, X, i, ROWS, MASK, row)
    for position, (result, expected) in enumerate(zip(found, want, strict=True)):
        np.testing.assert_array_equal(result, expected, err_msg=f"number {position}")


def random_key(rng, shape):
    """A key of every kind of entry, some of them out of range of slices."""
    key, axis, common = [], 0, tuple(rng.integers(1, 4, rng.integers(1, 3)))
    while axis < len(shape):
        length, kind = shape[axis], rng.integers(0, 9)
        if kind == 0:
            key.append(None)
            continue
        if kind == 1 and Ellipsis not in [k for k in key if k is ...]:
            key.append(...)
            axis += rng.integers(0, len(shape) - axis + 1)
            continue
        if kind == 2:
            break
        if kind < 5:
            key.append(int(rng.integers(-length, length)))
        elif kind < 7:
            bounds = [None if rng.random() < 0.4 else int(n) for n in rng.integers(-6, 7, 2)]
            key.append(slice(*bounds, rng.choice([None, 1, 2, 3, -1, -2])))
        else:
            part = common[rng.integers(0, len(common)) :]
            key.append(rng.integers(-length, length, part).astype(np.int32))
        axis += 1
    return tuple(key)


@pytest.mark.parametrize("form", FORMS)
def test_random_keys(form):
    rng = np.random.default_rng(3)
    cases = []
    for _ in range(60):
        x = rng.integers(-(2**31), 2**31, rng.integers(1, 5, rng.integers(1, 5))).astype(np.int32)
        cases.append((x, random_key(rng, x.shape)))

    def function(*xs):
        return [x[key] for x, (_, key) in zip(xs, cases, strict=True)]

    for result, (x, key) in zip(run(form, function, *[x for x, _ in cases]), cases, strict=True):
        np.testing.assert_array_equal(result, x[key], err_msg=f"{x.shape} {key}")


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint32", "float16", "bfloat16", "float8_e4m3fn"]
)
@pytest.mark.parametrize("form", ["host", "static"])
def test_every_dtype_is_moved_exactly(dtype, form):
    source = ops.cast(np.arange(-6, 6).reshape(3, 4), dtype)
    for key in [1, (slice(None), -1), (slice(None, None, -1), [0, 2]), ([0, 1], [2, 3])]:
        found = run(form, lambda x, key=key: x[key], source.numpy())
        assert found.dtype == source.numpy().dtype
        assert found.tobytes() == source.numpy()[key].tobytes()


def test_a_concrete_tensor_gives_a_view():
    x = convert_to_tensor(X)
    for key in (0, slice(1, 3), (..., 2), (slice(None, None, -1), None)):
        assert np.shares_memory(x[key].numpy(), x.numpy())


def test_variables_are_indexed_and_index():
    index, x = Variable([2, 0], dtype="int32"), Variable(X)
    np.testing.assert_array_equal(x[index], X[[2, 0]])
    np.testing.assert_array_equal(convert_to_tensor(X)[index, 1], X[[2, 0], 1])
    np.testing.assert_array_equal(convert_to_tensor(X)[: index[0]], X[:2])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ((0, 0, 0, 0), "(?i)too many indices"),
        ((..., ...), "(?i)ellipsis"),
        (np.zeros((2, 2, 2, 2), bool), "(?i)too many indices"),
        ("a", "ind(ex|ices)"),
        (1.5, "ind(ex|ices)"),
        (np.array([0.5]), "integer"),
    ],
)
def test_what_is_no_index_says_so(form, key, said):
    with pytest.raises(IndexError, match=said):
        run(form, lambda x: x[key], X)


@pytest.mark.parametrize("form", ["host", "recorded", "static"])
@pytest.mark.parametrize("key", [4, -5, (0, 5), [0, 4], (slice(None), [-6]), np.ones((3,), bool)])
def test_out_of_range_is_an_error_where_the_length_is_known(form, key):
    with pytest.raises(IndexError):
        run(form, lambda x: x[key], X)


def test_a_traced_index_out_of_range_reads_no_foreign_memory():
    outside = np.array([0, 10**9, -(10**9), 4], np.int32)
    single = run("static", lambda x, i: x[i], X, outside)
    np.testing.assert_array_equal(single, [X[0], *[np.zeros_like(X[0])] * 3])
    pairs = run("static", lambda x, i, j: x[i, j], X, outside, outside)
    np.testing.assert_array_equal(pairs, [X[0, 0], X[3, 4], X[0, 0], X[3, 4]])


def test_the_step_of_a_slice_is_not_zero():
    for form in FORMS:
        with pytest.raises(ValueError, match="zero"):
            run(form, lambda x: x[::0], X)


def test_simple_keys_are_single_nodes():
    x = X.astype(np.float32)
    assert nodes(lambda t: t[1:3, ::2], x) == ["Slice"]
    assert nodes(lambda t: t[:, -1], x) == ["Slice", "Squeeze"]
    assert nodes(lambda t: t[..., None], x) == ["Unsqueeze"]
    assert nodes(lambda t, i: t[i], x, np.int32(0)) == ["Gather"]
    assert nodes(lambda t, i: t[:, i], x, ROWS) == ["Gather"]
    assert nodes(lambda t: t[...], x) == []


@pytest.mark.parametrize(
    "key",
    [
        (0, S(None, None, -1)), (S(None), S(3, 0, -2), 1), ROWS, (ROWS, 0), (S(None), [1, 1, 1]),
        (0, [1, 1], [2, 2]), (None, S(-3, -1), ..., 2), MASK,
    ],
)  # fmt: skip
@pytest.mark.parametrize("traced", [False, True])
def test_gradients_return_to_where_the_elements_came_from(key, traced):
    x = X.astype(np.float32)
    weights = np.arange(1.0, 1 + x[key].size, dtype=np.float32).reshape(x[key].shape)
    want = np.zeros_like(x)
    np.add.at(want, key, weights)

    def gradient(x):
        x = watch(x)
        return pullback([x[key]], [convert_to_tensor(weights)], [x])

    np.testing.assert_array_equal(run("static" if traced else "host", gradient, x), want)


def test_the_end_of_a_reversed_axis_of_unknown_length():
    from kerasvino.graph import Spec, trace
    from kerasvino.runtime.program import Program

    def function(x):
        back = x[::-1]
        head = back[: ops.shape(back)[0]]
        return [head, head[-1], head[-2:], back[-1], ops.flip(back, 0)[-1]]

    program = Program(trace(function, [Spec((None, 2), "float32")]), "CPU", {})
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    back = x[::-1]
    expected = [back, back[-1], back[-2:], back[-1], x[-1]]
    for found, value in zip(program([x]), expected, strict=True):
        np.testing.assert_array_equal(found, value)
