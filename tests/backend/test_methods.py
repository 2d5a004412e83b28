"""Methods of tensors against NumPy's: eagerly, recorded and in graphs; their gradients."""

import math
import operator

import ml_dtypes
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino.primitives import core
from kerasvino.tensor import Tensor, TracedValueError
from tests.backend.forms import FORMS, run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4)).astype("float32")
CUBE = RNG.normal(size=(2, 3, 4)).astype("float32")
WHOLE = RNG.integers(-5, 6, (3, 4)).astype("int32")
SQUARE = RNG.normal(size=(4, 4)).astype("float32")
MASK = RNG.random((3, 4)) > 0.4
MASK[:, 0] = True

# What is called on a tensor, and on NumPy's array: (array, call).
SAME = {
    "T": (CUBE, lambda x: x.T),
    "mT": (CUBE, lambda x: x.mT),
    "reshape ints": (X, lambda x: x.reshape(4, 3)),
    "reshape tuple": (X, lambda x: x.reshape((2, -1))),
    "reshape -1": (X, lambda x: x.reshape(-1)),
    "reshape F": (CUBE, lambda x: x.reshape(4, -1, order="F")),
    "reshape of one": (X[:1, :1], lambda x: x.reshape(())),
    "ravel": (CUBE, lambda x: x.ravel()),
    "ravel F": (CUBE, lambda x: x.ravel(order="F")),
    "flatten": (CUBE, lambda x: x.flatten()),
    "transpose": (CUBE, lambda x: x.transpose()),
    "transpose ints": (CUBE, lambda x: x.transpose(1, 2, 0)),
    "transpose tuple": (CUBE, lambda x: x.transpose((0, -1, 1))),
    "swapaxes": (CUBE, lambda x: x.swapaxes(0, -1)),
    "squeeze": (CUBE[:1], lambda x: x.squeeze(0)),
    "sum": (X, lambda x: x.sum()),
    "sum axis": (CUBE, lambda x: x.sum((0, 2), keepdims=True)),
    "sum initial": (X, lambda x: x.sum(axis=1, initial=2.5)),
    "sum where": (X, lambda x: x.sum(axis=0, where=MASK)),
    "prod": (X, lambda x: x.prod(axis=-1)),
    "prod where": (X, lambda x: x.prod(axis=-1, where=MASK, initial=2.0)),
    "mean": (X, lambda x: x.mean(0)),
    "mean where": (X, lambda x: x.mean(axis=0, where=MASK, keepdims=True)),
    "max": (X, lambda x: x.max()),
    "max axis": (X, lambda x: x.max(1, keepdims=True)),
    "max where": (X, lambda x: x.max(axis=1, initial=-9.0, where=MASK)),
    "min": (X, lambda x: x.min(axis=0)),
    "min initial": (X, lambda x: x.min(axis=0, initial=-0.1)),
    "ptp": (X, lambda x: x.max(axis=0) - x.min(axis=0) if type(x) is np.ndarray else x.ptp(0)),
    "std": (X, lambda x: x.std()),
    "std ddof": (X, lambda x: x.std(axis=1, ddof=1)),
    "var": (X, lambda x: x.var(axis=(0, 1), keepdims=True)),
    "var ddof": (X, lambda x: x.var(0, ddof=2)),
    "var correction": (X, lambda x: np.var(x, 0, correction=1.5)),
    "var where": (X, lambda x: x.var(axis=0, where=MASK)),
    "any": (X, lambda x: (x > 1).any(axis=0)),
    "all": (X, lambda x: (x > -1).all(axis=1, keepdims=True)),
    "all where": (X, lambda x: (x > 0).all(where=MASK)),
    "any where": (X, lambda x: (x > 0).any(axis=0, where=MASK)),
    "argmax": (X, lambda x: x.argmax()),
    "argmax axis": (X, lambda x: x.argmax(1, keepdims=True)),
    "argmin": (X, lambda x: x.argmin(axis=0)),
    "argsort": (X, lambda x: x.argsort()),
    "argsort flat": (X, lambda x: x.argsort(axis=None)),
    "searchsorted": (np.sort(X[0]), lambda x: x.searchsorted([0.0, 0.5], side="right")),
    "cumsum": (X, lambda x: x.cumsum()),
    "cumsum axis": (X, lambda x: x.cumsum(1)),
    "cumprod": (X, lambda x: x.cumprod(axis=0)),
    "clip": (X, lambda x: x.clip(-0.5, 0.5)),
    "clip min": (X, lambda x: x.clip(min=0.25)),
    "clip max": (WHOLE, lambda x: x.clip(max=2)),
    "round": (X, lambda x: x.round(1)),
    "repeat": (X, lambda x: x.repeat(2)),
    "repeat axis": (X, lambda x: x.repeat(3, axis=1)),
    "take": (X, lambda x: x.take([0, -1, 2], axis=1)),
    "take flat": (X, lambda x: x.take([5, 3])),
    "take clip": (X, lambda x: x.take([-7, 9], axis=0, mode="clip")),
    "take wrap": (X, lambda x: x.take([-7, 9], axis=0, mode="wrap")),
    "compress": (X, lambda x: x.compress([True, False, True], axis=0)),
    "dot": (SQUARE, lambda x: x.dot(x)),
    "conj": (X, lambda x: x.conj()),
    "conjugate": (X, lambda x: x.conjugate()),
    "copy": (X, lambda x: x.copy()),
    "nonzero": (WHOLE, lambda x: x.nonzero()),
    "diagonal": (CUBE, lambda x: x.diagonal(1, 1, 2)),
    "trace": (SQUARE, lambda x: x.trace(offset=-1)),
    "real": (X, lambda x: x.real),
    "imag": (X, lambda x: x.imag),
    "matmul": (X, lambda x: x @ x.T),
}
TOLERANT = dict(rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SAME)
def test_methods_compute_what_numpys_do(name, form):
    array, call = SAME[name]
    if name.startswith("squeeze") and form == "dynamic":
        pytest.skip("NumPy's axis of length 1 is known")
    found, wanted = run(form, call, array), call(array)
    found = found if isinstance(found, list) else [found]
    wanted = list(wanted) if isinstance(wanted, tuple) else [wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == np.shape(theirs)
        assert ours.dtype.kind == np.asarray(theirs).dtype.kind
        np.testing.assert_allclose(ours, theirs, **TOLERANT)


@pytest.mark.parametrize("form", FORMS)
def test_sort_returns_a_new_tensor(form):
    np.testing.assert_array_equal(run(form, lambda x: x.sort(), X), np.sort(X))
    np.testing.assert_array_equal(run(form, lambda x: x.sort(0), X), np.sort(X, 0))
    descending = run(form, lambda x: x.sort(axis=0, descending=True), X)
    np.testing.assert_array_equal(descending, np.sort(X, 0)[::-1])
    np.testing.assert_array_equal(run(form, lambda x: x.sort(axis=None), X), np.sort(X, None))


@pytest.mark.parametrize("form", FORMS)
def test_descending_argsort_keeps_the_order_of_equal_elements(form):
    array = np.array([[1, 2, 1, 2], [3, 3, 3, 0]], "int32")
    found = run(form, lambda x: x.argsort(descending=True), array)
    assert found.tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
    assert run(form, lambda x: x.argsort(axis=None, descending=True), array).tolist() == (
        np.argsort(-array.ravel(), kind="stable").tolist()
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_partition_has_the_element_in_its_place(form):
    found = run(form, lambda x: x.argpartition(2, axis=1), X)
    np.testing.assert_array_equal(np.take_along_axis(X, found, 1)[:, 2], np.sort(X, 1)[:, 2])


@pytest.mark.parametrize("form", FORMS)
def test_dtypes(form):
    assert run(form, lambda x: x.astype("int32"), X).dtype == "int32"
    assert run(form, lambda x: x.astype(float), WHOLE).dtype == "float32"
    assert run(form, lambda x: x.astype(np.float16), X).dtype == "float16"
    assert run(form, lambda x: x.astype(bool), WHOLE).tolist() == WHOLE.astype(bool).tolist()
    assert run(form, lambda x: x.sum(dtype="float32"), WHOLE).dtype == "float32"
    assert run(form, lambda x: x.mean(dtype="float16"), X).dtype == "float16"
    assert run(form, lambda x: x.prod(axis=0, dtype="int8"), WHOLE).dtype == "int8"
    assert run(form, lambda x: x.var(dtype="float16"), X).dtype == "float16"
    assert run(form, lambda x: x.cumsum(dtype="float32"), WHOLE).dtype == "float32"
    assert run(form, lambda x: x.trace(dtype="float32"), WHOLE).dtype == "float32"
    assert run(form, lambda x: x.view("uint32"), WHOLE).tolist() == WHOLE.view("uint32").tolist()


def test_dtypes_of_results_are_those_of_keras():
    small = ops.convert_to_tensor(np.array([100, 100], "int8"))
    assert (small.sum().dtype, int(small.sum())) == ("int32", 200)
    assert small.mean().dtype == "float32"
    assert small.argmax().dtype == "int32"
    assert (small > 0).sum().dtype == "int32"
    assert ops.ones((2,), "float64").std().dtype == "float64"
    assert ops.ones((2,), "bfloat16").sum().dtype == "bfloat16"


def test_complex_numbers():
    array = np.array([[1 + 2j, 3 - 1j], [0, -2j]], "complex64")
    x = ops.convert_to_tensor(array)
    np.testing.assert_array_equal(x.conj().numpy(), array.conj())
    np.testing.assert_array_equal(x.real.numpy(), array.real)
    np.testing.assert_array_equal(x.imag.numpy(), array.imag)
    np.testing.assert_allclose(x.var().numpy(), array.var(), rtol=1e-6)
    np.testing.assert_allclose(x.var(where=True).numpy(), array.var(), rtol=1e-6)
    assert ops.ones((2,)).astype(complex).dtype == "complex64"


def test_properties_of_memory():
    x = ops.ones((2, 3), "float16")
    assert (x.nbytes, x.itemsize, x.device) == (12, 2, "cpu")
    assert x.tobytes() == x.numpy().tobytes()
    assert x.to_device("cpu") is x
    assert x.block_until_ready() is x
    assert x.copy() is x
    with pytest.raises(ValueError, match=r"keras\.device"):
        x.to_device("cuda")

    def function(x):
        assert (x.nbytes, x.itemsize, x.device) == (24, 4, "cpu")
        return x

    kerasvino.jit(function)(np.ones((2, 3), "float32"))


def test_contains():
    x = ops.convert_to_tensor([1, 2])
    assert 2 in x
    assert 3 not in x
    with pytest.raises(TracedValueError, match=r"ops\.any"):
        kerasvino.jit(lambda x: operator.contains(x, 2))(np.ones(2, "float32"))


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("ddof", [0, 1, 3])
def test_variances_of_few_numbers(n, ddof):
    array = np.arange(n, dtype="float64")
    with np.errstate(all="ignore"), pytest.warns() if n <= ddof else np.errstate():
        wanted = array.var(ddof=ddof)
    if n:  # of nothing, a mean is asked for first
        np.testing.assert_array_equal(ops.convert_to_tensor(array).var(ddof=ddof).numpy(), wanted)


def test_empty_tensors_and_rank_0():
    empty, one = ops.zeros((0, 3)), ops.convert_to_tensor(2.5)
    assert empty.sum(0).tolist() == [0, 0, 0]
    assert empty.prod().item() == 1
    assert empty.T.shape == (3, 0)
    assert empty.reshape(3, 0).shape == (3, 0)
    assert empty.cumsum(0).shape == (0, 3)
    assert empty.max(initial=1.0).item() == 1
    assert one.T.item() == one.sum().item() == one.mean().item() == one.max().item() == 2.5
    assert one.reshape(1, 1).shape == (1, 1)
    assert one.flatten().shape == (1,)
    assert (one.std().item(), one.argmax().item(), one.round().item()) == (0, 0, 2)
    with pytest.raises(ValueError, match="matrix"):
        _ = one.mT


def test_nan_and_infinity():
    x = ops.convert_to_tensor([1.0, math.nan, math.inf])
    assert math.isnan(x.sum().item())
    assert math.isnan(x.max().item())
    assert x.argmax().item() == 1
    assert x.clip(0, 2).tolist()[2] == 2
    assert math.isnan(x.clip(max=2.0).tolist()[1])
    assert x.sum(where=[True, False, False]).item() == 1


REFUSED = {
    "out": (lambda x: x.sum(out=np.zeros(())), TypeError, "in place"),
    "order": (lambda x: x.reshape(-1, order="X"), ValueError, "order"),
    "where without initial": (lambda x: x.max(where=x > 0), ValueError, "initial"),
    "axis": (lambda x: x.sum(5), ValueError, "out of bounds"),
    "mode": (lambda x: x.take([0], mode="fill"), ValueError, "wrap"),
    "dim": (lambda x: x.max(dim=1), TypeError, r"^max\(\) takes `axis`.* x\.max\(axis=1\)"),
    "dim of std": (lambda x: x.std(dim=0), TypeError, r"x\.std\(axis=0\)"),
    "dim of squeeze": (lambda x: x.squeeze(dim=0), TypeError, r"x\.squeeze\(axis=0\)"),
    "name": (lambda x: x.sum(axes=1), TypeError, r"^sum\(\) got an unexpected .*'axes'"),
    "name of a method of its own": (lambda x: x.ravel(a=1), TypeError, r"^ravel\(\) got"),
    "name of its twin": (lambda x: x.flatten(a=1), TypeError, r"^flatten\(\) got"),
    "clip": (lambda x: x.clip(minimum=0), TypeError, "min"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    call, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        call(ops.convert_to_tensor(X))


SIZES = {
    (5, 5): r"reshape .*shape=\(5, 5\)\): 12 elements do not fit \(5, 5\)",
    (-1, 5): r"reshape .*12 elements do not divide into \(-1, 5\)",
    (-1, -1): "one unknown dimension",
}


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("shape", SIZES)
def test_a_shape_that_does_not_fit(shape, recorded, monkeypatch):
    monkeypatch.setattr(core, "_eager_compiled", False)
    reshape = lambda x: ops.sum(x.reshape(shape))
    with pytest.raises(ValueError, match=SIZES[shape]):
        (kerasvino.grad(reshape) if recorded else reshape)(ops.convert_to_tensor(X))


def test_methods_are_called_by_their_names():
    for name in ("max", "sum", "mean", "std", "ravel", "flatten", "reshape", "cumsum", "clip"):
        method = getattr(type(ops.ones(1)), name)
        assert method.__name__ == method.__qualname__ == name


# NumPy's functions call the methods of the arrays that they are given.
DELEGATED = {
    "sum": lambda x: np.sum(x, axis=0, keepdims=True),
    "mean": lambda x: np.mean(x),
    "prod": lambda x: np.prod(x, axis=1),
    "max": lambda x: np.max(x, axis=0),
    "min": lambda x: np.amin(x),
    "std": lambda x: np.std(x, axis=0, ddof=1),
    "var": lambda x: np.var(x, correction=1),
    "all": lambda x: np.all(x > 0),
    "any": lambda x: np.any(x > 0, axis=0),
    "argmax": lambda x: np.argmax(x, axis=1),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "clip": lambda x: np.clip(x, -1, 1),
    "clip none": lambda x: np.clip(x, None, 1),
    "round": lambda x: np.round(x, 2),
    "reshape": lambda x: np.reshape(x, (4, 3)),
    "transpose": lambda x: np.transpose(x, (1, 0)),
    "squeeze": lambda x: np.squeeze(x),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "take": lambda x: np.take(x, [0, 1], axis=1),
    "repeat": lambda x: np.repeat(x, 2, axis=0),
    "real": lambda x: np.real(x),
    "std where": lambda x: np.std(x, axis=0, where=MASK),
    "argsort": lambda x: np.argsort(x, axis=0),
    "searchsorted": lambda x: np.searchsorted(x.reshape(-1)[:1], 0.1),
}  # fmt: skip


@pytest.mark.parametrize("form", ["host", "static"])
@pytest.mark.parametrize("name", DELEGATED)
def test_numpys_functions_stay_with_tensors(name, form):
    call = DELEGATED[name]

    def checked(x):
        found = call(x)
        assert isinstance(found, Tensor)
        return found

    np.testing.assert_allclose(run(form, checked, X), call(X), **TOLERANT)


TAKEN_AS_ARRAYS = {
    "add": lambda x: np.add(X, x),
    "exp": lambda x: np.exp(x),
    "stack": lambda x: np.stack([x, x]),
    "concatenate": lambda x: np.concatenate([x, x]),
    "dot": lambda x: np.dot(x, x.T),
    "where": lambda x: np.where(MASK, x, 0),
    "sort": lambda x: np.sort(x),
    "linalg": lambda x: np.linalg.norm(x),
}


@pytest.mark.parametrize("name", TAKEN_AS_ARRAYS)
def test_numpys_other_functions_take_concrete_tensors_as_arrays(name):
    call = TAKEN_AS_ARRAYS[name]
    found = call(ops.convert_to_tensor(X))
    assert isinstance(found, (np.ndarray, np.generic))
    np.testing.assert_allclose(found, call(X), rtol=1e-6)
    with pytest.raises(TracedValueError, match=r"keras\.ops"):
        kerasvino.jit(call)(X)


SMOOTH = [
    "T", "mT", "reshape F", "transpose ints", "sum where", "prod", "mean where", "max", "std ddof",
    "var correction", "var where", "cumsum", "cumprod", "clip", "repeat axis", "take", "dot",
    "diagonal", "trace",
]  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_flow_through_methods(name):
    array, call = SAME[name]
    weights = RNG.normal(size=np.shape(call(array)))

    def loss(x):
        return (call(x) * weights).sum()

    x = array.astype("float64")
    found = kerasvino.grad(loss)(ops.convert_to_tensor(x)).numpy()
    step = 1e-6
    wanted = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        wanted[place] = (loss(up) - loss(down)) / (2 * step)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_methods_work_in_a_layer():
    import keras

    class Centred(keras.layers.Layer):
        def call(self, x):
            x = (x - x.mean(axis=-1, keepdims=True)) / (x.std(axis=-1, keepdims=True) + 1e-3)
            return x.reshape(-1, 2, 4).swapaxes(1, 2).astype("float16")

    model = keras.Sequential([keras.Input((8,)), Centred()])
    data = RNG.normal(size=(5, 8)).astype("float32")
    found = model.predict(data, verbose=0)
    wanted = (data - data.mean(-1, keepdims=True)) / (data.std(-1, keepdims=True) + 1e-3)
    assert found.dtype == ml_dtypes.finfo("float16").dtype
    np.testing.assert_allclose(found, wanted.reshape(5, 2, 4).swapaxes(1, 2), atol=2e-3)
