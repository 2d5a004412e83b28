"""Uniform and normal numbers, uniform integers."""

from __future__ import annotations

import math

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import standardize_dtype
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.random.draws import (
    as_lengths,
    centred,
    float_dtype,
    key_of,
    standard_normal,
    unit,
)
from kerasvino.primitives.random import random_bits
from kerasvino.primitives.special import erfinv

__all__ = ["normal", "randint", "truncated_normal", "uniform"]


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Uniform in [minval, maxval)."""
    dtype = float_dtype(dtype)
    low, high = (convert_to_tensor(v, dtype) for v in (minval, maxval))
    values = knp.add(knp.multiply(unit(key_of(seed), shape, dtype), knp.subtract(high, low)), low)
    if not low.is_symbolic and not np.any(low.numpy()):
        return values
    # a sum may round up to `maxval`
    return knp.where(knp.equal(values, high), low, values)


def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normal with the given mean and standard deviation."""
    dtype = float_dtype(dtype)
    return _located(standard_normal(key_of(seed), shape), mean, stddev, dtype)


def _located(values, mean, stddev, dtype):
    mean, stddev = (convert_to_tensor(v, dtype) for v in (mean, stddev))
    return knp.add(knp.multiply(to_dtype(values, dtype), stddev), mean)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normal, redrawn (by inversion) within two standard deviations of the mean."""
    dtype = float_dtype(dtype)
    mass = np.float32(math.erf(math.sqrt(2.0)))  # within two standard deviations
    values = erfinv(knp.multiply(centred(key_of(seed), shape), mass))
    values = knp.multiply(values, np.float32(math.sqrt(2)))
    values = knp.clip(values, np.float32(-2), np.float32(2))
    return _located(values, mean, stddev, dtype)


# -- integers


def randint(shape, minval, maxval, dtype="int32", seed=None):
    """Integers in [minval, maxval).

    Random bits modulo the width, of which 32 give a bias below width / 2**32. Wider ranges take 64
    bits, on the host only; a graph computes 64-bit integers in 32.

    Raises:
        ValueError: `dtype` is not an integer one, does not hold the bounds, or minval >= maxval.
    """
    dtype = standardize_dtype(dtype)
    if not dtypes.is_integer(dtype):
        raise ValueError(
            f"`keras.random.randint` requires an integer `dtype`. Received: dtype={dtype} "
        )
    lengths = as_lengths(shape)
    low, high = (_bound(value) for value in (minval, maxval))
    if isinstance(low, np.ndarray) and isinstance(high, np.ndarray):
        return _in_known_range(key_of(seed), lengths, low, high, dtype)
    low, high = (to_dtype(convert_to_tensor(v), dtype) for v in (low, high))
    width = to_dtype(knp.subtract(high, low), "uint32")
    offset = knp.mod(random_bits(key_of(seed), shape=lengths), width)
    return knp.add(to_dtype(offset, dtype), low)


def _bound(value):
    """A bound as an array of Python ints, or a traced tensor."""
    if isinstance(value, int):
        return np.array(value, dtype=object)
    value = convert_to_tensor(value)
    if value.is_symbolic:
        return value
    array = value.numpy()
    if dtypes.is_float(value.dtype):
        array = np.trunc(array.astype(np.float64))
    return np.vectorize(int, otypes=[object])(array) if array.size else array.astype(object)


def _in_known_range(key, lengths, low, high, dtype):
    width = np.asarray(high - low, dtype=object)
    limits = np.iinfo(dtypes.numpy_dtype(dtype))
    if np.any(width <= 0):
        raise ValueError(f"randint needs minval < maxval; given {low} and {high}.")
    if np.any(low < limits.min) or np.any(high - 1 > limits.max):
        raise ValueError(
            f"randint with bounds {low} and {high} leaves the range of dtype {dtype}, "
            f"{limits.min} to {limits.max}."
        )
    start = low.astype(np.int64 if limits.min < 0 else np.uint64).astype(dtypes.numpy_dtype(dtype))
    if np.all(width == 2**32):
        offset = random_bits(key, shape=lengths)
    elif np.all(width < 2**32):
        offset = knp.mod(random_bits(key, shape=lengths), width.astype(np.uint32))
    elif key.is_symbolic:
        raise dtypes.GraphRangeError(
            f"randint over {low} to {high} in a compiled graph, which computes 64-bit integers in "
            "32 bits: call it eagerly, or with bounds less than 2**32 apart."
        )
    else:
        words = random_bits(key, shape=(2, *lengths)).numpy().astype(np.uint64)
        # a width of 2**64 is 0 here: then all bits are kept
        width = np.asarray(width % 2**64).astype(np.uint64)
        offset = (words[0] << np.uint64(32)) | words[1]
        offset = convert_to_tensor(np.where(width == 0, offset, offset % np.maximum(width, 1)))
    return knp.add(to_dtype(offset, dtype), convert_to_tensor(start))
