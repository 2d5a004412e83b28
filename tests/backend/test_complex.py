"""Complex numbers on the host: every function that NumPy has for them gives what NumPy gives."""

import numpy as np
import pytest
from keras import ops, tree

_rng = np.random.default_rng(0)


def complexes(*shape):
    return (_rng.normal(size=shape) + 1j * _rng.normal(size=shape)).astype("complex64")


X, Y, SQUARE = complexes(3, 4), complexes(3, 4), complexes(3, 3)
HERMITIAN = SQUARE @ SQUARE.conj().T + 3 * np.eye(3, dtype="complex64")

UNARY = """abs absolute all angle any arccos arccosh arcsin arcsinh arctan arctanh argsort conj
conjugate copy cos cosh count_nonzero cumprod cumsum diag diagonal diff exp exp2 expm1 flip
imag isfinite isinf isnan isreal log log10 log1p log2 logical_not max mean min nan_to_num nansum
negative nonzero ones_like prod ptp ravel real reciprocal round sign sin sinh sort sqrt
square squeeze std sum tan tanh trace transpose tril unique var zeros_like"""
BINARY = """add append divide equal inner isclose kron maximum multiply not_equal outer power
subtract vdot"""


def _same(found, expected):
    found, expected = tree.flatten(found), tree.flatten(expected)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, map(np.asarray, expected), strict=True):
        assert tuple(ours.shape) == theirs.shape
        assert np.asarray(ours).dtype.kind == theirs.dtype.kind
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", UNARY.split())
def test_unary(name):
    _same(getattr(ops, name)(X), getattr(np, name)(X))


@pytest.mark.parametrize("name", BINARY.split())
def test_binary(name):
    _same(getattr(ops, name)(X, Y), getattr(np, name)(X, Y))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lambda: ops.matmul(X, Y.T), lambda: X @ Y.T),
        (lambda: ops.tensordot(X, Y.T, 1), lambda: np.tensordot(X, Y.T, 1)),
        (lambda: ops.einsum("ij,kj->ik", X, Y), lambda: np.einsum("ij,kj->ik", X, Y)),
        (lambda: ops.where(X.real > 0, X, Y), lambda: np.where(X.real > 0, X, Y)),
        (lambda: ops.stack([X, Y]), lambda: np.stack([X, Y])),
        (lambda: ops.take(X, [1, 2], axis=1), lambda: X[:, [1, 2]]),
        (lambda: ops.pad(X, 1), lambda: np.pad(X, 1)),
        (lambda: ops.cast(X.real, "complex64"), lambda: X.real.astype("complex64")),
        (lambda: ops.view_as_real(X), lambda: np.stack([X.real, X.imag], -1)),
        (lambda: ops.polar(np.abs(X), np.angle(X)), lambda: X),
        (lambda: ops.inv(SQUARE), lambda: np.linalg.inv(SQUARE)),
        (lambda: ops.solve(SQUARE, X), lambda: np.linalg.solve(SQUARE, X)),
        (lambda: ops.cholesky(HERMITIAN), lambda: np.linalg.cholesky(HERMITIAN)),
    ],
)
def test_others(found, expected):
    _same(found(), expected())


@pytest.mark.parametrize(
    ("other", "dtype"),
    [(1.5, "complex64"), (1j, "complex64"), (np.arange(4), "complex64"), (X, "complex64")],
)
def test_promotion(other, dtype):
    assert ops.add(X, other).dtype == dtype
    assert ops.multiply(X.real, 1j).dtype == "complex64"
    assert ops.convert_to_tensor([1, 2j]).dtype == "complex64"


def test_a_graph_refuses_them():
    from kerasvino import jit

    with pytest.raises(TypeError, match="complex64 cannot enter a compiled OpenVINO graph"):
        jit(ops.exp)(ops.convert_to_tensor(X))
