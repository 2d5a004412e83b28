"""Tensor: values, immutability, Python protocols; what a traced one refuses."""

import copy
import operator
import pickle

import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino import dtypes
from kerasvino.backend.jit import jit
from kerasvino.tensor import Tensor, TracedValueError


def test_never_aliases_memory_that_a_user_can_write():
    array = np.arange(4.0)
    tensor = ops.convert_to_tensor(array)
    array[0] = 9
    assert tensor.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        tensor.numpy()[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(tensor)[0] = 1
    mine = ops.convert_to_numpy(tensor)
    mine[0] = 7
    assert tensor.tolist() == [0, 1, 2, 3]


def test_dlpack_hands_out_a_copy():
    tensor = ops.convert_to_tensor([1.0, 2.0])
    other = np.from_dlpack(tensor)
    np.testing.assert_array_equal(other, [1, 2])
    if other.flags.writeable:
        other[0] = 5
    assert tensor.tolist() == [1, 2]


def test_cannot_be_changed_in_place():
    tensor = ops.zeros((2,))
    with pytest.raises(TypeError, match="slice_update"):
        tensor[0] = 1


@pytest.mark.parametrize("name", [n for n in dtypes.TABLE if n != "string"])
def test_every_dtype_round_trips(name):
    tensor = Tensor(np.array([0, 1, 1], dtype=dtypes.numpy_dtype(name)))
    assert tensor.dtype == name
    assert np.asarray(tensor).dtype == dtypes.numpy_dtype(name)
    again = pickle.loads(pickle.dumps(tensor))
    assert again.dtype == name
    np.testing.assert_array_equal(np.asarray(again), np.asarray(tensor))


def test_pickle_and_deepcopy_keep_attributes():
    tensor = ops.convert_to_tensor([1.0, 2.0])
    tensor._keras_mask = [True]
    for twin in (pickle.loads(pickle.dumps(tensor)), copy.deepcopy(tensor), copy.copy(tensor)):
        assert twin is not tensor
        assert twin._keras_mask == [True]
        assert twin.tolist() == [1, 2]


def test_hash_is_identity_and_equality_elementwise():
    a, b = ops.ones((2,)), ops.ones((2,))
    assert len({a, b, a}) == 2
    assert (a == b).dtype == "bool"


def test_python_scalars():
    assert float(ops.convert_to_tensor(1.5)) == 1.5
    assert int(ops.convert_to_tensor([3])) == 3
    assert bool(ops.convert_to_tensor(True))
    assert operator.index(ops.convert_to_tensor(3)) == 3
    assert [10, 20, 30][ops.convert_to_tensor(1)] == 20
    assert f"{ops.convert_to_tensor(2.5):.2f}" == "2.50"
    assert complex(ops.convert_to_tensor(2.0)) == 2 + 0j
    for refused in (float, int):
        with pytest.raises(TypeError, match="one element"):
            refused(ops.ones((2,)))
    with pytest.raises(TypeError, match="rank 0"):
        operator.index(ops.ones((1,), dtype="int32"))


def test_length_and_iteration():
    tensor = ops.reshape(ops.arange(6), (3, 2))
    assert len(tensor) == 3
    assert [row.tolist() for row in tensor] == [[0, 1], [2, 3], [4, 5]]
    for refused in (len, iter):
        with pytest.raises(TypeError, match="rank 0"):
            refused(ops.convert_to_tensor(1))


class _Printer:
    """As IPython's, which asks objects to print themselves."""

    def __init__(self):
        self.said = ""

    def text(self, text):
        self.said += text


def _in_a_notebook(x):
    printer = _Printer()
    x._repr_pretty_(printer, False)
    return printer.said


def test_in_a_notebook_the_values_come_first():
    assert _in_a_notebook(ops.convert_to_tensor([1.5, 2])) == (
        "Tensor([1.5, 2. ], shape=(2,), dtype=float32)"
    )
    assert _in_a_notebook(ops.arange(4, dtype="int32")[:, None] * ops.ones(2, "int32")) == (
        "Tensor([[0, 0],\n        [1, 1],\n        [2, 2],\n        [3, 3]],\n"
        "       shape=(4, 2), dtype=int32)"
    )
    assert _in_a_notebook(ops.convert_to_tensor(3)) == "Tensor(3, shape=(), dtype=int32)"
    assert len(_in_a_notebook(ops.ones((1000, 1000)))) < 1000
    traced = []
    kerasvino.jit(lambda x: traced.append(_in_a_notebook(x)) or x)(ops.ones(2))
    assert traced == ["<kerasvino.Tensor traced shape=(2,) dtype=float32>"]


def test_repr_says_whose_it_is():
    assert "kerasvino.Tensor" in repr(ops.ones((2,)))


def test_unknown_dtype_is_refused():
    with pytest.raises(TypeError, match="no dtype"):
        Tensor(np.array(["2020-01-01"], dtype="datetime64[D]"))


def test_numpy_gives_way_in_operators():
    total = np.ones(2, "float32") + ops.ones((2,))
    assert isinstance(total, Tensor)
    assert total.tolist() == [2, 2]


QUESTIONS = {
    "if of several": (
        lambda x: bool(x > 0),
        r"write keras\.ops\.where\(x > 0, a, b\).*run_eagerly",
    ),
    "if of a scalar": (lambda x: bool(x[0] > 0), r"keras\.ops\.cond\(x > 0, f, g\).*run_eagerly"),
    "float, to print": (lambda x: float(x[0]), "print it, run eagerly"),
    "format of a number": (lambda x: f"{x[0]:.3f}", r"number for '\.3f' .*print it, run eagerly"),
    "bool": (lambda x: bool(x[0]), "keras.ops.cond"),
    "int": (lambda x: int(x[0]), "keras.ops.cast"),
    "float": (lambda x: float(x[0]), "keras.ops.cast"),
    "index": (lambda x: range(ops.cast(x[0], "int32")), "fori_loop"),
    "numpy": (lambda x: x.numpy(), "run_eagerly"),
    "array": (lambda x: np.asarray(x), "run_eagerly"),
    "item": (lambda x: x[0].item(), "keras.ops"),
    "tolist": (lambda x: x.tolist(), "keras.ops"),
    "pickle": (lambda x: pickle.dumps(x), "has run"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_traced_tensor_refuses_python_values(name):
    question, hint = QUESTIONS[name]

    def function(x):
        with pytest.raises(TracedValueError, match=hint):
            question(x)
        return x

    jit(function)(np.ones(2, "float32"))


def test_formats():
    x = ops.convert_to_tensor([1.0, 2.0])
    assert f"{x[0]:.2f}" == "1.00"
    assert f"{x:>60}".endswith("value=[1. 2.]>")
    with pytest.raises(ValueError, match=r"rank 0 is formatted by '\.2f'; the shape is \(2,\)"):
        f"{x:.2f}"
    said = []
    jit(lambda x: said.append(f"{x} {x:>50}") or x)(np.ones(2, "float32"))
    assert said[0].count("kerasvino.Tensor traced") == 2


def test_unknown_lengths_are_refused():
    from kerasvino.graph import Spec, trace

    def function(x):
        assert x.shape == (None, 2)
        assert x.size is None
        with pytest.raises(TracedValueError, match="shape"):
            len(x)
        with pytest.raises(TracedValueError, match="fori_loop"):
            iter(x)
        return [x]

    trace(function, [Spec((None, 2), "float32")])


def test_a_leaked_tensor_is_named():
    kept = []
    jit(lambda x: kept.append(x) or x)(np.ones(2, "float32"))
    with pytest.raises(TracedValueError, match="no longer being built"):
        ops.add(kept[0], 1)
    with pytest.raises(TracedValueError, match="no longer being built"):
        jit(lambda x: ops.add(x, kept[0]))(np.ones(2, "float32"))


@pytest.mark.parametrize("dtype", ["string", "complex64"])
def test_what_has_no_place_in_a_graph_is_refused(dtype):
    x = ops.convert_to_tensor(np.array(["1", "2"]).astype(dtypes.numpy_dtype(dtype)))
    for held in (lambda: jit(lambda y: y)(x), lambda: jit(lambda y: [y, x])(np.ones(2, "float32"))):
        with pytest.raises(TypeError, match=f"dtype {dtype} cannot enter a compiled OpenVINO"):
            held()
