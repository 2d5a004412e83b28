"""Indices out of range: an IndexError that names layer, index and range, whoever made them."""

import re

import keras
import numpy as np
import openvino
import pytest
from keras import Input, Model, layers, ops

import kerasvino
from kerasvino.errors import IndexRangeError
from kerasvino.runtime import config

TABLE = np.float32([[10], [11], [12], [13]])
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def _embedding(name="names", **arguments):
    return layers.Embedding(4, 1, weights=[TABLE], name=name, **arguments)


def _of(ids, between=lambda ids: ids, dtype="int32", length=1):
    """A model of an Embedding, and a batch of ids for it."""
    x = Input((length,), dtype=dtype)
    return Model(x, _embedding()(between(x))), np.array([[ids] * length], dtype)


BETWEEN = {
    "an argument": (lambda ids: ids, "int32"),
    "int64": (lambda ids: ids, "int64"),
    "int8": (lambda ids: ids, "int8"),
    "uint8": (lambda ids: ids, "uint8"),
    "float": (lambda ids: ids, "float32"),
    "reshaped": (lambda ids: ops.reshape(ids, (-1, 1, 1)), "int32"),
    "transposed": (lambda ids: ops.transpose(ids), "int32"),
    "computed": (lambda ids: ids * 2 - ids, "int32"),
    "sliced": (lambda ids: ops.concatenate([ids, ids], axis=1)[:, 1:], "int32"),
}


@pytest.mark.parametrize("kind", BETWEEN)
@pytest.mark.parametrize("index", [0, 3, -1, -4, 4, -5, 100, -100])
def test_an_embedding_takes_what_it_takes_eagerly(kind, index):
    between, dtype = BETWEEN[kind]
    if index < 0 and dtype.startswith("u"):
        pytest.skip("unsigned")
    model, ids = _of(index, between, dtype)
    if -4 <= index < 4:
        found = model.predict_on_batch(ids)
        assert found.ravel()[0] == TABLE[index]
        return
    with pytest.raises(
        IndexRangeError, match=rf"layer .*names was given index {index} at \[0.*-4 to 3"
    ):
        model.predict_on_batch(ids)
    with pytest.raises(
        IndexRangeError, match=rf"take in layer .*names was given index {index} at .*-4 to 3"
    ):
        model(ids)


def test_64_bit_ids_that_no_graph_holds():
    model, _ = _of(0, dtype="int64")
    for index in (2**31, 2**32 + 1, -(2**32)):
        with pytest.raises(IndexRangeError, match=f"index {index} "):
            model.predict_on_batch(np.array([[index]], np.int64))


