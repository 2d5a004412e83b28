"""Loops whose values the plugin puts in one memory (see tests/openvino_traps/test_control.py)."""

import numpy as np
import openvino
import openvino.opset16 as ov
import pytest
from openvino import Type

from kerasvino.nodes.loop_values import keep_as_written
from kerasvino.passes import pipeline
from kerasvino.passes.walk import scopes

TRUE = np.array(True)


def loop_of(build, trips, numbered=True, index=Type.i64):
    """A model with a Loop; `build(loop)` -> (parameters, results, inputs of the model, outputs)."""
    loop = ov.loop(ov.constant(np.int32(trips)), ov.constant(TRUE))
    number = [ov.parameter([], index)] if numbered else []
    parameters, results, feed = build()
    loop.set_function(openvino.Model([ov.constant(TRUE), *results], [*number, *parameters]))
    loop.set_special_body_ports([0 if numbered else -1, 0])
    inputs, outputs = feed(loop)
    return openvino.Model(outputs, inputs)


def selects(model):
    return sum(len(scope.kinds.get("Select", ())) for scope in scopes(model))


def run(model, *arrays):
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    program = openvino.compile_model(model, "CPU", config)
    return [value.tolist() for value in program(list(arrays)).values()]


def passed_on():
    """The second state is the first one of the iteration before."""
    first, second = (ov.parameter([1], Type.f32) for _ in range(2))
    step, passed = ov.add(first, second), ov.reshape(first, ov.shape_of(first), False)

    def feed(loop):
        a, b = (ov.parameter([1], Type.f32) for _ in range(2))
        loop.set_merged_input(first, a.output(0), step.output(0))
        loop.set_merged_input(second, b.output(0), passed.output(0))
        return [a, b], [loop.get_iter_value(node.output(0), -1) for node in (step, passed)]

    return [first, second], [step, passed], feed


@pytest.mark.parametrize("index", [Type.i32, Type.i64])
def test_a_value_that_another_one_passes_on(index):
    model = pipeline.run(loop_of(passed_on, 2, index=index))
    assert selects(model) == 2  # the sum might lie in the memory of either operand
    assert run(model, np.float32([3]), np.float32([6])) == [[12], [9]]


def test_a_slice_read_over_a_value_computed_in_place():
    def build():
        row, state = ov.parameter([1, 2], Type.f32), ov.parameter([2], Type.f32)
        step = ov.add(ov.squeeze(row, ov.constant(np.array([0]))), state)

        def feed(loop):
            rows, x = ov.parameter([3, 2], Type.f32), ov.parameter([2], Type.f32)
            loop.set_sliced_input(row, rows.output(0), 0, 1, 1, -1, 0)
            loop.set_merged_input(state, x.output(0), step.output(0))
            return [rows, x], [loop.get_iter_value(step.output(0), -1)]

        return [row, state], [step], feed

    model = pipeline.run(loop_of(build, 3))
    rows = np.float32([[1, 2], [10, 20], [100, 200]])
    assert run(model, rows, np.zeros(2, np.float32)) == [[111, 222]]


def closed_over():
    outer, state = ov.parameter([2], Type.f32), ov.parameter([1, 2], Type.f32)
    step = ov.add(ov.unsqueeze(outer, ov.constant(np.array([0]))), state)

    def feed(loop):
        w, x = ov.parameter([2], Type.f32), ov.parameter([1, 2], Type.f32)
        loop.set_invariant_input(outer, w.output(0))
        loop.set_merged_input(state, x.output(0), step.output(0))
        return [w, x], [loop.get_iter_value(step.output(0), -1)]

    return [outer, state], [step], feed


def test_a_view_of_what_a_body_closes_over():
    model = pipeline.run(loop_of(closed_over, 3))
    assert run(model, np.float32([1, 2]), np.float32([[0, 0]])) == [[[3, 6]]]


def test_a_value_of_its_own_is_not_copied():
    def build():
        state = ov.parameter([2], Type.f32)
        step = ov.exp(ov.add(state, ov.constant(np.float32(1))))

        def feed(loop):
            x = ov.parameter([2], Type.f32)
            loop.set_merged_input(state, x.output(0), step.output(0))
            return [x], [loop.get_iter_value(step.output(0), -1)]

        return [state], [step], feed

    assert selects(pipeline.run(loop_of(build, 2))) == 0


def test_a_loop_that_needs_a_copy_numbers_its_iterations():
    with pytest.raises(ValueError, match="numbers its iterations"):
        pipeline.run(loop_of(passed_on, 2, numbered=False))


def test_a_loop_may_say_that_its_values_are_apart():
    model = loop_of(passed_on, 2)
    (loop,) = (node for node in model.get_ordered_ops() if node.get_type_name() == "Loop")
    keep_as_written(loop)
    assert selects(pipeline.run(model.clone())) == 0
