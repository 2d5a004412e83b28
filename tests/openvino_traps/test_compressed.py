"""Weights of 4 and 8 bits."""

import numpy as np
import openvino as ov
import openvino.opset16 as ops
import pytest
from openvino import Type

from kerasvino.runtime.narrow import has_int8_kernels

from .harness import CONFIG, core


def four_bits(values):
    """An u4 Constant."""
    flat = np.append(values.reshape(-1), np.zeros(values.size % 2, np.uint8)).astype(np.uint8)
    tensor = ov.Tensor(Type.u4, ov.Shape(values.shape))
    tensor.data.reshape(-1)[:] = flat[0::2] | flat[1::2] << 4
    return ov.op.Constant(tensor)


def error(terms, outputs):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 16, (outputs, terms))
    scale = rng.uniform(0.5, 1, (outputs, 1)).astype("float32")
    x = rng.normal(size=(8, terms)).astype("float32")
    given = ops.parameter([-1, terms], Type.f32)
    zero = ops.convert(ops.constant(np.full((outputs, 1), 8, np.uint8)), "f32")
    weights = ops.multiply(ops.subtract(ops.convert(four_bits(values), "f32"), zero), scale)
    model = ov.Model([ops.matmul(given, weights, False, True)], [given])
    exact = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    found = core.compile_model(model, "CPU", CONFIG | exact)(x)[0]
    wanted = x @ ((values - 8) * scale).T
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def test_weights_of_four_bits_with_an_odd_number_of_terms_are_wrong():
    assert max(error(33, 10), error(35, 16)) > 0.1


@pytest.mark.parametrize(("terms", "outputs"), [(32, 10), (34, 10), (32, 11)])
def test_those_with_an_even_number_are_not(terms, outputs):
    assert error(terms, outputs) < 1e-5


@pytest.mark.skipif(has_int8_kernels("CPU"), reason="this processor multiplies bytes")
def test_int8_kernels_overflow_on_processors_without_products_of_bytes():
    from kerasvino.passes import int8_probe

    program = core.compile_model(int8_probe.model(), "CPU", CONFIG)
    found = program(int8_probe.INPUT)[0]
    kernels = {
        node.get_rt_info()["primitiveType"].astype(str)
        for node in program.get_runtime_model().get_ordered_ops()
    }
    assert any(kernel.endswith("gemm_i8") for kernel in kernels), kernels
    assert np.abs(found - int8_probe.EXPECTED).max() > 0.5 * np.abs(int8_probe.EXPECTED).max()
