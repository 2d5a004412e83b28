"""Errors of a run, and who owns the memory of inputs, constants and results."""

import numpy as np
import openvino as ov
import openvino.opset16 as ops
import pytest
from openvino import Type

from . import compositions as exact
from .harness import CONFIG, compiled, core, exit_code

# Swallowing damages the heap, so each case has a process of its own: 3 says that the error came.
FAILING_RUN = """
    x, i = ops.parameter([5], Type.f32), ops.parameter([1], Type.i32)
    config = {{"INFERENCE_PRECISION_HINT": "f32", **{config}}}
    program = core.compile_model(ov.Model([ops.gather_elements(x, i, 0)], [x, i]), "CPU", config)
    request = program.create_infer_request()
    request.set_input_tensor(0, tensor(np.zeros(5, np.float32)))
    request.set_input_tensor(1, tensor(np.int32([99])))
    import os
    try:
        {call}
    except RuntimeError:
        os._exit(3)
    os._exit(0)
"""


def test_infer_on_one_thread_swallows_errors():
    """And returns uninitialised memory."""
    one = {"INFERENCE_NUM_THREADS": 1}
    assert exit_code(FAILING_RUN.format(config=one, call="request.infer()")) != 3


@pytest.mark.parametrize(
    ("config", "call"),
    [
        ({"INFERENCE_NUM_THREADS": 1}, "request.start_async(); request.wait()"),
        ({"NUM_STREAMS": 0}, "request.infer()"),
        ({"NUM_STREAMS": 0, "INFERENCE_NUM_THREADS": 1}, "request.infer()"),
    ],
)
def test_calls_that_raise_errors(config, call):
    assert exit_code(FAILING_RUN.format(config=config, call=call)) == 3


def request_for(expression, x, mode="static"):
    program, _ = compiled(expression, [x], mode)
    request = program.create_infer_request()
    request.set_input_tensor(0, ov.Tensor(x, shared_memory=True))
    request.infer()
    return request


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_an_identity_result_is_the_input(mode):
    x = np.ones(4, np.float32)
    assert np.shares_memory(request_for(lambda a: a, x, mode).get_output_tensor(0).data, x)
    other = request_for(lambda a: ops.reshape(a, exact.axes(2, 2), False), x, mode)
    assert not np.shares_memory(other.get_output_tensor(0).data, x)


def test_a_result_is_overwritten_by_the_next_run():
    x = np.ones(4, np.float32)
    request = request_for(lambda a: ops.add(a, exact.f(1)), x)
    first = request.get_output_tensor(0).data
    x[:] = 5
    request.infer()
    assert first.tolist() == [6, 6, 6, 6]


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_a_result_can_go_into_our_memory(mode):
    x = np.ones(4, np.float32)
    program, _ = compiled(lambda a: ops.add(a, exact.f(1)), [x], mode)
    request = program.create_infer_request()
    request.set_input_tensor(0, ov.Tensor(x, shared_memory=True))
    out = np.ndarray(4, np.float32, bytearray(17), offset=1)  # not even aligned
    request.set_output_tensor(0, ov.Tensor(out, shared_memory=True))
    request.infer()
    assert out.tolist() == [2, 2, 2, 2]


def test_sharing_needs_contiguous_writeable_memory():
    x = np.ones((3, 4), np.float32)
    with pytest.raises(RuntimeError, match="contiguous"):
        ov.Tensor(x.T, shared_memory=True)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        ov.Tensor(x, shared_memory=True)
    with pytest.raises(ValueError, match="writeable"):
        ov.op.Constant(x, shared_memory=True)


def test_a_shared_constant_follows_its_array():
    weight, x = np.ones(4, np.float32), ops.parameter([4], ov.Type.f32)
    constant = ov.op.Constant(weight, shared_memory=True)
    program = core.compile_model(ov.Model([ops.add(x, constant)], [x]), "CPU", CONFIG)
    zero = np.zeros(4, np.float32)
    assert program([zero])[0].tolist() == [1, 1, 1, 1]
    weight[:] = 9
    assert program([zero])[0].tolist() == [9, 9, 9, 9]


def test_an_input_that_is_a_result_is_not_written_into_memory_that_was_given():
    x = ops.parameter([3], Type.f32)
    request = core.compile_model(ov.Model([x.output(0)], [x]), "CPU", CONFIG).create_infer_request()
    result = np.full(3, 9, np.float32)
    request.set_input_tensor(0, ov.Tensor(np.zeros(3, np.float32)))
    request.set_output_tensor(0, ov.Tensor(result, shared_memory=True))
    request.infer()
    assert result.tolist() == [9, 9, 9]  # right: zeros


def test_a_fused_group_may_have_more_values_than_registers():
    """Batch normalization with a step of its gradient; it compiles where less is fused."""
    x, scale, offset = ops.parameter([2, 4, 4, 3]), ops.parameter([3]), ops.parameter([3])
    rate, axes, channels = ops.parameter([]), exact.axes(0, 1, 2), exact.axes(3)
    small, each = (ops.constant(np.array(v, np.float32)) for v in (0.01, [1, 2, 3]))
    mean = ops.reduce_mean(x, axes, True)
    centred, flat = ops.subtract(x, mean), ops.reshape(mean, channels, False)
    variance = ops.reduce_mean(ops.multiply(centred, centred), axes, False)
    inverse = ops.divide(small, ops.sqrt(ops.add(variance, small)))
    gain = ops.multiply(inverse, scale)
    shift = ops.add(ops.negative(ops.multiply(flat, gain)), offset)
    total = ops.reshape(ops.reduce_sum(ops.multiply(small, x), axes, True), channels, False)
    slope = ops.multiply(ops.add(total, ops.multiply(each, flat)), inverse)
    decay = ops.multiply(small, ops.multiply(each, scale))
    step = ops.subtract(scale, ops.multiply(ops.add(slope, decay), rate))
    results = [ops.add(ops.multiply(x, gain), shift), step]
    model = ov.Model(results, [x, scale, offset, rate])
    with pytest.raises(RuntimeError, match="Can't allocate registers for a snippet"):
        core.compile_model(model, "CPU", CONFIG)
    core.compile_model(model, "CPU", {**CONFIG, "SNIPPETS_MODE": "DISABLE"})
