"""GradientTape: TensorFlow's meaning."""

import enum
import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino import GradientTape, jit
from kerasvino.autodiff import NotDifferentiableError


def tensor(value, dtype="float32"):
    return ops.convert_to_tensor(value, dtype)


def eagerly(function):
    return function


both = pytest.mark.parametrize("run", [eagerly, jit], ids=["eager", "traced"])


@both
def test_watched_tensors(run):
    def f(x):
        with GradientTape() as tape:
            tape.watch(x)
            y = ops.sum(x * x)
        return tape.gradient(y, x)

    np.testing.assert_allclose(run(f)(tensor([1.0, 3.0])), [2, 6])


@both
def test_trainable_variables_are_watched_when_read(run):
    w, b = keras.Variable([2.0, 1.0]), keras.Variable(3.0)
    frozen = keras.Variable(5.0, trainable=False)
    other = keras.Variable(7.0)

    def f(x):
        with GradientTape() as tape:
            y = ops.sum(w * x + b) * frozen
        assert {id(v) for v in tape.watched_variables()} == {id(w), id(b)}
        found = tape.gradient(y, {"w": w, "others": [b, frozen, other]})
        assert found["others"][1:] == [None, None]
        return found["w"], found["others"][0]

    slope, offset = run(f)(tensor([1.0, -4.0]))
    np.testing.assert_allclose(slope, [5, -20])
    assert float(offset) == 10


@both
def test_only_what_is_named_with_watch_accessed_variables_false(run):
    a, b = keras.Variable(2.0), keras.Variable(3.0, trainable=False)

    def f(x):
        with GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(b)
            y = a * b * x
        found = tape.gradient(y, [a, b])
        assert found[0] is None
        return found[1]

    assert float(run(f)(tensor(5.0))) == 10


@both
def test_intermediate_results_as_sources(run):
    def f(x):
        with GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = x * x
            z = y * y
        return tape.gradient(z, [x, y]), tape.gradient(y, x), tape.gradient(x, x)

    (zx, zy), yx, xx = run(f)(tensor(3.0))
    assert [float(v) for v in (zx, zy, yx, xx)] == [108, 18, 6, 1]


def test_one_gradient_unless_persistent():
    x = tensor(2.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
    assert float(tape.gradient(y, x)) == 4
    with pytest.raises(RuntimeError, match="persistent=True"):
        tape.gradient(y, x)


@both
def test_targets_add_up_and_take_cotangents(run):
    def f(x):
        with GradientTape(persistent=True) as tape:
            tape.watch(x)
            targets = [x * x, {"cubes": x**3}, ops.argmax(x)]
        weights = [ops.ones_like(x) * 2, {"cubes": None}, None]
        return tape.gradient(targets, x), tape.gradient(targets, x, output_gradients=weights)

    plain, weighted = run(f)(tensor([1.0, 2.0]))
    np.testing.assert_allclose(plain, [2 + 3, 4 + 12])
    np.testing.assert_allclose(weighted, [4 + 3, 8 + 12])


class Unconnected(enum.Enum):
    ZERO = "zero"


def test_unconnected_gradients():
    x, v = tensor([1.0, 2.0]), keras.Variable([[3.0]])
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = ops.sum(ops.stop_gradient(x))
    assert tape.gradient(y, [x, v]) == [None, None]
    for spelling in ("zero", Unconnected.ZERO):
        dx, dv = tape.gradient(y, [x, v], unconnected_gradients=spelling)
        np.testing.assert_array_equal(dx, [0, 0])
        np.testing.assert_array_equal(dv, [[0]])
    with pytest.raises(ValueError, match="'none' or 'zero'"):
        tape.gradient(y, x, unconnected_gradients="nothing")


@both
def test_nested_tapes(run):
    w = keras.Variable(2.0)

    def f(x):
        with GradientTape() as outer:
            with GradientTape() as inner:
                y = w**3 * x
            first = inner.gradient(y, w)
        return first, outer.gradient(first, w)

    first, second = run(f)(tensor(5.0))
    assert float(first) == pytest.approx(60)
    assert float(second) == pytest.approx(60)


def test_stop_recording_and_after_the_end():
    x = tensor(3.0)
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
        with tape.stop_recording():
            z = y * x
        u = y + z
    late = y * 2
    assert float(tape.gradient(u, x)) == 6
    assert tape.gradient(z, x) is None
    assert tape.gradient(late, x) is None
    with pytest.raises(ValueError, match="not recording"), tape.stop_recording():
        pass


def test_gradient_inside_the_context():
    x = tensor(3.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
        assert float(tape.gradient(y, x)) == 6
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x**3
        first = tape.gradient(y, x)
        assert float(tape.gradient(first, x)) == pytest.approx(18)


def test_reset():
    x = tensor(3.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
        tape.reset()
        tape.watch(x)
        z = x * 5
    assert float(tape.gradient(z, x)) == 5
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
    tape.reset()
    assert tape.gradient(y, x) is None
    assert tape.watched_variables() == ()


def test_a_tape_can_be_entered_again():
    x = tensor(3.0)
    tape = GradientTape()
    with tape:
        tape.watch(x)
        y = x * x
    with tape:
        z = y * 2
        with pytest.raises(ValueError, match="already"), tape:
            pass
    assert float(tape.gradient(z, x)) == 12


def test_reads_between_assignments_add_up():
    v = keras.Variable(2.0)
    with GradientTape() as tape:
        y = v * v
        v.assign(y)
        z = v * 3 + y
    assert float(tape.gradient(z, v)) == 3 + 4


def test_what_cannot_be_watched():
    with GradientTape() as tape:
        with pytest.raises(ValueError, match="convert_to_tensor"):
            tape.watch(np.ones(3))
        tape.watch(tensor(1, "int32"))
    with pytest.raises(ValueError, match="Sources"):
        tape.gradient(tensor(1.0), 3.0)


def test_an_operation_without_gradient():
    x = tensor([1.0, 2.0])
    with GradientTape() as tape:
        tape.watch(x)
        y = ops.view(x, "float16")
    with pytest.raises(NotDifferentiableError, match="bitcast"):
        tape.gradient(y, x)


def test_nothing_is_kept_after_the_gradient():
    v, kept = keras.Variable([1.0, 2.0]), []
    gc.disable()
    try:
        losses = []
        for _ in range(3):
            with GradientTape() as tape:
                y = ops.exp(v)
                loss = ops.sum(y)
            kept.append(weakref.ref(y))
            del y
            v.assign_sub(0.1 * tape.gradient(loss, v))
            losses.append(loss)
            assert loss.record is None
            assert v.value.record is None
        assert [reference() for reference in kept] == [None] * 3
    finally:
        gc.enable()


def test_eager_code_may_print_and_branch():
    v = keras.Variable(-2.0)
    with GradientTape() as tape:
        x = v * 3
        y = x * x if float(x) > 0 else -x
    assert float(tape.gradient(y, v)) == -3