def _entries(model, ids):
    loss = {"loss": "mse", "optimizer": "sgd"}
    y = np.zeros((*ids.shape, 1), np.float32)
    model.compile(**loss)
    return {
        "predict": lambda: model.predict(ids, verbose=0),
        "predict_on_batch": lambda: model.predict_on_batch(ids),
        "evaluate": lambda: model.evaluate(ids, y, verbose=0),
        "test_on_batch": lambda: model.test_on_batch(ids, y),
        "fit": lambda: model.fit(ids, y, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(ids, y),
        "jit": lambda: kerasvino.jit(model)(ids),
        "call": lambda: model(ids),
    }


@pytest.mark.parametrize("between", [lambda ids: ids, lambda ids: ids + 0], ids=["given", "made"])
@pytest.mark.parametrize("entry", list(_entries(*_of(0))))
def test_every_way_to_run_a_model(entry, between):
    model, ids = _of(0, between, length=3)
    run = _entries(model, ids)[entry]
    for _ in range(3):
        run()
    before = [np.array(v) for v in model.get_weights()]
    ids[0, 2] = 4
    with pytest.raises(IndexError, match=r"index 4|names/gradient/.* out of range"):
        run()
    after = model.get_weights()
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    ids[0, 2] = 3
    run()


def test_a_batch_of_predict_that_is_filled_up():
    """Rows of zeros are no ids of the user, whatever is computed from them."""
    model, _ = _of(0, lambda ids: ids - 5)  # which of 0 is out of range
    ids = np.full((7, 1), 6, np.int32)
    assert (model.predict(ids, batch_size=4, verbose=0) == TABLE[1]).all()
    ids[6] = 10
    with pytest.raises(IndexRangeError, match=r"index 5 at \[2, 0\]"):
        model.predict(ids, batch_size=4, verbose=0)


def test_unknown_lengths():
    """Of the batch, of the axis that is indexed, and of both."""
    take = kerasvino.jit(lambda x, ids: ops.take(x, ids, axis=0))
    for length in range(3, 11):  # the later ones share a program
        x = np.arange(length, dtype=np.float32)
        assert np.asarray(take(x, np.int32([-length, length - 1]))).tolist() == [0, length - 1]
        for wrong in (length, -length - 1):
            with pytest.raises(IndexRangeError, match=f"index {wrong} .*length {length};"):
                take(x, np.int32([0, wrong]))
    constant = kerasvino.jit(lambda x: x[:, np.array([0, 4])])
    for length in range(5, 10):
        constant(np.zeros((2, length), np.float32))
    with pytest.raises(IndexError):
        constant(np.zeros((2, 4), np.float32))


INDEXED = {
    "take": (lambda x, i: ops.take(x, i, axis=1), np.int32([0, -3]), 3),
    "take, of the flattened": (lambda x, i: ops.take(x, i), np.int32([11, -12]), 12),
    "take of a scalar": (lambda x, i: ops.take(x, i, axis=0), np.int32(2), 4),
    "take_along_axis": (lambda x, i: ops.take_along_axis(x, i, axis=0), np.int32([[0, -4, 3]]), 4),
    "x[i]": (lambda x, i: x[i], np.int32([0, -4]), 4),
    "x[scalar]": (lambda x, i: x[i], np.int32(3), 4),
    "x[i, j]": (lambda x, i: x[i, i], np.int32([0, -3]), 3),
    "x[:, i]": (lambda x, i: x[:, i], np.int32([[0], [2]]), 3),
    "scatter_update": (
        lambda x, i: ops.scatter_update(x, i, i[:, 0]), np.int32([[0, 1], [-1, -1]]), 3
    ),
    "scatter_update, add": (
        lambda x, i: ops.scatter_update(x, i, ops.cast(i[:, 0], "float32"), "add"),
        np.int32([[0, 1], [-1, -1]]), 3,
    ),
    "scatter": (lambda x, i: ops.scatter(i, x[:2], (4, 3)), np.int32([[0], [-4]]), 4),
}  # fmt: skip


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("name", INDEXED)
def test_operations_that_index(name, computed):
    function, indices, length = INDEXED[name]
    compiled = kerasvino.jit((lambda x, i: function(x, ops.add(i, 0))) if computed else function)
    expected = np.asarray(function(ops.convert_to_tensor(X), ops.convert_to_tensor(indices)))
    np.testing.assert_array_equal(np.asarray(compiled(X, indices)), expected)
    for wrong in (length, -length - 1, 2**31 - 1, -(2**31)):
        bad = np.array(indices)
        bad.flat[-1] = wrong
        operation = re.escape("x[...]" if name.startswith("x") else name.split(",")[0].split()[0])
        with pytest.raises(
            IndexRangeError, match=f"^{operation}.* was given index {wrong}.* valid"
        ):
            function(ops.convert_to_tensor(X), ops.convert_to_tensor(bad))
        with pytest.raises(IndexRangeError) as caught:
            compiled(X, bad)
        if not computed or not re.search("along|scatter", name):
            assert f"index {wrong} at" in str(caught.value)


EAGER = {
    "an int": (lambda x: x[4], "x[...] was given index 4, but the axis has length 4; valid: -4"),
    "the last": (lambda x: x[..., -4], "index -4, but the axis has length 3; valid: -3 to 2"),
    "beyond 64 bits": (lambda x: x[2**70], f"index {2**70}, but"),
    "a list": (lambda x: x[[0, 7, 9]], "index 7 at [1] (and 1 more out of range)"),
    "an unsigned": (lambda x: x[np.array([9], np.uint64)], "index 9 at [0]"),
    "a tensor in a tuple": (lambda x: x[:, ops.array(5)], "index 5, but the axis has length 3"),
    "a variable": (lambda x: keras.Variable(x)[5], "index 5, but"),
    "at": (lambda x: x.at[5].set(1.0), "index 5, but"),
    "a method": (
        lambda x: x.take(12),
        "take was given index 12 at [0], but the axis has length 12",
    ),
    "recorded": (lambda x: kerasvino.grad(lambda x: ops.sum(x[5]))(x), "index 5, but"),
    "no axis": (
        lambda x: ops.take(x[:0], 0),
        "take was given index 0 at [0], but the axis has length 0; valid: none",
    ),
}


@pytest.mark.parametrize("name", EAGER)
def test_eager_errors_are_those_of_compiled_calls(name):
    function, message = EAGER[name]
    with pytest.raises(IndexRangeError, match=re.escape(message)):
        function(ops.convert_to_tensor(X))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[0, 0, 0],
        lambda x: x[np.ones(5, bool)],
        lambda x: x[[0, 1], [0, 1, 2]],
        lambda x: x[1.5],
        lambda x: x[[0.5]],
        lambda x: x[True, 9],
        lambda x: ops.scatter_update(x, np.int32([[0, 0, 9]]), np.float32([1])),
    ],
)
def test_what_is_wrong_otherwise_is_said_as_it_is(function, monkeypatch):
    from kerasvino.primitives import core

    monkeypatch.setattr(core, "_eager_compiled", False)
    with pytest.raises(IndexError) as caught:
        function(ops.convert_to_tensor(X))
    assert caught.type is IndexError
    assert "was given index" not in str(caught.value)


def test_indices_that_are_known_are_checked_when_traced():
    x = Input((3,))
    with pytest.raises(IndexError, match="7"):
        Model(x, ops.take(x, np.array([0, -1, 7]), axis=1)).predict_on_batch(X)


