"""Whether the numbers have the distributions they claim. Seeds are fixed: results cannot vary.

Every test states the probability with which ideal random numbers would fail it, 1e-4 throughout.
"""

import numpy as np
import pytest
from keras import random
from scipy import stats

from kerasvino.primitives.random import random_bits
from kerasvino.tensor import Tensor

LEVEL = 1e-4
COUNT = 40_000

# name -> (numbers for a seed, distribution)
CONTINUOUS = {
    "uniform": (lambda s: random.uniform((COUNT,), -2, 5, seed=s), stats.uniform(-2, 7)),
    "normal": (lambda s: random.normal((COUNT,), 3, 0.5, seed=s), stats.norm(3, 0.5)),
    "truncated_normal": (
        lambda s: random.truncated_normal((COUNT,), 1, 2, seed=s),
        stats.truncnorm(-2, 2, 1, 2),
    ),
    **{
        f"gamma {a}": (lambda s, a=a: random.gamma((COUNT,), a, seed=s), stats.gamma(a))
        for a in (0.1, 0.5, 1, 1.5, 4, 100, 1e4, 1e7)
    },
    **{
        f"beta {a} {b}": (
            lambda s, a=a, b=b: random.beta((COUNT,), a, b, seed=s),
            stats.beta(a, b),
        )
        for a, b in [(0.2, 0.3), (1, 1), (2, 5), (0.5, 30), (200, 100)]
    },
}

# (count, probability)
BINOMIALS = [
    (1, 0.5), (5, 0.1), (40, 0.2), (20, 0.5), (25, 0.45), (100, 0.05), (100, 0.101), (100, 0.3),
    (100, 0.9), (1000, 0.5), (10**6, 1e-6), (10**5, 0.3), (2**24, 0.5),
]  # fmt: skip


def _draws(draw, seeds=(1, 2)):
    return np.concatenate([np.asarray(draw(s)).astype("float64") for s in seeds])


def _bits(shape, *key):
    words = random_bits(Tensor._wrap(np.array(key, np.uint32)), shape=shape)
    return words.numpy()


def _normal_deviate(value, mean, deviation):
    """Two-sided probability of a normal deviate this large."""
    return 2 * stats.norm.sf(abs(value - mean) / deviation)


def _chi_squared(observed, expected):
    """Probability of Pearson's statistic, of cells joined until each expects 10."""
    cells, seen, wanted = [], 0.0, 0.0
    for o, e in zip(observed, expected, strict=True):
        seen, wanted = seen + o, wanted + e
        if wanted >= 10:
            cells.append((seen, wanted))
            seen = wanted = 0.0
    cells[-1] = (cells[-1][0] + seen, cells[-1][1] + wanted)
    o, e = np.array(cells).T
    return stats.chi2.sf(((o - e) ** 2 / e).sum(), len(cells) - 1)


# -- distributions


@pytest.mark.parametrize("name", CONTINUOUS)
def test_kolmogorov_smirnov(name):
    draw, law = CONTINUOUS[name]
    assert stats.kstest(_draws(draw), law.cdf).pvalue > LEVEL


@pytest.mark.parametrize("name", CONTINUOUS)
def test_moments(name):
    draw, law = CONTINUOUS[name]
    values = _draws(draw)
    mean, variance, _, kurtosis = (float(m) for m in law.stats("mvsk"))
    assert _normal_deviate(values.mean(), mean, np.sqrt(variance / values.size)) > LEVEL
    deviation = variance * np.sqrt((kurtosis + 2) / values.size)
    assert _normal_deviate(values.var(), variance, deviation) > LEVEL


def test_tail_of_the_normal():
    """The number of values beyond four deviations, of a million."""
    beyond = (np.abs(random.normal((1_000_000,), seed=4).numpy()) > 4).sum()
    expected = 1e6 * 2 * stats.norm.sf(4)
    low, high = stats.poisson(expected).ppf([LEVEL / 2, 1 - LEVEL / 2])
    assert low <= beyond <= high


def test_gamma_where_most_values_are_below_the_smallest_float():
    values = random.gamma((COUNT,), 0.01, seed=3).numpy().astype("float64")
    law = stats.gamma(0.01)
    edges = np.array([1e-35, 1e-20, 1e-10, 1e-5, 1e-2])
    observed = np.diff([0, *(np.searchsorted(np.sort(values), edges)), COUNT])
    expected = np.diff([0, *law.cdf(edges), 1]) * COUNT
    assert _chi_squared(observed, expected) > LEVEL


@pytest.mark.parametrize(("count", "chance"), BINOMIALS)
def test_binomial(count, chance):
    values = _draws(lambda s: random.binomial((COUNT,), count, chance, seed=s))
    law = stats.binom(count, chance)
    low, high = int(values.min()), int(values.max())
    observed = np.bincount((values - low).astype(int), minlength=high - low + 1)
    expected = law.pmf(np.arange(low, high + 1)) * values.size
    assert _chi_squared(observed, expected) > LEVEL
    assert _normal_deviate(values.mean(), law.mean(), law.std() / np.sqrt(values.size)) > LEVEL


