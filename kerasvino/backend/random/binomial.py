"""Binomial numbers: sequential search where few successes are expected, else rejection."""

from __future__ import annotations

import math

import numpy as np

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.control_flow import while_loop
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.random.draws import as_lengths, float_dtype, key_of, open_unit, split

__all__ = ["binomial"]

_FEW = 10.0  # expected successes below which the search is used; the rejection needs as many


def _f(value) -> np.float32:
    return np.float32(value)


def binomial(shape, counts, probabilities, dtype=None, seed=None):
    """Number of successes in `counts` trials of probability `probabilities` each.

    Exact in float32, hence for counts up to 2**24. NaN where a count is negative or not finite, or
    a probability is not in [0, 1].
    """
    dtype, lengths = float_dtype(dtype), as_lengths(shape)
    n, p = (
        knp.broadcast_to(convert_to_tensor(v, "float32"), lengths) for v in (counts, probabilities)
    )
    valid = _all(n >= _f(0), n < _f(np.inf), p >= _f(0), p <= _f(1))
    n, p = knp.where(valid, knp.floor(n), _f(0)), knp.where(valid, p, _f(0))
    mirrored = p > _f(0.5)
    p = knp.where(mirrored, _f(1) - p, p)
    few = n * p < _f(_FEW)
    search_key, rejection_key = split(key_of(seed), 2)
    drawn = knp.where(
        few,
        _search(search_key, lengths, n, p, few),
        _rejection(rejection_key, lengths, n, p, few),
    )
    drawn = knp.where(mirrored, n - drawn, drawn)
    return to_dtype(knp.where(valid, drawn, _f(np.nan)), dtype)


def _all(first, *others):
    for other in others:
        first = knp.logical_and(first, other)
    return first


def _search(key, lengths, n, p, chosen):
    """Inversion: probabilities from 0 successes up are taken off a uniform number, while it lasts.

    It ends as well where rounding leaves a rest and the probabilities have become negligible.
    """
    odds = p / (_f(1) - p)

    def unfinished(k, rest, mass):
        return _all(rest > mass, k < n, mass > _f(1e-12))

    def step(k, rest, mass):
        going = unfinished(k, rest, mass)
        following = mass * odds * (n - k) / (k + _f(1))
        return (
            knp.where(going, k + _f(1), k),
            knp.where(going, rest - mass, rest),
            knp.where(going, following, mass),
        )

    rest = knp.where(chosen, open_unit(key, lengths), _f(0))
    start = knp.zeros_like(n), rest, knp.exp(n * knp.log1p(-p))
    return while_loop(lambda *state: knp.any(unfinished(*state)), step, start)[0]


def _rejection(key, lengths, n, p, skipped):
    """Algorithm BTRS of Hörmann, "The Generation of Binomial Random Variates" (1993)."""
    n, p = knp.where(skipped, _f(100), n), knp.where(skipped, _f(0.5), p)
    q = _f(1) - p
    deviation = knp.sqrt(n * p * q)
    b = _f(1.15) + _f(2.53) * deviation
    a = _f(-0.0873) + _f(0.0248) * b + _f(0.01) * p
    height = (_f(2.83) + _f(5.1) / b) * deviation
    inner = _f(0.92) - _f(4.2) / b
    whole = knp.floor(n * p)  # apart: near 2**24 a sum would be rounded to integers before `floor`
    rest = n * p - whole + _f(0.5)
    mode = _log_mass(knp.floor((n + _f(1)) * p), n, p, q)

    def attempt(values, accepted, key):
        first_key, second_key, following = split(key, 3)
        u, v = open_unit(first_key, lengths) - _f(0.5), open_unit(second_key, lengths)
        distance = _f(0.5) - knp.abs(u)
        k = whole + knp.floor((_f(2) * a / distance + b) * u + rest)
        within = _all(k >= _f(0), k <= n)
        k = knp.clip(k, _f(0), n)
        bound = _log_mass(k, n, p, q) - mode
        passes = _all(
            within,
            knp.logical_or(
                _all(distance >= _f(0.07), v <= inner),
                knp.log(v * height / (a / knp.square(distance) + b)) <= bound,
            ),
        )
        return knp.where(accepted, values, k), knp.logical_or(accepted, passes), following

    def pending(values, accepted, key):
        return knp.logical_not(knp.all(accepted))

    return while_loop(pending, attempt, (knp.zeros_like(n), skipped, key))[0]


def _log_mass(k, n, p, q):
    """log of the probability of `k` successes, up to a term in `n`.

    By deviances from the mean, which keep their digits where log-factorials cancel: Loader, "Fast
    and Accurate Computation of Binomial Probabilities" (2000).
    """
    deviances = n * p * _deviance(k / (n * p)) + n * q * _deviance((n - k) / (n * q))
    return _f(0) - _stirling(k) - _stirling(n - k) - deviances


def _stirling(k):
    """log(k!) - k log(k) + k by Stirling's series, of error 5e-4 for 1 and below 1e-5 from 2."""
    positive = knp.maximum(k, _f(1))
    inverse = _f(1) / positive
    square = inverse * inverse
    series = inverse * (_f(1 / 12) - square * (_f(1 / 360) - square * _f(1 / 1260)))
    return knp.where(k < _f(1), _f(0), _f(0.5) * knp.log(_f(2 * math.pi) * positive) + series)


def _deviance(ratio):
    """r log(r) - r + 1, near 1 by its series."""
    e = ratio - _f(1)
    series = _f(0)
    for power in range(9, 1, -1):
        series = _f((-1) ** power / (power * (power - 1))) + e * series
    direct = ratio * knp.log(knp.maximum(ratio, _f(1e-30))) - e
    return knp.where(knp.abs(e) < _f(0.1), e * e * series, direct)
