"""Assignments in a StatelessScope inside of branches and loops: traced as eagerly."""

import keras
import numpy as np
import pytest
from keras import ops

import kerasvino


@pytest.fixture
def variables():
    return keras.Variable(1.0), keras.Variable(5.0), keras.Variable(7.0)


def same_eager_and_traced(function, variables, *values):
    """Runs `function(*values)` both ways, compares all that it returns and leaves the variables."""
    before = [float(v) for v in variables]
    values = [ops.convert_to_tensor(value) for value in values]
    eager = [float(x) for x in function(*values)]
    traced = [float(x) for x in kerasvino.jit(function)(*values)]
    np.testing.assert_allclose(traced, eager, rtol=1e-6)
    assert [float(v) for v in variables] == before
    return eager


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("start", [2.0, 3.0])
def test_branches_within_each_other(first, start, variables):
    v, w, u = variables

    def function(first, start):
        with keras.StatelessScope([(v, start), (w, ops.convert_to_tensor(20.0))]) as scope:

            def then():
                v.assign(v + 1.0)
                u.assign(v * 2.0)  # not in the scope before
                return ops.cond(v > 3.0, lambda: w.assign_add(v) is None or v * 2, lambda: v + w)

            def other():
                w.assign(w * 2.0)
                u.assign(w)
                return v + w

            found = ops.cond(first, then, other)
            return found, v + w + u, *(scope.get_current_value(x) for x in variables)

    found = same_eager_and_traced(function, variables, first, start)
    assert found[2] == (start + 1 if first else start)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_loops(count, variables):
    v, w, _ = variables

    def function(count):
        with keras.StatelessScope([(v, ops.convert_to_tensor(2.0))]) as scope:

            def body(i, total):
                v.assign(v * 2.0)
                w.assign(w + v)  # not in the scope before
                return i + 1, total + v

            _, total = ops.while_loop(lambda i, total: i < count, body, (0 * count, 0.0))
            last = ops.fori_loop(0, count, lambda i, held: held + v.assign_add(1.0), 0.0)
            rest = w if scope.get_current_value(w) is None else scope.get_current_value(w)
            return total, last, v + w, scope.get_current_value(v), rest

    found = same_eager_and_traced(function, variables, count)
    assert found[3] == 2.0 * 2**count + count


def test_a_branch_within_a_loop_and_scopes_within_each_other(variables):
    v, w, _ = variables

    def function(count):
        with keras.StatelessScope([(v, ops.convert_to_tensor(2.0))]) as outer:

            def body(i, total):
                with keras.StatelessScope([(w, v.value)]) as inner:
                    ops.cond(i > 1, lambda: w.assign_add(1.0) is None, lambda: i < 0)
                v.assign(inner.get_current_value(w))
                return i + 1, total + v

            _, total = ops.while_loop(lambda i, total: i < count, body, (0 * count, 0.0))
            return total, outer.get_current_value(v)

    assert same_eager_and_traced(function, variables, 4)[1] == 4.0


def test_what_the_program_assigned_itself_stays(variables):
    """A variable that is assigned outside of the scope, and in a branch inside of it."""
    v, _, _ = variables

    def function(pred):
        v.assign(v + 10.0)
        with keras.StatelessScope() as scope:
            ops.cond(pred, lambda: v.assign(v * 2.0) is None, lambda: pred)
            return scope.get_current_value(v), v + 0.0

    inside, read = kerasvino.jit(function)(ops.convert_to_tensor(True))
    assert float(inside) == float(read) == 22.0
    assert float(v) == 11.0


def test_an_error_in_a_branch_leaves_the_scope_and_the_trace(variables):
    v, _, _ = variables

    def failing():
        v.assign(v + 1.0)
        raise KeyError("mine")

    def function(pred):
        with keras.StatelessScope([(v, ops.convert_to_tensor(2.0))]):
            with pytest.raises(KeyError, match="mine"):
                ops.cond(pred, failing, lambda: None)
            return v + 0.0

    assert float(kerasvino.jit(function)(ops.convert_to_tensor(True))) == 2.0
    assert float(v) == 1.0
