"""Triangular factors in a graph: LU with partial pivoting, Cholesky, QR, substitution.

One step of a loop for each column, over whole matrices: what a step must leave alone is masked, so
that shapes stay, and n steps on n columns take 3 (LU) or 6 (Cholesky) times the multiplications of
the algorithm on shrinking blocks.
"""

from __future__ import annotations

import math

from openvino import Output, Type

from kerasvino.nodes.lowering import const, ints, ov
from kerasvino.primitives.linalg.nodes import (
    column,
    i32,
    identity,
    length,
    loop,
    order,
    positions,
)  # fmt: skip

__all__ = [
    "cholesky", "exchanged", "householder", "inverse", "lu", "pivoted", "solution", "substituted",
]  # fmt: skip


def _row(x, index):
    """Row `index` (an i32 vector of one element) of each matrix: (batch, 1, n)."""
    return ov.gather(x, index, ints(1)).output(0)


def _fewer(x) -> Output:
    """The smaller of the numbers of rows and columns, an i32 scalar."""
    return ov.minimum(length(x, 1), length(x, 2)).output(0)


# -- LU


def lu(x: Output) -> tuple[Output, Output]:
    """(L below the diagonal and U, int32 rows exchanged at each step), as LAPACK's getrf.

    Right-looking elimination with partial pivoting (Golub and Van Loan, 3.4.1).
    """
    rows, columns = positions(x)

    def step(k, state, fixed):
        (a,), (rows, columns) = state, fixed
        below = ov.less(k, rows)
        size = ov.select(ov.less(rows, k), const(-1, a), ov.abs(column(a, k)))
        pivot = ov.topk(size, i32(1), 1, "max", "value", "i32").output(1)
        mine = _row(a, k)
        chosen = ov.gather_nd(a, pivot, 1)
        a = ov.select(ov.equal(rows, pivot), mine, a)
        a = ov.select(ov.equal(rows, k), chosen, a).output(0)
        corner = column(chosen.output(0), k)
        # a column of zeros needs no elimination
        zero = const(0, a)
        factors = ov.divide(column(a, k), corner)
        factors = ov.select(ov.equal(corner, zero), zero, factors)
        reduced = ov.subtract(a, ov.multiply(factors, chosen))
        reduced = ov.select(ov.less(k, columns), reduced, a)
        reduced = ov.select(ov.equal(columns, k), factors, reduced)
        return [ov.select(below, reduced, a).output(0), pivot]

    packed, pivots = loop(step, [x], _fewer(x), [rows, columns], stack=1)
    return packed, ov.squeeze(pivots, ints([1])).output(0)


def pivoted(x: Output) -> tuple[Output, Output]:
    """(sign of the exchange of rows (batch,), pivots (batch, n)): together the determinant."""
    packed, exchanged = lu(x)
    kept = ov.equal(exchanged, ov.unsqueeze(order(length(x, 1)), ints([0])))
    signs = ov.select(kept, const(1, x), const(-1, x))
    rows, columns = positions(x)
    diagonal = ov.select(ov.equal(rows, columns), packed, const(0, x))
    return (
        ov.reduce_prod(signs, ints([1]), False).output(0),
        ov.reduce_sum(diagonal, ints([2]), False).output(0),
    )


def exchanged(pivots: Output, rows: Output) -> Output:
    """Rows (batch, rows, 1) in the order after exchanges (batch, k, 1); `rows` an i32 scalar."""
    start = ov.unsqueeze(order(rows), ints([0, 2]))
    count = ov.gather(ov.shape_of(pivots, "i64"), ints([0]), ints(0))
    shape = ov.concat([count, ints([1, 1])], 0)
    state = ov.broadcast(start, shape, broadcast_spec="BIDIRECTIONAL").output(0)

    def step(k, state, fixed):
        (found,), (start, pivots) = state, fixed
        pivot, mine = _row(pivots, k), _row(found, k)
        chosen = ov.gather_nd(found, pivot, 1)
        found = ov.select(ov.equal(start, pivot), mine, found)
        return [ov.select(ov.equal(start, k), chosen, found).output(0)]

    return loop(step, [state], length(pivots, 1), [start.output(0), pivots])[0]


def inverse(x: Output) -> Output:
    """The inverse by OpenVINO's elimination, then one step of Newton's iteration.

    The step X + X (I - A X) (Schulz 1933) brings the error of elimination without a refined
    pivot order to that of LAPACK's in float32. Singular matrices give infinities or NaN.
    """
    found = ov.inverse(x)
    rest = ov.subtract(identity(length(x, 1)), ov.matmul(x, found, False, False))
    better = ov.add(found, ov.matmul(found, rest, False, False))
    return ov.select(_bounded(better), better, found).output(0)


def _bounded(x):
    return ov.less(ov.abs(x), const(math.inf, Type.f32))


