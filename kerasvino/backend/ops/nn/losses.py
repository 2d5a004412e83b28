"""Cross-entropies, peak signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np

from kerasvino.backend.keras_private import canonicalize_axis, config
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import clip
from kerasvino.backend.ops.numpy.elementwise import in_float32
from kerasvino.primitives.activation import softplus
from kerasvino.primitives.arithmetic import add, divide, multiply, negative, square, subtract
from kerasvino.primitives.compare import greater_equal, less, logical_and, select
from kerasvino.primitives.elementwise import log
from kerasvino.primitives.indexing import take_along_axis
from kerasvino.primitives.normalization import log_softmax, log_softmax_at
from kerasvino.primitives.reduce import reduce_mean, reduce_sum
from kerasvino.primitives.shape import dimension, expand_dims, squeeze
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "binary_crossentropy", "categorical_crossentropy", "psnr", "sparse_categorical_crossentropy",
]  # fmt: skip


def _check_same(target, output, what):
    pairs = zip(target.shape, output.shape, strict=False)
    if target.ndim != output.ndim or any(n != m and None not in (n, m) for n, m in pairs):
        raise ValueError(
            f"{what} must have the same shape; given: {target.shape} and {output.shape}."
        )


def _clipped(probabilities):
    return clip(probabilities, config.epsilon(), 1.0 - config.epsilon())


def _log_probabilities(output, from_logits, axis):
    """Logarithms of the probabilities of the classes along `axis`."""
    if from_logits:
        return log_softmax(output, axis=axis)
    total = reduce_sum(output, axis=(axis,), keepdims=True)
    return log(_clipped(divide(output, total)))


def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-sum(target * log p) along `axis`, where p is softmax(output), or output scaled to sum 1."""
    target, output = promote(target, output, least=float)
    if target.ndim < 1:
        raise ValueError("`target` and `output` must have at least one axis, that of the classes.")
    _check_same(target, output, "`target` and `output`")
    axis = canonicalize_axis(axis, output.ndim)

    @in_float32
    def compute(target, output):
        weighted = multiply(target, _log_probabilities(output, from_logits, axis))
        return negative(reduce_sum(weighted, axis=(axis,), keepdims=False))

    return compute(target, output)


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-log p of the class that `target` (integers) names; 0 where it names none."""
    target, (output,) = convert_to_tensor(target), promote(output, least=float)
    if output.ndim < 1:
        raise ValueError("`output` must have at least one axis, that of the classes.")
    axis = canonicalize_axis(axis, output.ndim)
    if target.ndim == output.ndim and target.shape[-1] == 1:
        target = squeeze(target, axis=(target.ndim - 1,))
    classes = [n for a, n in enumerate(output.shape) if a != axis]
    if target.ndim != output.ndim - 1 or any(
        n != m and None not in (n, m) for n, m in zip(target.shape, classes, strict=True)
    ):
        raise ValueError(
            "`target` must have the shape of `output` without its axis of classes "
            f"({axis}); given: {target.shape} and {output.shape}."
        )
    index = expand_dims(to_dtype(target, "int32"), axis=(axis,))
    zero = Tensor._wrap(np.zeros((), np.int32))
    valid = logical_and(greater_equal(index, zero), less(index, dimension(output, axis=axis)))

    @in_float32
    def compute(output):
        place = select(valid, index, zero)
        if from_logits:
            picked = log_softmax_at(output, place, axis=axis)
        else:
            picked = take_along_axis(
                _log_probabilities(output, from_logits, axis), place, axis=axis
            )
        picked = select(valid, picked, constant_like(0, picked))
        return negative(squeeze(picked, axis=(axis,)))

    return compute(output)


def binary_crossentropy(target, output, from_logits=False):
    """-(target * log p + (1 - target) * log(1 - p)), where p is output or its sigmoid."""
    target, output = promote(target, output, least=float)
    _check_same(target, output, "`target` and `output`")
    return (_binary_of_logits if from_logits else _binary_of_probabilities)(target, output)


@in_float32
def _binary_of_logits(target, x):
    # -log(1 - sigmoid(x)) is softplus(x), and -log sigmoid(x) is that less x.
    return subtract(softplus(x), multiply(target, x))


@in_float32
def _binary_of_probabilities(target, output):
    output, one = _clipped(output), constant_like(1, output)
    positive = multiply(target, log(output))
    return negative(add(positive, multiply(subtract(one, target), log(subtract(one, output)))))


def psnr(x1, x2, max_val):
    """20 log10(max_val) - 10 log10 of the mean squared difference, in decibels."""
    x1, x2 = promote(x1, x2, least=float)
    _check_same(x1, x2, "`x1` and `x2`")
    (peak,) = promote(max_val, least=x1.dtype)

    @in_float32
    def compute(x1, x2, peak):
        error = reduce_mean(square(subtract(x1, x2)), axis=tuple(range(x1.ndim)), keepdims=False)
        decibels = multiply(log(error), constant_like(10 / math.log(10), error))
        return subtract(multiply(log(peak), constant_like(20 / math.log(10), error)), decibels)

    return compute(x1, x2, to_dtype(peak, x1.dtype))
