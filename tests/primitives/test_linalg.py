"""Gradients of decompositions through what their free signs and rotations leave alone; accuracy.

A symmetric argument is made symmetric first: rules give the gradient among symmetric matrices.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy

from kerasvino.autodiff import pullback, watch
from kerasvino.graph import Spec, trace
from kerasvino.primitives import linalg
from kerasvino.primitives.elementwise import sin
from kerasvino.primitives.linalg import host
from kerasvino.primitives.linalg.algebra import head, scaled, symmetric, tail, transposed
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.operation_errors import LoweringError
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor
from tests.primitives import gradients
from tests.primitives.harness import Case, Row
from tests.primitives.rows_linalg import definite, general
from tests.primitives.rows_linalg import symmetric as symmetric_values


def projection(vectors):
    return matmul(vectors, vectors, transpose_y=True)


def cholesky(x, *, upper):
    return linalg.cholesky(symmetric(x), upper=upper)


def eigh(x):
    w, v = linalg.eigh(symmetric(x))
    return w, projection(head(v, -1, 1)), matmul(scaled(v, sin(w)), v, transpose_y=True)


def svd(x, *, full_matrices):
    u, s, vt = linalg.svd(x, full_matrices=full_matrices)
    v, k = transposed(vt), min(x.shape[-2:]) if None not in x.shape else 2
    found = matmul(scaled(head(u, -1, k), sin(s)), head(v, -1, k), transpose_y=True)
    spaces = (head(u, -1, 1), head(v, -1, 1), tail(u, -1, k), tail(v, -1, k))
    return s, found, *map(projection, spaces)


def complete_qr(x):
    q, r = linalg.qr(x, mode="complete")
    return r, head(q, -1, x.shape[-1] or 2), projection(tail(q, -1, x.shape[-1] or 2))


class Through(Row):
    """A row of a function of a primitive's results."""

    def __init__(self, function, cases, values):
        super().__init__(function.__name__, cases, values=values, gradient_values=values)
        self.function = function

    @property
    def primitive(self):
        return self.function


def each(shapes, **attrs):
    return [Case(shape, attrs=attrs) for shape in shapes]


SQUARE = [(3, 3), (2, 4, 4), (1, 1)]
ROWS = [
    Through(cholesky, each(SQUARE, upper=False) + each(SQUARE, upper=True), definite),
    Through(eigh, each(SQUARE), symmetric_values),
    Through(svd, each([(3, 3), (4, 2), (2, 2, 4)], full_matrices=False), general),
    Through(svd, each([(3, 3)], full_matrices=True), general),
    Through(complete_qr, each([(4, 2), (2, 5, 2)]), general),
]
# lengths of the parts are two where unknown
LONG = Through(svd, each([(4, 2), (2, 2, 4), (2, 5, 2)], full_matrices=True), general)
ROWS.append(LONG)
IDS = [f"{row.name}-{i}" for i, row in enumerate(ROWS)]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_gradient(row):
    gradients.check_differences(row)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_second_order(row):
    gradients.check_second_order(row)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_compiled_gradient(row):
    gradients.check_compiled(row, dynamic=False)


@pytest.mark.parametrize("row", [ROWS[1], ROWS[4], LONG], ids=lambda row: row.name)
def test_compiled_gradient_dynamic(row):
    gradients.check_compiled(row, dynamic=True)


# -- where a rule has to take care


def gradient(function, array):
    x = watch(Tensor(array))
    (found,) = pullback([function(x)], [Tensor(np.array(1.0, array.dtype))], [x])
    return found.numpy()