def solution(x: Output) -> Output:
    """The solutions a^-1 b of systems (batch, n, n + k) that have a and b side by side.

    Elimination with partial pivoting turns b into L^-1 P b; substitution does the rest.
    """
    packed, _ = lu(x)
    width = ov.unsqueeze(length(x, 1), ints([0]))
    end, one, axis = ints([2**31 - 1]), ints([1]), ints([2])
    right = ov.slice(packed, ints([0]), width, one, axis).output(0)
    return substituted(right, ov.slice(packed, width, end, one, axis).output(0), lower=False)


def substituted(a: Output, b: Output, lower: bool) -> Output:
    """x with a x = b for triangular a, of which the other triangle is not read.

    Column by column (Golub and Van Loan, 3.1.3).
    """
    rows, _ = positions(a)
    count = length(a, 1)

    def step(k, state, fixed):
        (x,), (a, rows, count) = state, fixed
        if not lower:
            k = ov.subtract(ov.subtract(count, i32(1)), k).output(0)
        factors = column(a, k)
        found = ov.divide(_row(x, k), _row(factors, k))
        rest = ov.less(k, rows) if lower else ov.less(rows, k)
        reduced = ov.subtract(x, ov.multiply(factors, found))
        x = ov.select(rest, reduced, x)
        return [ov.select(ov.equal(rows, k), found, x).output(0)]

    (x,) = loop(step, [b], count, [a, rows, count])
    return x


# -- Cholesky


def cholesky(x: Output) -> Output:
    """L with x = L L^T, of which the lower triangle is read; NaN where x is not positive definite.

    Outer products (Golub and Van Loan, 4.2.5).
    """
    rows, _ = positions(x)

    def step(k, state, fixed):
        (a,), (rows,) = state, fixed
        found = column(a, k)
        found = ov.divide(found, ov.sqrt(_row(found, k)))
        found = ov.select(ov.less(rows, k), const(0, a), found)
        a = ov.subtract(a, ov.matmul(found, found, False, True)).output(0)
        return [a, found.output(0)]

    _, factor = loop(step, [x], length(x, 1), [rows], stack=1)
    broken = ov.reduce_logical_or(ov.not_equal(factor, factor), ints([1, 2]), True)
    return ov.select(broken, const(math.nan, x), factor).output(0)


# -- QR


def householder(x: Output, complete: bool) -> tuple[Output, Output]:
    """(Q, R) with x = Q R by reflections, with LAPACK's signs.

    With w_k the k-th reflection's vector of length sqrt(2), or 0, and W their matrix, the product
    of all reflections is I - W T W^T where the inverse of T is upper triangular: W^T W with its
    diagonal halved (Puglisi, "Modification of the Householder method based on the compact WY
    representation", 1992).
    """
    rows, columns = positions(x)
    count = _fewer(x)
    size = ov.reduce_max(ov.abs(x), ints([1, 2]), True)
    size = ov.select(ov.less(const(0, x), size), size, const(1, x)).output(0)

    def step(k, state, fixed):
        (a,), (rows,) = state, fixed
        found = column(a, k)
        corner = _row(found, k)
        tail = ov.select(ov.less(k, rows), found, const(0, a))
        rest = ov.reduce_sum(ov.multiply(tail, tail), ints([1]), True)
        norm = ov.sqrt(ov.add(ov.multiply(corner, corner), rest))
        zero = const(0, a)
        target = ov.select(ov.less(corner, zero), norm, ov.subtract(zero, norm))
        head = ov.subtract(corner, target)
        scale = ov.sqrt(ov.divide(const(2, a), ov.add(ov.multiply(head, head), rest)))
        scale = ov.select(ov.equal(rest, zero), zero, scale)
        w = ov.multiply(ov.select(ov.equal(rows, k), head, tail), scale)
        a = ov.subtract(a, ov.matmul(w, ov.matmul(w, a, True, False), False, False))
        return [a.output(0), w.output(0)]

    r, w = loop(step, [ov.divide(x, size).output(0)], count, [rows], stack=1)
    r = ov.select(ov.less(columns, rows), const(0, x), ov.multiply(r, size)).output(0)
    product = ov.matmul(w, w, True, False)
    place, other = positions(product.output(0))
    unit = ov.convert(ov.equal(place, other), "f32")
    # the diagonal is 1, or 0 where there is no reflection: then anything will do
    triangle = ov.select(ov.less(place, other), product, unit)
    wide = length(x, 1) if complete else count
    start = ov.slice(identity(length(x, 1)), ints([0]), _vector(wide), ints([1]), ints([2]))
    turned = ov.matmul(ov.inverse(triangle), ov.matmul(w, start, True, False), False, False)
    q = ov.subtract(start, ov.matmul(w, turned, False, False)).output(0)
    if complete:
        return q, r
    return q, ov.slice(r, ints([0]), _vector(count), ints([1]), ints([1])).output(0)


def _vector(number):
    return ov.unsqueeze(number, ints([0])).output(0)
