"""Shapes, joining, creation: against NumPy in every form, with lengths that only the run shows."""

import numpy as np
import pytest
from keras import ops

from kerasvino.graph import Spec, trace
from kerasvino.primitives import shape as p
from tests.backend.forms import FORMS, nodes, run

A = np.arange(24, dtype=np.int32).reshape(2, 3, 4) * 2**26 + 1
B = A[:, ::-1] + 3
V = np.array([3, 0, -7, 2**31 - 1, 5], np.int32)
M = np.arange(12, dtype=np.int32).reshape(3, 4) - 5

# Operands, the function, and NumPy's of the same meaning where it differs by more than `ops`.
CASES = [
    ((A,), lambda o, x: o.reshape(x, (4, 6))),
    ((A,), lambda o, x: o.reshape(x, (2, -1))),
    ((A,), lambda o, x: o.ravel(x)),
    ((A,), lambda o, x: o.transpose(x)),
    ((A,), lambda o, x: o.transpose(x, (1, 2, 0))),
    ((A,), lambda o, x: o.moveaxis(x, (0, -1), (-1, 1))),
    ((A,), lambda o, x: o.swapaxes(x, -1, 0)),
    ((A,), lambda o, x: o.expand_dims(x, (0, -1))),
    ((A[:1, :, :1],), lambda o, x: o.squeeze(x, (0, 2))),
    ((M,), lambda o, x: o.broadcast_to(x, (2, 3, 4))),
    ((A,), lambda o, x: o.flip(x)),
    ((A,), lambda o, x: o.flip(x, (0, -1))),
    ((A,), lambda o, x: o.rot90(x, 1, (2, 0))),
    ((A,), lambda o, x: o.rot90(x, 3, (0, 1))),
    ((A,), lambda o, x: o.roll(x, 5)),
    ((A,), lambda o, x: o.roll(x, (1, -1), (0, 2))),
    ((A,), lambda o, x: o.roll(x, 2, (0, 2))),
    ((A,), lambda o, x: o.tile(x, 2)),
    ((A,), lambda o, x: o.tile(x, (2, 1, 1, 3))),
    ((A, B), lambda o, x, y: o.concatenate([x, y, x], 1)),
    ((A, B), lambda o, x, y: o.stack([x, y], -1)),
    ((A, B), lambda o, x, y: o.append(x, y, 0)),
    ((A, M), lambda o, x, y: o.append(x, y)),
    ((V, V), lambda o, x, y: o.hstack([x, y])),
    ((M, M), lambda o, x, y: o.hstack([x, y])),
    ((V, V), lambda o, x, y: o.vstack([x, y])),
    ((V, V), lambda o, x, y: o.dstack([x, y])),
    ((M, M), lambda o, x, y: o.dstack([x, y])),
    ((A,), lambda o, x: o.split(x, 2, 2)),
    ((A,), lambda o, x: o.split(x, [1, 2], 1)),
    ((A,), lambda o, x: o.split(x, [-1], 2)),
    ((A,), lambda o, x: o.array_split(x, 3, 2)),
    ((A,), lambda o, x: o.array_split(x, 5, -1)),
    ((A,), lambda o, x: o.hsplit(x, 3)),
    ((A,), lambda o, x: o.vsplit(x, 2)),
    ((A,), lambda o, x: o.dsplit(x, [1, 3])),
    ((A,), lambda o, x: o.repeat(x, 2)),
    ((A,), lambda o, x: o.repeat(x, 3, 1)),
    ((A,), lambda o, x: o.repeat(x, [2, 0, 1], 1)),
    ((V, np.array([2, 0, 1, 0, 3], np.int32)), lambda o, x, n: o.repeat(x, n)),
    ((M, np.array([0, 2, 0], np.int32)), lambda o, x, n: o.repeat(x, n, 0)),
    ((A[:0, :, :1],), lambda o, x: o.repeat(x, 0, -1)),
    ((A[:, :, :0],), lambda o, x: o.repeat(x, 0, 1)),
    ((A[:, :, :0],), lambda o, x: o.split(x, 3, 1)),
    ((A,), lambda o, x: o.pad(x, ((1, 0), (0, 2), (3, 1)))),
    ((A,), lambda o, x: o.pad(x, ((0, 0), (0, 0), (1, 2)), constant_values=2**31 - 1)),
    ((A,), lambda o, x: o.pad(x, ((0, 1), (2, 2), (3, 1)), "reflect")),
    ((A,), lambda o, x: o.pad(x, ((1, 2), (0, 3), (4, 1)), "symmetric")),
    ((A,), lambda o, x: o.pad(x, ((3, 2), (0, 3), (9, 5)), "wrap")),
    ((A,), lambda o, x: o.pad(x, 2, "edge")),
    ((M,), lambda o, x: o.pad(x, ((1, 2), (0, 3)), "maximum")),
    ((M,), lambda o, x: o.pad(x, ((1, 2), (0, 3)), "minimum")),
    ((M,), lambda o, x: o.pad(x, ((1, 2), (3, 0)), "mean")),
    ((M,), lambda o, x: o.pad(x, ((1, 2), (0, 3)), "median")),
    ((M * 7,), lambda o, x: o.pad(x, ((4, 5), (0, 3)), "linear_ramp")),
    ((A,), lambda o, x: o.take(x, [0, -1, 2], 1)),
    ((A, np.array([[1, 0], [-1, 1]], np.int32)), lambda o, x, i: o.take(x, i, 0)),
    ((A, np.array([23, 5, 0], np.uint8)), lambda o, x, i: o.take(x, i)),
    ((A, A % 3), lambda o, x, i: o.take_along_axis(x, i, 1)),
    ((A, -A[:, :, :1] % 4 - 4), lambda o, x, i: o.take_along_axis(x, i, -1)),
    ((A, A[:1, :1] % 3), lambda o, x, i: o.take_along_axis(x, i, 1)),
    ((M,), lambda o, x: o.nonzero(x)),
    ((V,), lambda o, x: o.nonzero(x)),
    ((V,), lambda o, x: o.diag(x)),
    ((V,), lambda o, x: o.diag(x, 2)),
    ((V,), lambda o, x: o.diag(x, -1)),
    ((M,), lambda o, x: o.diag(x, -1)),
    ((M,), lambda o, x: o.diag(x, 7)),
    ((M,), lambda o, x: o.diagflat(x, 1)),
    ((A,), lambda o, x: o.diagonal(x, 1)),
    ((A,), lambda o, x: o.diagonal(x, -1, 2, 0)),
    ((A,), lambda o, x: o.tril(x)),
    ((A,), lambda o, x: o.triu(x, 1)),
    ((A,), lambda o, x: o.tril(x, -1)),
    ((A,), lambda o, x: o.zeros_like(x)),
    ((A,), lambda o, x: o.full_like(x, 2**31 - 1)),
    ((V, M[0]), lambda o, x, y: o.meshgrid(x, y)),
    ((V, M[0], M[1]), lambda o, x, y, z: o.meshgrid(x, y, z, indexing="ij")),
    ((V,), lambda o, x: o.unravel_index(o.abs(x) % 24, (2, 3, 4))),
    ((np.array([2, -3, 5], np.int32),), lambda o, x: o.vander(x, 4)),
    ((np.array([2, -3, 5], np.int32),), lambda o, x: o.vander(x, 3, increasing=True)),
]


