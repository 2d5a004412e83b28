"""Linear algebra: every function in every form against NumPy and SciPy, derivatives against JAX."""

import functools
import math

import jax
import jax.numpy as jnp
import keras
import ml_dtypes
import numpy as np
import pytest
import scipy

import kerasvino
from kerasvino.backend.ops import linalg
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program
from tests.backend.forms import FORMS, nodes, run


@pytest.fixture(scope="module", autouse=True)
def in_float64():
    """JAX computes the reference derivatives in float64, in these tests alone."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


RNG = np.random.default_rng(0)


def _general(*shape):
    return RNG.normal(size=shape) + 2 * np.eye(*shape[-2:])


def _definite(*shape):
    x = _general(*shape)
    return x @ x.swapaxes(-1, -2) / 2 + np.eye(shape[-1])


def _rebuilt(u, s, vt):
    k = s.shape[-1]
    return (u[..., :k] * s[..., None, :]) @ vt[..., :k, :]


TALL, WIDE, SQUARE, STACK = _general(5, 3), _general(3, 5), _general(4, 4), _general(2, 3, 3, 3)
SPD = _definite(2, 4, 4)
LOW = RNG.normal(size=(5, 2)) @ RNG.normal(size=(2, 4))
RIGHT = RNG.normal(size=(4, 2))
# name: (function of tensors, the same of arrays, arguments)
CASES = {
    "cholesky": (linalg.cholesky, np.linalg.cholesky, SPD),
    "cholesky upper": (
        functools.partial(linalg.cholesky, upper=True),
        lambda x: np.linalg.cholesky(x, upper=True), SPD,
    ),
    "cholesky_inverse": (
        linalg.cholesky_inverse, lambda a: np.linalg.inv(np.tril(a) @ np.tril(a).swapaxes(-1, -2)),
        SPD,
    ),
    "cholesky_inverse upper": (
        lambda a: linalg.cholesky_inverse(a, upper=True),
        lambda a: np.linalg.inv(np.triu(a).swapaxes(-1, -2) @ np.triu(a)), SPD,
    ),
    "det": (linalg.det, np.linalg.det, STACK),
    "eigh": (lambda x: linalg.eigh(x)[0], np.linalg.eigvalsh, SPD),
    "inv": (linalg.inv, np.linalg.inv, STACK),
    "lu_factor": (linalg.lu_factor, scipy.linalg.lu_factor, TALL),
    "lu_factor wide": (linalg.lu_factor, scipy.linalg.lu_factor, WIDE),
    "slogdet": (keras.ops.slogdet, lambda x: tuple(np.linalg.slogdet(x)), STACK),
    "logdet": (keras.ops.logdet, lambda x: np.linalg.slogdet(x)[1], STACK),
    "qr": (linalg.qr, lambda x: tuple(np.linalg.qr(x)), TALL),
    "qr wide": (linalg.qr, lambda x: tuple(np.linalg.qr(x)), WIDE),
    "qr complete": (
        lambda x: linalg.qr(x, mode="complete")[1], lambda x: np.linalg.qr(x, "complete")[1], TALL,
    ),
    "solve": (linalg.solve, np.linalg.solve, SQUARE, RIGHT),
    "solve vector": (linalg.solve, np.linalg.solve, SQUARE, RIGHT[:, 0]),
    "solve_triangular": (linalg.solve_triangular, scipy.linalg.solve_triangular, SQUARE, RIGHT),
    "solve_triangular lower": (
        lambda a, b: linalg.solve_triangular(a, b, lower=True),
        lambda a, b: scipy.linalg.solve_triangular(a, b, lower=True), SQUARE, RIGHT[:, 1],
    ),
    "svd": (lambda x: _rebuilt(*linalg.svd(x)), lambda x: x, STACK),
    "svd tall": (lambda x: _rebuilt(*linalg.svd(x, full_matrices=False)), lambda x: x, TALL),
    "svd wide": (lambda x: _rebuilt(*linalg.svd(x, full_matrices=False)), lambda x: x, WIDE),
    "svd values": (
        lambda x: linalg.svd(x, compute_uv=False), lambda x: np.linalg.svd(x)[1], STACK,
    ),
    "pinv": (linalg.pinv, np.linalg.pinv, STACK),
    "pinv of low rank": (
        lambda x: linalg.pinv(x, rcond=0.02), lambda x: np.linalg.pinv(x, rcond=0.02), LOW,
    ),
    "lstsq": (linalg.lstsq, lambda a, b: np.linalg.lstsq(a, b)[0], TALL, RNG.normal(size=(5, 2))),
    "lstsq vector": (
        linalg.lstsq, lambda a, b: np.linalg.lstsq(a, b)[0], TALL, RNG.normal(size=5),
    ),
    "matrix_rank": (
        lambda x: linalg.matrix_rank(x, tol=0.05), lambda x: np.linalg.matrix_rank(x, tol=0.05),
        np.stack([LOW, 0 * LOW]),
    ),
}  # fmt: skip
CLOSE = {"float64": 1e-5, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}


def _compare(found, wanted, tolerance):
    found = found if isinstance(found, list) else [found]
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for f, w in zip(found, wanted, strict=True):
        assert f.shape == w.shape
        f = f.astype("float64") if f.dtype.kind in "fV" or f.dtype == ml_dtypes.bfloat16 else f
        scale = np.abs(w).max(initial=1)
        np.testing.assert_allclose(f, w, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_float32(name, form):
    function, reference, *arrays = CASES[name]
    arrays = [a.astype("float32") for a in arrays]
    wanted = reference(*(a.astype("float64") for a in arrays))
    _compare(run(form, function, *arrays), wanted, CLOSE["float32"])


@pytest.mark.parametrize("form", ["host", "static"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", ["cholesky", "det", "eigh", "inv", "lstsq", "qr", "solve", "svd"])
def test_other_floats(name, dtype, form):
    function, reference, *arrays = CASES[name]
    arrays = [a.astype(dtype) for a in arrays]
    wanted = reference(*(a.astype("float64") for a in arrays))
    found = run(form, function, *arrays)
    _compare(found, wanted, CLOSE[dtype])
    assert str((found[0] if isinstance(found, list) else found).dtype) == dtype


STACKS = {
    "cholesky": _definite(3, 4, 4), "det": _general(3, 4, 4), "inv": _general(3, 4, 4),
    "eigh": _definite(3, 4, 4), "lu_factor": _general(3, 5, 3), "qr": _general(3, 3, 5),
    "svd": _general(3, 3, 5), "pinv": _general(3, 5, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
def test_stacks_of_unknown_length(name):
    """One graph for any number of matrices of a known size, none among them."""
    x = STACKS[name].astype("float32")

    def function(x):
        found = getattr(linalg, name)(x)
        return list(found) if isinstance(found, tuple) else [found]

    program = Program(trace(function, [Spec((None, *x.shape[1:]), "float32")]), "CPU", {})
    whole = program([x])
    for count in (0, 1, 3):
        for part, all_of_it in zip(program([x[:count]]), whole, strict=True):
            assert part.shape == (count, *all_of_it.shape[1:])
            np.testing.assert_allclose(part, all_of_it[:count], rtol=1e-4, atol=1e-5)
    for got, wanted in zip(whole, [t.numpy() for t in function(x)], strict=True):
        assert got.shape == wanted.shape
        if name not in ("svd", "eigh"):  # signs of vectors
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_integers_become_floats():
    x = np.array([[2, 1], [1, 3]], "int32")
    for form in ("host", "static"):
        found = run(form, linalg.inv, x)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.linalg.inv(x), rtol=1e-6)


# -- norms

ORDERS = [
    *[(ord, axis) for ord in (None, 2, 1, 3, 0.5, -1, 0, math.inf, -math.inf) for axis in (1, -1)],
    *[(o, (0, 2)) for o in (None, "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)],
    ("nuc", (2, 1)), (1, (-1, 0)), (None, None),
]  # fmt: skip


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_norms(form, keepdims):
    x = RNG.normal(size=(3, 4, 5)).astype("float32")

    def norms(module):
        return lambda x: [module.norm(x, ord, axis, keepdims) for ord, axis in ORDERS]

    wanted = tuple(norms(np.linalg)(x.astype("float64")))
    _compare(run(form, norms(linalg), x), wanted, 1e-5)


@pytest.mark.parametrize(("ord", "axis"), ORDERS)
def test_gradients_of_norms(ord, axis):
    if ord == 0:
        pytest.skip("a count has no gradient")
    x = RNG.normal(size=(3, 4, 5))

    def total(norm):
        return lambda x: (norm(x, ord, axis) ** 2).sum()

    wanted = jax.grad(total(jnp.linalg.norm))(x)
    found = kerasvino.grad(lambda x: keras.ops.sum(linalg.norm(x, ord, axis) ** 2))(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("ord", "axis"), [("fro", 0), (3, (0, 1)), (0, (0, 1)), (1, None)])
def test_norms_that_there_are_not(ord, axis):
    with pytest.raises(ValueError):
        linalg.norm(np.ones((2, 3, 4), "float32"), ord, axis)


# -- derivatives

DERIVED = {
    "cholesky": (lambda x: linalg.cholesky(x @ keras.ops.transpose(x)),
                 lambda x: jnp.linalg.cholesky(x @ x.T)),
    "cholesky_inverse": (lambda x: linalg.cholesky_inverse(x),
                         lambda x: jnp.linalg.inv(jnp.tril(x) @ jnp.tril(x).T)),
    "det": (linalg.det, jnp.linalg.det),
    "logdet": (keras.ops.logdet, lambda x: jnp.linalg.slogdet(x)[1]),
    "inv": (linalg.inv, jnp.linalg.inv),
    "qr": (lambda x: sum(linalg.qr(x)), lambda x: sum(jnp.linalg.qr(x))),
    "eigh": (lambda x: linalg.eigh(x + keras.ops.transpose(x))[0],
             lambda x: jnp.linalg.eigh(x + x.T)[0]),
    "svd": (lambda x: linalg.svd(x, compute_uv=False),
            lambda x: jnp.linalg.svd(x, compute_uv=False)),
    "pinv": (lambda x: linalg.pinv(x[:, :3]), lambda x: jnp.linalg.pinv(x[:, :3])),
    "lstsq": (lambda x: linalg.lstsq(x[:, :3], x[:, 3:]),
              lambda x: jnp.linalg.pinv(x[:, :3]) @ x[:, 3:]),
    "solve": (lambda x: linalg.solve(x, x[0]), lambda x: jnp.linalg.solve(x, x[0])),
    "solve_triangular": (lambda x: linalg.solve_triangular(x, x @ x),
                         lambda x: jax.scipy.linalg.solve_triangular(x, x @ x)),
    "lu_factor": (lambda x: linalg.lu_factor(x)[0], lambda x: jax.scipy.linalg.lu_factor(x)[0]),
}  # fmt: skip


@pytest.mark.parametrize("name", DERIVED)
def test_directional_derivatives(name):
    ours, theirs = DERIVED[name]
    x, direction = _general(4, 4), RNG.normal(size=(4, 4))
    value, slope = jax.jvp(theirs, (x,), (direction,))
    found = linalg.jvp(ours, (keras.ops.convert_to_tensor(x),), (direction,))
    np.testing.assert_allclose(found[0], value, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found[1], slope, rtol=1e-8, atol=1e-10)
    traced = kerasvino.jit(lambda x, d: linalg.jvp(ours, (x,), (d,)))
    found = traced(x.astype("float32"), direction.astype("float32"))
    np.testing.assert_allclose(found[0], value, rtol=1e-3, atol=1e-4 * np.abs(value).max())
    np.testing.assert_allclose(found[1], slope, rtol=1e-3, atol=1e-4 * np.abs(slope).max())


def test_jvp_with_auxiliary_results():
    x = np.array([0.5, 1.0])

    def function(x):
        return {"sine": keras.ops.sin(x)}, x * 2

    value, slope, aux = keras.ops.jvp(function, (x,), (np.ones(2),), has_aux=True)
    np.testing.assert_allclose(value["sine"], np.sin(x))
    np.testing.assert_allclose(slope["sine"], np.cos(x))
    np.testing.assert_allclose(aux, 2 * x)


# -- graphs and errors


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("function", [linalg.svd, linalg.eigh, linalg.qr, linalg.det, linalg.inv])
def test_graphs_do_not_grow_with_matrices(function, dynamic):
    small, large = (np.ones((n, n), "float32") for n in (4, 64))
    assert len(nodes(function, small, dynamic=dynamic)) == len(
        nodes(function, large, dynamic=dynamic)
    )


@pytest.mark.parametrize("name", ["det", "inv", "eigh", "eig", "cholesky", "cholesky_inverse"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 2)])
def test_what_is_not_square_is_refused(name, shape):
    for form in ("host", "static"):
        with pytest.raises(ValueError, match="matrix"):
            run(form, getattr(linalg, name), np.ones(shape, "float32"))


def test_what_is_not_positive_definite_has_no_cholesky_factor():
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        linalg.cholesky(-np.eye(3, dtype="float32"))


def test_complex_eigenvalues():
    x = np.array([[0.0, -1.0], [1.0, 0.0]], "float32")
    w, v = (t.numpy() for t in linalg.eig(x))
    assert w.dtype == np.complex64
    np.testing.assert_allclose(x @ v, v * w, atol=1e-6)
    with pytest.raises(ValueError, match="complex"):
        run("static", linalg.eig, x)
