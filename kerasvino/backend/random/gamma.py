"""Gamma and beta by rejection."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.control_flow import while_loop
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.random.draws import (
    as_lengths,
    float_dtype,
    key_of,
    open_unit,
    split,
    standard_normal,
)

__all__ = ["beta", "gamma"]


def gamma(shape, alpha, dtype=None, seed=None):
    """Gamma with shape parameter `alpha` and unit scale; NaN where `alpha` is not in [0, inf).

    Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000); below 1 by the
    boost gamma(alpha + 1) * u**(1 / alpha) of the same paper.
    """
    dtype = float_dtype(dtype)
    value, log_boost = _variate(key_of(seed), as_lengths(shape), alpha)
    return to_dtype(value * knp.exp(log_boost), dtype)


def beta(shape, alpha, beta, dtype=None, seed=None):
    """Beta as the ratio x / (x + y) of gamma variates with `alpha` and `beta`.

    Taken through logarithms: with small parameters both variates may be below the smallest float.
    """
    dtype = float_dtype(dtype)
    keys, lengths = split(key_of(seed), 2), as_lengths(shape)
    (x, x_boost), (y, y_boost) = (
        _variate(k, lengths, p) for k, p in zip(keys, (alpha, beta), strict=True)
    )
    ratio = knp.exp(knp.log(y) - knp.log(x) + (y_boost - x_boost))
    return to_dtype(np.float32(1) / (np.float32(1) + ratio), dtype)


def _variate(key, lengths, alpha):
    """(g, s): g * exp(s) has the gamma distribution with `alpha`, s = 0 where alpha >= 1."""
    alpha = knp.broadcast_to(convert_to_tensor(alpha, "float32"), lengths)
    key, boost_key = split(key, 2)
    boosted = knp.less(alpha, np.float32(1))
    valid = knp.logical_and(
        knp.greater_equal(alpha, np.float32(0)), knp.less(alpha, np.float32(np.inf))
    )
    alpha = knp.where(valid, alpha, np.float32(1))
    d = knp.where(boosted, alpha + np.float32(2 / 3), alpha - np.float32(1 / 3))
    value = knp.where(valid, _marsaglia_tsang(key, d, lengths), np.float32(np.nan))
    log_boost = knp.log(open_unit(boost_key, lengths)) / alpha
    return value, knp.where(boosted, log_boost, np.float32(0))


def _marsaglia_tsang(key, d, lengths):
    """Samples of gamma(d + 1/3): rejection of all elements at once, each accepted with p > 0.95."""
    scale = np.float32(1 / 3) / knp.sqrt(d)

    def pending(values, accepted, key):
        return knp.logical_not(knp.all(accepted))

    def attempt(values, accepted, key):
        normal_key, uniform_key, following = split(key, 3)
        t = scale * standard_normal(normal_key, lengths)
        positive = knp.greater(t, np.float32(-1))
        t = knp.where(positive, t, np.float32(0))
        bound = np.float32(3) * d * _excess(t)
        passes = knp.logical_and(
            positive, knp.less(knp.log(open_unit(uniform_key, lengths)), bound)
        )
        v = knp.power(np.float32(1) + t, np.float32(3))
        return knp.where(accepted, values, d * v), knp.logical_or(accepted, passes), following

    start = (knp.zeros_like(d), knp.zeros_like(d, dtype="bool"), key)
    return while_loop(pending, attempt, start)[0]


def _excess(t):
    """log(1 + t) - t + t**2 / 2 - t**3 / 3.

    The logarithm of the acceptance probability is 3 d times this, x**2 / 2 + d - d v + d log(v) in
    the paper, where terms as large as d cancel: near 0 by the series.
    """
    series = np.float32(1 / 10)
    for power in range(9, 3, -1):
        series = np.float32((-1) ** (power + 1) / power) - t * series
    direct = knp.log1p(t) - t * (np.float32(1) - t * (np.float32(1 / 2) - t * np.float32(1 / 3)))
    near = knp.less(knp.abs(t), np.float32(0.125))
    return knp.where(near, knp.square(knp.square(t)) * series, direct)
