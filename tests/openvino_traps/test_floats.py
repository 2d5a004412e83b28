"""NaN, infinities, rounding and accuracy of the float kernels."""

import numpy as np
import openvino.opset16 as ops
import pytest
from scipy import special

from . import compositions as exact
from .harness import MODES, assert_same, assert_wrong, run, same, uses_avx512

RUNTIME = ("static", "dynamic")
SPECIAL = np.float32([0, -0.0, 1, -1, 2.5, 7, 1e30, 16777217, np.inf, -np.inf, np.nan])
A, B = (grid.ravel().copy() for grid in np.meshgrid(SPECIAL, SPECIAL))
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def ulps(got, want):
    """The largest distance in units of float32's last place; infinities and NaN must agree."""
    near = want.astype(np.float32)
    assert same(got[~np.isfinite(near)], near[~np.isfinite(near)])
    got, want = got[np.isfinite(near)].astype(np.float64), want[np.isfinite(near)]
    unit = np.spacing(np.maximum(np.abs(want), 1.2e-38).astype(np.float32))
    return float(np.max(np.abs(got - want) / unit))


def spread(low, high):
    rng = np.random.default_rng(0)
    small = [rng.standard_normal(500) * scale for scale in (1e-7, 1e-3, 0.1, 1)]
    return np.concatenate([np.linspace(low, high, 2001), *small]).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["equal", "not_equal", "less", "less_equal"])
def test_right_comparisons(name, mode):
    assert_same(run(getattr(ops, name), A, B, mode=mode), getattr(np, name)(A, B))


@pytest.mark.parametrize("mode", RUNTIME)
@pytest.mark.parametrize("name", ["greater", "greater_equal"])
def test_greater_than_nan(name, mode):
    # openvino#31196, #35927; the AVX2 kernels are right. less(b, a) is right everywhere.
    check = assert_wrong if uses_avx512() else assert_same
    check(run(getattr(ops, name), A, B, mode=mode), getattr(np, name)(A, B))


@pytest.mark.parametrize("mode", MODES)
def test_maximum_drops_nan(mode):
    # openvino#35839
    assert_wrong(run(ops.maximum, A, B, mode=mode), np.maximum(A, B))
    assert_same(run(exact.maximum, A, B, mode=mode), np.maximum(A, B))


@pytest.mark.parametrize("mode", RUNTIME)
def test_clamp_and_relu_drop_nan(mode):
    # openvino#35649
    assert_wrong(run(lambda a: ops.clamp(a, -1.0, 3.0), A, mode=mode), np.clip(A, -1, 3))
    assert_wrong(run(ops.relu, A, mode=mode), np.maximum(A, 0))
    assert_same(run(lambda a: exact.clip(a, -1, 3), A, mode=mode), np.clip(A, -1, 3))


@pytest.mark.parametrize("mode", RUNTIME)
def test_divide_multiplies_by_the_reciprocal(mode):
    """At most one unit in the last place off, so a floor after it is wrong."""
    n = np.arange(1, 5001, dtype=np.float32)
    quotient = run(ops.divide, n, n, mode=mode)
    assert_wrong(quotient, np.ones_like(n))
    assert np.abs(quotient - 1).max() <= 2.0**-23
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5000)).astype(np.float32)
    got = run(ops.divide, a, b, mode=mode)
    assert_wrong(got, a / b)
    assert ulps(got, a.astype(np.float64) / b) <= 1.5


@pytest.mark.parametrize("mode", MODES)
def test_remainders_of_infinity(mode):
    a, b = np.float32([1, -1]), np.float32([np.inf, np.inf])
    assert_wrong(run(ops.floor_mod, a, b, mode=mode), np.mod(a, b))


