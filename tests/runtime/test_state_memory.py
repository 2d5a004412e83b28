"""The memory of assigned values: used again, but never under someone who holds it."""

import gc

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino.runtime.function import Function
from kerasvino.runtime.program import _Turns
from kerasvino.tensor import Tensor

ONE = Tensor(np.float32(1))


def counter():
    state = keras.Variable(np.zeros((128, 128), "float32"))

    def step(x):
        state.assign(state + x)
        return [x]

    return state, Function(step)


def address(state):
    return state._value._array.ctypes.data


def test_few_arrays_take_turns():
    state, step = counter()
    step(ONE)
    seen = set()
    for _ in range(20):
        step(ONE)
        seen.add(address(state))
    assert len(seen) <= _Turns.MOST
    np.testing.assert_array_equal(state.value, np.full((128, 128), 21))


HOLDERS = {
    "tensor": lambda state: state.value,
    "view": lambda state: state.value.numpy(),
    "part of a view": lambda state: state.value.numpy()[3:, 5:],
    "reshaped": lambda state: ops.reshape(state.value, (-1,)),
    "array": lambda state: np.asarray(state.value),
    "memoryview": lambda state: memoryview(state.value.numpy()),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_value_that_someone_holds_does_not_change(holder):
    state, step = counter()
    for _ in range(5):
        step(ONE)
    held = HOLDERS[holder](state)
    for _ in range(10):
        step(ONE)
    np.testing.assert_array_equal(np.asarray(held), 5)
    assert float(state.numpy().max()) == float(state.numpy().min()) == 15


def test_a_value_compiled_into_another_program_does_not_change():
    state, step = counter()
    for _ in range(5):
        step(ONE)
    held = [state.value]
    other = Function(lambda x: [held[0] + x])
    assert float(other(ONE)[0].numpy().max()) == 6
    held.clear()
    other._function = None
    gc.collect()
    for _ in range(10):
        step(ONE)
    assert float(other(ONE)[0].numpy().max()) == 6


def test_many_held_values():
    state, step = counter()
    held = []
    for _ in range(8):
        step(ONE)
        held.append(state.value)
    assert [float(t.numpy().max()) for t in held] == list(range(1, 9))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "float64"])
def test_every_dtype(dtype):
    state = keras.Variable(np.zeros((128, 128)), dtype=dtype)

    def step(x):
        state.assign(state + ops.cast(x, dtype))
        return [x]

    function = Function(step)
    values = []
    for _ in range(6):
        function(ONE)
        values.append(np.asarray(state.value).astype("float64").max())
    assert values == [1, 2, 3, 4, 5, 6]
