"""Random arguments: Hypothesis draws shapes, dtypes and a kind of values, NumPy the values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from kerasvino import dtypes

__all__ = [
    "ALL", "FLOATS", "INTEGERS", "NUMERIC", "Array", "axes", "axis_of", "broadcastable", "shapes",
]  # fmt: skip

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
NUMERIC = INTEGERS + FLOATS
ALL = ("bool", *NUMERIC)


@dataclass(frozen=True)
class Array:
    """An argument.

    Attributes:
        values: "any": all that the dtype holds, NaN, infinities and the largest included;
            "moderate": a few units, NaN and infinities among them; "finite": without these;
            "positive", "unit" (-1 to 1): floats so; "indices": integers 0 to 3.
        seed: of the values.
    """

    shape: tuple
    dtype: str
    values: str
    seed: int

    def make(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        size = math.prod(self.shape)
        kind = dtypes.TABLE[self.dtype].kind
        if kind == "b":
            flat = rng.random(size) < 0.5
        elif kind in "iu":
            flat = _integers(rng, size, self.dtype, self.values)
        else:
            flat = _floats(rng, size, self.dtype, self.values)
        return flat.reshape(self.shape).astype(dtypes.numpy_dtype(self.dtype))


def _strew(rng, flat, special, share):
    taken = rng.random(flat.size) < share
    flat[taken] = rng.choice(np.array(special, dtype=flat.dtype), int(taken.sum()))
    return flat


def _integers(rng, size, dtype, values):
    row = dtypes.TABLE[dtype]
    limits = np.iinfo(row.numpy)
    low, high = row.graph_range or (limits.min, limits.max)
    if values == "indices":
        return rng.integers(0, 4, size)
    if values == "positive":
        return rng.integers(1, 9, size)
    if values != "any" or rng.random() < 0.3:
        return rng.integers(max(low, -9), 10, size)
    special = [low, low + 1, high, high - 1, 0, 1, -1, 2, 7, 2**24 + 1, 2**16, 46341, -7, -(2**24)]
    flat = rng.integers(low, high, size, np.int64, endpoint=True)
    return _strew(rng, flat, [v for v in special if low <= v <= high], 0.4)


def _floats(rng, size, dtype, values):
    if values == "positive":
        return rng.uniform(0.1, 3, size)
    if values == "unit":
        return rng.uniform(-1, 1, size)
    if values == "indices":
        return rng.integers(0, 4, size).astype("float64")
    flat = rng.normal(0, 4, size)
    if values == "any":
        huge, tiny = (6e4, 1e-4) if dtype == "float16" else (3e38, 1e-30)
        special = [np.nan, np.inf, -np.inf, 0, -0.0, huge, -huge, tiny, 0.5, 1.5, 2.5, -0.5, 1, -1]
        flat = _strew(rng, flat, special, 0.4)
    elif values == "moderate" and rng.random() < 0.3:
        flat = _strew(rng, flat, [np.nan, np.inf, -np.inf, 0, 1], 0.1)
    if dtype == "float64":  # what a graph is given: float64 is held in float32
        with np.errstate(over="ignore"):
            flat = flat.astype(np.float32).astype(np.float64)
    return flat


# -- strategies

_LENGTHS = st.sampled_from([0, 1, 1, 2, 2, 3, 3, 4, 5])
_SEEDS = st.integers(0, 2**16)


def shapes(least=0, most=4):
    return st.integers(least, most).flatmap(lambda n: st.tuples(*[_LENGTHS] * n))


@st.composite
def arrays(draw, least=0, most=4, dtypes=ALL, values="any", shape=None):
    """One Array; `shape` fixes its shape."""
    return Array(
        draw(shapes(least, most)) if shape is None else shape,
        draw(st.sampled_from(dtypes)),
        values,
        draw(_SEEDS),
    )


@st.composite
def broadcastable(draw, count, most=4):
    """`count` shapes that broadcast together."""
    whole = draw(shapes(0, most))
    found = []
    for _ in range(count):
        shape = whole[draw(st.integers(0, len(whole))) if draw(st.booleans()) else 0 :]
        found.append(tuple(1 if draw(st.integers(0, 4)) == 0 else n for n in shape))
    return found


def axis_of(rank):
    """A valid axis, negative or not."""
    return st.integers(-rank, rank - 1)


def axes(rank):
    """None, one axis, or several different ones."""
    if rank == 0:
        return st.none()
    several = st.lists(st.integers(0, rank - 1), unique=True, max_size=rank).map(tuple)
    return st.one_of(st.none(), axis_of(rank), several)