@pytest.mark.parametrize("rank", [3, 2, 1, 0])
def test_the_gradient_of_a_vanishing_determinant_is_its_cofactors(rank):
    x = np.random.default_rng(0).integers(-2, 3, (4, 4)).astype("float64")
    x[rank:] = x[:1] * np.arange(4 - rank)[:, None]
    minors = np.empty((4, 4))
    for i, j in np.ndindex(4, 4):
        minor = np.delete(np.delete(x, i, 0), j, 1)
        minors[i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    np.testing.assert_allclose(gradient(linalg.det, x), minors, atol=1e-6)


def test_equal_eigenvalues_leave_symmetric_functions_differentiable():
    def total(x):
        w, v = linalg.eigh(x)
        return linalg.slogdet(matmul(scaled(v, w), v, transpose_y=True))[1]

    np.testing.assert_allclose(gradient(total, 2 * np.eye(3)), np.eye(3) / 2, atol=1e-12)


def test_a_singular_matrix_has_finite_gradients_of_its_singular_values():
    x = np.zeros((3, 2))
    x[0, 0] = 2.0

    def largest(x):
        return linalg.slogdet(
            head(head(projection(linalg.svd(x, full_matrices=True)[0]), -1, 1), -2, 1)
        )[1]

    assert np.isfinite(gradient(largest, x)).all()


# -- graphs


def compiled(primitive, *arrays, dynamic=False, **attrs):
    def function(*tensors):
        result = primitive(*tensors, **attrs)
        return list(result) if isinstance(result, tuple) else [result]

    specs = [Spec((None,) * a.ndim if dynamic else a.shape, "float32") for a in arrays]
    return Program(trace(function, specs), "CPU", {})([a.astype("float32") for a in arrays])


def hilbert(n):
    return scipy.linalg.hilbert(n).astype("float32")


@pytest.mark.parametrize("n", [2, 5, 8, 12])
def test_ill_conditioned_matrices_have_small_residuals(n):
    x = hilbert(n)
    wide = x.astype("float64")
    size = np.linalg.norm(wide)
    u, s, vt = (a.astype("float64") for a in compiled(linalg.svd, x, full_matrices=True))
    assert np.abs(u * s @ vt - wide).max() < 1e-6 * n * size
    for q in (u, vt):
        assert np.abs(q @ q.T - np.eye(n)).max() < 1e-6 * n
    assert np.abs(s - np.linalg.svd(wide, compute_uv=False)).max() < 1e-6 * size
    w, v = (a.astype("float64") for a in compiled(linalg.eigh, x))
    assert np.abs(w - np.linalg.eigvalsh(wide)).max() < 4e-6 * size
    assert np.abs(v * w @ v.T - wide).max() < 1e-6 * n * size
    q, r = (a.astype("float64") for a in compiled(linalg.qr, x, mode="reduced"))
    assert np.abs(q @ r - wide).max() < 1e-6 * n * size
    assert np.abs(q.T @ q - np.eye(n)).max() < 1e-6 * n


@pytest.mark.parametrize("condition", [1e2, 1e6, 1e9])
def test_solutions_of_ill_conditioned_systems_have_small_residuals(condition):
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(20, 9, 9)))[0] for _ in range(2))
    a = (u * np.geomspace(1, 1 / condition, 9) @ v).astype("float32")
    b = (a @ rng.normal(size=(20, 9, 2))).astype("float32")
    (x,) = compiled(linalg.solve, a, b)
    residual = np.linalg.norm(a.astype("float64") @ x - b, axis=(1, 2))
    size = np.linalg.norm(a, axis=(1, 2)) * np.linalg.norm(x, axis=(1, 2))
    assert (residual < 3e-7 * size).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_matrices_of_any_scale(scale):
    x = np.random.default_rng(0).normal(size=(5, 3)) * scale
    _, s, _ = compiled(linalg.svd, x, full_matrices=False)
    np.testing.assert_allclose(s, np.linalg.svd(x, compute_uv=False), rtol=2e-6)
    w, _ = compiled(linalg.eigh, x[:3] + x[:3].T)
    np.testing.assert_allclose(w, np.linalg.eigvalsh(x[:3] + x[:3].T), rtol=1e-5)
    _, r = compiled(linalg.qr, x, mode="reduced")
    np.testing.assert_allclose(r, np.linalg.qr(x)[1], rtol=2e-5, atol=1e-6 * scale)


def test_matrices_of_deficient_rank_have_orthogonal_vectors():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 6, 2)) @ rng.normal(size=(3, 2, 5))
    x[1] = 0
    u, s, vt = compiled(linalg.svd, x, full_matrices=True)
    for q in (u, vt):
        np.testing.assert_allclose(q @ q.swapaxes(1, 2), [np.eye(q.shape[-1])] * 3, atol=2e-6)
    np.testing.assert_allclose((u[..., :5] * s[:, None]) @ vt, x, atol=5e-6)
    assert np.abs(s[:, 2:]).max() < 1e-5 and not s[1].any()


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", ["eigh", "svdvals", "cholesky", "inv"])
def test_a_matrix_without_finite_elements_spoils_no_other(name, dynamic):
    x = definite(np.random.default_rng(0), (3, 4, 4), "float64")
    wanted = getattr(linalg, name)(Tensor(x), **({"upper": False} if name == "cholesky" else {}))
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    x[1, 2, 2] = np.nan
    attrs = {"upper": False} if name == "cholesky" else {}
    found = compiled(getattr(linalg, name), x, dynamic=dynamic, **attrs)[0]
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[::2], wanted.numpy()[::2], rtol=2e-5, atol=2e-6)


def test_what_is_not_positive_definite_has_no_cholesky_factor_in_a_graph():
    x = np.stack([np.eye(3), -np.eye(3), np.ones((3, 3))])
    found = compiled(linalg.cholesky, x, upper=False)[0]
    np.testing.assert_array_equal(found[0], np.eye(3))
    assert np.isnan(found[1]).all() and np.isnan(found[2]).all()


def test_singular_systems_have_infinite_or_undefined_solutions_in_a_graph():
    x = np.array([[1.0, 2.0], [2.0, 4.0]])
    for found in (compiled(linalg.inv, x)[0], compiled(linalg.solve, x, np.ones((2, 1)))[0]):
        assert not np.isfinite(found).any()


def test_eigenvalues_of_any_matrix_are_complex_and_not_for_graphs():
    with pytest.raises(LoweringError, match="complex"):
        trace(lambda x: [*linalg.eig(x)], [Spec((3, 3), "float32")])


@pytest.fixture
def two_threads():
    """Two threads of the BLAS, however many the tests run with."""
    with host._blas().limit(limits=2):
        yield


def blas_threads():
    return {pool["num_threads"] for pool in host._blas().info()}


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("shape", "threads"), [((64, 32), 1), ((3, 8, 8), 1), ((0, 4, 4), 1), ((700, 400), 2)]
)
def test_a_small_qr_wakes_no_threads(monkeypatch, shape, threads):
    during, numpy_qr = [], np.linalg.qr

    def recorded(x, mode):
        during.append(blas_threads())
        return numpy_qr(x, mode=mode)

    monkeypatch.setattr(np.linalg, "qr", recorded)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    q, r = host.qr(x, mode="reduced")
    np.testing.assert_allclose(q @ r, x, atol=1e-4)
    assert during == [{threads}]
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_comes_back_from_many_at_once():
    x = np.random.default_rng(0).normal(size=(40, 30)).astype("float32")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: host.qr(x, mode="complete"), range(200)))
    assert blas_threads() == {2}


def test_qr_of_no_rows():
    q, r = host.qr(np.zeros((2, 0, 3), "float32"), mode="reduced")
    assert q.shape == (2, 0, 0)
    assert r.shape == (2, 0, 3)
