"""Keras's linalg contract: decompositions, solutions, norms. 16-bit floats go through float32."""

from __future__ import annotations

import math

import numpy as np

from kerasvino import dtypes
from kerasvino.backend import transforms
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import maximum
from kerasvino.backend.ops.numpy.elementwise import floating
from kerasvino.backend.ops.numpy.reductions import reduced_axes
from kerasvino.primitives import linalg as p
from kerasvino.primitives.arithmetic import absolute, multiply, power, square
from kerasvino.primitives.cast import cast
from kerasvino.primitives.compare import greater, not_equal
from kerasvino.primitives.complex_parts import real
from kerasvino.primitives.elementwise import sqrt
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.reduce import reduce_max, reduce_min, reduce_sum
from kerasvino.primitives.shape import broadcast_to, expand_dims, lengths, squeeze, transpose
from kerasvino.primitives.triangle import band
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "cholesky", "cholesky_inverse", "det", "eig", "eigh", "inv", "jvp", "lstsq", "lu_factor",
    "matrix_power", "matrix_rank", "norm", "pinv", "qr", "solve", "solve_triangular", "svd",
]  # fmt: skip


def _matrices(*values, square: bool = False) -> tuple[list[Tensor], str]:
    """Operands in a common float dtype of at least 32 bits, and the dtype of the result.

    The first one is a matrix or a stack of them, with `square` of square ones.
    """
    tensors = promote(*values, least=float)
    dtype = tensors[0].dtype
    if dtypes.TABLE[dtype].bits < 32:
        tensors = [to_dtype(t, "float32") for t in tensors]
    shape = tensors[0].shape
    if len(shape) < 2:
        raise ValueError(f"A matrix, or a stack of them, is needed; the shape is {shape}.")
    if square and None not in shape[-2:] and shape[-2] != shape[-1]:
        raise ValueError(f"A square matrix, or a stack of them, is needed; the shape is {shape}.")
    return tensors, dtype


def _narrowed(result, dtype):
    """Float results of a decomposition in the dtype of its operand."""
    if isinstance(result, tuple):
        return tuple(_narrowed(part, dtype) for part in result)
    floats = dtypes.is_float(result.dtype) and dtypes.is_float(dtype)
    return to_dtype(result, dtype) if floats else result


def _of_matrix(primitive, square=True):
    """The contract function of a matrix alone."""

    def function(x, **attrs):
        (x,), dtype = _matrices(x, square=square)
        return _narrowed(primitive(x, **attrs), dtype)

    return function


_cholesky, _eig, _eigh = map(_of_matrix, (p.cholesky, p.eig, p.eigh))
_inv, _det = map(_of_matrix, (p.inv, p.det))
_lu, _qr = (_of_matrix(primitive, square=False) for primitive in (p.lu_factor, p.qr))


def cholesky(a, upper=False):
    """The triangular factor L of a positive definite a = L L^T; its transpose if `upper`.

    Raises:
        numpy.linalg.LinAlgError: a is not positive definite; in a graph the factor is NaN then.
    """
    factor = _cholesky(a, upper=bool(upper))
    if not factor.is_symbolic and np.isnan(factor.numpy()).any():
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    return factor


def cholesky_inverse(a, upper=False):
    """The inverse of the matrix with Cholesky factor a, (..., n, n)."""
    (a,), dtype = _matrices(a, square=True)
    identity = cast(band(*lengths(a)[-2:], 0, "equal"), dtype=a.dtype)
    inverse = p.solve_triangular(a, identity, lower=not upper)
    return _narrowed(
        matmul(inverse, inverse, transpose_x=not upper, transpose_y=bool(upper)), dtype
    )


def det(a):
    """The determinant."""
    return _det(a)


def eig(x):
    """Eigenvalues and eigenvectors, both complex."""
    return _eig(x)


def eigh(x):
    """Ascending eigenvalues, and eigenvectors, of a symmetric matrix."""
    return _eigh(x)


def inv(a):
    """The inverse."""
    return _inv(a)


def lu_factor(x):
    """(L and U packed into one matrix, the int32 row exchanged with at each step)."""
    return _lu(x)


