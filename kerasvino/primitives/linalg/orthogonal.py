"""Orthogonal decompositions of matrices (..., m, n): QR, eigenvalues, singular values; pinv.

In a graph: Householder's reflections and Jacobi's rotations (see `factors` and `jacobi`). Vectors
agree with the host's up to their sign, and up to a rotation among those of equal values.
"""

from __future__ import annotations

import numpy as np

from kerasvino.nodes.lowering import const, dims, ints, ov
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.join import concatenate
from kerasvino.primitives.linalg import factors, host, jacobi
from kerasvino.primitives.linalg.algebra import (
    gaps,
    head,
    lower,
    on_diagonal,
    past,
    product,
    scaled,
    symmetric,
    tail,
    transposed,
    unscaled,
)  # fmt: skip
from kerasvino.primitives.linalg.nodes import batched, length, positions, swapped
from kerasvino.primitives.linalg.systems import solve_triangular
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.shape import lengths

__all__ = ["eig", "eigh", "pinv", "qr", "svd", "svdvals"]


# -- QR


def _lower_qr(x, *, mode):
    return factors.householder(x, mode == "complete")


def _vjp_qr(grads, inputs, outputs, *, mode):
    """Walter and Lehmann, "Algorithmic differentiation of linear algebra functions with application
    in optimum experimental design", 2010; Roberts and Roberts, "QR and LQ decomposition matrix
    backpropagation algorithms for square, wide, and deep matrices", 2020, for m < n.
    """
    (dq, dr), x, (q, r) = grads, inputs[0], outputs
    if 0 in x.shape:
        return (zeros_like(x),)
    rows, columns = x.shape[-2:]
    if mode == "complete" and (rows is None or rows != columns):
        q, dq, r, dr = _reduced(q, dq, r, dr)
    if None not in (rows, columns) and rows >= columns:
        return (_vjp_tall(q, r, dq, dr),)
    count = lengths(r)[-2]
    dq = dq + matmul(past(x, count), past(dr, count), transpose_y=True)
    first = _vjp_tall(q, head(r, -1, count), dq, head(dr, -1, count))
    return (concatenate(first, tail(matmul(q, dr), -1, count), axis=x.ndim - 1),)


def _vjp_tall(q, r, dq, dr):
    inner = matmul(r, dr, transpose_y=True) - matmul(dq, q, transpose_x=True)
    inner = lower(inner) + transposed(lower(inner, strict=True))
    return transposed(solve_triangular(r, transposed(dq + matmul(q, inner)), lower=False))


def _reduced(q, dq, r, dr):
    """The reduced factors of complete ones, and their cotangents.

    The further columns of q are taken to move across the first ones only, not among themselves,
    where nothing determines them: right for whatever depends on the space that they span.
    """
    count = lengths(r)[-1]
    dq = _complemented(q, dq, count)
    return head(q, -1, count), dq, head(r, -2, count), head(dr, -2, count)


def _complemented(q, dq, count):
    """Cotangent of the first `count` columns of an orthogonal q, with what goes to the others."""
    first, rest, moved = head(q, -1, count), past(q, count), past(dq, count)
    return head(dq, -1, count) - matmul(rest, matmul(moved, first, transpose_x=True))


def _qr_sizes(*, mode):
    return ["mm", "mn"] if mode == "complete" else ["mk", "kn"]


# x (..., m, n), mode "reduced" or "complete": (Q, R).
qr = Primitive(
    "qr", impl=host.qr, vjp=_vjp_qr, lower=batched(_lower_qr, host.qr, _qr_sizes),
    dtype=lambda inputs, attrs: (inputs[0],) * 2, multiple=True,
)  # fmt: skip

# -- eigenvalues


def _impl_eigh(x):
    return tuple(np.linalg.eigh(x))


def _vjp_eigh(grads, inputs, outputs):
    # Giles 2008, 3.1, and the part of the gradient that lies among symmetric matrices
    (dw, dv), (w, v) = grads, outputs
    inner = gaps(w) * matmul(v, dv, transpose_x=True)
    inner = on_diagonal(dw) + inner
    return (symmetric(matmul(product(v, inner), v, transpose_y=True)),)


# x symmetric, of which the lower triangle is read: (ascending values, vectors in columns). The
# gradient is that among symmetric matrices; where values coincide, of functions that do not tell
# their vectors apart.
eigh = Primitive(
    "eigh", impl=_impl_eigh, vjp=_vjp_eigh,
    lower=batched(jacobi.eigenpairs, _impl_eigh, ["n", "nn"]),
    dtype=lambda inputs, attrs: (inputs[0],) * 2, multiple=True,
)  # fmt: skip


def _complex_of(dtype):
    return "complex128" if dtype in ("float64", "complex128") else "complex64"


# x square: (values, vectors in columns), complex whatever the values.
eig = Primitive(
    "eig", impl=host.eig, multiple=True,
    dtype=lambda inputs, attrs: (_complex_of(inputs[0]),) * 2,
    nondifferentiable="its results are complex; eigh of a symmetric matrix has a gradient",
    untraceable="its results are complex, and OpenVINO has no complex numbers (eigh, of symmetric "
    "matrices, has a form)",
)  # fmt: skip

