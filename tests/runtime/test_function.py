"""Compiled functions: specialisation, weights that change, state, threads."""

import threading

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino import dtypes
from kerasvino.runtime import specialisation, specialisations
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor


def tensor(*shape, dtype="float32"):
    return Tensor(np.arange(np.prod(shape, dtype=int)).reshape(shape), dtype)


def counting(body):
    """`body` with a count of how often it is traced."""

    def function(*args):
        function.traces += 1
        return body(*args)

    function.traces = 0
    return function


def test_one_program_per_shape_while_few_then_a_dynamic_one():
    body = counting(lambda x: [ops.sum(x, axis=1)])
    function = Function(body)
    for rows in range(1, specialisations.MAX_SPECIALISATIONS + 4):
        x = tensor(rows, 3)
        np.testing.assert_allclose(function(x)[0], x.numpy().sum(1))
        function(x)
    assert body.traces == specialisations.MAX_SPECIALISATIONS + 1
    ((general, _),) = function.specialisations.of_patterns.values()
    assert general == ((None, 3),)


def test_large_weights_are_packed_once(monkeypatch):
    monkeypatch.setattr(specialisations, "MAX_PACKED_BYTES", 100)
    weight = keras.Variable(np.ones((8, 8), "float32"))
    body = counting(lambda x: [ops.matmul(x, weight)])
    function = Function(body)
    for rows in (2, 3, 4, 5):
        assert function(tensor(rows, 8))[0].shape == (rows, 8)
    assert body.traces == 2


def test_large_weights_have_one_program_at_a_time(monkeypatch):
    monkeypatch.setattr(specialisation, "MAX_TWICE_BYTES", 100)
    weight = keras.Variable(np.ones((8, 8), "float32"))
    body = counting(lambda x: [ops.matmul(x, weight)])
    function = Function(body)
    for rows in (4, 3, 4):  # the second is padded
        assert function(tensor(rows, 8))[0].shape == (rows, 8)
    assert len(function.specialisations.of_shapes) == 2
    for rows in (9, 4, 3, 20):
        x = tensor(rows, 8)
        np.testing.assert_allclose(function(x)[0], x.numpy() @ weight.numpy())
    assert not function.specialisations.of_shapes
    assert len(function.specialisations.of_patterns) == 1
    assert body.traces == 2


def test_assigned_weights_are_seen_and_become_inputs():
    weight = keras.Variable(2.0)
    body = counting(lambda x: [ops.multiply(x, weight)])
    function = Function(body)
    for value in (2.0, 3.0, 4.0, 5.0):
        weight.assign(value)
        assert function(tensor(2))[0].tolist() == [0, value]
    (entry,) = function.specialisations.of_shapes.values()
    assert body.traces == 1
    assert entry.program.constants == {}
    program = entry.program
    weight.assign(6.0)
    assert function(tensor(2))[0].tolist() == [0, 6]
    assert entry.program is program


def test_assignments_come_out_in_order():
    counter = keras.Variable(0, dtype="int32")

    def body(x):
        counter.assign_add(1)
        first = counter.value
        counter.assign(first * 10)
        return [x + ops.cast(first, "float32")]

    function = Function(body)
    assert function(tensor(1))[0].tolist() == [1]
    assert int(counter.value) == 10
    assert function(tensor(1))[0].tolist() == [11]
    assert int(counter.value) == 110


def test_another_program_sees_state_that_one_assigned():
    state = keras.Variable(1.0)
    read = Function(lambda x: [x * state])

    def write_body(x):
        state.assign(state + x)
        return [x]

    write = Function(write_body)
    one = Tensor(np.float32(1))
    assert float(read(one)[0]) == 1
    write(one)
    assert float(read(one)[0]) == 2


def test_results_do_not_change_under_a_later_call():
    function = Function(lambda x: [x * 2])
    first = function(tensor(3))[0]
    function(Tensor(np.full(3, 7, "float32")))
    assert first.tolist() == [0, 2, 4]


