"""The public names of the package, and what other libraries may ask it."""

import collections
import importlib
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino import errors


@pytest.mark.parametrize("name", kerasvino.__all__)
def test_every_public_name_is_there(name):
    found = getattr(kerasvino, name)
    assert name == "__version__" or found.__doc__


def test_no_other_name_is_there():
    with pytest.raises(AttributeError, match="'kerasvino' has no attribute 'nothing'"):
        _ = kerasvino.nothing


def test_dir_lists_the_public_names():
    assert dir(kerasvino) == sorted(kerasvino.__all__)


def test_each_error_is_in_the_docs():
    page = pathlib.Path(__file__).parents[1] / "docs" / "errors.md"
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == errors.__all__
    for row in rows:
        name, kinds = row.split("|")[1:3]
        error = getattr(errors, name.strip().strip("`"))
        assert kinds.strip() == ", ".join(f"`{base.__name__}`" for base in error.__bases__)


def test_errors_load_neither_keras_nor_openvino():
    code = (
        "import sys, kerasvino.errors\n"
        "print([n for n in ('keras', 'openvino', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "name, kinds, place",
    [
        ("TracedValueError", (TypeError,), "kerasvino.tensor"),
        ("LoweringError", (ValueError,), "kerasvino.primitives.operation_errors"),
        ("GraphRangeError", (ValueError, OverflowError), "kerasvino.dtypes"),
        ("NotDifferentiableError", (TypeError,), "kerasvino.autodiff"),
    ],
)
def test_errors_are_of_pythons_kinds(name, kinds, place):
    error = getattr(errors, name)
    assert all(issubclass(error, kind) for kind in kinds)
    assert getattr(importlib.import_module(place), name) is error  # where it was before
    assert str(error("as said")) == "as said"  # Keras makes one anew, with more to say


def test_each_error_is_raised():
    x = ops.ones((2, 3))

    @kerasvino.jit
    def asks(x):
        return x if x[0, 0] > 0 else -x

    with pytest.raises(errors.TracedValueError, match="cond"):
        asks(x)
    with pytest.raises(errors.LoweringError, match="reshape"):
        kerasvino.jit(lambda x: ops.reshape(x, (4, 5)))(x)
    with pytest.raises(errors.GraphRangeError, match="32 bits"):
        kerasvino.jit(lambda x: x + 1)(ops.convert_to_tensor(np.array([2**40])))
    with pytest.raises(errors.NotDifferentiableError, match="maximum_iterations"):
        unlimited = lambda x: ops.while_loop(lambda y: ops.sum(y) < 99, lambda y: y * 2, x)
        kerasvino.jit(kerasvino.grad(lambda x: ops.sum(unlimited(x))))(x)


def _nested(x):
    return {
        "tensor": x,
        "tuple": (1, (x, None)),
        "list": ["a", [x]],
        "dict": {"a": 1, "b": {"c": x}},
        "ordered": collections.OrderedDict(a=x),
        "deque": collections.deque([x]),
        "named": collections.namedtuple("Pair", "a b")(1, x),
        "slice": slice(0, x),
        "row": x[0],
        "length": ops.shape(x)[0] if ops.shape(x)[0] is not None else x,
    }


def test_is_traced():
    said, unsaid = {}, {}
    x = ops.ones((2, 3))

    @kerasvino.jit
    def inside(x, flag):
        said.update({name: kerasvino.is_traced(value) for name, value in _nested(x).items()})
        unsaid["flag"] = kerasvino.is_traced(flag)
        unsaid["constant"] = kerasvino.is_traced(ops.ones(3))
        variable = keras.Variable(1.0)
        unsaid["variable"] = kerasvino.is_traced(variable)
        said["value"] = kerasvino.is_traced(variable.value)
        return x * 2

    inside(x, 3)
    del said["length"]  # it is known here
    assert all(said.values()), said
    assert not any(unsaid.values()), unsaid
    assert not any(kerasvino.is_traced(value) for value in _nested(x).values())


@pytest.mark.parametrize("value", [None, 1, 1.5, "a", (), [], {}, object(), np.ones(2), {1, 2}])
def test_what_is_no_tensor_is_not_traced(value):
    assert kerasvino.is_traced(value) is False


def test_symbols_of_keras_are_not_traced_and_tensors_in_a_functional_call_are():
    assert not kerasvino.is_traced(keras.Input((3,)))
    assert not kerasvino.is_traced(keras.KerasTensor((2, 3)))
    said = []
    layer = keras.layers.Lambda(lambda x: said.append(kerasvino.is_traced([x])) or x)
    layer(keras.Input((3,)))
    layer(np.ones((2, 3), "float32"))
    assert said == [True, False]


def test_is_active():
    assert kerasvino.is_active() is True