@pytest.mark.parametrize("form", FORMS)
def test_functions_agree_with_numpy(form):
    for number, (arrays, function) in enumerate(CASES):
        found = run(form, lambda *xs, f=function: f(ops, *xs), *arrays)
        wanted = function(np, *arrays)
        wanted = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
        for result, expected in zip(found if len(wanted) > 1 else [found], wanted, strict=True):
            np.testing.assert_array_equal(result, expected, err_msg=f"case {number}")


EMPTY = np.zeros((0, 3), np.float32)
EMPTIES = [
    lambda o, x: o.ravel(x), lambda o, x: o.reshape(x, (3, 0, 2)), lambda o, x: o.transpose(x),
    lambda o, x: o.expand_dims(x, 1), lambda o, x: o.concatenate([x, x], 1),
    lambda o, x: o.concatenate([x, x], 0), lambda o, x: o.stack([x, x]), lambda o, x: o.flip(x),
    lambda o, x: o.tile(x, (2, 2)), lambda o, x: o.pad(x, ((1, 1), (0, 1))),
    lambda o, x: o.repeat(x, 2, 1), lambda o, x: o.split(x, 3, 1)[0], lambda o, x: o.roll(x, 1, 1),
    lambda o, x: o.take(x, [0, 2], 1), lambda o, x: o.tril(x), lambda o, x: x[:, 1:],
    lambda o, x: x[:, None, 0], lambda o, x: o.broadcast_to(x, (2, 0, 3)),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_nothing_keeps_its_shape(form):
    for number, function in enumerate(EMPTIES):
        found = run(form, lambda x, f=function: f(ops, x), EMPTY)
        np.testing.assert_array_equal(found, function(np, EMPTY), err_msg=f"case {number}")


@pytest.mark.parametrize("form", FORMS)
def test_lengths_may_be_tensors(form):
    def function(x, n):
        rows, columns = ops.shape(x)
        return [
            ops.reshape(x, (columns, rows)), ops.reshape(x, (rows * 2, -1)),
            ops.zeros((n, columns)), ops.ones((rows, n)), ops.full((n,), 7, "int32"),
            ops.broadcast_to(x, (n, rows, columns)),
            ops.arange(n), ops.arange(1, n, 2), ops.arange(n, 0, -1), ops.arange(0.0, n, 0.5),
            ops.arange(n, dtype="float16"), ops.eye(n, rows), ops.tri(rows, n, 1), ops.identity(n),
            ops.tile(x, (n, 1)), ops.roll(x, n, 1), ops.repeat(x, n, 0), ops.zeros_like(x),
            ops.pad(x, ((n, 0), (0, rows))), ops.slice(x, (n - 2, 1), (2, 2)),
            ops.linspace(0, n, 4),
            ops.slice_update(x, (0, n - 2), ops.ones((1, 2), "int32")),
        ]  # fmt: skip

    n, (rows, columns) = 3, M.shape
    changed = M.copy()
    changed[0, 1:3] = 1
    wanted = [
        M.reshape(columns, rows), M.reshape(rows * 2, -1), np.zeros((n, columns)),
        np.ones((rows, n)), np.full((n,), 7), np.broadcast_to(M, (n, rows, columns)),
        np.arange(n), np.arange(1, n, 2), np.arange(n, 0, -1), np.arange(0, n, 0.5),
        np.arange(n), np.eye(n, rows), np.tri(rows, n, 1), np.identity(n),
        np.tile(M, (n, 1)), np.roll(M, n, 1), np.repeat(M, n, 0), np.zeros_like(M),
        np.pad(M, ((n, 0), (0, rows))), M[1:3, 1:3], np.linspace(0, n, 4), changed,
    ]  # fmt: skip
    found = run(form, function, M, np.int32(n))
    for number, (result, expected) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(result, expected, rtol=1e-6, err_msg=f"number {number}")


def test_a_shape_may_be_a_tensor():
    shape = ops.convert_to_tensor([4, 3])
    assert ops.reshape(M, shape).shape == (4, 3)
    assert ops.zeros(shape).shape == ops.broadcast_to(1.0, shape).shape == (4, 3)
    assert run("static", lambda x, s: ops.reshape(x, s), M, np.array([6, 2])).shape == (6, 2)


def test_known_lengths_stay_known():
    def shapes(function, *shape):
        def traced(x):
            y = function(x)
            found.append(y.shape)
            return y

        found = []
        trace(lambda x: [traced(x)], [Spec(shape, "float32")])
        return found[-1]

    assert shapes(lambda x: ops.reshape(x, (ops.shape(x)[0], 12)), None, 3, 4) == (None, 12)
    assert shapes(lambda x: ops.reshape(x, (ops.shape(x)[0], -1)), None, 3, 4) == (None, 12)
    heads = shapes(lambda x: ops.reshape(x * 2, (*ops.shape(x)[:2], 2, -1)), None, None, 8)
    assert heads == (None, None, 2, 4)
    assert shapes(lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0))), None, 3, 4) == (None, 5, 4)
    assert shapes(lambda x: ops.concatenate([x, x], 1), None, 3, 4) == (None, 6, 4)
    assert shapes(lambda x: ops.stack([x, x], 1), None, 3) == (None, 2, 3)
    assert shapes(lambda x: ops.repeat(x, 2, 1), None, 3) == (None, 6)
    assert shapes(lambda x: ops.slice(x, (0, 1), (ops.shape(x)[0], 2)), None, 3) == (None, 2)
    assert shapes(lambda x: x[:, ::-1][:, :2], None, 3) == (None, 2)
    assert shapes(lambda x: ops.take(x, [0, 1, 1], 1), None, 5) == (None, 3)
    assert shapes(lambda x: ops.split(x, 2, 0)[1], None, 5) == (None, 5)


