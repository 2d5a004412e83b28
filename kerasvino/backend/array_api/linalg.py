"""Linear algebra of the standard, on stacks of matrices."""

from __future__ import annotations

from typing import NamedTuple

from kerasvino.backend.ops import linalg as kla
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.shaping import axes_of
from kerasvino.primitives.shape import lengths
from kerasvino.tensor import Tensor

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip


class _Eigen(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class _QR(NamedTuple):
    Q: Tensor
    R: Tensor


class _Slogdet(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class _SVD(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


# -- products


def matmul(x1, x2, /):
    return knp.matmul(x1, x2)


def matrix_transpose(x, /):
    return convert_to_tensor(x).mT


def tensordot(x1, x2, /, *, axes=2):
    return knp.tensordot(x1, x2, axes)


def vecdot(x1, x2, /, *, axis=-1):
    """Inner products along an axis counted from the end, after broadcasting; x1 is conjugated."""
    x1, x2 = promote(x1, x2)
    first, second = (knp.moveaxis(x, axis, -1) for x in (knp.conjugate(x1), x2))
    if None not in (first.shape[-1], second.shape[-1]) and first.shape[-1] != second.shape[-1]:
        raise ValueError(
            f"`vecdot` takes vectors of one length; given: {first.shape[-1]} and "
            f"{second.shape[-1]} (shapes {x1.shape} and {x2.shape}, axis {axis})."
        )
    dtype = first.dtype
    row, column = knp.expand_dims(first, -2), knp.expand_dims(second, -1)
    return to_dtype(knp.squeeze(knp.matmul(row, column), (-2, -1)), dtype)


def outer(x1, x2, /):
    return knp.outer(x1, x2)


def cross(x1, x2, /, *, axis=-1):
    return knp.cross(x1, x2, axis=axis)


def matrix_power(x, n, /):
    """The product of n factors x; of the inverse if n is negative, the identity if it is 0."""
    x = convert_to_tensor(x)
    if n < 0:
        x, n = kla.inv(x), -n
    result = None
    while n:
        if n & 1:
            result = x if result is None else knp.matmul(result, x)
        x, n = knp.matmul(x, x) if n > 1 else x, n >> 1
    if result is None:
        result = knp.broadcast_to(knp.eye(lengths(x)[-1], dtype=x.dtype), lengths(x))
    return result


# -- parts


def diagonal(x, /, *, offset=0):
    return knp.diagonal(x, offset, -2, -1)


def trace(x, /, *, offset=0, dtype=None):
    return convert_to_tensor(x).trace(offset, -2, -1, dtype)


# -- decompositions and solutions


def cholesky(x, /, *, upper=False):
    return kla.cholesky(x, upper)


def det(x, /):
    return kla.det(x)


def eig(x, /):
    return _Eigen(*kla.eig(x))


def eigvals(x, /):
    return kla.eig(x)[0]


def eigh(x, /):
    return _Eigen(*kla.eigh(x))


def eigvalsh(x, /):
    return kla.eigh(x)[0]


def inv(x, /):
    return kla.inv(x)


def matrix_rank(x, /, *, rtol=None):
    """How many singular values exceed `rtol` (a number, or one for each matrix) of the largest."""
    if rtol is None:
        return kla.matrix_rank(x)
    return knp.sum(_counts(svdvals(x), rtol), -1)


def _counts(values, rtol):
    """Whether singular values exceed `rtol` times the largest of their matrix."""
    largest = knp.max(values, -1, keepdims=True, initial=0.0)
    rtol = to_dtype(convert_to_tensor(rtol), values.dtype)
    return knp.greater(values, knp.multiply(largest, knp.expand_dims(rtol, -1)))


def pinv(x, /, *, rtol=None):
    """The Moore-Penrose inverse without singular values up to `rtol` times the largest."""
    if rtol is None or isinstance(rtol, (int, float)):
        return kla.pinv(x, rtol)
    u, values, vh = kla.svd(x, full_matrices=False)
    counted = _counts(values, rtol)
    inverse = knp.where(counted, knp.reciprocal(knp.where(counted, values, 1)), 0)
    left = knp.multiply(_adjoint(vh), knp.expand_dims(to_dtype(inverse, vh.dtype), -2))
    return knp.matmul(left, _adjoint(u))


def _adjoint(x):
    return knp.conjugate(x).mT


def qr(x, /, *, mode="reduced"):
    return _QR(*kla.qr(x, mode))


def slogdet(x, /):
    return _Slogdet(*knp.slogdet(x))


def solve(x1, x2, /):
    """x with x1 x = x2; x2 is one vector, or a stack of matrices."""
    x1, x2 = convert_to_tensor(x1), convert_to_tensor(x2)
    if x2.ndim == 1:
        return knp.squeeze(_solved(x1, knp.expand_dims(x2, -1)), -1)
    return _solved(x1, x2)


def _solved(a, b):
    """`kla.solve` takes one b of rank a.ndim - 1 for vectors: here they are matrices."""
    rank = max(a.ndim, b.ndim)
    a, b = (knp.expand_dims(x, tuple(range(rank - x.ndim))) if x.ndim < rank else x for x in (a, b))
    return kla.solve(a, b)


def svd(x, /, *, full_matrices=True):
    return _SVD(*kla.svd(x, full_matrices))


def svdvals(x, /):
    return kla.svd(x, compute_uv=False)


# -- norms


def matrix_norm(x, /, *, keepdims=False, ord="fro"):
    return kla.norm(x, "fro" if ord is None else ord, (-2, -1), keepdims)


def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    """The norm of the vector of all elements along `axis` (None: all; several: taken as one)."""
    x = convert_to_tensor(x)
    axes = tuple(range(x.ndim)) if axis is None else axes_of(axis, x.ndim)
    others = [a for a in range(x.ndim) if a not in axes]
    sizes = lengths(x)
    flat = knp.reshape(knp.transpose(x, (*others, *axes)), (*[sizes[a] for a in others], -1))
    found = kla.norm(flat, ord, -1)
    if keepdims:
        found = knp.reshape(found, [1 if a in axes else sizes[a] for a in range(x.ndim)])
    return found