@pytest.mark.parametrize("mode", RUNTIME)
def test_corrected_float_division(mode):
    n = np.arange(1, 5001, dtype=np.float32)
    assert_wrong(run(lambda a, b: ops.floor(ops.divide(a, b)), n, n, mode=mode), np.ones_like(n))
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.uniform(-3, 4, 20000)
    a = np.concatenate([A, n, rng.standard_normal(20000) * scale]).astype(np.float32)
    b = np.concatenate([B, n, rng.standard_normal(20000) * 10.0 ** rng.uniform(-1, 3, 20000)])
    b = b.astype(np.float32)
    near = ~(np.isfinite(a) & np.isfinite(b) & (np.abs(a) > 2.0**23 * np.abs(b)) & (b != 0))
    a, b = a[near], b[near]
    quotient, remainder = run(exact.float_divmod_floor, a, b, mode=mode)
    assert_same(quotient, np.floor_divide(a, b))
    assert_same(remainder, np.mod(a, b))


@pytest.mark.parametrize("mode", RUNTIME)
def test_exp(mode):
    x = np.float32([np.nan, 88.5, 88.7, 89, np.inf, -np.inf, 0, -87])
    assert np.isinf(run(ops.exp, x, mode=mode)[:2]).all()
    x = np.concatenate([x, spread(-87, 88.7)])
    assert ulps(run(exact.exp, x, mode=mode), np.exp(x.astype(np.float64))) < 8


@pytest.mark.parametrize("mode", RUNTIME)
def test_is_finite_of_subnormals(mode):
    x = np.float32([0, 1e-38, -1e-45, 1, 3.4e38, np.inf, -np.inf, np.nan])
    check = assert_wrong if uses_avx512() else assert_same
    check(run(ops.is_finite, x, mode=mode), np.isfinite(x))
    assert_same(run(exact.is_finite, x, mode=mode), np.isfinite(x))


@pytest.mark.parametrize("mode", RUNTIME)
def test_softplus(mode):
    x = np.float32([-18.0])
    assert run(ops.softplus, x, mode=mode) < 0  # softplus(-18) is 1.5e-8
    fused = run(lambda a: ops.log(ops.add(ops.exp(a), exact.f(1))), x, mode=mode)
    assert fused < 0  # the composition is turned into SoftPlus
    x = np.concatenate([np.float32([np.inf, -np.inf, np.nan]), spread(-86, 100)])
    got = run(exact.softplus, x, mode=mode)
    assert ulps(got, np.logaddexp(0, x.astype(np.float64))) < 10


@pytest.mark.parametrize("mode", RUNTIME)
def test_log1p(mode):
    x = np.concatenate([np.float32([-1, np.inf, np.nan, -2, 1e38]), spread(-0.999, 100)])
    assert ulps(run(exact.log1p, x, mode=mode), np.log1p(x.astype(np.float64))) < 3


@pytest.mark.parametrize("mode", RUNTIME)
def test_erf_of_tiny_values(mode):
    x = np.float32([1e-9, -3e-8])
    assert_wrong(run(ops.erf, x, mode=mode), special.erf(x))
    x = spread(-10, 10)
    error = np.abs(run(ops.erf, x, mode=mode) - special.erf(x.astype(np.float64)))
    assert error.max() < 1e-6


@pytest.mark.parametrize("mode", RUNTIME)
def test_gelu_of_infinity(mode):
    got = run(lambda a: ops.gelu(a, "erf"), np.float32([np.inf]), mode=mode)
    assert np.isnan(got[0]) == uses_avx512()


def test_absolute_of_what_derives_from_constants():
    # openvino#38166: at rank 1 the node is removed
    x = np.float32([7, -7])
    plain = run(lambda a: ops.abs(ops.negative(a)), x, mode="constant")
    assert plain.tolist() == [-7, 7]
    right = run(lambda a: exact.absolute(ops.negative(a)), x, mode="constant")
    assert right.tolist() == [7, 7]
    shape = run(lambda a: ops.abs(ops.negative(ops.shape_of(a))), np.ones((2, 5)), mode="dynamic")
    assert shape.tolist() == [-2, -5]


@pytest.mark.parametrize("mode", RUNTIME)
def test_reduce_max(mode):
    # openvino#35928, #35935
    low = np.full((2, 3), -np.inf, np.float32)
    plain = run(lambda a: ops.reduce_max(a, exact.axes(1)), low, mode=mode)
    assert plain.tolist() == [np.finfo(np.float32).min] * 2
    x = np.float32([[1, np.nan, 3, 2], [np.nan] * 4, [-np.inf, 1, 2, 0], [-np.inf] * 4])
    assert_wrong(run(lambda a: ops.reduce_max(a, exact.axes(1)), x, mode=mode), x.max(1))
    assert_same(run(lambda a: exact.float_reduce_max(a, 1), x, mode=mode), x.max(1))


