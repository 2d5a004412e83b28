"""Gradients through control flow, eager and in a graph, against JAX over plain Python."""

import jax
import keras
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino.autodiff import NotDifferentiableError
from kerasvino.backend.jit import jit
from tests.autodiff.plain import Plain

both = pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])


def values(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.3, 1.2, shape).astype("float32")


def integer(value):
    return np.array(value, "int32")


# Each takes the operations, then the tensors to differentiate by, then others; returns a scalar.


def cond(o, x, w, p):
    return o.sum(o.cond(p > 0, lambda: x * w, lambda: o.sin(w) * w))


def cond_of_closed_over_tensors(o, x, w, p):
    return o.sum(o.cond(p > 0, lambda: x, lambda: w) * x)


def cond_of_several_results(o, x, w, p):
    a, b = o.cond(p > 0, lambda: (x * x, w), lambda: (w, o.exp(x)))
    return o.sum(a * b)


def cond_of_other_shapes(o, x, w, p):
    return o.sum(o.cond(p > 0, lambda: x * w, lambda: x[:1]) ** 2)


def cond_that_chooses_by_the_differentiated(o, x, w, p):
    return o.cond(o.sum(x) > p, lambda: o.sum(x * x), lambda: o.sum(x * w))


def switch(o, x, w, p):
    return o.sum(o.switch(p, [lambda a, b: a * b, lambda a, b: o.sin(a), lambda a, b: b**3], x, w))


def while_(o, x, w, p):
    def body(i, s):
        return i + 1, o.sin(s) * w + x

    return o.sum(o.while_loop(lambda i, s: i < p, body, (0 * p, x), maximum_iterations=3)[1])


def while_that_depends_on_the_carried(o, x, w, p):
    def body(i, s):
        return i + 1, s * (1 + w)

    i, s = o.while_loop(
        lambda i, s: o.sum(s) < 20 + o.cast(p, "float32"), body, (0 * p, x), maximum_iterations=50
    )
    return o.sum(s) * o.cast(i, "float32")


def fori(o, x, w, p):
    return o.sum(o.fori_loop(0, 4, lambda i, s: s * w + o.cast(i + p, "float32") * x, x))


def fori_of_a_traced_number(o, x, w, p):
    return o.sum(o.fori_loop(0, o.abs(p), lambda i, s: (s[0] * s[1], s[1] + x), (w, x))[0])


def fori_whose_body_uses_no_carried_value(o, x, w, p):
    return o.sum(o.fori_loop(0, o.abs(p), lambda i, s: x * x, w) * x)


def scan(o, x, w, p):
    carry, ys = o.scan(lambda c, r: (c * r + w, {"y": o.sin(c), "z": r * w}), w, x)
    return o.sum(carry) + o.sum(ys["y"] * x) + o.sum(ys["z"])


def scan_from_the_end(o, x, w, p):
    carry, ys = o.scan(lambda c, r: (o.sin(c) * r, c * c), w, x, reverse=True)
    return o.sum(carry) + o.sum(ys * x)


def scan_of_the_carry_alone(o, x, w, p):
    return o.sum(o.scan(lambda c, r: (o.sin(c + r), None), w, x)[0])


def scan_of_the_rows_alone(o, x, w, p):
    return o.sum(o.scan(lambda c, r: (c, r * w), (), x)[1])


def scan_of_a_structure(o, x, w, p):
    def step(c, r):
        count, (total, seen) = c
        total = total * r["b"] + r["a"] * o.cast(count, "float32")
        return (count + 1, (total, o.logical_not(seen))), o.where(seen, total, r["a"])

    (count, (total, _)), ys = o.scan(step, (p, (w, w > 0.5)), {"a": x, "b": x * w})
    return o.sum(total) * o.cast(count, "float32") + o.sum(ys)


def scan_of_no_rows(o, x, w, p):
    return o.sum(o.scan(lambda c, _: (c * w + x[0], c), w, None, length=3)[1])


def map_(o, x, w, p):
    return o.sum(o.map(lambda r: o.sin(r) * w, x) * x)


def vectorized_map(o, x, w, p):
    return o.sum(o.vectorized_map(lambda r: o.sum(r) * w, x))


def associative_scan(o, x, w, p):
    return o.sum(o.associative_scan(lambda a, b: a * b, x * w))


def cond_in_scan(o, x, w, p):
    def step(c, r):
        c = o.cond(o.sum(c) > 1.5, lambda: c * w, lambda: c + r)
        return c, c * r

    return o.sum(o.scan(step, w, x)[1])


