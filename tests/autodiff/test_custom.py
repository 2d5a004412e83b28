"""custom_gradient and remat: eager, traced, nested, in bodies, with variables, of second order."""

import collections

import jax
import keras
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino.backend.jit import jit
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program

both = pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])


def values(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.3, 1.2, shape).astype("float32")


def close(found, wanted, tolerance=1e-5):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def tensors(*arrays):
    return [ops.convert_to_tensor(a) for a in arrays]


# -- custom_gradient


@ops.custom_gradient
def cube(x):
    """x**3 with five times its gradient, which refers to a value of the forward pass."""
    squared = x * x
    return squared * x, lambda upstream: 15 * upstream * squared


@jax.custom_gradient
def jax_cube(x):
    squared = x * x
    return squared * x, lambda upstream: 15 * upstream * squared


@ops.custom_gradient
def pair(x, y):
    def gradient(of_sum, of_product):
        return of_sum * 2 + of_product * y, of_sum * 3 - of_product * x

    return (x + y, x * y), gradient


@both
def test_the_given_gradient_is_taken(run):
    (x,) = tensors(values(3))
    found = run(kerasvino.grad(lambda x: ops.sum(ops.sin(cube(x)))))(x)
    close([found], [jax.grad(lambda x: jax.numpy.sum(jax.numpy.sin(jax_cube(x))))(values(3))])


@both
def test_several_arguments_and_results(run):
    x, y = tensors(values(3), values(3, seed=1))

    def loss(x, y):
        total, product = pair(x, y)
        return ops.sum(total) + ops.sum(product)

    close(run(kerasvino.grad(loss, (0, 1)))(x, y), [2 + y, 3 - x])
    close([run(kerasvino.grad(lambda x, y: ops.sum(pair(x, y)[0])))(x, y)], [[2, 2, 2]])


@both
def test_second_order_goes_through_the_rule(run):
    (x,) = tensors(values(3))

    def squared(grad, f, total):
        return grad(lambda x: total(grad(lambda x: total(f(x)))(x) ** 2))

    wanted = squared(jax.grad, jax_cube, jax.numpy.sum)(values(3))
    close([run(squared(kerasvino.grad, cube, ops.sum))(x)], [wanted])


@both
def test_nested(run):
    @ops.custom_gradient
    def outer(x):
        inner = cube(x)
        return inner + x, lambda upstream: upstream * cube(x)

    (x,) = tensors(values(3))
    close([run(kerasvino.grad(lambda x: ops.sum(outer(x))))(x)], [x**3])
    twice = kerasvino.grad(lambda x: ops.sum(kerasvino.grad(lambda x: ops.sum(outer(x)))(x)))
    close([run(twice)(x)], [15 * x**2])


@both
def test_a_variable_as_argument(run):
    variable = keras.Variable(values(3))

    def function(x):
        with kerasvino.GradientTape() as tape:
            loss = ops.sum(cube(variable) * x)
        return tape.gradient(loss, [variable])

    (x,) = tensors(values(3, seed=1))
    close(run(function)(x), [15 * values(3) ** 2 * x])


@pytest.mark.parametrize("where", ["cond", "scan", "loop in a cond", "remat"])
def test_in_a_body(where):
    def loss(f, o, x, w):
        if where == "cond":
            return (
                o.sum(ops.cond(o.sum(x) > 0, lambda: f(x) * w, lambda: x))
                if o is ops
                else (o.sum(f(x) * w))
            )
        if where == "remat":
            return o.sum(o.sin((keras.remat if o is ops else jax.checkpoint)(f)(x)) * w)
        if o is not ops:
            for _ in range(2):
                x = f(x) * w
            return o.sum(x)

        def looped():
            return ops.fori_loop(0, 2, lambda i, s: f(s) * w, x)

        if where == "scan":
            return ops.sum(ops.scan(lambda c, _: (f(c) * w, None), x, length=2)[0])
        return ops.sum(ops.cond(ops.sum(x) > 0, looped, lambda: x))

    x, w = values(3), values(3, seed=1)
    wanted = jax.grad(lambda *a: loss(jax_cube, jax.numpy, *a), (0, 1))(x, w)
    close(jit(kerasvino.grad(lambda *a: loss(cube, ops, *a), (0, 1)))(x, w), wanted)