def qr(x, mode="reduced"):
    """(Q, R) with x = Q R; mode "reduced" or "complete"."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"Invalid `mode`: {mode!r}. Expected one of {{'reduced', 'complete'}}.")
    return _qr(x, mode=mode)


def svd(x, full_matrices=True, compute_uv=True):
    """(U, s, V^T) with x = U diag(s) V^T; only s, which is real, without `compute_uv`."""
    (x,), dtype = _matrices(x)
    if not compute_uv:
        return _narrowed(_real(p.svdvals(x)), dtype)
    u, values, v = p.svd(x, full_matrices=bool(full_matrices))
    return _narrowed((u, _real(values), v), dtype)


def _real(x):
    return real(x) if dtypes.TABLE[x.dtype].kind == "c" else x


def _solved(primitive, a, b, **attrs):
    """b may be a stack of vectors: then its rank is one less than that of a."""
    (a, b), dtype = _matrices(a, b, square=True)
    vectors = b.ndim == a.ndim - 1
    result = primitive(a, expand_dims(b, axis=(b.ndim,)) if vectors else b, **attrs)
    return _narrowed(squeeze(result, axis=(result.ndim - 1,)) if vectors else result, dtype)


def solve(a, b):
    """x with a x = b."""
    return _solved(p.solve, a, b)


def solve_triangular(a, b, lower=False):
    """x with a x = b, where a is an upper (or lower) triangular matrix."""
    return _solved(p.solve_triangular, a, b, lower=bool(lower))


def pinv(x, rcond=None):
    """The Moore-Penrose inverse; singular values up to `rcond` times the largest count as 0.

    Default: the larger number of rows and columns times the rounding of float32, or of float64.
    """
    (x,), dtype = _matrices(x)
    return _narrowed(p.pinv(x, rcond=None if rcond is None else float(rcond)), dtype)


def lstsq(a, b, rcond=None):
    """The x of least norm that minimises |a x - b|, for b (m,) or (m, k); `rcond` as in `pinv`."""
    (a, b), dtype = _matrices(a, b)
    columns = expand_dims(b, axis=(1,)) if b.ndim == 1 else b
    result = matmul(p.pinv(a, rcond=None if rcond is None else float(rcond)), columns)
    return _narrowed(squeeze(result, axis=(1,)) if b.ndim == 1 else result, dtype)


def matrix_power(a, n):
    """The square matrix a, or each of a stack, to the integer power n; for n < 0 of its inverse.

    Integer matrices keep their dtype, unless they are inverted.
    """
    a = convert_to_tensor(a)
    if n >= 0 and not dtypes.is_float(a.dtype):
        _matrices(a, square=True)
        return _matrix_power(a, n)
    (a,), dtype = _matrices(a, square=True)
    return _narrowed(_matrix_power(p.inv(a) if n < 0 else a, abs(n)), dtype)


def _matrix_power(a, n):
    """a to the power n >= 0, by squaring."""
    if n == 0:
        identity = cast(band(*lengths(a)[-2:], 0, "equal"), dtype=a.dtype)
        return broadcast_to(identity, shape=lengths(a))
    result = None
    while True:
        if n % 2:
            result = a if result is None else matmul(result, a)
        n //= 2
        if not n:
            return result
        a = matmul(a, a)


def matrix_rank(x, tol=None):
    """How many singular values exceed `tol`, as int32.

    Default: the largest one times the larger number of rows and columns and the rounding of
    float32, or of float64.
    """
    (x,), _ = _matrices(x)
    values = p.svdvals(x)
    last = (values.ndim - 1,)
    if 0 in x.shape[-2:]:
        limit = constant_like(0, values)
    elif tol is None:
        longer = to_dtype(maximum(*lengths(x)[-2:]), values.dtype)
        precision = 2.0**-52 if x.dtype == "float64" else 2.0**-23
        limit = multiply(longer, constant_like(precision, values))
        limit = multiply(reduce_max(values, axis=last, keepdims=True), limit)
    else:
        limit = constant_like(float(tol), values)
    return reduce_sum(to_dtype(greater(values, limit), "int32"), axis=last, keepdims=False)


# -- norms


def norm(x, ord=None, axis=None, keepdims=False):
    """The norm over one axis (vectors), two (matrices) or all, as in `numpy.linalg.norm`."""
    x = convert_to_tensor(x)
    x = to_dtype(x, floating(x.dtype))
    dtype = x.dtype
    if dtypes.TABLE[dtype].bits < 32:
        x = to_dtype(x, "float32")
    axes = reduced_axes(x, axis)
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        result = sqrt(reduce_sum(square(absolute(x)), axis=axes, keepdims=bool(keepdims)))
    elif len(axes) == 1:
        result = _vector_norm(x, ord, axes, bool(keepdims))
    elif len(axes) == 2:
        result = _matrix_norm(x, ord, axes, bool(keepdims))
    else:
        raise ValueError(f"ord={ord!r} is defined for one or two axes; given: axis={axis!r}.")
    return to_dtype(result, dtype) if dtypes.is_float(dtype) else result


def _vector_norm(x, ord, axes, keepdims):
    if isinstance(ord, str):
        raise ValueError(f"Invalid `ord` argument for vector norm: {ord!r}. It must be a number.")
    size = absolute(x)
    if ord == math.inf:
        return reduce_max(size, axis=axes, keepdims=keepdims)
    if ord == -math.inf:
        return reduce_min(size, axis=axes, keepdims=keepdims)
    if ord == 0:
        present = to_dtype(not_equal(x, constant_like(0, x)), size.dtype)
        return reduce_sum(present, axis=axes, keepdims=keepdims)
    if ord == 1:
        return reduce_sum(size, axis=axes, keepdims=keepdims)
    total = reduce_sum(power(size, constant_like(ord, size)), axis=axes, keepdims=keepdims)
    return power(total, constant_like(1 / ord, total))


def _matrix_norm(x, ord, axes, keepdims):
    row, column = axes
    if ord in (1, -1, math.inf, -math.inf):
        summed, kept = (row, column) if abs(ord) == 1 else (column, row)
        extreme = reduce_max if ord > 0 else reduce_min
        sums = reduce_sum(absolute(x), axis=(summed,), keepdims=True)
        result = extreme(sums, axis=(kept,), keepdims=True)
    elif ord in ("nuc", 2, -2):
        order = [a for a in range(x.ndim) if a not in axes]
        values = p.svdvals(transpose(x, axes=(*order, row, column)))
        last = (values.ndim - 1,)
        reduction = {"nuc": reduce_sum, 2: reduce_max, -2: reduce_min}[ord]
        result = expand_dims(reduction(values, axis=last, keepdims=False), axis=tuple(sorted(axes)))
    else:
        raise ValueError(
            f"Invalid `ord` argument for matrix norm: {ord!r}. Accepted: None, 'fro', 'nuc', 1, "
            "-1, 2, -2, inf, -inf."
        )
    return result if keepdims else squeeze(result, axis=tuple(sorted(axes)))


def jvp(fun, primals, tangents, has_aux=False):
    """`kerasvino.jvp`; Keras compares the arguments, which have no types in its own."""
    return transforms.jvp(fun, primals, tangents, has_aux)
