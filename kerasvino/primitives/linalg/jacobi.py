"""Jacobi's method in a graph: eigenvalues of symmetric matrices, singular values of any.

Half as many plane rotations as there are rows are made at once, in the round-robin order of Brent
and Luk ("The solution of singular-value and symmetric eigenvalue problems on multiprocessor
arrays", 1985): rows i and i + half are a pair, and after each round all rows but the first move on
by one place around the table. The loop ends after a whole tour of rounds in which no pair of any
matrix needed a rotation. Matrices with an odd number of rows get one of zeros, which no rotation
touches.
"""

from __future__ import annotations

from openvino import Output, Type

from kerasvino.nodes.lowering import const, convert, ints, ov
from kerasvino.primitives.linalg.nodes import (
    i32,
    identity,
    length,
    loop,
    order,
    positions,
    repeated,
    swapped,
    unless_finite,
)  # fmt: skip

__all__ = ["eigenpairs", "singular"]

# Six to ten tours are usual in float32.
_TOURS = 30
_EPS = 2.0**-23
# Products of columns (of a matrix whose largest element is 1) that count as zero.
_TINY = 1e-30


def _even(count: Output) -> tuple[Output, Output]:
    """(half, twice that) of the even number of rows that `count` rows are filled up to."""
    half = ov.floor(ov.multiply(ov.convert(ov.add(count, i32(1)), "f32"), const(0.5, Type.f32)))
    half = convert(half.output(0), Type.i32)
    return half, ov.multiply(half, i32(2)).output(0)


def _seats(half, full):
    """(which row comes next to each place, the partner of that row)."""
    place = order(full)
    last = ov.subtract(full, i32(1))
    first = ov.less(place, half)
    moved = ov.select(first, ov.subtract(place, i32(1)), ov.add(place, i32(1)))
    moved = ov.select(ov.equal(place, last), ov.subtract(half, i32(1)), moved)
    moved = ov.select(ov.equal(place, i32(1)), half, moved)
    moved = ov.select(ov.equal(place, i32(0)), i32(0), moved)
    partner = ov.select(ov.less(moved, half), ov.add(moved, half), ov.subtract(moved, half))
    return moved.output(0), partner.output(0)


def _filled(x, axes, missing):
    """`x` with `missing` (an i32 scalar) zeros more at the end of each of `axes`."""
    after = [ov.unsqueeze(missing, ints([0])) if a in axes else i32([0]) for a in range(3)]
    return ov.pad(x, i32([0, 0, 0]), ov.concat(after, 0), "constant", const(0, x)).output(0)


def _rotation(p, q, r, floor):
    """(sines, tangents of half the angles, where any) of rotations for [[p, r], [r, q]].

    Of two angles the smaller one (Golub and Van Loan, 8.5.2); none where |r| <= floor.
    """
    one, zero = const(1, r), const(0, r)
    active = ov.less(floor, ov.abs(r))
    difference, double = ov.subtract(q, p), ov.multiply(r, const(2, r))
    # the larger one made 1, their squares neither overflow nor vanish
    size = ov.maximum(ov.abs(difference), ov.abs(double))
    size = ov.select(active, size, one)
    difference, double = ov.divide(difference, size), ov.divide(double, size)
    root = ov.sqrt(ov.add(ov.multiply(difference, difference), ov.multiply(double, double)))
    root = ov.select(ov.less(difference, zero), ov.subtract(zero, root), root)
    tangent = ov.divide(double, ov.add(difference, root))
    tangent = ov.select(active, tangent, zero)
    cosine = ov.divide(one, ov.sqrt(ov.add(one, ov.multiply(tangent, tangent))))
    sine = ov.multiply(cosine, tangent)
    return sine, ov.divide(sine, ov.add(one, cosine)), active


