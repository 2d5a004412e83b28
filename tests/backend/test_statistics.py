"""Statistics, sets, NaN reductions: against NumPy, eager and traced, with unknown shapes too."""

import numpy as np
import pytest
from keras import ops

from kerasvino.autodiff import pullback, watch
from kerasvino.backend.jit import jit
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program

RNG = np.random.default_rng(0)
CUBE = RNG.normal(size=(3, 4, 5)).astype("float32")
GAPS = CUBE.copy()
GAPS[0, 1, 2] = GAPS[2, :, 3] = np.nan
LARGE = np.array([2**31 - 1, 2**31 - 2, -(2**31), 2**24, 2**24 + 1], "int32")
COUNTED = RNG.integers(0, 5, 9).astype("int32")


def _eager(function, *arrays):
    return function(*map(ops.convert_to_tensor, arrays))


def _known(function, *arrays):
    return jit(function)(*map(ops.convert_to_tensor, arrays))


def _unknown(function, *arrays):
    """The results of `function`, compiled for arguments of which only rank and dtype are known."""
    specs = [Spec((None,) * a.ndim, str(a.dtype)) for a in arrays]
    several = []

    def flat(*tensors):
        result = function(*tensors)
        several.append(isinstance(result, tuple))
        return list(result) if several[0] else [result]

    results = Program(trace(flat, specs), "CPU", {})(list(arrays))
    return tuple(results) if several[0] else results[0]


RUNS = pytest.mark.parametrize("run", [_eager, _known, _unknown])
# One compiled graph for all of a function's calls, as compiling takes most of the time.
AXES = [None, 0, 1, (0, 2), -1]


def _compare(found, expected, **tolerance):
    for ours, theirs in zip(found, expected, strict=True):
        assert tuple(ours.shape) == np.shape(theirs)
        np.testing.assert_allclose(np.asarray(ours), theirs, **tolerance)


@RUNS
@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning", "ignore:Mean of empty:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize(
    "name",
    [
        "median", "nanmax", "nanmean", "nanmedian", "nanmin", "nanprod", "nanstd", "nansum",
        "nanvar",
    ],
)  # fmt: skip
def test_reductions(run, name):
    def calls(module, x):
        function = getattr(module, name)
        return tuple(function(x, axis=a, keepdims=k) for a in AXES for k in (False, True))

    _compare(run(lambda x: calls(ops, x), GAPS), calls(np, GAPS), rtol=2e-5, atol=2e-6)


@RUNS
@pytest.mark.parametrize("name", ["quantile", "percentile", "nanquantile", "nanpercentile"])
@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles(run, name, method):
    q = np.array([0.1, 0.5, 0.0, 1.0, 0.33, 0.77], "float32") * (100 if "per" in name else 1)
    x = GAPS[:2]

    def calls(module, x):
        function = getattr(module, name)
        return tuple(
            function(x, q, axis=a, keepdims=k, method=method) for a in AXES for k in (False, True)
        )

    _compare(run(lambda x: calls(ops, x), x), calls(np, x), rtol=2e-5, atol=2e-6)


@RUNS
def test_quantiles_keep_the_shape_of_q(run):
    q = [[0.1, 0.5, 0.0], [1.0, 0.33, 0.77]]
    found = run(lambda x: ops.quantile(x, q, axis=(0, 2)), CUBE)
    _compare([found], [np.quantile(CUBE, np.array(q, "float32"), axis=(0, 2))], rtol=1e-5)


@RUNS
def test_quantiles_between_infinities(run):
    x = np.array([-np.inf, -np.inf, 1, np.inf, np.inf], "float32")
    found = run(lambda x: ops.quantile(x, [0.0, 0.1, 0.5, 0.9]), x)
    assert np.asarray(found).tolist() == [-np.inf, -np.inf, 1, np.inf]


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"'hazen'.*linear"):
        ops.quantile(CUBE, 0.5, method="hazen")


@RUNS
def test_positions_without_nan(run):
    found = run(lambda x: (ops.nanargmax(x, 1), ops.nanargmin(x), ops.nanargmin(x, 2)), GAPS)
    empty = np.isnan(GAPS).all(1)
    largest = np.where(empty, -1, np.argmax(np.nan_to_num(GAPS, nan=-np.inf), 1))
    smallest = np.nan_to_num(GAPS, nan=np.inf)
    _compare(found, [largest, np.argmin(smallest), np.argmin(smallest, 2)])


@RUNS
def test_running_sums_without_nan(run):
    def calls(module, x):
        return tuple(f(x, axis=a) for f in (module.nancumsum, module.nancumprod) for a in (None, 1))

    _compare(run(lambda x: calls(ops, x), GAPS), calls(np, GAPS), rtol=2e-5, atol=2e-6)


@RUNS
def test_averages(run):
    def calls(module, x, w):
        return (
            module.average(x), module.average(x, 1), module.average(x, None, w),
            module.average(x, 0, w), module.average(x, 1, w[0]),
        )  # fmt: skip

    w = RNG.random((4, 5)).astype("float32")
    _compare(run(lambda x, w: calls(ops, x, w), CUBE[0], w), calls(np, CUBE[0], w), rtol=1e-5)