def scan_in_cond(o, x, w, p):
    return o.cond(
        p > 0,
        lambda: o.sum(o.scan(lambda c, r: (c * r, c), w, x)[1]),
        lambda: o.sum(x * w),
    )


def loop_in_loop(o, x, w, p):
    def outer(i, s):
        inner = o.fori_loop(0, 2, lambda j, t: o.sin(t) * w + s * o.cast(i + 1, "float32"), s)
        return inner + x[0]

    return o.sum(o.fori_loop(0, 3, outer, w))


def scan_of_scans(o, x, w, p):
    def step(c, r):
        c, ys = o.scan(lambda d, e: (d * e + o.sum(w), d * o.sum(c)), o.sum(c), r)
        return c * r, ys

    carry, ys = o.scan(step, w, x)
    return o.sum(carry) + o.sum(ys)


def while_in_cond_in_scan(o, x, w, p):
    def step(c, r):
        def looped():
            return o.while_loop(
                lambda i, s: i < 2 + 0 * p, lambda i, s: (i + 1, s * r + w), (0 * p, c),
                maximum_iterations=4,
            )[1]  # fmt: skip

        c = o.cond(o.sum(c) < 4, looped, lambda: c * 0.5)
        return c, None

    return o.sum(o.scan(step, w, x)[0])


def stopped(o, x, w, p):
    return o.sum(o.scan(lambda c, r: (c * r + o.stop_gradient(c) * w, None), w, x)[0])


CASES = [
    *((f, (3,), p) for f in (cond, cond_of_closed_over_tensors, cond_of_several_results)
      for p in (1, -1)),
    *((cond_of_other_shapes, (3,), p) for p in (1, -1)),
    *((cond_that_chooses_by_the_differentiated, (3,), p) for p in (0, 9)),
    *((switch, (3,), p) for p in (-2, 0, 1, 7)),
    *((while_, (3,), p) for p in (0, 2, 9)),
    *((while_that_depends_on_the_carried, (3,), p) for p in (0, -20)),
    (fori, (3,), 2),
    *((fori_of_a_traced_number, (3,), p) for p in (0, 1, 4)),
    *((fori_whose_body_uses_no_carried_value, (3,), p) for p in (0, 2)),
    *((f, (4, 3), 2) for f in (
        scan, scan_from_the_end, scan_of_the_carry_alone, scan_of_the_rows_alone,
        scan_of_a_structure, scan_of_no_rows, map_, vectorized_map, associative_scan,
        cond_in_scan, loop_in_loop, scan_of_scans, while_in_cond_in_scan, stopped,
    )),
    (scan, (1, 3), 2),
    *((scan_in_cond, (4, 3), p) for p in (1, -1)),
]  # fmt: skip


def inputs(shape, p):
    return values(*shape), values(3, seed=1), integer(p)


def close(found, wanted, tolerance=1e-5):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@both
@pytest.mark.parametrize(
    ("function", "shape", "p"), CASES, ids=[f"{f.__name__}-{s}-{p}" for f, s, p in CASES]
)
def test_gradient(run, function, shape, p):
    x, w, p = inputs(shape, p)
    wanted = jax.grad(lambda *a: function(Plain(), *a, p), (0, 1))(x, w)
    gradient = run(kerasvino.grad(lambda *a: function(ops, *a), (0, 1)))
    close(gradient(*map(ops.convert_to_tensor, (x, w, p))), wanted)


@pytest.mark.parametrize(
    ("function", "shape"),
    [(cond, (3,)), (while_, (3,)), (fori, (3,)), (scan, (4, 3)), (cond_in_scan, (4, 3)),
     (loop_in_loop, (4, 3))],
)  # fmt: skip
def test_second_order(function, shape):
    x, w, p = inputs(shape, 2)

    def squared(grad, o):
        return lambda x, w, p: o.sum(grad(lambda w: function(o, x, w, p))(w) ** 2)

    wanted = jax.grad(squared(jax.grad, Plain()), (0, 1))(x, w, p)
    found = jit(kerasvino.grad(squared(kerasvino.grad, ops), (0, 1)))(x, w, p)
    close(found, wanted, 3e-5)


def test_gradient_in_the_body_of_a_scan():
    def descent(grad, o):
        def loss(x, w):
            def step(v, r):
                v = v - 0.1 * grad(lambda v: o.sum((v * r - w) ** 2))(v)
                return v, None

            return o.sum(o.scan(step, w, x)[0] ** 2)

        return loss

    x, w = values(4, 3), values(3, seed=1)
    wanted = jax.grad(descent(jax.grad, Plain()), (0, 1))(x, w)
    close(jit(kerasvino.grad(descent(kerasvino.grad, ops), (0, 1)))(x, w), wanted)