def _turns(sine, half, seats):
    """Factors (batch, rows, 1) of each row and of its partner, in the order of the next round."""
    moved, _ = seats
    zero = const(0, Type.f32)
    pairs = ([ov.subtract(zero, sine), sine], [half, ov.subtract(zero, half)])
    factors = (ov.gather(ov.concat(pair, 1), moved, ints(1)) for pair in pairs)
    return [ov.unsqueeze(factor, ints([2])) for factor in factors]


def _turned(x, turns, seats):
    """The rows of x rotated, in the order of the next round.

    a - s (b + t a) and b + s (a - t b), with t the tangent of half the angle, round less than
    products with the cosine where angles are small (Rutishauser, "The Jacobi method for real
    symmetric matrices", 1966).
    """
    (sine, half), (moved, partner) = turns, seats
    mine, other = ov.gather(x, moved, ints(1)), ov.gather(x, partner, ints(1))
    change = ov.multiply(sine, ov.add(other, ov.multiply(half, mine)))
    return ov.add(mine, change).output(0)


def _rounds(step, state, full, seats, fixed=()):
    """Rounds of `step(state, fixed)` -> (next state, where rows were rotated), until none is."""
    tour = ov.subtract(full, i32(1)).output(0)

    def body(index, state, fixed):
        *state, quiet = state
        *fixed, moved, partner, tour = fixed
        state, active = step(state, (moved, partner), fixed)
        busy = ov.reduce_logical_or(active, ints([0, 1]), False)
        quiet = ov.select(busy, i32(0), ov.add(quiet, i32(1))).output(0)
        return [*state, quiet, ov.less(quiet, tour).output(0)]

    trips = ov.multiply(tour, i32(_TOURS)).output(0)
    *last, _ = loop(body, [*state, i32(0)], trips, [*fixed, *seats, tour], proceeds=True)
    return last


def _scaled(x):
    """x divided by its largest element in magnitude, and that (batch, 1, 1)."""
    size = ov.reduce_max(ov.abs(x), ints([1, 2]), True)
    size = ov.select(ov.less(const(0, x), size), size, const(1, x)).output(0)
    return ov.divide(x, size).output(0), size


def _sorted(keys, mode, count):
    """Places (batch, count) of the first `count` keys in order."""
    every = ov.topk(keys, length(keys, 1), 1, mode, "value", "i32").output(1)
    return ov.slice(every, ints([0]), ov.unsqueeze(count, ints([0])), ints([1]), ints([1])).output(
        0
    )


def _chosen(x, places):
    """Rows (or elements, of rank 2) of x at `places` (batch, count)."""
    # Gather with a batch axis of length 1 corrupts memory (OpenVINO 2026.4)
    return ov.gather_nd(x, ov.unsqueeze(places, ints([2])), 1).output(0)


# -- symmetric matrices


def eigenpairs(x: Output) -> tuple[Output, Output]:
    """(ascending eigenvalues, eigenvectors in columns) of symmetric matrices (batch, n, n).

    Only the lower triangle of x is read. The error is a few units of float32 rounding of the
    largest eigenvalue.
    """
    count = length(x, 1)
    half, full = _even(count)
    missing = ov.subtract(full, count).output(0)
    row, column = positions(x)
    scaled, size = _scaled(ov.select(ov.less(row, column), swapped(x), x).output(0))
    start = _filled(scaled, (1, 2), missing)
    vectors = _filled(repeated(identity(count), x), (1,), missing)
    first = order(half)
    step = ov.add(full, i32(1))
    upper = ov.multiply(first, step)
    below = ov.add(upper, ov.multiply(half, full))
    picks = [upper, ov.add(below, half), ov.add(upper, half), below]
    picks = ov.concat(picks, 0).output(0)

    def round_(state, seats, fixed):
        matrix, vectors = state
        flat = ov.reshape(matrix, ints([0, -1]), special_zero=True)
        p, q, r, again = ov.split(ov.gather(flat, fixed[0], ints(1)), ints(1), 4).outputs()
        # rounding makes the two differ; with one alone the other would never vanish
        r = ov.multiply(ov.add(r, again), const(0.5, r)).output(0)
        sine, half, active = _rotation(p, q, r, const(1e-8, r))
        turns = _turns(sine, half, seats)
        matrix = _turned(swapped(_turned(matrix, turns, seats)), turns, seats)
        return [matrix, _turned(vectors, turns, seats)], active

    matrix, vectors = _rounds(round_, [start, vectors], full, _seats(half, full), [picks])
    places = ov.multiply(order(full), step)
    flat = ov.reshape(matrix, ints([0, -1]), special_zero=True)
    values = ov.gather(flat, places, ints(1)).output(0)
    # the row of zeros that was added comes last
    real = ov.reduce_max(ov.abs(vectors), ints([2]), False)
    keys = ov.select(ov.less(const(0, real), real), values, const(1e30, values)).output(0)
    chosen = _sorted(keys, "min", count)
    values = ov.multiply(_chosen(values, chosen), ov.squeeze(size, ints([2]))).output(0)
    return tuple(unless_finite(x, [values, swapped(_chosen(vectors, chosen))]))


