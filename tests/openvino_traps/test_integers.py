"""Integer kernels that go through float32 or saturate, and what is exact instead."""

import numpy as np
import openvino.opset16 as ops
import pytest
from openvino import Type

from . import compositions as exact
from .harness import MODES, assert_same, assert_wrong, int32_edges, int32_pairs, run

A, B = int32_pairs()
NONZERO = (B != 0) & ~((A == -(2**31)) & (B == -1))
RUNTIME = ("static", "dynamic")
UNSIGNED = np.concatenate([A.view(np.uint32), np.arange(100, dtype=np.uint32)])
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def full(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(-(2**31), 2**31, shape, dtype=np.int32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum"])
def test_exact_arithmetic(name, mode):
    assert_same(run(getattr(ops, name), A, B, mode=mode), getattr(np, name)(A, B))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_exact_bitwise(name, mode):
    assert_same(run(getattr(ops, name), A, B, mode=mode), getattr(np, name)(A, B))


@pytest.mark.parametrize("mode", RUNTIME)
@pytest.mark.parametrize("name", ["equal", "not_equal", "less", "less_equal", "greater"])
def test_comparisons_go_through_float32(name, mode):
    # openvino#24734, #35825, #35826
    assert_wrong(run(getattr(ops, name), A, B, mode=mode), getattr(np, name)(A, B))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["equal", "less"])
def test_corrected_comparisons(name, mode):
    assert_same(run(getattr(exact, name), A, B, mode=mode), getattr(np, name)(A, B))


@pytest.mark.parametrize("mode", RUNTIME)
@pytest.mark.parametrize(("name", "right"), [("floor_mod", np.mod), ("mod", np.fmod)])
def test_remainders_go_through_float32(name, right, mode):
    a, b = A[NONZERO], B[NONZERO]
    assert_wrong(run(getattr(ops, name), a, b, mode=mode), right(a, b))
    assert run(ops.floor_mod, np.int32([123456789]), np.int32([7]), mode=mode) == [8]


def test_divide_truncates_when_run_and_floors_when_folded():
    a, b = np.int32([-7, 7, -7]), np.int32([2, -2, -2])
    assert run(ops.divide, a, b).tolist() == [-3, -3, 3]
    assert run(ops.divide, a, b, mode="constant").tolist() == [-4, -4, 3]


@pytest.mark.parametrize("mode", MODES)
def test_corrected_division(mode):
    quotient, remainder = run(exact.divmod_floor, A, B, mode=mode)
    assert_same(quotient, np.floor_divide(A, B))
    assert_same(remainder, np.mod(A, B))


@pytest.mark.parametrize("k", [4096, 933199, -5000, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("mode", RUNTIME)
def test_corrected_division_by_a_constant(k, mode):
    near = (np.arange(-5000, 5000) * np.int64(k) + np.arange(10000) % 3 - 1).astype(np.int32)
    a = np.concatenate([A, near])
    quotient, remainder = run(lambda x: exact.divmod_constant(x, k), a, mode=mode)
    assert_same(quotient, a // np.int32(k))
    assert_same(remainder, a % np.int32(k))


@pytest.mark.parametrize("mode", RUNTIME)
def test_power(mode):
    exponent = np.abs(B) % 40
    want = np.power(A, exponent)
    assert_wrong(run(ops.power, A, exponent, mode=mode), want)
    assert_same(run(lambda a, b: exact.power(a, b, 6), A, exponent, mode=mode), want)


def test_power_of_any_exponent():
    exponent = np.maximum(B, 0)
    assert_same(run(exact.power, A, exponent), np.power(A, exponent))


@pytest.mark.parametrize("mode", RUNTIME)
def test_relu(mode):
    assert_wrong(run(ops.relu, A, mode=mode), np.maximum(A, 0))
    assert_same(run(lambda a: ops.maximum(a, exact.c(0)), A, mode=mode), np.maximum(A, 0))


@pytest.mark.parametrize("mode", RUNTIME)
def test_sums_go_through_float32_and_saturate(mode):
    x = full(3, 1000)
    want = x.sum(1, dtype=np.int32)
    assert_wrong(run(lambda a: ops.reduce_sum(a, exact.axes(1)), x, mode=mode), want)
    assert_same(run(lambda a: exact.reduce_sum(a, 1), x, mode=mode), want)


@pytest.mark.parametrize("mode", RUNTIME)
def test_reduce_max_goes_through_float32(mode):
    x = full(3, 1000)
    assert_wrong(run(lambda a: ops.reduce_max(a, exact.axes(1)), x, mode=mode), x.max(1))
    assert_same(run(lambda a: exact.reduce_max(a, 1), x, mode=mode), x.max(1))


@pytest.mark.parametrize("mode", MODES)
def test_exact_prod_cumsum_and_sort(mode):
    x = full(3, 1000) | 1
    product = run(lambda a: ops.reduce_prod(a, exact.axes(1)), x, mode=mode)
    assert_same(product, np.prod(x, 1, dtype=np.int32))
    total = run(lambda a: ops.cum_sum(a, exact.axis(1)), x, mode=mode)
    assert_same(total, np.cumsum(x, 1, dtype=np.int32))

    def sort(a):
        return list(ops.topk(a, exact.axis(1000), 1, "min", "value", "i32", stable=True).outputs())

    values, indices = run(sort, x, mode=mode)
    assert_same(values, np.sort(x, 1))
    assert_same(indices, np.argsort(x, 1, kind="stable").astype(np.int32))


@pytest.mark.parametrize("mode", RUNTIME)
@pytest.mark.parametrize("inner", [1, 7, 1024])
def test_matmul(inner, mode):
    # openvino#37956
    a, b = full(5, inner), full(inner, 6, seed=1)
    plain = run(lambda x, y: ops.matmul(x, y, False, False), a, b, mode=mode)
    assert_wrong(plain, a @ b)
    assert_same(run(exact.matmul, a, b, mode=mode), a @ b)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [8, 13, 16, 30])
def test_logical_shift(k, mode):
    want = (A.view(np.uint32) >> np.uint32(k)).view(np.int32)
    assert_same(run(lambda a: exact.shift_right_logical(a, k), A, mode=mode), want)


@pytest.mark.parametrize("mode", RUNTIME)
def test_unsigned_is_treated_as_signed(mode):
    a, b = UNSIGNED, UNSIGNED[::-1].copy()
    assert_wrong(run(ops.maximum, a, b, mode=mode), np.maximum(a, b))
    assert_wrong(run(ops.less, a, b, mode=mode), a < b)
    shifted = run(ops.bitwise_right_shift, a, np.full_like(a, 4), mode=mode)
    assert_wrong(shifted, a >> np.uint32(4))

    def bits(x):
        return exact.flip(ops.convert(x, Type.i32))

    def largest(x, y):
        return ops.convert(exact.flip(ops.maximum(bits(x), bits(y))), Type.u32)

    assert_same(run(largest, a, b, mode=mode), np.maximum(a, b))
    assert_same(run(lambda x, y: exact.less(bits(x), bits(y)), a, b, mode=mode), a < b)


@pytest.mark.parametrize("mode", RUNTIME)
def test_unsigned_bits_to_float(mode):
    def plain(x):
        return ops.convert(ops.convert(x, Type.u32), Type.f32)

    want = A.view(np.uint32).astype(np.float32)
    assert_wrong(run(plain, A, mode=mode), want)
    assert_same(run(exact.unsigned_to_float, A, mode=mode), want)


@pytest.mark.parametrize("mode", MODES)
def test_keras_seed_advance(mode):
    """(state + 1) * 5387 % 933199 of uint32, on the bits."""

    def advance(state):
        p = ops.multiply(ops.add(ops.convert(state, Type.i32), exact.c(1)), exact.c(5387))
        negative = ops.minimum(exact.sign(p), exact.c(0))
        r = exact.divmod_constant(p, 933199)[1]
        r = ops.subtract(r, ops.multiply(negative, exact.c(2**32 % 933199)))
        return ops.convert(exact.divmod_constant(r, 933199)[1], Type.u32)

    state = UNSIGNED
    want = (state + np.uint32(1)) * np.uint32(5387) % np.uint32(933199)
    assert_same(run(advance, state, mode=mode), want)


@pytest.mark.parametrize("mode", RUNTIME)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_8_bit_arithmetic_saturates(dtype, mode):
    every = np.arange(256).astype(dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(every, every))
    for name in ("add", "subtract", "multiply"):
        want = getattr(np, name)(a, b)
        assert_wrong(run(getattr(ops, name), a, b, mode=mode), want)

        def widened(x, y, name=name):
            wide = getattr(ops, name)(ops.convert(x, Type.i32), ops.convert(y, Type.i32))
            return ops.convert(wide, Type.i8 if dtype is np.int8 else Type.u8)

        assert_same(run(widened, a, b, mode=mode), want)


@pytest.mark.parametrize("mode", RUNTIME)
def test_16_bits_wrap_only_at_a_result(mode):
    a, b = np.int16([30000, -30000, 5]), np.int16([10000, -10000, 5])
    inside = run(lambda x, y: ops.convert(ops.add(x, y), Type.f32), a, b, mode=mode)
    assert inside.tolist() == [40000, -40000, 10]
    assert_same(run(ops.add, a, b, mode=mode), a + b)

    def wrapped(x, y):
        wide = ops.add(ops.convert(x, Type.i32), ops.convert(y, Type.i32))
        return ops.convert(exact.wrap16(wide), Type.f32)

    assert_same(run(wrapped, a, b, mode=mode), (a + b).astype(np.float32))


@pytest.mark.parametrize("mode", MODES)
def test_wrapping_helpers(mode):
    a = int32_edges()
    assert_same(run(exact.wrap16, a, mode=mode), a.astype(np.int16).astype(np.int32))
    assert_same(run(exact.wrap8, a, mode=mode), a.astype(np.int8).astype(np.int32))


@pytest.mark.parametrize("mode", RUNTIME)
def test_int64_is_int32(mode):
    big = np.array([2**40, 2**31, -(2**31) - 1], np.int64)
    got = run(lambda a: ops.add(a, ops.constant(np.int64(0))), big, mode=mode)
    assert got.tolist() == [2**40, 2**31, -(2**31) - 1] or got.tolist() == [0, -(2**31), 2**31 - 1]
    twice = run(ops.add, big, big, mode=mode)
    assert_wrong(twice, big + big)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int64])
def test_wide_constants_are_clipped(dtype):
    value = np.array([2**32 - 1], dtype)
    assert run(lambda a: a, value, mode="constant") == [2**31 - 1]


def test_uint32_constants_survive_as_int32_bits():
    x = np.array([7], np.uint32)
    key = np.array(0xDEADBEEF, np.uint32)

    def plain(a):
        return ops.bitwise_xor(a, ops.constant(key))

    def as_bits(a):
        bits = ops.bitwise_xor(ops.convert(a, Type.i32), ops.constant(key.view(np.int32)))
        return ops.convert(bits, Type.u32)

    assert_wrong(run(plain, x), x ^ key)
    assert_same(run(as_bits, x), x ^ key)