# -- singular values


def _is_wide(x):
    rows, columns = dims(x)[1:]
    return None not in (rows, columns) and rows < columns


def _lower_svd(x, *, full_matrices):
    """One-sided Jacobi gives the lengths of the columns of x V, a QR their directions.

    So U is orthogonal to rounding whatever the rank.
    """
    if _is_wide(x):
        v, values, u = _lower_svd(swapped(x), full_matrices=full_matrices)
        return swapped(u), values, swapped(v)
    turned, values, v = jacobi.singular(x, vectors=True)
    u, r = factors.householder(turned, full_matrices)
    rows, columns = positions(r)
    diagonal = ov.select(ov.equal(rows, columns), r, const(0, r))
    diagonal = ov.reduce_sum(diagonal, ints([2]), False)
    sign = ov.select(ov.less(diagonal, const(0, r)), const(-1, r), const(1, r))
    u = ov.multiply(u, ov.unsqueeze(sign, ints([1]))).output(0)
    return u, values, v


def _vjp_svd(grads, inputs, outputs, *, full_matrices):
    """Townsend, "Differentiating the singular value decomposition", 2016."""
    (du, ds, dvt), (u, s, vt) = grads, outputs
    v, dv = transposed(vt), transposed(dvt)
    rows, columns = inputs[0].shape[-2:]
    if full_matrices and (rows is None or rows != columns):
        count = lengths(s)[-1]
        du, dv = _complemented(u, du, count), _complemented(v, dv, count)
        u, v = head(u, -1, count), head(v, -1, count)
    apart = gaps(s, squared=True)
    left = apart * matmul(u, du, transpose_x=True)
    right = apart * matmul(v, dv, transpose_x=True)
    inner = scaled(left + transposed(left), s) + transposed(scaled(right + transposed(right), s))
    inner = inner + on_diagonal(ds)
    found = product(u, inner) + unscaled(_outside(u, du), s)
    found = matmul(found, v, transpose_y=True)
    return (found + matmul(u, unscaled(_outside(v, dv), s), transpose_y=True),)


def _outside(q, x):
    """The part of the columns of x that is orthogonal to those of q."""
    return x - matmul(q, matmul(q, x, transpose_x=True))


def _impl_svd(x, *, full_matrices):
    return tuple(np.linalg.svd(x, full_matrices=full_matrices))


def _svd_sizes(*, full_matrices):
    return ["mm", "k", "nn"] if full_matrices else ["mk", "k", "kn"]


# (U, descending singular values, V transposed); the gradient as that of eigh.
svd = Primitive(
    "svd", impl=_impl_svd, lower=batched(_lower_svd, _impl_svd, _svd_sizes), vjp=_vjp_svd,
    dtype=lambda inputs, attrs: (inputs[0],) * 3, multiple=True,
)  # fmt: skip


def _impl_svdvals(x):
    return np.linalg.svd(x, compute_uv=False)


def _lower_svdvals(x):
    if _is_wide(x):
        x = swapped(x)
    (values,) = jacobi.singular(x, vectors=False)
    return values


def _vjp_svdvals(g, inputs, output):
    u, _, vt = svd(inputs[0], full_matrices=False)
    return (matmul(scaled(u, g), vt),)


# The descending singular values.
svdvals = Primitive(
    "svdvals",
    impl=_impl_svdvals,
    lower=batched(_lower_svdvals, _impl_svdvals, ["k"]),
    vjp=_vjp_svdvals,
)

# -- pseudoinverse


def _impl_pinv(x, *, rcond):
    if rcond is None:
        rcond = max(x.shape[-2:]) * np.finfo(x.dtype).eps
    return np.linalg.pinv(x, rcond=rcond)


def _lower_pinv(x, *, rcond):
    if _is_wide(x):
        return swapped(_lower_pinv(swapped(x), rcond=rcond))
    turned, values, v = jacobi.singular(x, vectors=True)
    if rcond is None:
        longer = ov.convert(ov.maximum(length(x, 1), length(x, 2)), "f32")
        rcond = ov.multiply(longer, const(2.0**-23, x))
    else:
        rcond = const(rcond, x)
    cutoff = ov.multiply(ov.reduce_max(values, ints([1]), True), rcond)
    inverse = ov.select(ov.less(cutoff, values), ov.divide(const(1, x), values), const(0, x))
    inverse = ov.unsqueeze(inverse, ints([1]))
    u = ov.multiply(ov.multiply(turned, inverse), inverse)
    return ov.matmul(v, u, True, True).output(0)


def _vjp_pinv(g, inputs, output, *, rcond):
    """Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
    problems whose variables separate", 1973, equation 4.12, where the rank stays as it is.
    """
    a, p = inputs[0], output
    pt, gt = transposed(p), transposed(g)
    inner = -product(pt, g, pt)
    outer = product(gt - product(a, p, gt), p, pt)
    last = product(pt, p, gt - product(gt, p, a))
    return (inner + (outer + last),)


# rcond: singular values up to it times the largest count as 0; None for max(m, n) roundings.
pinv = Primitive(
    "pinv", impl=_impl_pinv, lower=batched(_lower_pinv, _impl_pinv, ["nm"]), vjp=_vjp_pinv
)