@both
def test_variables_read_in_bodies(run):
    scale = keras.Variable(values(3, seed=2))
    x, w = values(4, 3), values(3, seed=1)

    def loss(o, x, w, scale):
        def step(c, r):
            return o.cond(o.sum(c) > 2, lambda: c * scale(), lambda: c + r * scale()), scale() * r

        carry, ys = o.scan(step, w, x)
        return o.sum(carry) + o.sum(ys)

    def tape(x, w):
        with kerasvino.GradientTape() as tape:
            value = loss(ops, x, w, lambda: scale.value)
        return tape.gradient(value, [scale])

    wanted = jax.grad(lambda s: loss(Plain(), x, w, lambda: s))(np.array(scale.value))
    close(run(tape)(ops.convert_to_tensor(x), ops.convert_to_tensor(w)), [wanted])


def test_state_advanced_in_a_recorded_loop():
    # the backward pass runs bodies with the state that they had, and does not advance it again
    state = keras.Variable(0, dtype="int32", trainable=False)

    def step(c, r):
        state.assign(state + 1)
        return c * r * ops.cast(state, "float32"), None

    def loss(x, w):
        return ops.sum(ops.scan(step, w, x)[0])

    x, w = values(4, 3), values(3, seed=1)
    found = jit(kerasvino.grad(loss))(x, w)
    assert int(state.value) == 4
    close([found], [24 * w * np.stack([np.prod(np.delete(x, i, 0), 0) for i in range(4)])])


def test_a_branch_that_assigns_state_is_not_run_again():
    state = keras.Variable(0.0, trainable=False)

    def loss(x):
        def count():
            state.assign(state + 1)
            return x * x * state

        return ops.cond(x > 0, count, lambda: x)

    assert float(jit(kerasvino.grad(loss))(np.array(3.0, "float32"))) == 6
    assert float(state.value) == 1


def test_python_code_runs_once():
    calls = []

    def step(c, r):
        calls.append(1)
        return c * r, c

    jit(kerasvino.grad(lambda x: ops.sum(ops.scan(step, x[0], x)[1])))(values(4, 3))
    assert len(calls) == 1


def test_unbounded_while_has_a_value_but_no_gradient():
    def loss(x):
        return ops.while_loop(lambda s: s < 10, lambda s: s * x, x)

    value, _ = jit(kerasvino.value_and_grad(lambda x: ops.stop_gradient(loss(x)) + x))(
        np.array(2.0, "float32")
    )
    assert float(value) == 16 + 2
    with pytest.raises(NotDifferentiableError, match="maximum_iterations"):
        jit(kerasvino.grad(loss))(np.array(2.0, "float32"))


def test_a_loop_of_a_traced_limit_has_a_gradient():
    def loss(x, n):
        return ops.while_loop(lambda s: s < 100, lambda s: s * x, x, maximum_iterations=n)

    slope = jit(kerasvino.grad(loss))
    for x, n in ((2.0, 0), (2.0, 3), (2.0, 50), (200.0, 3), (-1.5, 4)):
        power, value = 1, x
        while value < 100 and power - 1 < n:
            power, value = power + 1, value * x
        found = slope(np.array(x, "float32"), np.array(n, "int32"))
        np.testing.assert_allclose(found, power * x ** (power - 1), rtol=1e-6)


def test_a_carried_value_that_changes_its_shape_has_no_gradient():
    def loss(x):
        grown = ops.while_loop(
            lambda s: ops.shape(s)[0] < 4, lambda s: ops.concatenate([s, s]), x,
            maximum_iterations=3,
        )  # fmt: skip
        return ops.sum(grown)

    with pytest.raises(NotDifferentiableError, match="shape"):
        jit(kerasvino.grad(loss))(values(1))


@pytest.mark.parametrize("length", [0, 1, 5])
def test_scan_over_a_length_known_at_run_time(length):
    from kerasvino.graph import Spec, trace
    from kerasvino.runtime.program import Program

    def loss(x, w):
        carry, ys = ops.scan(lambda c, r: (c * r, c * w), w, x)
        return ops.sum(carry) + ops.sum(ys)

    gradient = kerasvino.grad(loss, (0, 1))
    program = Program(
        trace(lambda *a: list(gradient(*a)), [Spec((None, 3), "float32"), Spec((3,), "float32")]),
        "CPU", {},
    )  # fmt: skip
    w = values(3, seed=1)
    for count in (3, length):
        x = values(count, 3)
        eager = gradient(ops.convert_to_tensor(x), ops.convert_to_tensor(w))
        close(program([x, w]), [np.array(g) for g in eager])
