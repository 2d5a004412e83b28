"""Random choices among given values: classes, permutations, dropped elements."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import floatx, standardize_dtype
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.axes import axis_index
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.ops.core.convert import shape as shape_of
from kerasvino.backend.random.draws import key_of, open_unit, unit
from kerasvino.primitives.indexing import gather
from kerasvino.primitives.random import random_bits

__all__ = ["categorical", "dropout", "shuffle"]


def categorical(logits, num_samples, dtype="int32", seed=None):
    """Class indices of shape (batch, num_samples), drawn with probabilities softmax(logits).

    By the Gumbel maximum: the index that maximises logits - log(-log(u)).
    """
    logits = convert_to_tensor(logits)
    logits = logits if dtypes.is_float(logits.dtype) else to_dtype(logits, floatx())
    rows, classes = shape_of(logits)
    uniforms = open_unit(key_of(seed), (rows, num_samples, classes))
    noise = knp.negative(knp.log(knp.negative(knp.log(uniforms))))
    scores = knp.add(knp.expand_dims(to_dtype(logits, "float32"), 1), noise)
    return to_dtype(knp.argmax(scores, axis=-1), standardize_dtype(dtype))


def dropout(inputs, rate, noise_shape=None, seed=None):
    """`inputs` with a fraction `rate` of the elements zero and the others divided by 1 - rate.

    Along an axis of `noise_shape` that is 1 the elements are dropped together; None: the length of
    `inputs`.
    """
    inputs = convert_to_tensor(inputs)
    rate = convert_to_tensor(rate, "float32")
    if not rate.is_symbolic and rate.numpy() in (0, 1):
        return inputs if rate.numpy() == 0 else knp.zeros_like(inputs)
    lengths = shape_of(inputs)
    if noise_shape is not None:
        lengths = tuple(
            length if wanted is None else wanted
            for length, wanted in zip(lengths, noise_shape, strict=True)
        )
    keep = knp.greater_equal(unit(key_of(seed), lengths, "float32"), rate)
    kept = to_dtype(knp.subtract(np.float32(1), rate), inputs.dtype)
    return knp.where(keep, knp.divide(inputs, kept), knp.zeros_like(inputs))


def shuffle(x, axis=0, seed=None):
    """`x` with its slices along `axis` in random order."""
    x = convert_to_tensor(x)
    length = shape_of(x)[axis]
    order = knp.argsort(random_bits(key_of(seed), shape=(length,)))
    return gather(x, order, axis=axis_index(axis, x.ndim))
