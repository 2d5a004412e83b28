"""What the distributions are made of: keys, shapes, uniform and normal numbers."""

from __future__ import annotations

import math

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import floatx, standardize_dtype
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.random.seeds import drawn
from kerasvino.distribution import current_step
from kerasvino.primitives.random import random_bits, random_uniform
from kerasvino.primitives.special import erfinv
from kerasvino.tensor import Tensor

__all__ = [
    "as_lengths", "centred", "float_dtype", "key_of", "open_unit", "split", "standard_normal",
    "unit",
]  # fmt: skip

# Random bits that a float dtype holds exactly in [0, 1): with one more, rounding could give 1.
_BITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 24}


def key_of(seed) -> Tensor:
    """The two words of a seed; an int counts modulo 2**32."""
    if isinstance(seed, int):
        seed &= 0xFFFFFFFF
    key = convert_to_tensor(drawn(seed), "uint32")
    step = current_step()
    if step is not None and step.group.rank:
        # each process draws other numbers for its rows, from a state that advances alike on all
        key = knp.add(key, np.array([0, step.group.rank * 0x9E3779 % 2**31], np.uint32))
    return key


def split(key: Tensor, count: int) -> list[Tensor]:
    """Independent keys, one for each use that a function makes of its seed."""
    words = random_bits(key, shape=(count, 2))
    return [words[i] for i in range(count)]


def float_dtype(dtype) -> str:
    dtype = standardize_dtype(dtype or floatx())
    if not dtypes.is_float(dtype):
        raise ValueError(f"`dtype` must be a floating point dtype; given: {dtype!r}.")
    return dtype


def as_lengths(shape) -> tuple:
    """A shape as Keras takes them: a sequence or vector of lengths, or one length."""
    if isinstance(shape, Tensor):
        shape = shape if shape.ndim else [shape]
    elif not hasattr(shape, "__iter__"):
        shape = (shape,)
    lengths = tuple(n if isinstance(n, Tensor) else int(n) for n in shape)
    if any(isinstance(n, int) and n < 0 for n in lengths):
        raise ValueError(f"`shape` must have lengths of 0 or more; given: {lengths}.")
    return lengths


def unit(key: Tensor, shape, dtype: str) -> Tensor:
    """Uniform in [0, 1), on the grid that `dtype` holds exactly."""
    return to_dtype(random_uniform(key, shape=as_lengths(shape), bits=_BITS.get(dtype, 3)), dtype)


def open_unit(key: Tensor, shape) -> Tensor:
    """Uniform float32 strictly between 0 and 1: the middles of 2**23 cells."""
    return knp.add(random_uniform(key, shape=as_lengths(shape), bits=23), np.float32(2.0**-24))


def centred(key: Tensor, shape) -> Tensor:
    """Uniform float32 strictly between -1 and 1, never 0."""
    return knp.subtract(knp.multiply(open_unit(key, shape), np.float32(2)), np.float32(1))


def standard_normal(key: Tensor, shape) -> Tensor:
    """Standard normal float32 by inversion of the distribution function."""
    return knp.multiply(erfinv(centred(key, shape)), np.float32(math.sqrt(2)))