@pytest.mark.parametrize("form", ["recorded", "static"])
def test_the_padding_may_be_a_tensor(form):
    def function(x, value):
        return ops.pad(x, ((1, 0), (0, 2)), constant_values=value)

    found = run(form, function, M, np.int32(2**31 - 1))
    np.testing.assert_array_equal(found, np.pad(M, ((1, 0), (0, 2)), constant_values=2**31 - 1))


def test_wrong_arguments_say_what_is_right():
    x = ops.zeros((2, 3))
    for message, wrong in [
        ("Cannot squeeze axis 1", lambda: ops.squeeze(x, 1)),
        ("equal parts", lambda: ops.split(x, 2, 1)),
        ("`mode` is one of", lambda: ops.pad(x, 1, mode="mirror")),
        ("not negative", lambda: ops.pad(x, -1)),
        ("constant_values", lambda: ops.pad(x, 1, mode="edge", constant_values=1)),
        ("as many axes", lambda: ops.moveaxis(x, (0, 1), (0,))),
        ("start indices", lambda: ops.slice(x, (0,), (1, 1))),
        ("No block", lambda: ops.slice(x, (0, 0), (3, 1))),
        ("No block", lambda: ops.slice_update(x, (0, 0), ops.zeros((1, 4)))),
        ("out of bounds", lambda: ops.flip(x, 2)),
        ("Invalid reduction", lambda: ops.scatter_update(x, [[0, 0]], [1.0], "mean")),
        ("entries for an axis", lambda: ops.repeat(x, [1, 2], 1)),
    ]:
        with pytest.raises(ValueError, match=message):
            wrong()


