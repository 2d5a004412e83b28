"""Primitives of linear algebra on the host, over stacks of matrices, of 32-bit or wider floats."""

from __future__ import annotations

import numpy as np
import scipy

from kerasvino.primitives.arithmetic import multiply, negative
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.shape import expand_dims, transpose
from kerasvino.primitives.unbroadcast import unbroadcast

__all__ = [
    "cholesky", "det", "eig", "eigh", "inv", "lu_factor", "matrix_rank", "pinv", "qr", "slogdet",
    "solve",
    "solve_triangular", "svd", "svdvals",
]  # fmt: skip

_NO_RULE = "a matrix decomposition without a gradient rule"


def _stacked(function, *arrays):
    """`function` of each matrix in stacks of one shape, its results stacked likewise."""
    batch = arrays[0].shape[:-2]
    results = [function(*(a[i] for a in arrays)) for i in np.ndindex(batch)]
    if not results:
        example = function(*(np.ones(a.shape[-2:], a.dtype) for a in arrays))
        return tuple(np.zeros((*batch, *part.shape), part.dtype) for part in example)
    return tuple(
        np.stack(parts).reshape(batch + parts[0].shape) for parts in zip(*results, strict=True)
    )


def _complex_of(dtype):
    return "complex128" if dtype in ("float64", "complex128") else "complex64"


def _eig(x):
    values, vectors = np.linalg.eig(x)
    wide = np.result_type(x.dtype, np.complex64)
    return values.astype(wide), vectors.astype(wide)


def _lu_factor(x):
    def one(matrix):
        packed, pivots = scipy.linalg.lu_factor(matrix, check_finite=False)
        return packed, pivots.astype(np.int32)

    return _stacked(one, x)


def _solve_triangular(a, b, *, lower):
    def one(a, b):
        return (scipy.linalg.solve_triangular(a, b, lower=lower, check_finite=False),)

    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(v, batch + v.shape[-2:]) for v in (a, b))
    return _stacked(one, a, b)[0]


def _transposed(x):
    last = x.ndim - 1
    return transpose(x, axes=(*range(last - 1), last, last - 1))


def _vjp_inv(g, inputs, output):
    return (negative(matmul(matmul(output, g, transpose_x=True), output, transpose_y=True)),)


def _vjp_det(g, inputs, output):
    scale = expand_dims(multiply(g, output), axis=(g.ndim, g.ndim + 1))
    return (multiply(scale, _transposed(inv(inputs[0]))),)


def _vjp_slogdet(grads, inputs, outputs):
    scale = expand_dims(grads[1], axis=(grads[1].ndim, grads[1].ndim + 1))
    return (multiply(scale, _transposed(inv(inputs[0]))),)


def _vjp_solve(g, inputs, output):
    a, b = inputs
    db = solve(_transposed(a), g)
    return unbroadcast(negative(matmul(db, output, transpose_y=True)), a), unbroadcast(db, b)


def _host(name, impl, dtype=None, vjp=None, multiple=False):
    return Primitive(
        name, impl=impl, dtype=dtype, vjp=vjp, multiple=multiple,
        nondifferentiable=None if vjp else _NO_RULE,
    )  # fmt: skip


def _same(count):
    return lambda inputs, attrs: (inputs[0],) * count


# x (..., n, n).
inv = _host("inv", np.linalg.inv, vjp=_vjp_inv)
det = _host("det", np.linalg.det, vjp=_vjp_det)
# The sign (or phase) and the logarithm of the magnitude of the determinant.
slogdet = _host(
    "slogdet",
    lambda x: tuple(np.linalg.slogdet(x)),
    dtype=_same(2),
    vjp=_vjp_slogdet,
    multiple=True,
)
# upper: the transposed factor.
cholesky = _host("cholesky", lambda x, *, upper: np.linalg.cholesky(x, upper=upper))
# (values (..., n), vectors in columns), complex whatever the values.
eig = _host("eig", _eig, dtype=lambda inputs, attrs: (_complex_of(inputs[0]),) * 2, multiple=True)
# Of symmetric x, its lower triangle; values ascend.
eigh = _host("eigh", np.linalg.eigh, dtype=_same(2), multiple=True)
# a (..., n, n), b (..., n, k).
solve = _host("solve", np.linalg.solve, vjp=_vjp_solve)
solve_triangular = _host("solve_triangular", _solve_triangular)

# x (..., m, n). lu_factor: (L and U packed, int32 rows exchanged at each step).
lu_factor = _host(
    "lu_factor", _lu_factor, dtype=lambda inputs, attrs: (inputs[0], "int32"), multiple=True
)
qr = _host("qr", lambda x, *, mode: np.linalg.qr(x, mode=mode), dtype=_same(2), multiple=True)
# (U, singular values, V transposed).
svd = _host(
    "svd", lambda x, *, full_matrices: np.linalg.svd(x, full_matrices=full_matrices),
    dtype=_same(3), multiple=True,
)  # fmt: skip
svdvals = _host("svdvals", lambda x: np.linalg.svd(x, compute_uv=False))
# rcond: singular values up to it times the largest count as 0.
pinv = _host("pinv", lambda x, *, rcond: np.linalg.pinv(x, rcond=rcond))
# tol: singular values up to it count as 0; None for NumPy's default.
matrix_rank = _host(
    "matrix_rank", lambda x, *, tol: np.asarray(np.linalg.matrix_rank(x, tol=tol), np.int32),
    dtype="int32",
)  # fmt: skip
