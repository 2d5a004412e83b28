"""LU and what rests on it: determinants, inverses, solutions of linear systems; Cholesky.

Matrices are (..., n, n), in 32-bit or wider floats. In a graph a singular matrix gives infinities
or NaN where the host raises `numpy.linalg.LinAlgError`.
"""

from __future__ import annotations

import numpy as np
from openvino import Type

from kerasvino.nodes.lowering import const, convert, dims, ints, ov, rank, shape_of
from kerasvino.primitives.arithmetic import absolute
from kerasvino.primitives.cast import cast
from kerasvino.primitives.compare import equal, logical_and, select, where
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.create import iota, zeros_like
from kerasvino.primitives.linalg import factors, host
from kerasvino.primitives.linalg.algebra import (
    beyond,
    diagonal,
    eye,
    lower,
    on_diagonal,
    symmetric,
    transposed,
    upper,
)  # fmt: skip
from kerasvino.primitives.linalg.nodes import batched, filled, i32, restored, stacked, swapped
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.reduce import reduce_max, reduce_prod
from kerasvino.primitives.shape import expand_dims, lengths
from kerasvino.primitives.triangle import band, part
from kerasvino.primitives.unbroadcast import constant_like, unbroadcast
from kerasvino.tensor import Tensor

__all__ = [
    "cholesky", "det", "inv", "lu_factor", "row_order", "slogdet", "solve", "solve_triangular",
]  # fmt: skip


# -- inverse, solution


def _vjp_inv(g, inputs, output):
    # Giles, "An extended collection of matrix derivative results", 2008, 2.2.3
    return (-matmul(matmul(output, g, transpose_x=True), output, transpose_y=True),)


inv = Primitive(
    "inv", impl=np.linalg.inv, lower=batched(factors.inverse, np.linalg.inv, ["nn"]), vjp=_vjp_inv
)


def _lower_solve(a, b):
    a, b = _together(a, b)
    if 0 in dims(b) and None not in dims(b):
        return const(np.zeros(dims(b)), b)
    both = stacked(ov.concat([a, b], rank(a) - 1).output(0))
    found = factors.solution(filled(both, axes=(0,)))
    if dims(both)[0] is None:
        count = ov.gather(shape_of(both), ints([0]), ints(0))
        found = ov.slice(found, ints([0]), count, ints([1]), ints([0])).output(0)
    return restored(found, b)


def _vjp_solve(g, inputs, output):
    # Giles, 2.3.1
    a, b = inputs
    db = solve(transposed(a), g)
    return unbroadcast(-matmul(db, output, transpose_y=True), a), unbroadcast(db, b)


# a (..., n, n), b (..., n, k), leading axes broadcast.
solve = Primitive("solve", impl=np.linalg.solve, lower=_lower_solve, vjp=_vjp_solve)


def _lower_triangular(a, b, *, lower):
    a, b = _together(a, b)
    return restored(factors.substituted(stacked(a), stacked(b), lower), b)


def _together(a, b):
    """The operands with their leading axes broadcast together."""
    lead = [dims(v)[:-2] for v in (a, b)]
    if lead[0] == lead[1] and None not in lead[0]:
        return a, b
    return _spread(a, b), _spread(b, a)


def _spread(x, other):
    lead = ov.slice(shape_of(other), ints([0]), ints([-2]), ints([1]))
    shape = ov.concat([lead, ints([1, 1])], 0)
    return ov.broadcast(x, shape, broadcast_spec="BIDIRECTIONAL").output(0)


def _vjp_triangular(g, inputs, output, *, lower):
    # Giles, 2.3.1, of which the part that is not read has no gradient
    a, b = inputs
    db = solve_triangular(transposed(a), g, lower=not lower)
    da = -matmul(db, output, transpose_y=True)
    da = part(da, 0, "greater_equal" if lower else "less_equal")
    return unbroadcast(da, a), unbroadcast(db, b)


# As solve; of a only the lower (or upper) triangle is read.
solve_triangular = Primitive(
    "solve_triangular", impl=host.solve_triangular, lower=_lower_triangular, vjp=_vjp_triangular
)

# -- LU


def _vjp_lu(grads, inputs, outputs):
    """From L (m, m) and U (n, n), filled up with ones: the packed dF = L tril(M, -1) + triu(M) U.

    Here M = L^-1 P dA U^-1 (de Hoog, Anderssen and Lukas, "Differentiation of matrix functionals
    using triangular factorization", 2011).
    """
    (g, _), x, (packed, pivots) = grads, inputs[0], outputs
    rows, columns = lengths(x)[-2:]
    left, right = _square(packed, rows, columns)
    below = lower(matmul(left, lower(g, strict=True), transpose_x=True), strict=True)
    inner = below + upper(matmul(upper(g), right, transpose_y=True))
    inner = solve_triangular(transposed(left), inner, lower=False)
    inner = transposed(solve_triangular(right, transposed(inner), lower=False))
    return (matmul(_permutation(pivots, rows, packed), inner, transpose_x=True),)


def _square(packed, rows, columns):
    """(L (m, m), U (n, n)) of packed factors (m, n), with ones where these have no element."""
    placed = cast(band(columns, rows, 0, "equal"), dtype=packed.dtype)
    left = matmul(lower(packed, strict=True), placed)
    right = matmul(placed, upper(packed))
    missing = cast(beyond(columns, rows), dtype=packed.dtype)
    return left + eye(left), right + on_diagonal(missing)


