"""Keras's math contract: against NumPy and SciPy, traced with unknown shapes, and its gradients."""

import numpy as np
import pytest
import scipy.signal
from keras import ops
from scipy import special

from kerasvino.autodiff import pullback, watch
from kerasvino.backend.jit import jit
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program


def _normal(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def _unknown(function, *arrays):
    """The results of `function`, compiled for arguments of which only rank and dtype are known."""
    specs = [Spec((None,) * a.ndim, str(a.dtype)) for a in arrays]

    def flat(*tensors):
        result = function(*tensors)
        return list(result) if isinstance(result, tuple) else [result]

    graph = trace(flat, specs)
    held = [read._value.numpy() for read in graph.reads]  # large constants of uint32
    return Program(graph, "CPU", {})([*arrays, *held])


def _known(function, *arrays):
    result = jit(function)(*map(ops.convert_to_tensor, arrays))
    return list(result) if isinstance(result, tuple) else [result]


def _eager(function, *arrays):
    result = function(*map(ops.convert_to_tensor, arrays))
    return list(result) if isinstance(result, tuple) else [result]


RUNS = pytest.mark.parametrize("run", [_eager, _known, _unknown])


def _parts(z):
    return [z.real, z.imag]


def _compare(found, expected, tolerance):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert tuple(ours.shape) == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


# -- Fourier transforms


@RUNS
@pytest.mark.parametrize("length", [1, 5, 12, 16, 1000])
def test_fft(run, length):
    a, b = _normal(3, length), _normal(3, length, seed=1)
    _compare(run(lambda a, b: ops.fft((a, b)), a, b), _parts(np.fft.fft(a + 1j * b)), 1e-4)


@RUNS
@pytest.mark.parametrize("shape", [(4, 8), (2, 3, 6, 5)])
def test_fft2_and_back(run, shape):
    a, b = _normal(*shape), _normal(*shape, seed=1)
    found = run(lambda a, b: (*ops.fft2((a, b)), *ops.ifft2((a, b))), a, b)
    z = a + 1j * b
    _compare(found, _parts(np.fft.fft2(z)) + _parts(np.fft.ifft2(z)), 1e-5)


@RUNS
@pytest.mark.parametrize("length", [None, 1, 5, 9, 10, 16])
def test_rfft_cuts_and_fills_up(run, length):
    x = _normal(2, 9)
    found = run(lambda x: ops.rfft(x, length), x)
    _compare(found, _parts(np.fft.rfft(x, length)), 1e-5)


@RUNS
@pytest.mark.parametrize("length", [None, 1, 5, 8, 9, 16])
def test_irfft_ignores_what_reals_do_not_have(run, length):
    a, b = _normal(2, 5), _normal(2, 5, seed=1)
    found = run(lambda a, b: ops.irfft((a, b), length), a, b)
    _compare(found, [np.fft.irfft(a + 1j * b, length)], 1e-5)


def test_float64_transforms_stay_float64():
    x = _normal(3, 50, dtype="float64")
    real, imaginary = ops.rfft(x)
    assert real.dtype == "float64"
    np.testing.assert_allclose(real.numpy() + 1j * imaginary.numpy(), np.fft.rfft(x), rtol=1e-13)


@pytest.mark.parametrize("bad", [(np.ones(3),), (np.ones(3), np.ones(4))])
def test_a_transform_says_that_it_takes_pairs(bad):
    with pytest.raises(ValueError, match="real and imaginary"):
        ops.irfft(bad)


# -- short windows


@RUNS
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(
    ("width", "stride", "length", "window"),
    [(8, 4, 8, "hann"), (6, 4, 9, "hamming"), (8, 3, 16, None), (1, 1, 1, "hann")],
)
def test_stft(run, center, width, stride, length, window):
    x = _normal(2, 40)
    found = run(lambda x: ops.stft(x, width, stride, length, window, center), x)
    taper = np.ones(length)
    if window is not None:
        before = (length - width) // 2
        taper = scipy.signal.get_window(window, width)
        taper = np.pad(taper, (before, length - width - before))
    padded = np.pad(x, ((0, 0), (length // 2,) * 2), mode="reflect") if center else x
    starts = range(0, padded.shape[1] - length + 1, stride)
    frames = np.stack([padded[:, s : s + length] * taper for s in starts], 1)
    _compare(found, _parts(np.fft.rfft(frames)), 1e-5)


@RUNS
@pytest.mark.parametrize(
    ("width", "stride", "length"), [(8, 4, 8), (8, 3, 8), (8, 2, 11), (8, 1, 8), (7, 4, 16)]
)
def test_istft_reconstructs_the_signal(run, width, stride, length):
    x = _normal(2, 60)

    def there_and_back(x):
        return ops.istft(ops.stft(x, width, stride, length), width, stride, length, length=60)

    (found,) = run(there_and_back, x)
    assert tuple(found.shape) == (2, 60)
    # frames reach to the last whole stride
    np.testing.assert_allclose(np.asarray(found)[:, :50], x[:, :50], rtol=1e-4, atol=1e-5)


@RUNS
@pytest.mark.parametrize("length", [None, 5, 100])
def test_istft_has_the_length_asked_for(run, length):
    a, b = _normal(2, 6, 5), _normal(2, 6, 5, seed=1)
    (found,) = run(lambda a, b: ops.istft((a, b), 8, 3, 8, length, center=False), a, b)
    assert tuple(found.shape) == (2, length or 5 * 3 + 8)
    assert not np.asarray(found)[:, 23:].any()


@RUNS
def test_extract_sequences(run):
    x = np.arange(24, dtype="int32").reshape(2, 12)
    (found,) = run(lambda x: ops.extract_sequences(x, 5, 3), x)
    _compare([found], [np.lib.stride_tricks.sliding_window_view(x, 5, -1)[:, ::3]], 0)
    (none,) = run(lambda x: ops.extract_sequences(x, 20, 3), x)
    assert tuple(none.shape) == (2, 0, 20)


# -- segments

IDS = np.array([0, 2, -1, 2, 0, 5, 9], "int32")
FULL = np.array([0, 2, -1, 2, 0, 1, 9], "int32")


@RUNS
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint32", "int8"])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_segments(run, name, dtype):
    rng = np.random.default_rng(0)
    limits = None if dtype == "float32" else np.iinfo(dtype)
    data = _normal(7, 2) if limits is None else rng.integers(limits.min, limits.max, (7, 2), dtype)
    (found,) = run(lambda d, i: getattr(ops, f"segment_{name}")(d, i, 4), data, IDS)
    ufunc = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[name]
    limits = limits or np.finfo(dtype)
    empty = {"sum": 0, "prod": 1, "max": limits.min, "min": limits.max}[name]
    with np.errstate(over="ignore"):
        expected = np.stack(
            [
                ufunc.reduce(data[i == IDS], 0, dtype=dtype) if i in IDS else np.full(2, empty)
                for i in range(4)
            ]
        ).astype(dtype)
    _compare([found], [expected], 1e-6 if dtype == "float32" else 0)


@RUNS
def test_the_number_of_segments_is_found(run):
    (found,) = run(ops.segment_sum, np.ones((7, 2), "float32"), IDS)
    assert np.asarray(found)[:, 0].tolist() == [2, 0, 2, 0, 0, 1, 0, 0, 0, 1]


@RUNS
def test_infinite_elements_are_no_empty_segments(run):
    data, ids = np.array([-np.inf, np.nan, 1], "float32"), np.array([0, 1, 1], "int32")
    (found,) = run(lambda d, i: ops.segment_max(d, i, 3), data, ids)
    np.testing.assert_array_equal(found, [-np.inf, np.nan, np.finfo("float32").min])


def test_segments_without_elements():
    assert ops.segment_sum(np.ones((0, 2)), np.ones(0, "int32")).shape == (0, 2)
    assert ops.segment_prod(np.ones((0, 2)), np.ones(0, "int32"), 3).tolist() == [[1, 1]] * 3
    with pytest.raises(ValueError, match="integer `segment_ids`"):
        ops.segment_sum(np.ones(2), np.ones(2, "float32"))


# -- the others


@RUNS
def test_top_k(run):
    x = np.array([[3, 1, 3, 2], [np.nan, 5, -np.inf, 7]], "float32")
    values, places = run(lambda x: ops.top_k(x, 3), x)
    np.testing.assert_array_equal(values, [[3, 3, 2], [np.nan, 7, 5]])
    np.testing.assert_array_equal(places, [[0, 2, 3], [0, 3, 1]])


def test_top_k_says_how_many_there_are():
    with pytest.raises(ValueError, match="length of the last axis, 3; given: 4"):
        ops.top_k(np.ones(3), 4)


@RUNS
def test_in_top_k(run):
    scores = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.1], [0.3, 0.2, np.nan]], "float32")
    targets = np.array([2, 1, 7], "int32")
    (found,) = run(lambda t, s: ops.in_top_k(t, s, 1), targets, scores)
    assert np.asarray(found).tolist() == [False, True, False]


@RUNS
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 0, 3)])
def test_in_top_k_of_any_rank(run, shape):
    scores = np.random.default_rng(0).permuted(np.arange(5 * np.prod(shape, dtype=int)))
    scores = scores.reshape(*shape, 5).astype("float32")
    targets = np.random.default_rng(1).integers(0, 5, shape, "int32")
    (found,) = run(lambda t, s: ops.in_top_k(t, s, 2), targets, scores)
    own = np.take_along_axis(scores, targets[..., None], -1)
    np.testing.assert_array_equal(found, (scores > own).sum(-1) < 2)