def test_no_rows():
    model, _ = _of(0)
    assert model.predict_on_batch(np.zeros((0, 1), np.int32)).shape == (0, 1, 1)
    with pytest.raises(IndexError, match="length 0; valid: none"):
        kerasvino.jit(lambda x, i: ops.take(x, i, axis=0))(
            np.zeros((0, 2), np.float32), np.int32([0])
        )


def test_booleans_index():
    take = kerasvino.jit(lambda x, i: ops.take(x, i, axis=0))
    assert np.asarray(take(X, np.array([True, False]))).tolist() == [X[1].tolist(), X[0].tolist()]
    with pytest.raises(IndexError):
        take(X[:1], np.array([True, False]))


def test_a_branch_that_is_not_taken_raises_nothing():
    """What README's table of limits says of branches and loops: zeros."""

    def function(x, i, flag):
        return ops.cond(flag, lambda: ops.take(x, i, axis=0), lambda: x[:2] * 0)

    compiled = kerasvino.jit(function)
    assert not np.asarray(compiled(X, np.int32([0, 9]), np.array(False))).any()
    assert np.asarray(compiled(X, np.int32([0, 9]), np.array(True)))[1].tolist() == [0, 0, 0]


def test_one_hot_and_sums_of_segments_leave_out_what_is_out_of_range():
    ids = np.int32([-1, 0, 7])
    for function in (
        lambda i: ops.one_hot(i, 3),
        lambda i: ops.multi_hot(i, 3),
        lambda i: ops.segment_sum(np.float32([1, 2, 3]), i, num_segments=2),
    ):
        np.testing.assert_array_equal(
            np.asarray(kerasvino.jit(function)(ids)), np.asarray(function(ids))
        )


def test_packed_features_are_checked_column_by_column():
    x = Input((3,), dtype="int32")
    model = Model(x, _embedding()(x[:, 0]) + ops.cast(x[:, 2:], "float32"))
    assert model.predict_on_batch(np.int32([[3, 99, 1000]])) == 1013
    with pytest.raises(IndexRangeError, match="index 9 at"):
        model.predict_on_batch(np.int32([[9, 0, 0]]))


def test_an_exported_model_has_no_outputs_more(tmp_path):
    model, _ = _of(0, lambda ids: ids + 0)
    path = str(tmp_path / "model.xml")
    model.export(path, format="openvino", verbose=False)
    assert len(openvino.Core().read_model(path).get_results()) == 1


def test_eager_operations_as_programs(monkeypatch):
    """`KERASVINO_EAGER=compiled`."""
    from kerasvino.primitives import core

    monkeypatch.setattr(core, "_eager_compiled", True)
    x, bad = ops.convert_to_tensor(X), ops.convert_to_tensor(np.int32([[0, 1, 9]]))
    for function in (
        lambda: ops.take(x, bad, axis=0),
        lambda: ops.take_along_axis(x, bad, axis=0),
        lambda: ops.scatter_update(x, ops.transpose(bad), np.zeros((3, 3), np.float32)),
    ):
        with pytest.raises(IndexRangeError, match="index 9 at"):
            function()


def test_ids_of_many_batches_and_threads():
    model, _ = _of(0, lambda ids: ids + 0)
    ids = np.tile(np.int32([0, 1, 2, 3]), 40)[:, None]
    with config.using(performance="throughput"):
        assert (model.predict(ids, batch_size=4, verbose=0).ravel()[:4] == TABLE.ravel()).all()
        ids[90] = 4
        with pytest.raises(IndexRangeError, match="index 4"):
            model.predict(ids, batch_size=4, verbose=0)
    ids[90] = 0
    assert len(model.predict(keras.ops.convert_to_tensor(ids), batch_size=4, verbose=0)) == 160


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint32", "float32"])
def test_vectors_give_zeros_in_a_branch(dtype):
    """The CPU plugin reads the memory behind a short vector of integers."""
    vector = ops.cast(np.arange(1, 5), dtype)

    @kerasvino.jit
    def looked_up(vector, ids, limit):
        return ops.cond(
            limit > 0,
            lambda: (ops.take(vector, ids), ops.take(vector, ids[-1])),
            lambda: (ops.zeros_like(ops.take(vector, ids)), ops.take(vector, 0)),
        )

    ids = np.arange(-60, 60)
    several, one = looked_up(vector, ids, ops.ones((), "int32"))
    inside = (ids >= -4) & (ids < 4)
    expected = np.where(inside, np.take(np.arange(1, 5), ids, mode="wrap"), 0)
    np.testing.assert_array_equal(ops.convert_to_numpy(several), expected)
    assert ops.convert_to_numpy(one) == 0


def test_a_far_index_into_a_vector_of_integers_is_refused():
    looked_up = kerasvino.jit(lambda x, n: ops.take(x, n * 1))
    with pytest.raises(IndexRangeError, match="index 2000000000 "):
        looked_up(ops.ones((4,), "int32"), ops.convert_to_tensor(2_000_000_000, "int32"))