# -- the layout of images


IMAGE = np.arange(48, dtype=np.float32).reshape(1, 4, 3, 4)
KEEPING = [
    (lambda o, x: o.concatenate([x, x], -1), ["Concat"]),
    (lambda o, x: o.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0))), ["Pad"]),
    (lambda o, x: x[:, 1:, ::2], ["Slice"]),
    (lambda o, x: o.flip(x, 1), ["Slice"]),
    (lambda o, x: o.roll(x, 1, 2), ["Roll"]),
    (lambda o, x: o.tile(x, (1, 2, 1, 1)), ["Tile"]),
    (lambda o, x: o.take(x, [0, 2], 1), ["Gather"]),
    (lambda o, x: o.split(x, 2, 3)[1], ["VariadicSplit"]),
    (lambda o, x: o.broadcast_to(x, (2, 3, 4, 4)), ["Broadcast"]),
    (lambda o, x: o.squeeze(o.expand_dims(x, 1), 1), ["Unsqueeze", "Squeeze"]),
]


@pytest.mark.parametrize("number", range(len(KEEPING)))
def test_a_pending_permutation_passes(number):
    operation, kinds = KEEPING[number]

    def function(x):
        y = operation(ops, p.transpose(x, axes=(0, 2, 3, 1)))
        # channels first again, for the next convolution
        return p.transpose(y, axes=(0, 3, 1, 2))

    expected = operation(np, IMAGE.transpose(0, 2, 3, 1))
    expected = np.moveaxis(expected, -1, 1)
    np.testing.assert_array_equal(run("static", function, IMAGE), expected)
    assert nodes(function, IMAGE) == kinds