@pytest.mark.parametrize("mode", RUNTIME)
def test_max_pool_drops_nan_and_infinity(mode):
    x = np.full((1, 1, 4), -np.inf, np.float32)
    x[..., :2] = np.nan

    def pool(a):
        return ops.max_pool(a, [2], [1], [0], [0], [2], index_element_type="i32").output(0)

    assert (run(pool, x, mode=mode) == np.finfo(np.float32).min).all()


@pytest.mark.parametrize("mode", RUNTIME)
def test_softmax_keeps_nan_to_itself(mode):
    # openvino#35897
    row = np.float32([[1, np.nan, 3]])
    got = run(lambda a: ops.softmax(a, 1), row, mode=mode)
    assert np.isnan(got).tolist() == [[False, True, False]]
    got = run(lambda a: ops.log_softmax(a, 1), row, mode=mode)
    assert np.isnan(got).tolist() == [[False, True, False]]


@pytest.mark.parametrize("mode", RUNTIME)
def test_hard_sigmoid_drops_nan(mode):
    x = np.float32([[np.nan, 1]])
    assert run(ops.hsigmoid, x, mode=mode)[0, 0] == 0
    assert np.isnan(run(ops.hswish, x, mode=mode)[0, 0])


@pytest.mark.parametrize("mode", RUNTIME)
def test_flat_reductions_lose_digits(mode):
    """One accumulator for the whole vector."""
    for length in (10**6, 999983, 1000):
        x = (np.random.default_rng(0).random(length) + 1000).astype(np.float32)
        right = x.sum(dtype=np.float64)
        plain = run(lambda a: ops.reduce_sum(a, exact.axes(0)), x, mode=mode)
        assert length == 1000 or abs(plain - right) / right > 1e-4
        assert abs(run(exact.reduce_sum_flat, x, mode=mode) - right) / right < 1e-6


@pytest.mark.parametrize("mode", RUNTIME)
def test_search_sorted_of_nan(mode):
    x, v = np.float32([1, 3, 5]), np.float32([np.nan, 4])
    assert run(lambda a, b: ops.search_sorted(a, b, False), x, v, mode=mode).tolist() == [0, 2]


def test_a_square_constant_and_its_transpose_share_one_repacked_copy():
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(2, 8, 8)).astype(np.float32)

    def product(x, own=lambda w: w):
        weights = ops.constant(w)
        return ops.matmul(ops.matmul(x, weights, False, False), own(weights), False, True)

    wanted = (x @ w) @ w.T
    assert np.abs(run(product, x) - wanted).max() > 0.1  # right: 0
    apart = run(lambda x: product(x, lambda w: ops.negative(ops.negative(w))), x)
    np.testing.assert_allclose(apart, wanted, rtol=1e-4, atol=1e-5)


def test_a_kernel_and_its_adjoint_share_one_repacked_copy():
    rng = np.random.default_rng(0)
    w, x = (rng.normal(size=size).astype(np.float32) for size in ((4, 4, 1, 1), (1, 4, 2, 2)))
    plain = [1, 1], [0, 0], [0, 0], [1, 1]

    def there_and_back(x, own=lambda w: w):
        kernel = ops.constant(w)
        return ops.convolution_backprop_data(
            ops.convolution(x, kernel, *plain), own(kernel), [1, 1]
        )

    matrix = w[:, :, 0, 0]
    wanted = np.einsum("oi,oj,bjhw->bihw", matrix, matrix, x)
    assert np.abs(run(there_and_back, x) - wanted).max() > 0.1  # right: 0
    apart = run(lambda x: there_and_back(x, lambda w: ops.negative(ops.negative(w))), x)
    np.testing.assert_allclose(apart, wanted, rtol=1e-4, atol=1e-5)
