"""Reductions, order, statistics and sets against NumPy: on the host, recorded, and in graphs."""

import numpy as np
import pytest
from keras import ops

from tests.backend import forms

FULL = np.array([[2**31 - 1, -(2**31), 123456789], [-5, 2**24 + 1, 2**24]], np.int32)
FLOATS = np.array(
    [[3.0, -1.0, 2.5, 0.0], [-2.0, 7.0, 7.0, -0.5], [1e-3, 1e3, 4.0, 4.0]], np.float32
)
GAPS = np.where(np.arange(12).reshape(3, 4) % 5 == 1, np.nan, FLOATS).astype(np.float32)
SMALL = np.array([[3, 1, 2, 1], [0, 7, 7, 5]], np.int32)


def wrapped(function):
    """`function` of int32 in 64 bits, then wrapped to 32."""
    return lambda x, **k: function(x.astype(np.int64), **k).astype(np.int32)


# name: (function of keras.ops, of NumPy, arrays)
CASES = {
    "sum": (ops.sum, wrapped(np.sum), [FULL]),
    "sum-axis": (lambda x: ops.sum(x, 1), lambda x: wrapped(np.sum)(x, axis=1), [FULL]),
    "sum-bool": (ops.sum, np.sum, [FULL > 0]),
    "prod": (lambda x: ops.prod(x, 0), lambda x: wrapped(np.prod)(x, axis=0), [FULL]),
    "max": (ops.max, np.max, [FULL]),
    "min-axes": (lambda x: ops.min(x, (1, 0), True), lambda x: [[x.min()]], [FULL]),
    "argmax": (lambda x: ops.argmax(x, 1), lambda x: x.argmax(1), [FULL]),
    "argmin": (ops.argmin, np.argmin, [FULL]),
    "argmax-keep": (lambda x: ops.argmax(x, None, True), lambda x: x.argmax(keepdims=True), [FULL]),
    "ptp": (lambda x: ops.ptp(x, 1), lambda x: np.ptp(x, 1), [FLOATS]),
    "mean": (lambda x: ops.mean(x, 0), lambda x: x.mean(0), [FLOATS]),
    "mean-int": (ops.mean, np.mean, [SMALL]),
    "var": (lambda x: ops.var(x, 1, True), lambda x: x.var(1, keepdims=True), [FLOATS]),
    "std": (ops.std, np.std, [FLOATS]),
    "all": (lambda x: ops.all(x, 1), lambda x: x.all(1), [FLOATS]),
    "any": (ops.any, np.any, [FLOATS]),
    "count_nonzero": (lambda x: ops.count_nonzero(x, 0), lambda x: (x != 0).sum(0), [FLOATS]),
    "initial": (lambda x: ops.max(x, 1, initial=5), lambda x: x.max(1, initial=5), [SMALL]),
    "nansum": (lambda x: ops.nansum(x, 0), lambda x: np.nansum(x, 0), [GAPS]),
    "nanprod": (ops.nanprod, np.nanprod, [GAPS]),
    "nanmax": (lambda x: ops.nanmax(x, 1), lambda x: np.nanmax(x, 1), [GAPS]),
    "nanmin": (ops.nanmin, np.nanmin, [GAPS]),
    "nanmean": (lambda x: ops.nanmean(x, 0), lambda x: np.nanmean(x, 0), [GAPS]),
    "nanvar": (ops.nanvar, np.nanvar, [GAPS]),
    "nanstd": (lambda x: ops.nanstd(x, 1), lambda x: np.nanstd(x, 1), [GAPS]),
    "nanargmax": (lambda x: ops.nanargmax(x, 1), lambda x: np.nanargmax(x, 1), [GAPS]),
    "nanargmin": (ops.nanargmin, np.nanargmin, [GAPS]),
    "nancumsum": (lambda x: ops.nancumsum(x, 1), lambda x: np.nancumsum(x, 1), [GAPS]),
    "nancumprod": (ops.nancumprod, np.nancumprod, [GAPS]),
    "nanmedian": (lambda x: ops.nanmedian(x, 0), lambda x: np.nanmedian(x, 0), [GAPS]),
    "nanquantile": (
        lambda x: ops.nanquantile(x, [0.2, 0.7], 1), lambda x: np.nanquantile(x, [0.2, 0.7], 1),
        [GAPS],
    ),
    "cumsum": (lambda x: ops.cumsum(x, 1), lambda x: wrapped(np.cumsum)(x, axis=1), [FULL]),
    "cumprod": (lambda x: ops.cumprod(x, 0), lambda x: wrapped(np.cumprod)(x, axis=0), [FULL]),
    "sort": (lambda x: ops.sort(x, 0), lambda x: np.sort(x, 0), [FULL]),
    "sort-nan": (ops.sort, np.sort, [GAPS]),
    "argsort": (ops.argsort, lambda x: np.argsort(x, kind="stable"), [FULL]),
    "argsort-nan": (ops.argsort, lambda x: np.argsort(x, kind="stable"), [GAPS]),
    "searchsorted": (
        lambda s, v: ops.searchsorted(s, v, "right"), lambda s, v: np.searchsorted(s, v, "right"),
        [np.array([-(2**31), 2**24, 2**24, 2**31 - 1], np.int32), FULL],
    ),
    "digitize": (ops.digitize, np.digitize, [FLOATS, np.array([-1.0, 0.0, 4.0], np.float32)]),
    "median": (lambda x: ops.median(x, 1), lambda x: np.median(x, 1), [FLOATS]),
    "median-nan": (lambda x: ops.median(x, 1), lambda x: np.median(x, 1), [GAPS]),
    "quantile-q": (
        lambda x, q: ops.quantile(x, q, (0, 1)), lambda x, q: np.quantile(x, q, (0, 1)),
        [FLOATS, np.array([[0.0, 0.1], [0.5, 1.0]], np.float32)],
    ),
    "percentile": (
        lambda x: ops.percentile(x, 30, 0, keepdims=True),
        lambda x: np.percentile(x, 30, 0, keepdims=True), [FLOATS],
    ),
    "average": (
        lambda x, w: ops.average(x, 1, w), lambda x, w: np.average(x, 1, w),
        [FLOATS, np.array([1.0, 2.0, 0.5, 4.0], np.float32)],
    ),
    "trapezoid": (lambda y: ops.trapezoid(y, dx=0.5), lambda y: np.trapezoid(y, dx=0.5), [FLOATS]),
    "corrcoef": (ops.corrcoef, np.corrcoef, [FLOATS]),
    "diff": (lambda x: ops.diff(x, 2, 1), lambda x: np.diff(x, 2, 1), [SMALL]),
    "isin": (ops.isin, np.isin, [FULL, FULL[:, :1]]),
    "isin-invert": (
        lambda x, y: ops.isin(x, y, invert=True), lambda x, y: np.isin(x, y, invert=True),
        [GAPS, GAPS[:2, :2]],
    ),
    "bincount": (ops.bincount, np.bincount, [SMALL[1]]),
    "bincount-weights": (
        lambda x, w: ops.bincount(x, w, 10), lambda x, w: np.bincount(x, w, 10),
        [SMALL[1], FLOATS[0]],
    ),
    "bincount-rows": (
        lambda x: ops.bincount(x, minlength=3),
        lambda x: np.stack([np.bincount(row, minlength=8) for row in x]), [SMALL],
    ),
    "histogram": (
        lambda x: ops.histogram(ops.reshape(x, (-1,)), 5)[0], lambda x: np.histogram(x, 5)[0],
        [FLOATS],
    ),
    "unique": (ops.unique, np.unique, [FULL]),
    "unique-axis": (
        lambda x: ops.unique(x, return_inverse=True, axis=1)[1],
        lambda x: np.unique(x, return_inverse=True, axis=1)[1], [SMALL],
    ),
    "unique-counts": (
        lambda x: ops.unique(x, return_counts=True)[1],
        lambda x: np.unique(x, return_counts=True, equal_nan=False)[1], [GAPS],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", forms.FORMS)
@pytest.mark.parametrize("name", CASES)
def test_against_numpy(name, form):
    function, reference, arrays = CASES[name]
    found, wanted = forms.run(form, function, *arrays), np.asarray(reference(*arrays))
    assert found.shape == wanted.shape
    if wanted.dtype.kind in "iub":
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("form", ["host", "static", "dynamic"])
def test_quantile_methods(form, method):
    q = [0.0, 0.15, 0.5, 0.86, 1.0]
    found = forms.run(form, lambda x: ops.quantile(x, q, 1, method), FLOATS)
    wanted = np.quantile(FLOATS, np.float32(q), 1, method=method)
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-6)


# -- what OpenVINO's own kernels get wrong


@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize(
    ("reduce", "array"),
    [
        (ops.prod, np.array([[18921, 1, 32767, 32767]], np.int32)),
        (ops.sum, np.array([[2**30, 2**24 + 1]], np.int32)),
        (ops.sum, np.ones((3, 7), bool)),
        (ops.max, np.array([[2**24 + 1, 5]], np.int32)),
        (ops.min, np.array([[200, 100]], np.uint8)),
        (ops.argmax, np.array([[1, 5]], np.int32)),
    ],
)
def test_arithmetic_after_a_reduction_is_exact(reduce, array, form):
    found = forms.run(form, lambda x: ops.cast(reduce(x, axis=1), "int32") + (2**24 + 2), array)
    np.testing.assert_array_equal(
        found, ops.cast(reduce(array, axis=1), "int32").numpy() + 2**24 + 2
    )


@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize("reduce", [ops.sum, ops.mean])
def test_long_sums_keep_their_digits(reduce, form):
    x = np.random.default_rng(0).uniform(1000, 1001, 300_001).astype(np.float32)
    wanted = float(getattr(x.astype(np.float64), reduce.__name__)())
    assert abs(float(forms.run(form, reduce, x)) / wanted - 1) < 5e-7


@pytest.mark.parametrize("form", forms.FORMS)
def test_extremes_of_nan_and_infinities(form):
    x = np.array([[np.nan, 1, np.inf], [-np.inf] * 3, [2, -np.inf, 1]], np.float32)
    np.testing.assert_array_equal(forms.run(form, lambda t: ops.max(t, 1), x), x.max(1))
    np.testing.assert_array_equal(forms.run(form, lambda t: ops.min(t, 1), -x), (-x).min(1))
    np.testing.assert_array_equal(forms.run(form, lambda t: ops.argmax(t, 1), x), x.argmax(1))
    np.testing.assert_array_equal(forms.run(form, lambda t: ops.argmin(t, 1), x), x.argmin(1))


@pytest.mark.parametrize("form", forms.FORMS)
def test_reductions_of_nothing(form):
    x = np.zeros((0, 3), np.float32)
    np.testing.assert_array_equal(forms.run(form, lambda t: ops.sum(t, 0), x), [0, 0, 0])
    np.testing.assert_array_equal(forms.run(form, lambda t: ops.prod(t, 0), x), [1, 1, 1])
    np.testing.assert_array_equal(forms.run(form, lambda t: ops.mean(t, 0), x), [np.nan] * 3)
    assert forms.run(form, lambda t: ops.max(t, 1), x).shape == (0,)
    assert forms.run(form, ops.sort, x.T).shape == (3, 0)


@pytest.mark.parametrize("function", [ops.max, ops.min, ops.argmax, ops.argmin])
@pytest.mark.parametrize("form", ["host", "static"])
def test_extremes_of_nothing_are_refused(function, form):
    with pytest.raises(ValueError, match="no elements"):
        forms.run(form, lambda t: function(t, axis=0), np.zeros((0, 3), np.float32))


def test_initial_is_the_extreme_of_nothing():
    np.testing.assert_array_equal(ops.max(np.zeros((0, 2), "f"), 0, initial=3.0), [3, 3])


# -- order


@pytest.mark.parametrize("form", forms.FORMS)
def test_top_k_takes_the_first_of_equals_and_nan_before_all(form):
    x = np.array([[1, 5, 5, 3], [np.nan, np.inf, 2, np.nan]], np.float32)
    values, indices = forms.run(form, lambda t: ops.top_k(t, 3), x)
    np.testing.assert_array_equal(indices, [[1, 2, 3], [0, 3, 1]])
    np.testing.assert_array_equal(values, [[5, 5, 3], [np.nan, np.nan, np.inf]])


def test_an_axis_out_of_range_is_named():
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        ops.sum(ops.ones((2, 3)), axis=2)
    with pytest.raises(ValueError, match="twice"):
        ops.sum(ops.ones((2, 3)), axis=(0, -2))


# -- sets of fixed size, which graphs of static shapes need


@pytest.mark.parametrize("form", ["host", "static", "dynamic"])
@pytest.mark.parametrize("size", [2, 6])
def test_unique_of_a_given_size(form, size):
    x = np.array([4, 1, 2, 1], np.int32)

    def function(t):
        return ops.unique(
            t, return_index=True, return_inverse=True, return_counts=True, size=size, fill_value=-1
        )

    values, index, inverse, counts = forms.run(form, function, x)
    fill = max(size - 3, 0)
    np.testing.assert_array_equal(values, ([1, 2, 4] + [-1] * fill)[:size])
    np.testing.assert_array_equal(index, ([1, 2, 0] + [1] * fill)[:size])
    np.testing.assert_array_equal(inverse, np.minimum([2, 0, 1, 0], size - 1))
    np.testing.assert_array_equal(counts, ([2, 1, 1] + [0] * fill)[:size])


def test_bincount_refuses_negative_numbers():
    with pytest.raises(ValueError, match="negative"):
        ops.bincount(np.array([1, -1], np.int32))


# -- graphs


def test_reductions_of_a_pending_transpose_need_no_transpose():
    x = np.zeros((2, 3, 4, 5), np.float32)

    def pooled(t):
        return ops.mean(ops.transpose(t, (0, 2, 3, 1)), axis=(1, 2))

    assert forms.nodes(pooled, x) == ["ReduceMean"]
    assert "Transpose" not in forms.nodes(
        lambda t: ops.max(ops.transpose(t, (0, 2, 3, 1)), axis=(1, 2), keepdims=False), x
    )


def test_a_mean_is_one_node():
    assert forms.nodes(lambda t: ops.mean(t, -1), np.zeros((2, 3), np.float32)) == ["ReduceMean"]


def test_second_derivatives_of_products_with_zeros():
    from kerasvino.autodiff.reverse import pullback, watch

    x = watch(ops.convert_to_tensor(np.array([2.0, 0.0, 0.0, 5.0])))
    one = ops.convert_to_tensor(np.array(1.0))
    (first,) = pullback([ops.prod(x)], [one], [x])
    np.testing.assert_array_equal(first.numpy(), [0, 0, 0, 0])
    (second,) = pullback([first], [ops.convert_to_tensor(np.array([0.0, 1.0, 0.0, 0.0]))], [x])
    # d/dx of x0 x2 x3, which is the derivative of the product by x1
    np.testing.assert_array_equal(second.numpy(), [0, 0, 10, 0])


def test_the_gradient_of_a_long_mean_of_halves_does_not_vanish():
    from kerasvino.autodiff.reverse import pullback, watch

    x = watch(ops.zeros((100_000,), "float16"))
    (gradient,) = pullback([ops.mean(x)], [ops.ones((), "float16")], [x])
    np.testing.assert_allclose(gradient.numpy(), np.float16(1e-5))


@pytest.mark.parametrize("function", [ops.mean, ops.prod, ops.max, ops.cumprod, ops.sort])
@pytest.mark.parametrize("dynamic", [False, True])
def test_gradients_in_a_graph_are_those_of_the_host(function, dynamic):
    from kerasvino.autodiff.reverse import pullback, watch

    def gradient(t):
        t = watch(t)
        result = function(t, axis=0)
        return pullback([result], [ops.ones_like(result)], [t])

    wanted = forms.run("host", gradient, FLOATS)
    found = forms.run("dynamic" if dynamic else "static", gradient, FLOATS)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
