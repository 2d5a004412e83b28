"""jit: what is traced, what is static, and what becomes part of something larger."""

import cloudpickle
import keras
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino import jit


def tensor(value, dtype="float32"):
    return ops.convert_to_tensor(value, dtype)


def counting(function):
    def counted(*args, **kwargs):
        counted.traces += 1
        return function(*args, **kwargs)

    counted.traces = 0
    return counted


def test_keyword_arguments_and_structures():
    f = jit(lambda x, *, scale, shift=None: {"y": x["a"] * scale, "shift": shift})
    for scale in (2.0, 3.0):
        found = f({"a": tensor([1.0, 2.0])}, scale=tensor(scale))
        np.testing.assert_allclose(found["y"], [scale, 2 * scale])
        assert found["shift"] is None


def test_static_arguments():
    body = counting(lambda x, kind, power=2: x**power if kind == "power" else -x)
    f = jit(body, static_argnums=1, static_argnames="power")
    assert float(f(tensor(3.0), "power")) == 9
    assert float(f(tensor(4.0), "power")) == 16
    assert float(f(tensor(3.0), "power", power=3)) == 27
    assert float(f(tensor(3.0), "negative")) == -3
    assert body.traces == 3
    g = jit(lambda x, axes: ops.sum(x, axes), static_argnums=(-1,))
    np.testing.assert_allclose(g(tensor(np.ones((2, 3, 4))), (0, 2)), [8, 8, 8])
    with pytest.raises(TypeError, match="unhashable"):
        g(tensor(np.ones((2, 3))), [0])


def test_static_zeros_and_nan():
    body = counting(lambda x, number: x * number)
    f = jit(body)
    for zero in (0.0, -0.0):
        assert np.signbit(f(tensor(1.0), zero)) == np.signbit(zero)
    for _ in range(3):
        assert np.isnan(f(tensor(1.0), float("nan")))
    assert body.traces == 3
    g = jit(counting(lambda x, number: x * number), static_argnums=1)
    assert [bool(np.signbit(g(tensor(1.0), zero))) for zero in (0.0, -0.0)] == [False, True]


def test_as_a_decorator_it_keeps_the_name():
    @jit
    def plain(x):
        """Doubles."""
        return x * 2

    @jit(static_argnames="times")
    def repeated(x, times):
        return ops.tile(x, times)

    assert (plain.__name__, plain.__doc__) == ("plain", "Doubles.")
    assert repeated(tensor([1.0]), times=3).shape == (3,)


def test_models_and_methods():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    x = tensor([[1.0, 2.0]])
    np.testing.assert_allclose(jit(model)(x), model(x), rtol=1e-5)

    class Scaler:
        factor = 3.0

        @jit
        def scaled(self, x):
            return x * self.factor

    assert float(Scaler().scaled(tensor(2.0))) == 6


def test_variables_as_arguments_are_read_at_each_call():
    v = keras.Variable([1.0, 2.0])
    f = jit(lambda v, x: v * x)
    np.testing.assert_allclose(f(v, tensor(2.0)), [2, 4])
    v.assign([3.0, 4.0])
    np.testing.assert_allclose(f(v, tensor(2.0)), [6, 8])


def test_nested_and_differentiated():
    inner = jit(lambda x: ops.sin(x))
    assert float(jit(lambda x: inner(x) * 2)(tensor(0.5))) == pytest.approx(2 * np.sin(0.5))
    assert float(kerasvino.grad(inner)(tensor(0.5))) == pytest.approx(np.cos(0.5))
    assert float(jit(kerasvino.grad(inner))(tensor(0.5))) == pytest.approx(np.cos(0.5), rel=1e-5)
    v = keras.Variable(2.0)
    scaled = jit(lambda x: v * x)
    with kerasvino.GradientTape() as tape:
        y = scaled(tensor(3.0))
    assert float(tape.gradient(y, v)) == 3


def test_state_moves():
    v = keras.Variable(0.0)

    @jit
    def step(x):
        v.assign_add(x)
        return v.value * 2

    assert [float(step(tensor(1.0))) for _ in range(3)] == [2, 4, 6]
    assert float(v.value) == 3


def _scaled(x, scale):
    return ops.tanh(x) * scale


@pytest.mark.parametrize("called", [False, True])
def test_can_be_pickled_before_and_after_a_call(called):
    scale = keras.Variable(2.0)
    x = np.linspace(-1, 1, 3, dtype="float32")
    function = kerasvino.jit(lambda x: _scaled(x, scale))
    if called:
        function(x)
    again = cloudpickle.loads(cloudpickle.dumps(function))
    np.testing.assert_array_equal(again(x), function(x))
    scale.assign(3.0)
    np.testing.assert_array_equal(again(x), _scaled(x, 2.0))  # it has a copy of the variable
    np.testing.assert_array_equal(function(x), _scaled(x, 3.0))
