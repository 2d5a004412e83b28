"""Python's operators on tensors of floats: the primitives that they are, and what they leave."""

import operator
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from kerasvino.graph import Spec, trace
from kerasvino.primitives.compare import where
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64")
ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.truediv)
COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)


def _tensor(values, name):
    return Tensor._wrap(np.asarray(values).astype(getattr(ml_dtypes, name, None) or name))


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("function", ARITHMETIC)
def test_arithmetic(function, name):
    x, y = _tensor([0.1, -2.0, 3.0], name), _tensor([7.0, 0.3, -0.5], name)
    found = function(x, y)
    assert found._array.tobytes() == function(x._array, y._array).tobytes()
    for number in (3, 0.1, -2.5):
        constant = np.asarray(number).astype(x._array.dtype)
        found = function(x, number)
        assert found.dtype == name
        assert found._array.tobytes() == function(x._array, constant).tobytes()
        found = function(number, x)
        assert found.dtype == name
        assert found._array.tobytes() == function(constant, x._array).tobytes()


@pytest.mark.parametrize("function", COMPARISONS)
def test_comparisons(function):
    x, y = _tensor([1.0, 2.0, np.nan], "float32"), _tensor([1.0, 3.0, 0.0], "float32")
    assert function(x, y)._array.tolist() == function(x._array, y._array).tolist()
    assert function(x, 2)._array.tolist() == function(x._array, 2).tolist()
    assert function(2, x)._array.tolist() == function(2, x._array).tolist()


def test_negative():
    assert (-_tensor([1.0, -2.0], "bfloat16"))._array.tolist() == [-1.0, 2.0]


def test_signs_of_zeros():
    x = _tensor([1.0], "float32")
    for zero in (0.0, -0.0, 0, -0.0, 0.0):
        assert np.signbit((x * zero)._array) == np.signbit(np.float32(zero))
        assert np.signbit(constant_like(zero, x)._array) == np.signbit(np.float32(zero))


def test_traced():
    def function(x):
        return [1 - x, x * 2, -x, 0.5 / x, x + x, x > 1]

    graph = trace(function, [Spec((2,), "float32")])
    kinds = [op.get_type_name() for op in graph.model.get_ordered_ops()]
    for kind in ("Subtract", "Multiply", "Negative", "Divide", "Add", "Less"):
        assert kind in kinds
    assert "Convert" not in kinds


def test_where():
    x, chosen = _tensor([1.0, 2.0], "bfloat16"), Tensor._wrap(np.array([True, False]))
    for found, wanted in (
        (where(chosen, x, 0), [1.0, 0.0]),
        (where(chosen, -1, x), [-1.0, 2.0]),
        (where(chosen, x, x), [1.0, 2.0]),
    ):
        assert found.dtype == "bfloat16"
        assert found._array.tolist() == wanted


_WITHOUT_BACKEND = """
import sys
import numpy as np
from kerasvino.primitives import arithmetic
from kerasvino.tensor import Tensor
x, i = Tensor._wrap(np.float32([1, 2])), Tensor._wrap(np.int32([1, 2]))
assert ((1 - x) * x)._array.tolist() == [0.0, -2.0]
for refused in (lambda: x + i, lambda: i + 1, lambda: x + None, lambda: -i):
    try:
        refused()
    except TypeError:
        continue
    raise AssertionError("not refused")
assert "kerasvino.backend" not in sys.modules
"""


def test_without_a_backend_nothing_is_promoted():
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_BACKEND], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
