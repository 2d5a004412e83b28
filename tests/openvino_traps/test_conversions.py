"""What Convert, half precision, float64 and Constants do."""

import ml_dtypes
import numpy as np
import openvino.opset16 as ops
import pytest
from openvino import Type

from . import compositions as exact
from .harness import BF16, MODES, assert_same, assert_wrong, run, uses_avx512

RUNTIME = ("static", "dynamic")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("mode", RUNTIME)
def test_boolean(mode):
    # openvino#35932
    minimum = np.int32([-(2**31), 0, 5])
    assert run(lambda a: ops.convert(a, Type.boolean), minimum, mode=mode).tolist() == [0, 0, 1]
    missing = np.float32([np.nan, 0, 5, 1e-45])
    assert run(lambda a: ops.convert(a, Type.boolean), missing, mode=mode).tolist() == [0, 0, 1, 1]

    def nonzero(a):
        return ops.not_equal(a, ops.convert_like(exact.c(0), a))

    assert_same(run(nonzero, minimum, mode=mode), minimum != 0)
    assert_same(run(nonzero, missing, mode=mode), missing != 0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_float_to_8_bits(dtype):
    """Wraps in a static program, saturates in a dynamic one; through int32 it wraps."""
    x = np.float32([300, -300, 70000, -1.9, 127.9])
    label = Type.i8 if dtype is np.int8 else Type.u8
    want = x.astype(np.int32).astype(dtype)
    assert_same(run(lambda a: ops.convert(a, label), x), want)
    assert_wrong(run(lambda a: ops.convert(a, label), x, mode="dynamic"), want)
    for mode in RUNTIME:
        twice = run(lambda a: ops.convert(ops.convert(a, Type.i32), label), x, mode=mode)
        assert_same(twice, want)


@pytest.mark.parametrize("mode", RUNTIME)
def test_float16_is_float32_inside(mode):
    x = np.float16([300, 400])
    assert_same(run(ops.multiply, x, x, mode=mode), np.float16([np.inf, np.inf]))
    back = run(lambda a: ops.divide(ops.multiply(a, a), a), x, mode=mode)
    assert np.isfinite(back).all()
    tenth = np.float32([0.1])
    through = run(lambda a: ops.convert(ops.convert(a, Type.f16), Type.f32), tenth, mode=mode)
    assert through == tenth  # the conversion is dropped


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16_rounds_up_only_odd_values(mode):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20000, dtype=np.uint32)
    bits[:500] = bits[:500] & 0xFFFF0000 | 0x8000  # ties
    x = bits.view(np.float32)
    x[:8] = [1.0058594, 3.4e38, -3.4e38, 3.39e38, np.inf, -np.inf, np.nan, 0]
    x[(np.abs(x) < 2e-38)] = 1
    x = x.reshape(100, -1)
    plain = run(lambda a: ops.convert(a, Type.bf16), x, mode=mode)
    check = assert_same if mode == "static" and uses_avx512() else assert_wrong
    check(plain, x.astype(BF16))
    rounded = run(lambda a: ops.convert(exact.round_to_bfloat16(a), Type.bf16), x, mode=mode)
    assert_same(rounded, x.astype(BF16))


@pytest.mark.parametrize("mode", RUNTIME)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_is_rounded_through_float16(name, mode):
    label = {"float8_e4m3fn": Type.f8e4m3, "float8_e5m2": Type.f8e5m2}[name]
    values = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(np.float32)
    values = np.unique(values[np.isfinite(values)])
    ties = (values[1:] + values[:-1]) / 2
    x = np.concatenate([ties, ties * np.float32(1 + 1e-4), ties * np.float32(1 - 1e-4), values])
    want = x.astype(getattr(ml_dtypes, name)).astype(np.float32)

    got = run(lambda a: ops.convert(ops.convert(a, label), Type.f32), x, mode=mode)
    assert_wrong(got, want)


@pytest.mark.parametrize("mode", MODES)
def test_float64_is_float32_inside(mode):
    # openvino#37968
    x = np.float64([np.inf, -np.inf, 0.1, 1e300])
    got = run(lambda a: ops.reshape(a, exact.axes(-1), False), x, mode=mode)
    top = float(np.finfo(np.float32).max)
    assert got.tolist() == [top, -top, float(np.float32(0.1)), top]


def test_subnormal_constants_are_flushed():
    x = np.float32([1e-40, 1])
    assert run(lambda a: ops.multiply(a, exact.f(1)), x, mode="constant").tolist() == [0, 1]
    assert_same(run(lambda a: ops.multiply(a, exact.f(1)), x), x)


@pytest.mark.parametrize("mode", RUNTIME)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_negative_of_unsigned_does_not_build(dtype, mode):
    with pytest.raises(RuntimeError, match="out of range"):
        run(ops.negative, np.ones(3, dtype), mode=mode)


@pytest.mark.parametrize("name", ["add", "multiply", "maximum"])
def test_boolean_has_no_arithmetic(name):
    x = np.array([True, False])
    with pytest.raises(RuntimeError, match="boolean"):
        run(getattr(ops, name), x, x)