@RUNS
def test_integrals_and_differences(run):
    def calls(module, y, x):
        return (
            module.trapezoid(y, dx=0.5, axis=0), module.trapezoid(y, x, axis=1),
            *(module.diff(y, n, axis) for n in range(4) for axis in (0, -1)),
        )  # fmt: skip

    x = np.sort(RNG.random(4)).astype("float32")
    found = run(lambda y, x: calls(ops, y, x), CUBE, x)
    _compare(found, calls(np, CUBE, x), rtol=1e-5, atol=1e-6)


@RUNS
def test_corrcoef(run):
    _compare([run(ops.corrcoef, CUBE[0])], [np.corrcoef(CUBE[0])], rtol=1e-5, atol=1e-6)


@RUNS
def test_bincount(run):
    weights, two = RNG.random(9).astype("float32"), np.stack([COUNTED, COUNTED[::-1]])
    found = run(
        lambda x, w, two: (
            ops.bincount(x, minlength=7), ops.bincount(x, w, 7), ops.bincount(two, minlength=7),
        ),
        COUNTED, weights, two,
    )  # fmt: skip
    rows = np.stack([np.bincount(row, minlength=7) for row in two])
    expected = [rows[0], np.bincount(COUNTED, weights, 7), rows]
    _compare(found, expected, rtol=1e-6)


@RUNS
@pytest.mark.parametrize("arguments", [{}, {"bins": 4}, {"bins": 5, "range": (-1.0, 1.0)}])
def test_histogram(run, arguments):
    x = CUBE.ravel()
    counts, edges = run(lambda x: ops.histogram(x, **arguments), x)
    expected = np.histogram(x, **arguments)
    np.testing.assert_array_equal(counts, expected[0])
    np.testing.assert_allclose(edges, expected[1], rtol=1e-6, atol=1e-6)


@RUNS
def test_a_histogram_closes_its_last_bin(run):
    counts, _ = run(lambda x: ops.histogram(x, 3), np.array([0, 1, 2, 3, 3], "float32"))
    assert np.asarray(counts).tolist() == [1, 1, 3]


@RUNS
def test_large_integers_are_told_apart(run):
    found = run(
        lambda x: (
            ops.digitize(x, ops.sort(x)), ops.isin(x, x[1:4]), ops.isin(x, x[1:4], invert=True),
        ),
        LARGE,
    )  # fmt: skip
    expected = [
        np.digitize(LARGE, np.sort(LARGE)), np.isin(LARGE, LARGE[1:4]),
        np.isin(LARGE, LARGE[1:4], invert=True),
    ]  # fmt: skip
    _compare(found, expected)


def test_isin_nothing():
    assert ops.isin(np.array([1.0, np.nan]), np.ones(0)).tolist() == [False, False]
    assert ops.isin(np.ones(2, "int32"), [], invert=True).tolist() == [True, True]


@RUNS
def test_unique_elements_and_where_they_are(run):
    def all_of(x):
        found = ops.unique(x, True, True, True, True)
        return (*found, ops.unique(x[:, ::2], axis=1))

    x = np.array([[3, 1, 3], [2, 1, 3]], "int32") + 2**30
    expected = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    _compare(run(all_of, x), [*expected, np.unique(x[:, ::2], axis=1)])


def test_unique_of_64_bit_integers():
    x = np.array([2**62 + 1, 2**62, 2**62 + 1])
    assert ops.unique(x).tolist() == [2**62, 2**62 + 1]


@RUNS
def test_unique_of_a_given_size(run):
    x = np.array([3, 1, 2, 3], "int32")
    found = run(lambda x: (ops.unique(x, size=5, fill_value=9), ops.unique(x, size=2)), x)
    assert [np.asarray(f).tolist() for f in found] == [[1, 2, 3, 9, 9], [1, 2]]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.quantile(x, [0.2, 0.5], axis=1),
        lambda x: ops.median(x),
        lambda x: ops.average(x, 1, ops.square(x)),
        ops.corrcoef,
        lambda x: ops.trapezoid(x, axis=0),
        lambda x: ops.diff(x, 2),
        lambda x: ops.bincount([0, 2, 2, 1, 0], x[0]),
        lambda x: ops.nanvar(ops.where(x > 1, np.nan, x), 1),
    ],
)
def test_gradients(function):
    x = RNG.normal(size=(4, 5))

    def total(x):
        y = function(x)
        return ops.sum(y * ops.reshape(ops.cos(ops.arange(y.size, dtype="float64")), y.shape))

    watched = watch(ops.convert_to_tensor(x))
    value = total(watched)
    slope = pullback([value], [ops.ones_like(value)], [watched])[0].numpy()
    for place in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[place] = 1e-6
        after, before = (float(total(ops.convert_to_tensor(x + s))) for s in (step, -step))
        assert (after - before) / 2e-6 == pytest.approx(slope[place], 1e-5, 1e-6)
