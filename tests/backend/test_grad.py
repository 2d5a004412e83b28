"""`keras.ops.grad` of Keras 3.16: gradients of sums, by several arguments and nested ones."""

import keras
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino.backend.keras_private import PLUGGABLE
from kerasvino.backend.ops.core import grad

X = np.linspace(-2, 2, 6, dtype="float32").reshape(2, 3)


def same(found, expected):
    assert isinstance(found, kerasvino.Tensor)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.skipif(not PLUGGABLE, reason="keras.ops.grad is new in Keras 3.16")
def test_keras_takes_it_from_the_backend():
    assert keras.src.backend.SUPPORTS_GRADIENT
    same(ops.grad(ops.tanh)(X), 1 - np.tanh(X) ** 2)
    with pytest.raises(ValueError, match=r"argnums \[2\] name no argument: 1 were given"):
        ops.grad(ops.tanh, argnums=2)(X)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (2, 0, 3)])
def test_a_result_of_any_shape_is_summed(shape):
    x = np.full(shape, 3.0, "float32")
    found = grad(ops.square)(x)
    assert found.shape == shape
    same(found, np.full(shape, 6.0))


def test_a_scalar_result():
    same(grad(lambda x: ops.sum(x**3))(X), 3 * X**2)


@pytest.mark.parametrize("several", [tuple, list])
def test_several_arguments(several):
    function = lambda x, y, z: x * y + z**2
    y, z = X + 1, X + 2
    found = grad(function, argnums=several([2, 0]))(X, y, z)
    assert isinstance(found, tuple)
    same(found[0], 2 * z)
    same(found[1], y)
    (alone,) = grad(function, argnums=several([1]))(X, y, z)
    same(alone, X)
    assert grad(function, argnums=several([]))(X, y, z) == ()


def test_one_argument_by_position_and_from_the_end():
    function = lambda x, y: x * y
    same(grad(function, argnums=1)(X, X + 1), X)
    same(grad(function, argnums=-1)(X, X + 1), X)
    (found,) = grad(function, argnums=(-2,))(X, X + 1)
    same(found, X + 1)


def test_broadcast_arguments_have_gradients_of_their_shapes():
    by_x, by_y = grad(ops.multiply, argnums=(0, 1))(X, np.float32([1, 2, 3]))
    same(by_x, np.broadcast_to(np.float32([1, 2, 3]), (2, 3)))
    same(by_y, X.sum(axis=0))


def test_nested_arguments():
    def function(parameters, x):
        return ops.matmul(x, parameters["kernel"]) + parameters["biases"][0]

    parameters = {"kernel": np.ones((3, 2), "float32"), "biases": [np.zeros(2, "float32"), None]}
    found = grad(function)(parameters, X)
    assert found.keys() == parameters.keys()
    same(found["kernel"], np.repeat(X.sum(axis=0)[:, None], 2, axis=1))
    same(found["biases"][0], np.full(2, 2.0))
    assert found["biases"][1] is None


def test_a_variable_is_passed_as_a_tensor():
    variable = keras.Variable(X)
    seen = []

    def function(x):
        seen.append(x)
        return x**2

    same(grad(function)(variable), 2 * X)
    assert isinstance(seen[0], kerasvino.Tensor)
    np.testing.assert_array_equal(variable, X)


def test_what_does_not_matter_has_zeros():
    by_x, by_y = grad(lambda x, y: x * 2, argnums=(0, 1))(X, X)
    same(by_x, np.full((2, 3), 2.0))
    same(by_y, np.zeros((2, 3)))
    same(grad(lambda x: ops.ones(3))(X), np.zeros((2, 3)))


def test_keyword_arguments_are_handed_on():
    same(grad(lambda x, *, scale: x * scale)(X, scale=3.0), np.full((2, 3), 3.0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes(dtype):
    found = grad(ops.square)(ops.cast(X, dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(ops.cast(found, "float32"), 2 * X, rtol=1e-2)


def test_a_large_half_precision_result_does_not_overflow():
    same(ops.cast(grad(ops.square)(ops.full((4, 1000), 200.0, "float16")), "float32"), 400.0)


def test_orders_nest():
    same(grad(grad(grad(lambda x: x**4)))(X), 24 * X)
    inner = lambda x, y: grad(lambda z: z * z * y)(x)
    same(grad(inner, argnums=1)(X, X + 1), 2 * X)


def test_inside_a_compiled_function():
    found = kerasvino.jit(grad(lambda x, y: ops.sin(x) * y, argnums=(0, 1)))(X, X + 1)
    same(found[0], np.cos(X) * (X + 1))
    same(found[1], np.sin(X))


def test_of_unknown_length_in_a_graph():
    class Slope(keras.layers.Layer):
        def call(self, x):
            return grad(lambda z: ops.cumsum(z**2, axis=0))(x)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Slope()(inputs))
    for rows in (1, 4):
        x = np.ones((rows, 3), "float32")
        expected = 2 * x * np.arange(rows, 0, -1)[:, None]
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)


def test_variables_may_be_assigned():
    count = keras.Variable(0.0)

    def function(x):
        count.assign_add(1.0)
        return x * count

    same(grad(function)(X), np.full((2, 3), 1.0))
    assert float(count.value) == 1.0


@pytest.mark.parametrize(
    ("argnums", "error", "message"),
    [
        (1.0, TypeError, r"argnums is an integer or a tuple of integers; given: 1\.0"),
        ("x", TypeError, "given: 'x'"),
        ((0, None), TypeError, r"given: \(0, None\)"),
        (2, ValueError, r"argnums \[2\] name no argument: 2 were given by position"),
        ((0, -3), ValueError, r"argnums \[-3\] name no argument"),
        ((0, 0), ValueError, r"twice: \(0, 0\)"),
        ((1, -1), ValueError, r"twice: \(1, -1\)"),
    ],
)
def test_refused_positions(argnums, error, message):
    with pytest.raises(error, match=message):
        grad(ops.multiply, argnums=argnums)(X, X)


def test_refused_dtypes():
    with pytest.raises(TypeError, match="by floating-point tensors"):
        grad(ops.square)(np.arange(3))
    with pytest.raises(TypeError, match=r"floating-point result; it is bool\[2, 3\]"):
        grad(lambda x: x > 0)(X)
    with pytest.raises(TypeError, match="floating-point result; it is int32"):
        grad(lambda x: ops.cast(x, "int32"))(X)
