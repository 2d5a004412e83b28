"""Control flow on concrete values (Python) and on traced ones (If, Loop)."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino.backend.jit import jit
from kerasvino.primitives.operation_errors import LoweringError


def f32(*values):
    return np.array(values, "float32")


def scalar(value, dtype="float32"):
    return np.array(value, dtype)


both = pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])


def tensors(*arrays):
    return [ops.convert_to_tensor(a) for a in arrays]


@both
def test_cond_chooses(run):
    @run
    def function(p, x):
        return ops.cond(p, lambda: {"a": x + 1, "b": None}, lambda: {"a": x * 3, "b": None})

    for pred in (True, False):
        result = function(*tensors(scalar(pred, "bool"), f32(1, 2)))
        assert result["b"] is None
        assert result["a"].tolist() == ([2, 3] if pred else [3, 6])


def test_only_the_taken_branch_runs_eagerly():
    ran = []
    ops.cond(ops.convert_to_tensor(True), lambda: ran.append(1), lambda: ran.append(2))
    assert ran == [1]


def test_only_the_taken_branch_runs_in_a_graph():
    # tracing visits both branches, but the graph computes one: the other's loop would not end
    @jit
    def function(p, x):
        return ops.cond(
            p,
            lambda: x + 1,
            lambda: ops.while_loop(lambda y: y > -1, lambda y: y * 1, x, maximum_iterations=2**30),
        )

    assert float(function(scalar(True, "bool"), scalar(1.0))) == 2


@both
def test_state_assigned_in_a_branch(run):
    total = keras.Variable(1.0)

    @run
    def function(x):
        def add():
            total.assign(total + x)

        ops.cond(x > 0, add, lambda: None)
        return x * total

    assert float(function(*tensors(scalar(2.0)))) == 6
    assert float(total.value) == 3
    assert float(function(*tensors(scalar(-2.0)))) == -6
    assert float(total.value) == 3


@pytest.mark.parametrize(
    ("other", "word"),
    [(lambda x: ops.cast(x, "int32"), "dtype"), (lambda x: ops.sum(x), "rank")],
)
def test_branches_that_disagree_are_refused(other, word):
    with pytest.raises(LoweringError, match=word):
        jit(lambda p, x: ops.cond(p, lambda: x, lambda: other(x)))(scalar(True, "bool"), f32(1, 2))


def test_branches_of_another_shape_but_the_same_rank():
    function = jit(lambda p, x: ops.cond(p, lambda: x, lambda: x[:1]))
    assert function(scalar(True, "bool"), f32(1, 2)).shape == (2,)
    assert function(scalar(False, "bool"), f32(1, 2)).shape == (1,)


@both
@pytest.mark.parametrize("index", [-3, 0, 1, 2, 9])
def test_switch_clamps(run, index):
    @run
    def function(i, x):
        return ops.switch(i, [lambda v: v, lambda v: v * 10, lambda v: v * 100], x)

    expected = 10.0 ** min(max(index, 0), 2)
    assert float(function(*tensors(scalar(index, "int32"), scalar(1.0)))) == expected


@both
def test_nested_cond(run):
    @run
    def function(x):
        return ops.cond(
            x > 0, lambda: ops.cond(x > 1, lambda: x * 10, lambda: x * 5), lambda: x - 1
        )

    for value, wanted in ((2.0, 20), (0.5, 2.5), (-1.0, -2)):
        assert float(function(*tensors(scalar(value)))) == wanted


@both
@pytest.mark.parametrize("limit", [None, 0, 1, 100])
def test_while_loop(run, limit):
    @run
    def function(i, x):
        return ops.while_loop(
            lambda i, s: i < 4, lambda i, s: (i + 1, [s[0] * x]), (i, [x]), maximum_iterations=limit
        )

    for start in (0, 4, 7):
        i, (s,) = function(*tensors(scalar(start, "int32"), scalar(2.0)))
        steps = min(max(4 - start, 0), 100 if limit is None else limit)
        assert int(i) == start + steps
        assert float(s) == 2.0 ** (steps + 1)


@both
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32"])
def test_while_loop_of_a_limit_that_is_a_tensor(run, dtype):
    """As the samplers of KerasHub have: `maximum_iterations=max_length - index`."""

    @run
    def function(limit, x):
        return ops.while_loop(
            lambda i, s: s < 100.0, lambda i, s: (i + 1, s * 2), (ops.zeros((), "int32"), x),
            maximum_iterations=limit,
        )  # fmt: skip

    for limit, start, wanted in ((0, 1.0, 0), (3, 1.0, 3), (20, 1.0, 7), (5, 200.0, 0)):
        count, last = function(*tensors(scalar(limit, dtype), scalar(start)))
        assert (int(count), float(last)) == (wanted, start * 2.0**wanted)


@both
@pytest.mark.parametrize("limit, wanted", [(-3, 0), (2.5, 3), (2.0, 2), (float("inf"), 7)])
def test_while_loop_of_an_odd_limit(run, limit, wanted):
    function = run(
        lambda n, x: ops.while_loop(lambda s: s < 100.0, lambda s: s * 2, x, maximum_iterations=n)
    )
    assert float(function(limit, *tensors(scalar(1.0)))) == 2.0**wanted
    if limit < 9:
        kind = "int32" if isinstance(limit, int) else "float32"
        assert float(function(*tensors(scalar(limit, kind), scalar(1.0)))) == 2.0**wanted


@pytest.mark.parametrize("start", [True, False])
def test_a_traced_limit_of_a_loop_of_concrete_values(start):
    @jit
    def function(limit):
        run = ops.convert_to_tensor(start)
        return ops.while_loop(lambda s: run, lambda s: s + 1, 0, maximum_iterations=limit)

    for limit in (0, 1, 4):
        assert int(function(scalar(limit, "int32"))) == (limit if start else 0)


def test_a_traced_limit_within_a_loop_and_a_branch():
    @jit
    def function(x, n):
        def inner(k, s):
            return ops.while_loop(lambda v: v < 50.0, lambda v: v + 1, s, maximum_iterations=k)

        total = ops.fori_loop(0, n, lambda i, s: inner(i, s), x)
        return ops.cond(n > 2, lambda: inner(n, total), lambda: total)

    for n in (0, 1, 2, 3, 5):
        wanted = sum(range(n)) + (n if n > 2 else 0)
        assert float(function(scalar(0.0), scalar(n, "int32"))) == min(wanted, 50)


def test_a_loop_that_grows_up_to_a_traced_limit():
    @jit
    def function(x, n):
        return ops.while_loop(
            lambda v: ops.sum(v) < 99.0, lambda v: ops.concatenate([v, v]), x, maximum_iterations=n
        )

    for n, length in ((0, 2), (1, 4), (3, 16)):
        assert function(f32(1, 2), scalar(n, "int32")).shape == (length,)


def test_a_concrete_loop_that_meets_a_traced_value_goes_on_as_a_loop():
    @jit
    def function(x):
        return ops.while_loop(lambda i, s: i < 5, lambda i, s: (i + 1, s + x), (0, 0.0))[1]

    assert float(function(scalar(2.0))) == 10


def test_a_loop_may_change_a_length():
    @jit
    def function(n, x):
        grown = ops.while_loop(
            lambda i, y: i < n, lambda i, y: (i + 1, ops.concatenate([y, y[-1:] + 1])), (n * 0, x)
        )
        return grown[1]

    assert function(scalar(3, "int32"), f32(1)).tolist() == [1, 2, 3, 4]
    assert function(scalar(0, "int32"), f32(1)).tolist() == [1]


def test_a_carried_dtype_must_stay():
    with pytest.raises(LoweringError, match="dtype"):
        jit(lambda x: ops.while_loop(lambda y: ops.sum(y) < 3, lambda y: ops.cast(y, "int32"), x))(
            f32(1, 2)
        )


@both
@pytest.mark.parametrize("count", [0, 1, 5])
def test_fori_loop(run, count):
    @run
    def function(n, x):
        return ops.fori_loop(0, n, lambda i, s: s + ops.cast(i, "float32") * x, x)

    result = function(*tensors(scalar(count, "int32"), f32(1, 2)))
    np.testing.assert_allclose(result, f32(1, 2) * (1 + sum(range(count))))


@both
def test_carried_values_that_the_body_does_not_use(run):
    @run
    def function(n, x, y):
        def swap(i, s):
            return s[1], s[0], x

        return (
            ops.fori_loop(0, n, lambda i, s: x * 2, y),
            ops.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, x * 2), (0 * n, y))[1],
            ops.fori_loop(0, n, swap, (y, x, y)),
        )

    x, y = f32(1, 2), f32(7, 8)
    for n in (2, 0, 1, 0):
        a, b, swapped = function(*tensors(scalar(n, "int32"), x, y))
        np.testing.assert_array_equal(a, x * 2 if n else y)
        np.testing.assert_array_equal(b, x * 2 if n else y)
        wanted = {0: (y, x, y), 1: (x, y, x), 2: (y, x, x)}[n]
        np.testing.assert_array_equal(swapped, wanted)


PASSED_ON = {
    "fibonacci": lambda a, b: (a + b, a),
    "swapped": lambda a, b: (b, a),
    "by operations without effect": lambda a, b: (b * 1, a + 0),
    "by functions": lambda a, b: (ops.maximum(b, 2), ops.minimum(a, 6)),
    "by views": lambda a, b: (ops.reshape(b[None], (2,)), ops.concatenate([a])),
    "by a branch": lambda a, b: (
        ops.cond(ops.sum(a) >= 0, lambda: b, lambda: a),
        ops.cond(ops.sum(a) >= 0, lambda: a, lambda: b),
    ),
    "by a loop": lambda a, b: ops.fori_loop(
        0, ops.cast(a[0] * 0 + 1, "int32"), lambda i, s: (s[1], s[0]), (a, b)
    ),
}


@both
@pytest.mark.parametrize("step", PASSED_ON.values(), ids=PASSED_ON)
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_carried_values_that_others_pass_on(run, step, dtype):
    function = run(lambda n, a, b: ops.fori_loop(0, n, lambda i, s: step(*s), (a, b)))
    a, b = tensors(np.array([1, 2], dtype), np.array([5, 7], dtype))
    wanted = a, b
    for count in range(4):
        found = function(ops.convert_to_tensor(count), a, b)
        for x, y in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(x, y)
        wanted = step(*wanted)


FROM_SLICES = {
    "slice": lambda c, x: x,
    "first operand": lambda c, x: x + c,
    "second operand": lambda c, x: c + x,
    "function": lambda c, x: ops.sin(x),
    "function of the other": lambda c, x: ops.sin(x * 2) + ops.cos(c),
    "view": lambda c, x: ops.reshape(ops.reshape(x, (2, 1)) + c[:, None], (2,)),
    "choice": lambda c, x: ops.where(c > x, x, c),
}


@both
@pytest.mark.parametrize("step", FROM_SLICES.values(), ids=FROM_SLICES)
def test_carried_values_that_are_made_of_slices(run, step):
    xs = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    found = run(lambda c, xs: ops.scan(lambda c, x: (step(c, x), c), c, xs))(*tensors(xs[0], xs))
    last = run(lambda c, xs: ops.scan(lambda c, x: (step(c, x), None), c, xs)[0])
    carry, before = ops.convert_to_tensor(xs[0]), []
    for x in xs:
        before.append(carry)
        carry = step(carry, ops.convert_to_tensor(x))
    np.testing.assert_allclose(found[0], carry, rtol=1e-5)
    np.testing.assert_allclose(found[1], ops.stack(before), rtol=1e-5)
    np.testing.assert_allclose(last(*tensors(xs[0], xs)), carry, rtol=1e-5)


ON_VIEWS = {
    "sum": lambda c, w: ops.reshape(w, (2, 4)) + c,
    "function": lambda c, w: ops.exp(ops.reshape(w, (2, 4))) * c,
    "product": lambda c, w: ops.matmul(ops.reshape(w, (2, 4)) + c, ops.ones((4, 4))),
    "softmax of a view": lambda c, w: ops.softmax(ops.reshape(w, (2, 4))) + c,
    "softmax": lambda c, w: ops.reshape(ops.softmax(w), (2, 4)) + c,
    "part": lambda c, w: ops.concatenate([p[None] + c[:1] for p in ops.split(w, 2)], 0),
    "twice": lambda c, w: ops.transpose(ops.reshape(w, (1, 4, 2)), (0, 2, 1))[0] + c,
}


@both
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_what_a_body_closes_over_and_converts_stays(run, dtype):
    w = ops.cast(np.arange(8) - 3, dtype)
    c = ops.ones((2, 4))
    function = run(
        lambda c, w: ops.fori_loop(
            0, 3, lambda i, c: ops.reshape(ops.cast(w, "float32"), (2, 4)) + c, c
        )
    )
    np.testing.assert_allclose(function(c, w), 1 + 3 * (np.arange(8.0) - 3).reshape(2, 4))


@both
@pytest.mark.parametrize("step", ON_VIEWS.values(), ids=ON_VIEWS)
def test_what_a_body_closes_over_stays(run, step):
    w, c = np.random.default_rng(0).normal(size=(2, 8)).astype("float32")
    w, c = tensors(w, c.reshape(2, 4))
    found = run(lambda c, w: ops.fori_loop(0, 4, lambda i, c: step(c, w) * 0.5, c))(c, w)
    for _ in range(4):
        c = step(c, w) * 0.5
    np.testing.assert_allclose(found, c, rtol=1e-5, atol=1e-6)


@both
def test_fori_loop_from_above_runs_no_step(run):
    @run
    def function(n, x):
        return ops.fori_loop(n, 2, lambda i, s: s + 1, x)

    assert float(function(*tensors(scalar(5, "int32"), scalar(3.0)))) == 3


def test_variables_assigned_in_a_loop():
    total = keras.Variable(0.0)

    @jit
    def function(n, x):
        def body(i, s):
            total.assign(total + x)
            return s + total

        return ops.fori_loop(0, n, body, x)

    assert float(function(scalar(3, "int32"), scalar(2.0))) == 2 + 2 + 4 + 6
    assert float(total.value) == 6
    assert float(function(scalar(0, "int32"), scalar(2.0))) == 2
    assert float(total.value) == 6


@both
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_scan(run, reverse, length):
    @run
    def function(c, xs):
        return ops.scan(lambda c, x: (c + x["a"], c * x["b"]), c, xs, reverse=reverse)

    xs = {"a": np.arange(length, dtype="float32"), "b": np.ones((length, 2), "float32")}
    xs = {k: ops.convert_to_tensor(v) for k, v in xs.items()}
    carry, ys = function(ops.convert_to_tensor(1.0), xs)
    expected, rows = 1.0, []
    for i in reversed(range(length)) if reverse else range(length):
        rows.append([expected, expected])
        expected += i
    assert float(carry) == expected
    assert ys.shape == (length, 2)
    np.testing.assert_allclose(ys, np.array(rows[::-1] if reverse else rows).reshape(length, 2))


def test_scan_over_a_length_known_at_run_time():
    from kerasvino.graph import Spec, trace
    from kerasvino.runtime.program import Program

    def function(xs):
        carry, ys = ops.scan(lambda c, x: (c + x, c), ops.sum(xs) * 0, xs)
        return [carry, ys]

    program = Program(trace(function, [Spec((None,), "float32")]), "CPU", {})
    for length in (0, 1, 5):
        xs = np.arange(length, dtype="float32")
        carry, ys = program([xs])
        assert carry == xs.sum()
        np.testing.assert_allclose(ys, np.cumsum(xs) - xs)


def test_the_graph_of_a_scan_does_not_grow_with_its_length():
    from kerasvino.graph import Spec, trace

    def nodes(length):
        graph = trace(
            lambda xs: [ops.scan(lambda c, x: (c + x, c), xs[0], xs)[0]],
            [Spec((length, 2), "float32")],
        )
        return len(graph.model.get_ops())

    assert nodes(3) == nodes(300)


@both
def test_map_and_vectorized_map(run):
    x = ops.convert_to_tensor(np.arange(6, dtype="float32").reshape(3, 2))
    assert run(lambda x: ops.map(lambda r: ops.sum(r), x))(x).tolist() == [1, 5, 9]
    assert run(lambda x: ops.vectorized_map(lambda r: r * 2, x))(x).tolist() == [
        [0, 2],
        [4, 6],
        [8, 10],
    ]


@both
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(run, length, reverse):
    x = np.random.default_rng(0).normal(size=(2, length)).astype("float32")

    @run
    def function(x):
        return ops.associative_scan(lambda a, b: a + b, x, reverse=reverse, axis=1)

    expected = np.cumsum(x[:, ::-1], 1)[:, ::-1] if reverse else np.cumsum(x, 1)
    np.testing.assert_allclose(function(ops.convert_to_tensor(x)), expected, rtol=1e-5, atol=1e-6)


def test_closures_of_nested_bodies():
    @jit
    def function(x, y):
        def outer(i, s):
            return ops.cond(
                s > y, lambda: s - y, lambda: ops.fori_loop(0, 2, lambda j, t: t + x, s)
            )

        return ops.fori_loop(0, 3, outer, x)

    def reference(x, y):
        s = x
        for _ in range(3):
            s = s - y if s > y else s + 2 * x
        return s

    for x, y in ((1.0, 2.0), (3.0, 1.0)):
        assert float(function(scalar(x), scalar(y))) == reference(x, y)


def test_a_loop_of_no_iteration_after_a_longer_one():
    from kerasvino.graph import Spec, trace
    from kerasvino.runtime.program import Program

    def function(xs):
        carry, ys = ops.scan(
            lambda c, x: (c + x, c * 2), xs[0] * 0 if xs.shape[0] else ops.zeros((2,)), xs
        )
        return [carry, ys]

    program = Program(trace(function, [Spec((None, 2), "float32")]), "CPU", {})
    for length in (3, 0, 2, 0):
        assert program([np.ones((length, 2), "float32")])[1].shape == (length, 2)


@both
@pytest.mark.parametrize("length", [0, 3])
def test_scan_that_stacks_nothing(run, length):
    @run
    def function(x):
        return ops.scan(lambda c, _: (c + x, None), x, length=length)

    carry, ys = function(ops.convert_to_tensor(2.0))
    assert float(carry) == 2 * (length + 1)
    assert ys is None


@pytest.mark.parametrize("value", [3.0, [1.0, 2.0]])
def test_a_while_loop_known_to_run_no_step(value):
    """Its condition is False on the host, or known to OpenVINO, while its state is traced."""
    x, nothing = np.float32(value), np.zeros((0,), "float32")

    def concrete(x):
        return ops.while_loop(lambda i, s: i < 0, lambda i, s: (i + 1, s * 2.0), (0, x))[1]

    def folded(x, y):
        return ops.while_loop(lambda s: ops.any(y > 0), lambda s: (s * 2.0,), (x,))[0]

    np.testing.assert_array_equal(jit(concrete)(x), x)
    np.testing.assert_array_equal(jit(folded)(x, nothing), x)


@both
@pytest.mark.parametrize("x", [f32(1), f32(1, 2), scalar(1.0)], ids=["one", "two", "scalar"])
def test_a_while_loop_of_one_variable_whose_body_returns_no_tuple(run, x):
    loop = run(lambda x: ops.while_loop(lambda x: ops.sum(x) < 9, lambda x: x * 2, (x,)))
    (found,) = loop(*tensors(x))
    (expected,) = ops.while_loop(lambda x: ops.sum(x) < 9, lambda x: (x * 2,), tensors(x))
    np.testing.assert_array_equal(found, expected)