# -- any matrices


def singular(x: Output, vectors: bool) -> list[Output]:
    """Of matrices (batch, m, n): [x V (batch, m, n), singular values, V^T], or only the values.

    One-sided: V makes the columns of x orthogonal (Hestenes 1958), whose lengths are the singular
    values, here in descending order. All n of them are given, those past m are 0; with n <= m it
    takes less work. Small ones have a small relative error where scaling the columns of x makes it
    well-conditioned (Demmel and Veselic, "Jacobi's method is more accurate than QR", 1992).
    """
    rows, count = length(x, 1), length(x, 2)
    half, full = _even(count)
    missing = ov.subtract(full, count).output(0)
    scaled, size = _scaled(x)
    start = _filled(swapped(scaled), (1,), missing)
    if vectors:
        basis = _filled(repeated(identity(count), x), (1,), missing)
        start = ov.concat([start, basis], 2).output(0)
    width = ov.unsqueeze(rows, ints([0])).output(0)
    tolerance = ov.multiply(
        ov.maximum(ov.sqrt(ov.convert(rows, "f32")), const(4, Type.f32)), const(_EPS, Type.f32)
    ).output(0)  # fmt: skip

    def round_(state, seats, fixed):
        width, tolerance = fixed
        top, bottom = ov.split(_left(state[0], width), ints(1), 2).outputs()
        p, q, r = (_products(*pair) for pair in ((top, top), (bottom, bottom), (top, bottom)))
        floor = ov.multiply(ov.multiply(ov.sqrt(p), ov.sqrt(q)), tolerance)
        sine, half, active = _rotation(p, q, r, ov.maximum(floor, const(_TINY, r)))
        return [_turned(state[0], _turns(sine, half, seats), seats)], active

    (last,) = _rounds(round_, [start], full, _seats(half, full), [width, tolerance])
    lengths = ov.sqrt(_products(*[_left(last, width)] * 2)).output(0)
    keys = lengths
    if vectors:
        basis = ov.slice(last, width, ints([2**31 - 1]), ints([1]), ints([2])).output(0)
        # the row of zeros that was added comes last
        real = ov.reduce_max(ov.abs(basis), ints([2]), False)
        keys = ov.select(ov.less(const(0, real), real), lengths, const(-1, lengths)).output(0)
    chosen = _sorted(keys, "max", count)
    values = ov.multiply(_chosen(lengths, chosen), ov.squeeze(size, ints([2]))).output(0)
    if not vectors:
        return unless_finite(x, [values])
    turned = ov.multiply(swapped(_chosen(_left(last, width), chosen)), size).output(0)
    found = [turned, values, _chosen(basis, chosen)]
    return unless_finite(x, found)


def _left(x, width):
    """The first columns of x; `width` is an i32 vector of one element."""
    return ov.slice(x, ints([0]), width, ints([1]), ints([2])).output(0)


def _products(a, b):
    return ov.reduce_sum(ov.multiply(a, b), ints([2]), False).output(0)
