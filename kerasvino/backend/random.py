"""Keras's random contract over the counter-based generator: the same bits eager and traced.

Every function draws its key from the seed (an int, or a `SeedGenerator`, whose state advances, in a
compiled program too) and is a pure function of it.
"""

from __future__ import annotations

import math

import numpy as np
from keras.src.backend.common import standardize_dtype
from keras.src.backend.config import floatx
from keras.src.random.seed_generator import SeedGenerator, draw_seed, make_default_seed

from kerasvino import dtypes
from kerasvino.backend import numpy as knp
from kerasvino.backend.core.control import while_loop
from kerasvino.backend.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.core.convert import shape as shape_of
from kerasvino.primitives.random import random_bits, random_uniform
from kerasvino.primitives.special import erfinv
from kerasvino.tensor import Tensor

__all__ = [
    "SeedGenerator", "beta", "categorical", "draw_seed", "dropout", "gamma", "make_default_seed",
    "normal", "randint", "shuffle", "truncated_normal", "uniform",
]  # fmt: skip

# Random bits that a float dtype holds exactly in [0, 1): with one more, rounding could give 1.
_BITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 24}


def _key(seed) -> Tensor:
    return convert_to_tensor(draw_seed(seed), "uint32")


def _split(key: Tensor, count: int) -> list[Tensor]:
    """Independent keys, one for each use that a function makes of its seed."""
    words = random_bits(key, shape=(count, 2))
    return [words[i] for i in range(count)]


def _float_dtype(dtype) -> str:
    dtype = standardize_dtype(dtype or floatx())
    if not dtypes.is_float(dtype):
        raise ValueError(f"`dtype` must be a floating point dtype; given: {dtype!r}.")
    return dtype


def _shape(shape) -> tuple:
    if isinstance(shape, Tensor):
        shape = shape if shape.ndim else [shape]
    elif not hasattr(shape, "__iter__"):
        shape = (shape,)
    return tuple(n if isinstance(n, Tensor) else int(n) for n in shape)


def _unit(key: Tensor, shape, dtype: str) -> Tensor:
    """Uniform in [0, 1), on the grid that `dtype` holds exactly."""
    return to_dtype(random_uniform(key, shape=_shape(shape), bits=_BITS.get(dtype, 8)), dtype)


def _open_unit(key: Tensor, shape) -> Tensor:
    """Uniform float32 strictly between 0 and 1: the middles of 2**23 cells."""
    return knp.add(random_uniform(key, shape=_shape(shape), bits=23), np.float32(2.0**-24))


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Uniform in [minval, maxval)."""
    dtype = _float_dtype(dtype)
    low, high = (convert_to_tensor(v, dtype) for v in (minval, maxval))
    return knp.add(knp.multiply(_unit(_key(seed), shape, dtype), knp.subtract(high, low)), low)


def _normal(key, shape):
    """Standard normal float32 by inversion of the distribution function."""
    centred = knp.subtract(knp.multiply(_open_unit(key, shape), np.float32(2)), np.float32(1))
    return knp.multiply(erfinv(centred), np.float32(math.sqrt(2)))


def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normal with the given mean and standard deviation."""
    dtype = _float_dtype(dtype)
    return _located(_normal(_key(seed), shape), mean, stddev, dtype)