def test_an_argument_that_is_a_result():
    function = Function(lambda x: [x, x + 1], "same")
    x = np.arange(3, dtype="float32")
    same, more = function(Tensor(x))
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(more, x + 1)


def test_threads_share_a_program_and_take_turns_with_state():
    counter = keras.Variable(0, dtype="int32")

    def body(x):
        counter.assign_add(1)
        return [x + ops.cast(counter, "float32")]

    function = Function(body)
    pure = Function(lambda x: [x * 2])
    seen, wrong = [], []

    def work(number):
        for _ in range(20):
            seen.append(int(function(Tensor(np.float32(0)))[0]))
            if float(pure(Tensor(np.float32(number)))[0]) != 2 * number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(seen) == list(range(1, 81))
    assert int(counter.value) == 80


@pytest.mark.parametrize(
    "dtype", [name for name in dtypes.TABLE if name[:1] in "biuf" and "8_" not in name]
)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (0, 3)])
def test_every_dtype_and_shape_crosses_the_boundary(dtype, shape):
    x = Tensor(np.ones(shape), dtype)
    (y,) = Function(lambda x: [ops.reshape(x, (-1,))])(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(np.asarray(y), np.asarray(x).reshape(-1))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_that_a_graph_would_change_raise(dtype):
    function = Function(lambda x: [x + ops.ones_like(x)])
    assert function(Tensor(np.array([2**31 - 2]), dtype))[0].tolist() == [2**31 - 1]
    with pytest.raises(OverflowError, match="32 bits"):
        function(Tensor(np.array([2**40]), dtype))
    with pytest.raises(OverflowError, match="32 bits"):
        Function(lambda x: [x + ops.convert_to_tensor(np.array([2**40], dtype))])(
            Tensor(np.array([1]), dtype)
        )


def test_float64_in_a_graph_warns_once(monkeypatch, recwarn):
    from kerasvino import dtypes

    monkeypatch.setattr(dtypes, "_warned_float64", False)
    x = Tensor(np.ones(2), "float64")
    Function(lambda x: [x + x])(x)
    Function(lambda x: [x * x])(x)
    assert len([w for w in recwarn if "float64" in str(w.message)]) == 1


def test_names_of_nodes_do_not_depend_on_what_ran_before():
    from kerasvino.graph import Spec, trace

    def names():
        graph = trace(
            lambda x: [ops.softmax(ops.reshape(x, (3, 2))) + 1], [Spec((2, 3), "float32")]
        )
        return [node.get_friendly_name() for node in graph.model.get_ordered_ops()]

    assert names() == names()
    assert len(set(names())) == len(names())


def test_a_batch_whose_rows_mix_is_not_padded():
    function = Function(lambda x: [x - ops.mean(x, axis=0), x / x.shape[0]])
    function(tensor(8, 3))
    x = tensor(5, 3)
    centred, divided = function(x)
    np.testing.assert_allclose(centred, x.numpy() - x.numpy().mean(0), atol=1e-6)
    np.testing.assert_allclose(divided, x.numpy() / 5)


def test_functions_that_ask_for_a_length_have_a_few_programs_of_known_shapes():
    body = counting(lambda x: [x * x.shape[0] if x.shape[0] > 1 else x])
    function, most = Function(body), specialisations.MAX_STATIC_SPECIALISATIONS
    for _ in range(2):
        for rows in range(1, most + 3):
            x = tensor(rows, 3)
            np.testing.assert_allclose(function(x)[0], x.numpy() * rows)
    assert len(function.specialisations.of_shapes) == most
    traces = body.traces
    function(x)
    assert body.traces == traces


def test_functions_that_ask_for_a_length_keep_fewer_programs_of_large_weights(monkeypatch):
    monkeypatch.setattr(specialisations, "MAX_PACKED_BYTES", 100)
    weight = keras.Variable(np.ones((8, 8), "float32"))
    function = Function(lambda x: [ops.matmul(x, weight) * x.shape[0]])
    for rows in range(1, specialisations.MAX_SPECIALISATIONS + 4):
        assert function(tensor(rows, 8))[0].shape == (rows, 8)
    assert len(function.specialisations.of_shapes) == specialisations.MAX_SPECIALISATIONS


def test_many_shapes_leave_nothing_behind():
    body = counting(lambda x, y: [ops.sum(x, axis=1), y * 2])
    function = Function(body)

    def call(*lengths):
        x, y = tensor(*lengths, 3), tensor(lengths[0])
        total, doubled = function(x, y)
        np.testing.assert_allclose(total, x.numpy().sum(1))
        np.testing.assert_allclose(doubled, y.numpy() * 2)

    for rows in range(1, 9):
        call(rows, 2)
    ((general, first),) = function.specialisations.of_patterns.values()
    assert general == ((None, 2, 3), (None,))
    for rows in range(1, 30):
        for steps in (2, 3, 4, 5):
            call(rows, steps)
    ((general, second),) = function.specialisations.of_patterns.values()
    assert general == ((None, None, 3), (None,))
    assert second is not first
    assert body.traces == specialisations.MAX_SPECIALISATIONS + 2
    assert len(function.specialisations.of_shapes) == specialisations.MAX_SPECIALISATIONS


def test_threads_of_many_shapes():
    function = Function(lambda x: [x * 2 + x.shape[0] if x.shape[0] else x])
    wrong = []

    def work(seed):
        for rows in np.random.default_rng(seed).integers(1, 25, 30):
            x = tensor(int(rows), 3)
            if not np.array_equal(function(x)[0].numpy(), x.numpy() * 2 + rows):
                wrong.append(rows)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nodes_that_cannot_be_fused_together_run_one_by_one():
    """OpenVINO refuses batch normalization with its gradient (see the traps) as it is."""
    x, scale, offset = (
        np.random.default_rng(0).normal(size=s).astype("float32") for s in ((2, 4, 4, 3), 3, 3)
    )
    each = np.array([1, 2, 3], "float32")

    def step(x, scale, offset, rate):
        mean, variance = ops.moments(x, (0, 1, 2))
        y = ops.batch_normalization(x, mean, variance, -1, offset, scale)
        total = ops.sum(0.01 * x, (0, 1, 2))
        slope = (total + each * mean) * ops.rsqrt(variance + 1e-3) + 0.01 * (each * scale)
        return [y, scale - slope * rate]

    arguments = [Tensor(a) for a in (x, scale, offset, np.float32(0.1))]
    for found, wanted in zip(Function(step)(*arguments), step(*arguments), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_variables_that_may_not_be_constants_are_inputs():
    changes, stays, state = keras.Variable(2.0), keras.Variable(3.0), keras.Variable(0.0)

    def body(x):
        state.assign_add(1.0)
        return [x * changes + stays]

    function = Function(body, constant=lambda variable: variable is not changes)
    assert function(tensor(2))[0].tolist() == [3, 5]
    (entry,) = function.specialisations.of_shapes.values()
    program = entry.program
    changes.assign(4.0)
    assert function(tensor(2))[0].tolist() == [3, 7]
    assert entry.program is program
    assert list(function.assigned.values()) == [state]
    stays.assign(1.0)
    assert function(tensor(2))[0].tolist() == [1, 5]
    assert entry.program is not program


def test_an_interrupt_between_assignments_leaves_a_whole_step(monkeypatch):
    first, second = keras.Variable(0.0), keras.Variable(0.0)

    def step(x):
        for variable in (first, second):
            variable.assign_add(x)
        return [x]

    function = Function(step)
    function(Tensor(np.float32(1)))
    assign = type(second)._direct_assign

    def interrupted(variable, value):
        if variable is second and interrupted.pending:
            interrupted.pending = False
            raise KeyboardInterrupt
        assign(variable, value)

    interrupted.pending = True
    monkeypatch.setattr(type(second), "_direct_assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        function(Tensor(np.float32(1)))
    assert not interrupted.pending
    assert first.numpy() == second.numpy() == 2
