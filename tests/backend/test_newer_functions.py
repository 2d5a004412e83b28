"""Functions that are new in Keras 3.16, against NumPy; they are here under Keras 3.15 too."""

import warnings

import ml_dtypes
import numpy as np
import pytest
from scipy import special

from kerasvino.backend.ops import linalg, math
from kerasvino.backend.ops import numpy as knp
from tests.backend.forms import FORMS, run

rng = np.random.default_rng(5)
X = rng.normal(size=(3, 7)).astype("float32")
SQUARE = rng.normal(size=(2, 4, 4)).astype("float32")
EDGES = np.array([0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan], "float32")


def dtype_of(function, *dtypes):
    return function(*(np.ones((2, 2), d) for d in dtypes)).dtype


# -- copysign


@pytest.mark.parametrize("form", FORMS)
def test_copysign_of_edges(form):
    x, y = EDGES[:, None], EDGES
    found = run(form, knp.copysign, x, y)
    expected = np.copysign(x, y)
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


def test_copysign_of_integers_is_floating():
    found = run("host", knp.copysign, np.array([3, -3]), np.array([-1, 0], "int32"))
    np.testing.assert_array_equal(found, np.float32([-3, 3]))
    assert dtype_of(knp.copysign, "float16", "int32") == "float16"
    assert dtype_of(knp.copysign, "bool", "bool") == "float32"
    assert dtype_of(knp.copysign, "float64", "float32") == "float64"


# -- float_power


def test_float_power_of_integers():
    found = run("host", knp.float_power, np.array([2, 3, 4]), np.array([-1, -2, 2]))
    np.testing.assert_allclose(found, [0.5, 1 / 9, 16], rtol=1e-6)
    assert found.dtype == "float32"
    assert dtype_of(knp.float_power, "bool", "bool") == "float32"
    assert dtype_of(knp.float_power, "bfloat16", "int8") == "bfloat16"


# -- column_stack


@pytest.mark.parametrize(
    "shapes",
    [[(3,), (3,)], [(3,)], [(3,), (3, 2)], [(2, 1, 3), (2, 4, 3)], [(0,), (0, 2)], [(1,), (1,)]],
)
def test_column_stack(shapes):
    arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]
    expected = np.column_stack(arrays)
    for form in FORMS:
        np.testing.assert_array_equal(run(form, lambda *t: knp.column_stack(t), *arrays), expected)


def test_column_stack_promotes_and_refuses_scalars():
    found = knp.column_stack([np.ones(2, "int32"), np.ones((2, 1), "float16")])
    assert (found.dtype, found.shape) == ("float16", (2, 2))
    with pytest.raises(ValueError, match=r"rank 1 or more; given shapes \[\(2,\), \(\)\]"):
        knp.column_stack([np.ones(2), np.float32(1)])


# -- cov


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(3, 7), (2, 2), (5,), (3, 1), (1,)])
def test_cov(form, shape):
    x = rng.normal(size=shape).astype("float32")
    with warnings.catch_warnings(action="ignore"):  # of too few observations
        expected = np.cov(x)
    np.testing.assert_allclose(run(form, knp.cov, x), expected, rtol=1e-5, atol=1e-6)


def test_cov_of_one_row_is_a_scalar():
    found = knp.cov(X[:1])
    assert found.shape == ()
    np.testing.assert_allclose(found, np.cov(X[:1]), rtol=1e-5)


def test_cov_of_nothing():
    assert knp.cov(np.ones((0, 3), "float32")).shape == (0, 0)
    assert np.isnan(knp.cov(np.ones((2, 0), "float32")).numpy()).all()
    assert np.isnan(float(knp.cov(np.float32(1))))


def test_cov_dtypes():
    for given, expected in (
        ("int64", "float64"), ("int32", "float32"), ("bool", "float32"), ("float16", "float16"),
        ("bfloat16", "bfloat16"), ("float64", "float64"), ("complex64", "complex64"),
    ):  # fmt: skip
        assert dtype_of(knp.cov, given) == expected
    x = (X + 1j * X[::-1]).astype("complex64")
    np.testing.assert_allclose(knp.cov(x), np.cov(x), rtol=1e-5)
    with pytest.raises(ValueError, match="rank 2 or less"):
        knp.cov(np.ones((1, 2, 3)))


# -- matrix_power


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 6, 7, -1, -3])
def test_matrix_power(form, n):
    found = run(form, lambda a: linalg.matrix_power(a, n), SQUARE)
    expected = np.linalg.matrix_power(SQUARE.astype("float64"), n)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint16", "int64"])
def test_matrix_power_of_integers_is_exact(dtype):
    a = rng.integers(0, 100, (3, 3)).astype(dtype)
    for n in (0, 1, 5):
        found = run("host", lambda a, n=n: linalg.matrix_power(a, n), a)
        np.testing.assert_array_equal(found, np.linalg.matrix_power(a, n))
        assert found.dtype == dtype
    assert linalg.matrix_power(a + np.eye(3, dtype=dtype), -1).dtype in ("float32", "float64")


def test_matrix_power_of_16_bits_and_of_no_squares():
    a = SQUARE.astype(ml_dtypes.bfloat16)
    found = linalg.matrix_power(a, 5)
    assert found.dtype == "bfloat16"
    expected = np.linalg.matrix_power(a.astype("float32"), 5).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(found, expected)
    assert linalg.matrix_power(np.ones((0, 3, 3), "float32"), 3).shape == (0, 3, 3)
    for n in (0, 2):
        with pytest.raises(ValueError, match="square matrix"):
            linalg.matrix_power(X, n)


# -- gamma functions


def test_gamma_functions_of_integers_and_16_bits():
    x = np.arange(1, 6)
    np.testing.assert_allclose(math.lgamma(x), special.gammaln(x), rtol=1e-6)
    assert math.lgamma(x).dtype == "float32"
    for dtype in ("float16", "bfloat16", "float64"):
        assert dtype_of(math.lgamma, dtype) == dtype_of(math.gammainc, dtype, dtype) == dtype
    assert dtype_of(math.gammainc, "int32", "float16") == "float16"
    assert dtype_of(math.gammainc, "int32", "int32") == "float32"


def test_gammainc_of_edges():
    edges = np.array([0.0, 1e-3, 2.0, 1e4, np.inf, -1.0, np.nan], "float32")
    a, x = edges[:, None], edges
    expected = special.gammainc(a, x)
    for form in FORMS:
        np.testing.assert_allclose(run(form, math.gammainc, a, x), expected, rtol=2e-5, atol=1e-7)


def test_gammainc_of_large_parameters():
    a = np.geomspace(20, 1e4, 50).astype("float32")[:, None]
    x = a * np.linspace(0.8, 1.2, 21, dtype="float32")
    expected = special.gammainc(a.astype("float64"), x.astype("float64"))
    np.testing.assert_allclose(run("static", math.gammainc, a, x), expected, rtol=1e-4, atol=1e-6)
