"""If, Loop and TensorIterator."""

import numpy as np
import openvino as ov
import openvino.opset16 as ops
import pytest
from openvino import Type

from . import compositions as exact
from .harness import CONFIG, core, tensor


def counting_loop(dims, corrected=False):
    """rows x + 1, x + 2, …: the last state and all of them, for `n` iterations."""
    x, n = ops.parameter(dims, Type.f32), ops.parameter([], Type.i32)
    state = ops.parameter(dims, Type.f32)
    step = ops.add(state, exact.f(1))
    row = ops.unsqueeze(step, exact.axes(0))
    loop = ops.loop(n, ops.constant(np.array(True)))
    loop.set_function(ov.Model([ops.constant(np.array(True)), step, row], [state]))
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(state, x.output(0), step.output(0))
    last = loop.get_iter_value(step.output(0), -1)
    rows = loop.get_concatenated_slices(row.output(0), 0, 1, 1, -1, 0)
    if corrected:
        rows = exact.loop_rows(rows, n, ops.shape_of(x)).output(0)
    return core.compile_model(ov.Model([last, rows], [x, n]), "CPU", CONFIG)


def steps(request, n):
    request.set_input_tensor(0, tensor(np.zeros(3, np.float32)))
    request.set_input_tensor(1, tensor(np.int32(n)))
    request.infer()
    return [request.get_output_tensor(i).data.copy() for i in (0, 1)]


def test_a_loop_of_no_iterations_keeps_the_rows_of_the_run_before():
    program = counting_loop([3])
    request = program.create_infer_request()
    last, rows = steps(request, 0)
    assert last.tolist() == [0, 0, 0] and rows.shape == (0, 3)
    assert steps(request, 2)[1].tolist() == [[1, 1, 1], [2, 2, 2]]
    last, rows = steps(request, 0)
    assert last.tolist() == [0, 0, 0]
    assert rows.shape == (2, 3)  # right: (0, 3)


def test_a_dynamic_loop_of_no_iterations_loses_its_row_shape():
    assert steps(counting_loop([-1]).create_infer_request(), 0)[1].shape == (0, 0)


def test_a_loop_of_no_iterations_forgets_a_value_that_its_body_does_not_use():
    x, n = ops.parameter([3], Type.f32), ops.parameter([], Type.i32)
    state, outer = ops.parameter([3], Type.f32), ops.parameter([3], Type.f32)
    step = ops.add(outer, exact.f(1))
    loop = ops.loop(n, ops.constant(np.array(True)))
    loop.set_function(ov.Model([ops.constant(np.array(True)), step], [state, outer]))
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(state, x.output(0), step.output(0))
    loop.set_invariant_input(outer, x.output(0))
    last = loop.get_iter_value(step.output(0), -1)
    request = core.compile_model(ov.Model([last], [x, n]), "CPU", CONFIG).create_infer_request()
    request.set_input_tensor(0, tensor(np.zeros(3, np.float32)))
    for n in (1, 0):
        request.set_input_tensor(1, tensor(np.int32(n)))
        request.infer()
        assert request.get_output_tensor(0).data.tolist() == [1, 1, 1]  # right for 0: [0, 0, 0]


def test_a_loop_overwrites_a_value_that_another_one_passes_on():
    a, b = ops.parameter([1], Type.f32), ops.parameter([1], Type.f32)
    first, second = ops.parameter([1], Type.f32), ops.parameter([1], Type.f32)
    step = ops.add(first, second)
    passed = ops.reshape(first, ops.shape_of(first), False)
    loop = ops.loop(ops.constant(np.int32(2)), ops.constant(np.array(True)))
    loop.set_function(ov.Model([ops.constant(np.array(True)), step, passed], [first, second]))
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(first, a.output(0), step.output(0))
    loop.set_merged_input(second, b.output(0), passed.output(0))
    ends = [loop.get_iter_value(node.output(0), -1) for node in (step, passed)]
    program = core.compile_model(ov.Model(ends, [a, b]), "CPU", CONFIG)
    result = program([np.float32([3]), np.float32([6])])
    assert (result[0].item(), result[1].item()) == (18, 9)  # right: (9 + 3, 9)


def test_a_loop_reads_the_next_slice_over_a_value_computed_in_place():
    rows, x = ops.parameter([3, 2], Type.f32), ops.parameter([2], Type.f32)
    row, state = ops.parameter([1, 2], Type.f32), ops.parameter([2], Type.f32)
    step = ops.add(ops.squeeze(row, exact.axes(0)), state)
    loop = ops.loop(ops.constant(np.int32(3)), ops.constant(np.array(True)))
    loop.set_function(ov.Model([ops.constant(np.array(True)), step], [row, state]))
    loop.set_special_body_ports([-1, 0])
    loop.set_sliced_input(row, rows.output(0), 0, 1, 1, -1, 0)
    loop.set_merged_input(state, x.output(0), step.output(0))
    last = loop.get_iter_value(step.output(0), -1)
    program = core.compile_model(ov.Model([last], [rows, x]), "CPU", CONFIG)
    rows = np.float32([[1, 2], [10, 20], [100, 200]])
    assert program([rows, np.zeros(2, np.float32)])[0].tolist() == [200, 400]  # right: [111, 222]