def _located(values, mean, stddev, dtype):
    mean, stddev = (convert_to_tensor(v, dtype) for v in (mean, stddev))
    return knp.add(knp.multiply(to_dtype(values, dtype), stddev), mean)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normal, redrawn (by inversion) within two standard deviations of the mean."""
    dtype = _float_dtype(dtype)
    edge = math.erf(math.sqrt(2.0))  # probability mass within two standard deviations
    centred = knp.subtract(
        knp.multiply(_open_unit(_key(seed), shape), np.float32(2)), np.float32(1)
    )
    values = knp.multiply(erfinv(knp.multiply(centred, np.float32(edge))), np.float32(math.sqrt(2)))
    values = knp.clip(values, np.float32(-2), np.float32(2))
    return _located(values, mean, stddev, dtype)


def randint(shape, minval, maxval, dtype="int32", seed=None):
    """Integers in [minval, maxval): 32 random bits modulo the width, a bias below width/2**32."""
    dtype = standardize_dtype(dtype)
    if not dtypes.is_integer(dtype):
        raise ValueError(
            f"`keras.random.randint` requires an integer `dtype`. Received: dtype={dtype} "
        )
    low, high = (convert_to_tensor(v) for v in (minval, maxval))
    if not low.is_symbolic and not high.is_symbolic:
        return _host_randint(_key(seed), shape, low, high, dtype)
    width = to_dtype(knp.subtract(high, low), "uint32")
    offset = knp.mod(random_bits(_key(seed), shape=_shape(shape)), width)
    return knp.add(to_dtype(offset, dtype), to_dtype(low, dtype))


def _host_randint(key, shape, low, high, dtype):
    """With known bounds the width is exact beyond 32 bits too."""
    width = np.asarray(high.numpy().astype(object) - low.numpy().astype(object))
    if np.any(width <= 0):
        raise ValueError(f"randint needs minval < maxval; given {low} and {high}.")
    if np.all(width < 2**32):
        offset = knp.mod(random_bits(key, shape=_shape(shape)), width.astype(np.uint32))
        return knp.add(to_dtype(offset, dtype), to_dtype(low, dtype))
    words = random_bits(key, shape=(2, *_shape(shape))).numpy().astype(np.uint64)
    offset = ((words[0] << np.uint64(32)) | words[1]) % width.astype(np.uint64)
    start = low.numpy().astype(np.int64).astype(np.uint64)
    return Tensor._wrap((offset + start).astype(dtypes.numpy_dtype(dtype)))


def categorical(logits, num_samples, dtype="int32", seed=None):
    """Class indices of shape (batch, num_samples), drawn with probabilities softmax(logits).

    By the Gumbel maximum: the index that maximises logits - log(-log(u)).
    """
    logits = convert_to_tensor(logits)
    logits = logits if dtypes.is_float(logits.dtype) else to_dtype(logits, floatx())
    rows, classes = shape_of(logits)
    uniforms = _open_unit(_key(seed), (rows, num_samples, classes))
    noise = knp.negative(knp.log(knp.negative(knp.log(uniforms))))
    scores = knp.add(knp.expand_dims(to_dtype(logits, "float32"), 1), noise)
    return to_dtype(knp.argmax(scores, axis=-1), standardize_dtype(dtype))


def dropout(inputs, rate, noise_shape=None, seed=None):
    """`inputs` with a fraction `rate` of the elements zero and the others divided by 1 - rate."""
    inputs = convert_to_tensor(inputs)
    lengths = shape_of(inputs)
    if noise_shape is not None:
        lengths = tuple(
            length if wanted is None else wanted
            for length, wanted in zip(lengths, noise_shape, strict=True)
        )
    keep = knp.greater_equal(_unit(_key(seed), lengths, "float32"), np.float32(rate))
    scaled = knp.divide(inputs, convert_to_tensor(1.0 - rate, inputs.dtype))
    return knp.where(keep, scaled, knp.zeros_like(inputs))


def shuffle(x, axis=0, seed=None):
    """`x` with its slices along `axis` in random order."""
    x = convert_to_tensor(x)
    length = shape_of(x)[axis]
    order = knp.argsort(random_bits(_key(seed), shape=(length,)))
    return knp.take(x, order, axis=axis)


def gamma(shape, alpha, dtype=None, seed=None):
    """Gamma with shape parameter `alpha` and unit scale.

    Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000); below 1 by the
    boost gamma(alpha + 1) * u**(1 / alpha) of the same paper.
    """
    dtype = _float_dtype(dtype)
    return to_dtype(_gamma(_key(seed), _shape(shape), alpha), dtype)


def _gamma(key, lengths, alpha):
    alpha = knp.broadcast_to(convert_to_tensor(alpha, "float32"), lengths)
    key, boost_key = _split(key, 2)
    boosted = knp.less(alpha, np.float32(1))
    d = knp.where(boosted, alpha + np.float32(2 / 3), alpha - np.float32(1 / 3))
    values = _marsaglia_tsang(key, d, lengths)
    boost = knp.power(_open_unit(boost_key, lengths), np.float32(1) / alpha)
    return knp.where(boosted, values * boost, values)


def _marsaglia_tsang(key, d, lengths):
    """Samples of gamma(d + 1/3): rejection of all elements at once, each accepted with p > 0.95."""
    scale = np.float32(1 / 3) / knp.sqrt(d)

    def pending(values, accepted, key):
        return knp.logical_not(knp.all(accepted))

    def attempt(values, accepted, key):
        normal_key, uniform_key, following = _split(key, 3)
        x = _normal(normal_key, lengths)
        v = knp.power(np.float32(1) + scale * x, np.float32(3))
        positive = knp.greater(v, np.float32(0))
        v = knp.where(positive, v, np.float32(1))
        bound = np.float32(0.5) * x * x + d - d * v + d * knp.log(v)
        passes = knp.logical_and(
            positive, knp.less(knp.log(_open_unit(uniform_key, lengths)), bound)
        )
        return (
            knp.where(accepted, values, d * v),
            knp.logical_or(accepted, passes),
            following,
        )

    start = (knp.zeros_like(d), knp.zeros_like(d, dtype="bool"), key)
    return while_loop(pending, attempt, start)[0]


def beta(shape, alpha, beta, dtype=None, seed=None):
    """Beta as the ratio x / (x + y) of gamma variates with `alpha` and `beta`."""
    dtype = _float_dtype(dtype)
    keys, lengths = _split(_key(seed), 2), _shape(shape)
    x, y = (_gamma(k, lengths, p) for k, p in zip(keys, (alpha, beta), strict=True))
    return to_dtype(x / (x + y), dtype)