# x (..., m, n): (L and U packed, int32 rows (..., min(m, n)) exchanged at each step).
lu_factor = Primitive(
    "lu_factor", impl=host.lu_factor, vjp=_vjp_lu,
    lower=batched(factors.lu, host.lu_factor, ["mn", "k"]),
    dtype=lambda inputs, attrs: (inputs[0], "int32"), multiple=True,
)  # fmt: skip


def _lower_order(pivots, *, rows):
    steps = ov.unsqueeze(pivots, ints([-1])).output(0)
    rows = i32(rows) if isinstance(rows, int) else convert(rows, Type.i32)
    return ov.squeeze(restored(factors.exchanged(stacked(steps), rows), steps), ints([-1]))


# pivots (..., k) of lu_factor; rows: how many there are, may be symbolic: of each place the row
# (..., rows) that has come to it.
row_order = Primitive(
    "row_order", impl=host.row_order, lower=_lower_order, dtype="int32", dynamic=("rows",),
    nondifferentiable="integer result",
)  # fmt: skip


def _permutation(pivots, rows, like):
    """P of P A = L U, as a matrix with the dtype of `like`."""
    order = row_order(pivots, rows=rows)
    moved = equal(expand_dims(order, axis=(order.ndim,)), iota(size=rows))
    return cast(moved, dtype=like.dtype)


# -- determinants


def _lower_det(x):
    sign, diagonal = factors.pivoted(x)
    return ov.multiply(sign, ov.reduce_prod(diagonal, ints([1]), False)).output(0)


def _lower_slogdet(x):
    sign, diagonal = factors.pivoted(x)
    size = ov.reduce_sum(ov.log(ov.abs(diagonal)), ints([1]), False)
    one, zero = const(1, x), const(0, x)
    signs = ov.select(ov.less(diagonal, zero), ov.subtract(zero, one), one)
    # of a zero the zero, of NaN NaN
    signs = ov.select(ov.less(zero, ov.abs(diagonal)), signs, diagonal)
    signs = ov.multiply(sign, ov.reduce_prod(signs, ints([1]), False))
    return signs.output(0), size.output(0)


def _cofactors(x: Tensor) -> Tensor:
    """The gradient of the determinant, det(x) x^-T, which singular matrices have as well.

    From P x = L U, of which pivots that are 0 are taken for ones as small as rounding; then the
    determinant and the inverse exist, and where the former is small the product is not.
    """
    packed, pivots = lu_factor(x)
    size = lengths(x)[-1]
    precision = 2.0**-52 if x.dtype == "float64" else 2.0**-23
    largest = reduce_max(absolute(packed), axis=(x.ndim - 2, x.ndim - 1), keepdims=True)
    least = where(largest == 0, 1, largest) * precision
    vanished = logical_and(packed == 0, band(size, size, 0, "equal"))
    right = upper(select(vanished, least, packed))
    left = lower(packed, strict=True) + eye(packed)
    inverse = solve_triangular(left, _permutation(pivots, size, x), lower=True)
    inverse = solve_triangular(right, inverse, lower=False)
    kept = equal(pivots, iota(size=size))
    factors = where(kept, constant_like(1, x), -1) * diagonal(right)
    found = reduce_prod(factors, axis=(factors.ndim - 1,), keepdims=False)
    return _per_matrix(found) * transposed(inverse)


def _per_matrix(values):
    return expand_dims(values, axis=(values.ndim, values.ndim + 1))


def _vjp_det(g, inputs, output):
    # Giles, 2.2.4
    if 0 in inputs[0].shape:
        return (zeros_like(inputs[0]),)
    return (_per_matrix(g) * _cofactors(inputs[0]),)


def _vjp_slogdet(grads, inputs, outputs):
    return (_per_matrix(grads[1]) * transposed(inv(inputs[0])),)


det = Primitive(
    "det", impl=np.linalg.det, lower=batched(_lower_det, np.linalg.det, [""]), vjp=_vjp_det
)


def _slogdet(x):
    return tuple(np.linalg.slogdet(x))


# (sign, or phase, logarithm of the magnitude) of the determinant.
slogdet = Primitive(
    "slogdet", impl=_slogdet, lower=batched(_lower_slogdet, _slogdet, ["", ""]), vjp=_vjp_slogdet,
    dtype=lambda inputs, attrs: (inputs[0],) * 2, multiple=True,
)  # fmt: skip

# -- Cholesky


def _lower_cholesky(x, *, upper):
    if upper:
        return swapped(factors.cholesky(swapped(x)))
    return factors.cholesky(x)


def _impl_cholesky(x, *, upper):
    return np.linalg.cholesky(x, upper=upper)


def _vjp_cholesky(g, inputs, output, *, upper):
    """L^-T phi(L^T g) L^-1, made symmetric; phi: lower triangle with the diagonal halved.

    Murray, "Differentiation of the Cholesky decomposition", 2016, equation 10.
    """
    if upper:
        g, output = transposed(g), transposed(output)
    inner = lower(matmul(output, g, transpose_x=True))
    inner = inner - part(inner, 0, "equal") * 0.5
    for _ in range(2):
        inner = transposed(solve_triangular(transposed(output), inner, lower=False))
    return (symmetric(inner),)


# x symmetric and positive definite, of which only the lower triangle is read, or with `upper`, for
# the transposed factor, the upper one. The gradient is that among symmetric matrices.
cholesky = Primitive(
    "cholesky", impl=_impl_cholesky, lower=batched(_lower_cholesky, _impl_cholesky, ["nn"]),
    vjp=_vjp_cholesky,
)  # fmt: skip