def test_a_loop_computes_in_place_on_a_view_of_what_it_closes_over():
    w, x = ops.parameter([2], Type.f32), ops.parameter([1, 2], Type.f32)
    outer, state = ops.parameter([2], Type.f32), ops.parameter([1, 2], Type.f32)
    step = ops.add(ops.unsqueeze(outer, exact.axes(0)), state)
    loop = ops.loop(ops.constant(np.int32(3)), ops.constant(np.array(True)))
    loop.set_function(ov.Model([ops.constant(np.array(True)), step], [outer, state]))
    loop.set_special_body_ports([-1, 0])
    loop.set_invariant_input(outer, w.output(0))
    loop.set_merged_input(state, x.output(0), step.output(0))
    last = loop.get_iter_value(step.output(0), -1)
    program = core.compile_model(ov.Model([last], [w, x]), "CPU", CONFIG)
    result = program([np.float32([1, 2]), np.float32([[0, 0]])])[0]
    assert result.tolist() != [[3, 6]]  # right: three times w


def test_a_tensor_iterator_of_no_slices_raises():
    x, total = ops.parameter([-1, 2], Type.f32), ops.parameter([2], Type.f32)
    row, state = ops.parameter([1, 2], Type.f32), ops.parameter([2], Type.f32)
    step = ops.add(state, ops.squeeze(row, exact.axes(0)))
    iterator = ops.tensor_iterator()
    iterator.set_function(ov.Model([step], [row, state]))
    iterator.set_sliced_input(row, x.output(0), 0, 1, 1, -1, 0)
    iterator.set_merged_input(state, total.output(0), step.output(0))
    last = iterator.get_iter_value(step.output(0), -1)
    program = core.compile_model(ov.Model([last], [x, total]), "CPU", CONFIG)
    zero = np.zeros(2, np.float32)
    assert program([np.ones((3, 2), np.float32), zero])[0].tolist() == [3, 3]
    with pytest.raises(RuntimeError, match="iteration component"):
        program([np.ones((0, 2), np.float32), zero])


@pytest.mark.parametrize("dims", [[3], [-1]])
def test_corrected_rows_of_a_loop(dims):
    program = counting_loop(dims, corrected=True)
    request = program.create_infer_request()
    for n in (0, 2, 0, 1, 0):
        rows = steps(request, n)[1]
        assert rows.tolist() == [[i + 1.0] * 3 for i in range(n)]
        assert rows.shape == (n, 3)


def branch(then, other):
    choice, x = ops.parameter([], Type.boolean), ops.parameter([3], Type.f32)
    inputs = [ops.parameter([3], Type.f32) for _ in range(2)]
    results = [ops.result(body(value)) for body, value in zip((then, other), inputs, strict=True)]
    node = ops.if_op(choice.output(0))
    node.set_then_body(ov.Model([results[0]], [inputs[0]]))
    node.set_else_body(ov.Model([results[1]], [inputs[1]]))
    node.set_input(x.output(0), *inputs)
    model = ov.Model([node.set_output(*results)], [choice, x])
    return core.compile_model(model, "CPU", CONFIG)


def test_branches_may_differ_in_shape():
    program = branch(lambda x: ops.concat([x, x], 0), lambda x: x)
    x = np.ones(3, np.float32)
    assert program([np.array(True), x])[0].shape == (6,)
    assert program([np.array(False), x])[0].shape == (3,)


def test_branches_may_not_differ_in_rank_or_dtype():
    with pytest.raises(RuntimeError, match="dynamic rank"):
        branch(lambda x: ops.unsqueeze(x, exact.axes(0)), lambda x: x)
    with pytest.raises(RuntimeError, match="type of then_body"):
        branch(lambda x: ops.convert(x, Type.i32), lambda x: x)


def test_a_loop_whose_condition_is_known_to_be_false_loses_its_first_axis():
    x, state = ops.parameter([3], Type.f32), ops.parameter([3], Type.f32)
    step = ops.add(state, exact.f(1))
    loop = ops.loop(exact.axes(-1), ops.constant(np.array(False)))
    loop.set_function(ov.Model([ops.constant(np.array(True)), step], [state]))
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(state, x.output(0), step.output(0))
    last = loop.get_iter_value(step.output(0), -1)
    assert last.get_partial_shape() == ov.PartialShape([0])  # right: [3]