@RUNS
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(run, axis, keepdims):
    x = np.array([[1000.0, 1000.5], [-np.inf, -1000.0], [-np.inf, -np.inf]], "float32")
    (found,) = run(lambda x: ops.logsumexp(x, axis, keepdims), x)
    _compare([found], [special.logsumexp(x, axis, keepdims=keepdims)], 1e-6)


@RUNS
def test_cdist(run):
    x, y = _normal(2, 4, 3), _normal(1, 5, 3, seed=1)
    y[0, 0] = x[0, 0]
    (found,) = run(ops.cdist, x, y)
    _compare([found], [np.sqrt(((x[:, :, None] - y[:, None]) ** 2).sum(-1))], 1e-6)
    assert ops.cdist(np.ones((2, 3), "int32"), np.ones((1, 3), "float16")).dtype == "float16"


def test_logdet():
    x = _normal(3, 4, 4, dtype="float64")
    np.testing.assert_allclose(ops.logdet(x), np.linalg.slogdet(x)[1], rtol=1e-12)


# -- gradients


def _gradient(function, x):
    x = watch(ops.convert_to_tensor(x))
    value = function(x)
    return pullback([value], [ops.ones_like(value)], [x])[0].numpy()


def _total(x):
    parts = x if isinstance(x, tuple) else (x,)
    # weights, so that no derivative cancels
    return sum(ops.sum(p * np.cos(np.arange(np.prod(p.shape))).reshape(p.shape)) for p in parts)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: ops.fft((x[0], x[1])), (2, 6)),
        (lambda x: ops.ifft2((x[0], x[1])), (2, 4, 3)),
        (lambda x: ops.rfft(x, 5), (2, 7)),
        (lambda x: ops.irfft((x[0], x[1])), (2, 5)),
        (lambda x: ops.irfft((x[0], x[1]), 7), (2, 5)),
        (lambda x: ops.stft(x, 4, 2, 5), (2, 12)),
        (lambda x: ops.istft((x[0], x[1]), 4, 2, 5), (2, 5, 3)),
        (lambda x: ops.segment_sum(x, FULL, 3), (7, 2)),
        (lambda x: ops.segment_max(x, FULL, 3), (7, 2)),
        (lambda x: ops.segment_prod(x, FULL, 3), (7, 2)),
        (lambda x: ops.logsumexp(x, 1), (3, 4)),
        (lambda x: ops.cdist(x, x[:2] + 1), (3, 4)),
        (lambda x: ops.logdet(x), (3, 3)),
        (lambda x: ops.top_k(x, 2)[0], (3, 4)),
    ],
)
def test_gradients(function, shape):
    x = _normal(*shape, dtype="float64")
    slope = _gradient(lambda x: _total(function(x)), x)
    for place in np.ndindex(*shape):
        step = np.zeros(shape)
        step[place] = 1e-6
        after, before = (_total(function(ops.convert_to_tensor(x + s))) for s in (step, -step))
        assert (float(after) - float(before)) / 2e-6 == pytest.approx(slope[place], 1e-5, 1e-7)


def test_the_gradient_of_a_distance_of_0_is_0():
    points = np.ones((1, 3))
    assert _gradient(lambda x: ops.cdist(x, points), points).tolist() == [[0, 0, 0]]
