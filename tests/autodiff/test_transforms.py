"""grad, value_and_grad, vjp and jvp: JAX's meaning, concrete and traced, over nested structures."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino import grad, jit, jvp, value_and_grad, vjp
from kerasvino.autodiff import NotDifferentiableError
from kerasvino.tensor import Tensor


def tensor(value, dtype="float32"):
    return ops.convert_to_tensor(value, dtype)


def eagerly(function):
    return function


both = pytest.mark.parametrize("run", [eagerly, jit], ids=["eager", "traced"])


@both
def test_grad(run):
    slope = run(grad(lambda x: ops.sum(ops.sin(x) * x)))
    x = np.array([0.5, -2.0, 3.0], "float32")
    np.testing.assert_allclose(slope(tensor(x)), np.cos(x) * x + np.sin(x), rtol=1e-5)


@both
def test_orders_nest(run):
    f = lambda x: x**4 + ops.exp(2 * x)
    third = run(grad(grad(grad(f))))
    assert float(third(tensor(0.5))) == pytest.approx(24 * 0.5 + 8 * np.e, rel=1e-5)


@both
def test_an_outer_variable_of_an_inner_gradient(run):
    # d/dx [x * d/dy (x * y * y)] at y = x, where only the written dependence counts
    f = run(grad(lambda x: x * grad(lambda y: x * y * y)(x)))
    assert float(f(tensor(2.0))) == pytest.approx(6 * 2.0**2)
    # what was computed before the inner function does not depend on its argument
    g = run(grad(lambda x: (lambda z: grad(lambda y: z * y)(x))(x * x)))
    assert float(g(tensor(3.0))) == pytest.approx(6.0)


@both
def test_structures_and_argnums(run):
    def f(weights, x, scale):
        return ops.sum(weights["w"] * x[0] + weights["b"][0]) * scale + ops.sum(x[1])

    w, b = tensor([1.0, 2.0]), tensor([3.0, 4.0])
    x = (tensor([5.0, 6.0]), tensor(7.0))
    one = run(grad(f))({"w": w, "b": [b]}, x, tensor(2.0))
    np.testing.assert_allclose(one["w"], [10, 12])
    np.testing.assert_allclose(one["b"][0], [2, 2])
    weights, scale = run(grad(f, argnums=(0, 2)))({"w": w, "b": [b]}, x, tensor(2.0))
    np.testing.assert_allclose(weights["w"], [10, 12])
    assert float(scale) == 5 + 12 + 3 + 4
    (last,) = run(grad(f, argnums=(-1,)))({"w": w, "b": [b]}, x, tensor(2.0))
    assert float(last) == float(scale)


@both
def test_has_aux(run):
    f = lambda x: (ops.sum(x * x), {"twice": 2 * x})
    (value, aux), slope = run(value_and_grad(f, has_aux=True))(tensor([1.0, 3.0]))
    assert float(value) == 10
    np.testing.assert_allclose(aux["twice"], [2, 6])
    np.testing.assert_allclose(slope, [2, 6])
    slope, aux = run(grad(f, has_aux=True))(tensor([1.0, 3.0]))
    np.testing.assert_allclose(aux["twice"], slope)


@both
def test_an_argument_without_influence_has_a_gradient_of_zero(run):
    a, b = run(grad(lambda a, b: ops.sum(a) + 0 * ops.sum(ops.stop_gradient(b)), (0, 1)))(
        tensor([1.0, 2.0]), tensor([[3.0]])
    )
    np.testing.assert_array_equal(a, [1, 1])
    np.testing.assert_array_equal(b, [[0]])


@both
def test_variables(run):
    w, b = keras.Variable([2.0, 3.0]), keras.Variable(1.0)
    unused = keras.Variable([[5.0]])
    f = lambda x: ops.sum((w * x + b) ** 2)
    value, (dw, db, du) = run(value_and_grad(f, variables=[w, b, unused]))(tensor([1.0, -1.0]))
    assert float(value) == 9 + 4
    np.testing.assert_allclose(dw, [6, 4])
    assert float(db) == 2
    np.testing.assert_array_equal(du, [[0]])
    value, (dx, (dw,)) = run(value_and_grad(f, argnums=0, variables=[w]))(tensor([1.0, -1.0]))
    np.testing.assert_allclose(dx, [12, -12])
    np.testing.assert_allclose(dw, [6, 4])


@both
def test_second_order_by_variables(run):
    w = keras.Variable(3.0)
    penalty = lambda x: grad(lambda x: w * w * x**3)(x) ** 2
    (slope,) = run(grad(penalty, variables=[w]))(tensor(2.0))
    assert float(slope) == pytest.approx(2 * (9 * 12) * (2 * 3 * 12))


@both
def test_an_assignment_is_no_part_of_the_gradient_of_later_reads(run):
    w, store = keras.Variable(3.0), keras.Variable(0.0, trainable=False)

    def f(x):
        store.assign(w * x)
        return w * store

    _, (slope, through) = run(value_and_grad(f, variables=[w, store]))(tensor(5.0))
    assert float(slope) == 15
    assert float(through) == 3
    assert float(store.value) == 15


@both
def test_stateless_scope(run):
    w = keras.Variable(1.0)

    def f(value, x):
        with keras.StatelessScope(state_mapping=[(w, value)]) as scope:
            w.assign(w * x)
            y = w * w
        return y + scope.get_current_value(w)

    assert float(run(grad(f))(tensor(3.0), tensor(2.0))) == 2 * 4 * 3 + 2
    # watched as the variable too
    _, (slope,) = run(value_and_grad(lambda x: f(3.0, x), variables=[w]))(tensor(2.0))
    assert float(slope) > 0
    assert float(w.value) == 1


def test_mixed_precision_casts_within_the_gradient():
    layer = keras.layers.Dense(1, use_bias=False, dtype="mixed_bfloat16")
    layer.build((None, 2))
    x = tensor([[1.0, 2.0]])
    f = lambda x: ops.sum(ops.cast(layer(x), "float32"))
    _, (slope,) = value_and_grad(f, variables=[layer.kernel])(x)
    assert slope.dtype == "float32"
    np.testing.assert_allclose(slope, [[1], [2]])


@both
def test_vjp(run):
    def f(x, y):
        return {"product": x * y, "sum": ops.sum(x)}

    def pulled(x, y, a, b):
        value, pull = vjp(f, x, y)
        return value, pull({"product": a, "sum": b})

    x, y, a = tensor([1.0, 2.0]), tensor([3.0, 4.0]), tensor([5.0, 6.0])
    value, (dx, dy) = run(pulled)(x, y, a, tensor(7.0))
    np.testing.assert_allclose(value["product"], [3, 8])
    np.testing.assert_allclose(dx, [5 * 3 + 7, 6 * 4 + 7])
    np.testing.assert_allclose(dy, [5, 12])


def test_a_pullback_may_be_called_again():
    _, pull = vjp(lambda x: x**2, tensor([1.0, 3.0]))
    for scale in (1.0, 2.0):
        np.testing.assert_allclose(pull(tensor([scale, scale]))[0], [2 * scale, 6 * scale])


def test_vjp_with_aux():
    value, pull, aux = vjp(lambda x: (x * 2, x + 1), tensor(4.0), has_aux=True)
    assert (float(value), float(aux), float(pull(tensor(3.0))[0])) == (8, 5, 6)


@both
def test_jvp(run):
    def f(x, y):
        return ops.matmul(x, y), ops.exp(x)

    rng = np.random.default_rng(0)
    x, dx = rng.normal(size=(2, 2, 3)).astype("float32")
    y, dy = rng.normal(size=(2, 3, 4)).astype("float32")
    push = run(lambda x, y, dx, dy: jvp(f, (x, y), (dx, dy)))
    (product, exp), (moved, grown) = push(*map(tensor, (x, y, dx, dy)))
    np.testing.assert_allclose(product, x @ y, rtol=1e-5)
    np.testing.assert_allclose(moved, dx @ y + x @ dy, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grown, np.exp(x) * dx, rtol=1e-5)
    np.testing.assert_allclose(exp, np.exp(x), rtol=1e-5)


@both
def test_jvp_of_a_gradient_is_a_product_with_the_hessian(run):
    f = lambda x: ops.sum(x**3) + x[0] * x[1]
    product = run(lambda x, v: jvp(grad(f), (x,), (v,))[1])
    x, v = np.array([1.0, 2.0], "float32"), np.array([3.0, -1.0], "float32")
    hessian = np.array([[6 * x[0], 1], [1, 6 * x[1]]])
    np.testing.assert_allclose(product(tensor(x), tensor(v)), hessian @ v, rtol=1e-5)


def test_a_constant_has_a_zero_derivative():
    value, moved, aux = jvp(
        lambda x: (ops.ones((2,)), ops.sum(x)), (tensor([1.0, 2.0]),), (tensor([1.0, 1.0]),), True
    )
    np.testing.assert_array_equal(moved, [0, 0])
    assert float(aux) == 3
    assert value.shape == (2,)


def test_eager_functions_may_print_and_branch():
    seen = []

    def f(x):
        seen.append(float(x))
        return x * 3 if x > 0 else -x

    assert float(grad(f)(tensor(2.0))) == 3
    assert float(grad(f)(tensor(-2.0))) == -1
    assert seen == [2, -2]


def test_errors_say_what_to_do():
    with pytest.raises(TypeError, match=r"float32\[2\].*vjp"):
        grad(lambda x: x * 2)(tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match="int32"):
        grad(lambda x: ops.sum(x))(tensor([1, 2], "int32"))
    with pytest.raises(TypeError, match="floating-point scalar"):
        grad(lambda x: ops.cast(x, "int32"))(tensor(1.0))
    with pytest.raises(TypeError, match="cotangent of float32"):
        vjp(lambda x: x, tensor([1.0, 2.0]))[1](tensor(1.0))
    with pytest.raises(TypeError, match="structure"):
        vjp(lambda x: (x, x), tensor(1.0))[1](tensor(1.0))
    with pytest.raises(TypeError, match="tangent of int32"):
        jvp(lambda x: x, (tensor(1.0),), (tensor(1, "int32"),))


def test_a_primitive_without_a_gradient_is_named_with_its_layer():
    class Viewing(keras.layers.Layer):
        def call(self, x):
            return ops.view(x, "float16")

    layer = Viewing(name="viewing")
    with pytest.raises(NotDifferentiableError, match=r"bitcast in layer viewing .*bits"):
        grad(lambda x: ops.sum(layer(x)))(tensor([[1.0, 2.0], [3.0, 5.0]]))
    assert kerasvino.NotDifferentiableError is NotDifferentiableError


def test_results_hold_nothing_of_what_they_were_computed_from():
    kept = []

    def f(x):
        y = ops.exp(x)
        kept.append(weakref.ref(y))
        return ops.sum(y)

    gc.disable()
    try:
        value, slope = value_and_grad(f)(tensor([1.0, 2.0]))
        assert kept[0]() is None
        assert value.record is None
        assert slope.record is None
    finally:
        gc.enable()


def test_a_loop_of_updates_does_not_grow():
    x = tensor([1.0, -2.0])
    for _ in range(3):
        value, slope = value_and_grad(lambda x: ops.sum(x * x))(x)
        x = x - 0.25 * slope
        assert x.record is None
        assert isinstance(x, Tensor)
    np.testing.assert_allclose(x, [0.125, -0.25])
    assert value.record is None