def test_pooled_features_flatten_without_a_transpose():
    def function(x):
        return ops.reshape(p.transpose(x, axes=(0, 2, 3, 1)), (1, 8))

    x = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)
    assert nodes(function, x) == ["Reshape"]
    np.testing.assert_array_equal(run("static", function, x), x.reshape(1, 8))


def test_squeezing_drops_axes_of_the_physical_order():
    def function(x):
        return p.squeeze(p.transpose(x, axes=(0, 2, 3, 1)), axis=(1, 2))

    x = np.arange(24, dtype=np.float32).reshape(3, 8, 1, 1)
    assert nodes(function, x) == ["Squeeze"]
    np.testing.assert_array_equal(run("static", function, x), x.reshape(3, 8))


# -- sequences and windows


SEQUENCES = [
    ((0.5, 3.0), lambda o, a, b: o.linspace(a, b, 7)),
    ((0.5, 3.0), lambda o, a, b: o.linspace(a, b, 7, endpoint=False)),
    (([1.0, 2.0], [[3.0], [5.0]]), lambda o, a, b: o.linspace(a, b, 4, axis=-1)),
    (([1.0, 2.0], [[3.0], [5.0]]), lambda o, a, b: o.linspace(a, b, 4, axis=1)),
    ((2.0, 5.0), lambda o, a, b: o.linspace(a, b, 1)),
    ((2.0, 5.0), lambda o, a, b: o.linspace(a, b, 0)),
    ((2.0, 5.0), lambda o, a, b: o.linspace(a, b, 5, retstep=True)),
    ((0.0, 3.0), lambda o, a, b: o.logspace(a, b, 5)),
    ((0.0, 3.0), lambda o, a, b: o.logspace(a, b, 5, base=2, endpoint=False)),
    ((1.0, 1000.0), lambda o, a, b: o.geomspace(a, b, 4)),
    ((-2.0, -64.0), lambda o, a, b: o.geomspace(a, b, 6)),
    (([1.0, -3.0], [8.0, -24.0]), lambda o, a, b: o.geomspace(a, b, 4, axis=1)),
]


@pytest.mark.parametrize("form", FORMS)
def test_sequences(form):
    for number, (bounds, function) in enumerate(SEQUENCES):
        bounds = [np.array(b, np.float32) for b in bounds]
        found = run(form, lambda a, b, f=function: f(ops, a, b), *bounds)
        wanted = function(np, *bounds)
        found, wanted = ([v] if isinstance(v, np.ndarray) else v for v in (found, wanted))
        for result, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(result, expected, rtol=3e-6, err_msg=f"number {number}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hanning", "kaiser"])
def test_windows(form, name):
    more = (8.6,) if name == "kaiser" else ()
    for count in (1, 2, 7, 12):
        found = run(form, lambda n: getattr(ops, name)(n, *more), np.int32(count))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, getattr(np, name)(count, *more), atol=2e-6)


def test_integer_sequences_are_exact():
    assert ops.linspace(0, 2**31 - 2, 3, dtype="int64").tolist() == [0, 2**30 - 1, 2**31 - 2]
    assert ops.arange(2**53, 2**53 + 3, dtype="int64").tolist() == [2**53, 2**53 + 1, 2**53 + 2]


def test_vectorize_applies_a_function_to_each_element():
    @ops.vectorize
    def clipped(a, b):
        return ops.maximum(a, b) * 2

    np.testing.assert_array_equal(clipped(M, 1), np.maximum(M, 1) * 2)
    inner = ops.vectorize(lambda a, b: ops.sum(a * b), signature="(n),(n)->()")
    np.testing.assert_array_equal(inner(M, M[0]), M @ M[0])