@both
def test_a_rule_that_returns_too_few_cotangents(run):
    wrong = ops.custom_gradient(lambda x, y: (x * y, lambda g: (g,)))
    with pytest.raises(ValueError, match="returned 1 values for its 2"):
        run(kerasvino.grad(lambda x: ops.sum(wrong(x, x))))(*tensors(values(2)))


# -- remat


def block(x, w):
    for _ in range(3):
        x = ops.tanh(ops.matmul(x, w))
    return x


@both
@pytest.mark.parametrize("closed_over", [False, True])
def test_remat_has_the_same_gradient(run, closed_over):
    def loss(wrap):
        def function(x, w):
            part = wrap(lambda x: block(x, w)) if closed_over else wrap(block)
            y = part(x) if closed_over else part(x, w)
            return ops.sum(ops.sin(part(y) if closed_over else part(y, w)))

        return kerasvino.grad(function, (0, 1))

    x, w = tensors(values(4, 5), values(5, 5, seed=1))
    close(run(loss(keras.remat))(x, w), loss(lambda f: f)(x, w))


@both
def test_second_order_of_remat(run):
    def loss(wrap):
        def squared(x, w):
            inner = kerasvino.grad(lambda x: ops.sum(wrap(block)(x, w) ** 2))
            return ops.sum(inner(x) ** 2)

        return kerasvino.grad(squared, (0, 1))

    x, w = tensors(values(4, 5), values(5, 5, seed=1))
    close(run(loss(keras.remat))(x, w), loss(lambda f: f)(x, w), 1e-4)


@both
def test_remat_of_variables_state_and_structures(run):
    scale, count = keras.Variable(values(5)), keras.Variable(0, dtype="int32", trainable=False)
    calls = []

    def part(inputs, flag=None):
        calls.append(flag)
        count.assign(count + 1)
        x = ops.tanh(inputs["x"] * scale) * ops.cast(count, "float32")
        return {"y": x, "none": None, "flag": flag}

    def function(x):
        with kerasvino.GradientTape() as tape:
            tape.watch(x)
            result = keras.remat(part)({"x": x}, flag="kept")
            assert result["flag"] == "kept" and result["none"] is None
            loss = ops.sum(result["y"])
        return tape.gradient(loss, [x, scale])

    (x,) = tensors(values(4, 5, seed=1))
    slope = 1 - np.tanh(x * values(5)) ** 2
    close(run(function)(x), [slope * values(5), ops.sum(slope * x, 0)])
    assert int(count.value) == 1 and calls == ["kept"]


def test_remat_in_a_scan():
    def loss(wrap):
        def function(x, w):
            step = wrap(lambda c, r: ops.tanh(c * w + r))
            return ops.sum(ops.scan(lambda c, r: (step(c, r), None), x[0], x)[0])

        return kerasvino.grad(function, (0, 1))

    x, w = values(4, 3), values(3, seed=1)
    close(jit(loss(keras.remat))(x, w), jit(loss(lambda f: f))(x, w))


def products(wrap):
    """How many products the compiled gradient of two blocks has."""

    def loss(x, w):
        for _ in range(2):
            x = wrap(block)(x, w)
        return ops.sum(x**2)

    gradient = kerasvino.grad(loss, (0, 1))
    specs = [Spec((16, 16), "float32"), Spec((16, 16), "float32")]
    program = Program(trace(lambda *a: list(gradient(*a)), specs), "CPU", {})
    kinds = collections.Counter(
        str(node.get_rt_info()["layerType"].astype(str))
        for node in program.runtime_model.get_ordered_ops()
    )
    return kinds["MatMul"] + kinds["FullyConnected"]


def test_a_graph_computes_again_what_remat_does_not_keep():
    # 6 products forward, 12 back; of those computed again none is taken from the forward pass
    assert products(lambda f: f) == 18
    assert products(keras.remat) == 24


def test_eager_remat_keeps_inputs_only():
    import tracemalloc

    def peak(wrap):
        def loss(x):
            for _ in range(8):
                x = wrap(lambda x: ops.sin(ops.cos(ops.sin(ops.cos(ops.sin(x))))))(x)
            return ops.sum(x)

        (x,) = tensors(values(100_000))
        tracemalloc.start()
        kerasvino.grad(loss)(x)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(keras.remat) < 0.6 * peak(lambda f: f)