@pytest.mark.parametrize(("low", "high"), [(0, 10), (-3, 4), (-(2**31), 2**31), (0, 2**31 - 1)])
def test_randint(low, high):
    values = _draws(lambda s: random.randint((COUNT,), low, high, seed=s))
    parts = min(high - low, 100)
    cells = np.floor((values - low) / (high - low) * parts).astype(int)
    assert _chi_squared(np.bincount(cells, minlength=parts), [values.size / parts] * parts) > LEVEL


def test_categorical():
    chances = np.array([0.05, 0.15, 0.3, 0.5])
    drawn = random.categorical(np.log(chances)[None].astype("float32"), COUNT, seed=5).numpy()
    assert _chi_squared(np.bincount(drawn[0], minlength=4), chances * COUNT) > LEVEL


def test_dropout():
    kept = (random.dropout(np.ones(COUNT, "float32"), 0.3, seed=6).numpy() != 0).sum()
    assert _normal_deviate(kept, 0.7 * COUNT, np.sqrt(0.21 * COUNT)) > LEVEL


# -- the bits


@pytest.mark.parametrize("key", [(0, 0), (1, 0), (0, 1), (1234, 7), (2**32 - 1, 2**31)])
class TestBits:
    """Of one key: that each bit is balanced and independent of the others and of its neighbours."""

    size = 1 << 17

    def test_each_bit_is_balanced(self, key):
        words = _bits((self.size,), *key)
        ones = np.array([int(((words >> np.uint32(i)) & 1).sum()) for i in range(32)])
        statistic = ((ones - self.size / 2) ** 2).sum() / (self.size / 4)
        assert LEVEL < stats.chi2.sf(statistic, 32) < 1 - LEVEL

    @pytest.mark.parametrize("lag", [1, 2, 31, 1023, 1024, 1025])
    def test_serial_correlation(self, key, lag):
        """1024 is the length of a row of the generator."""
        values = _bits((self.size,), *key) / 2**32 - 0.5
        product = (values[:-lag] * values[lag:]).sum() * 12
        assert _normal_deviate(product, 0, np.sqrt(self.size - lag)) > LEVEL

    def test_pairs_of_bits_are_independent(self, key):
        words = _bits((self.size,), *key)
        signs = 1.0 - 2.0 * ((words[:, None] >> np.arange(32, dtype=np.uint32)) & 1)
        products = np.triu(signs.T @ signs, 1)[np.triu_indices(32, 1)]
        statistic = (products**2).sum() / self.size
        assert LEVEL < stats.chi2.sf(statistic, 32 * 31 // 2) < 1 - LEVEL

    @pytest.mark.parametrize("shift", [0, 12, 24])
    def test_pairs_of_bytes(self, key, shift):
        part = (_bits((self.size,), *key) >> np.uint32(shift)) & np.uint32(255)
        cells = np.bincount(part[0::2] * np.uint32(256) + part[1::2], minlength=65536)
        expected = self.size / 2 / 65536
        statistic = ((cells - expected) ** 2 / expected).sum()
        assert _normal_deviate(statistic, 65535, np.sqrt(2 * 65535)) > LEVEL

    def test_birthday_spacings(self, key):
        """Marsaglia's: equal distances among 4096 of 2**32 days, 4 of them on average."""
        equal = 0
        for block in _bits((32, 4096), *key):
            spacings = np.diff(np.sort(block.astype(np.int64)))
            equal += spacings.size - np.unique(spacings).size
        low, high = stats.poisson(4 * 32).ppf([LEVEL / 2, 1 - LEVEL / 2])
        assert low <= equal <= high

    def test_four_corners_of_a_rectangle(self, key):
        """Tabulation hashing alone would make their xor 0."""
        table = _bits((64, 1024), *key)
        corners = table[0::2, 0::2] ^ table[1::2, 0::2] ^ table[0::2, 1::2] ^ table[1::2, 1::2]
        ones = int(np.unpackbits(corners.reshape(-1).view(np.uint8)).sum())
        total = corners.size * 32
        assert _normal_deviate(ones, total / 2, np.sqrt(total / 4)) > LEVEL


@pytest.mark.parametrize("place", ["seed", "counter"])
def test_adjacent_keys_are_uncorrelated(place):
    keys = [(i, 0) if place == "seed" else (0, i) for i in range(300)]
    values = np.array([_bits((2000,), *key) for key in keys]) / 2**32 - 0.5
    products = (values[:-1] * values[1:]).sum(1) * 12 / np.sqrt(2000)
    assert stats.kstest(products, "norm").pvalue > LEVEL


@pytest.mark.parametrize("place", ["seed", "counter", "position"])
def test_avalanche(place):
    """A changed bit of the key or of the position changes half of the bits of the words."""
    rng = np.random.default_rng(0)
    changes = np.zeros((20, 32))
    keys = rng.integers(0, 2**32, (200, 2), dtype=np.uint32)
    for key in keys:
        base = _bits((1 << 13,), *key)
        for i in range(20):
            if place == "position":
                other = base[np.arange(64) ^ (1 << i % 13)]
            else:
                other = _bits((64,), *(key ^ np.uint32([1 << i, 0][:: 1 - 2 * (place != "seed")])))
            flipped = base[:64] ^ other
            changes[i] += ((flipped[:, None] >> np.arange(32, dtype=np.uint32)) & 1).sum(0)
    deviates = (changes / (200 * 64) - 0.5) * 2 * np.sqrt(200 * 64)
    assert np.abs(deviates).max() < stats.norm.isf(LEVEL / 2 / deviates.size)
