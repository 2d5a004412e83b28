"""Sums of products over labelled axes: `einsum`, and the pairwise step under `tensordot`.

Every step becomes transposes, one matmul (or one broadcast product, if nothing is summed) and
reshapes, so that it is exact for integers and runs on the best kernels.
"""

from __future__ import annotations

import functools
import math
import string
from collections.abc import Sequence

import numpy as np

from kerasvino.backend.ops.core.convert import promote, to_dtype
from kerasvino.backend.ops.numpy.diagonals import diagonal
from kerasvino.primitives import arithmetic
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.reduce import reduce_any, reduce_sum
from kerasvino.primitives.shape import expand_dims, lengths, reshape, squeeze, transpose
from kerasvino.tensor import Tensor

__all__ = ["contract", "einsum", "is_int8"]


# -- shapes


def _product(sizes):
    """The product of ints and symbolic integer scalars."""
    known = math.prod(n for n in sizes if isinstance(n, int))
    unknown = [n for n in sizes if not isinstance(n, int)]
    if not unknown:
        return known
    total = functools.reduce(arithmetic.multiply, unknown)
    return total if known == 1 else arithmetic.multiply(total, Tensor(known, "int32"))


def _reshaped(x: Tensor, shape: Sequence) -> Tensor:
    """x in `shape`; a single length that is not known is left to be inferred."""
    unknown = [i for i, n in enumerate(shape) if not isinstance(n, int)]
    known = [n for n in shape if isinstance(n, int)]
    if len(unknown) == 1 and 0 not in known:
        shape = [-1 if i in unknown else n for i, n in enumerate(shape)]
    elif not unknown and tuple(shape) == x.shape:
        return x
    return reshape(x, shape=tuple(shape))


def _grouped(x: Tensor, groups: Sequence[Sequence]) -> Tensor:
    """x with the axes of each group, of these lengths, made one; itself where each is one."""
    if all(len(group) == 1 for group in groups):
        return x
    return _reshaped(x, [_product(group) for group in groups])


def _ordered(x: Tensor, labels, order) -> Tensor:
    """x, whose axes are `labels`, with its axes in `order`."""
    if tuple(labels) == tuple(order):
        return x
    return transpose(x, axes=tuple(labels.index(label) for label in order))


def _aligned(x, labels, order):
    """x with its axes among `order` and axes of length 1 for those it lacks, to broadcast."""
    x = _ordered(x, labels, [label for label in order if label in labels])
    missing = tuple(i for i, label in enumerate(order) if label not in labels)
    return expand_dims(x, axis=missing) if missing else x


# -- one operand


def _summed(x, labels, kept):
    """x summed over its axes that are not in `kept`, and the labels left."""
    axes = tuple(i for i, label in enumerate(labels) if label not in kept)
    if not axes:
        return x, labels
    left = tuple(label for label in labels if label in kept)
    reduction = reduce_any if x.dtype == "bool" else reduce_sum
    return reduction(x, axis=axes, keepdims=False), left


def _distinct(x, labels):
    """x with a repeated label read along the diagonal, and its labels, now distinct."""
    for label in sorted(set(labels), key=labels.index):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = diagonal(x, 0, first, second)
            rest = [v for i, v in enumerate(labels) if i not in (first, second)]
            labels = (*rest, label)
    return x, labels


def _without_ones(x, labels, other_sizes):
    """x without its axes of length 1 that the other operand has in another length (broadcast)."""
    axes = tuple(
        i for i, label in enumerate(labels) if x.shape[i] == 1 and other_sizes.get(label, 1) != 1
    )
    if not axes:
        return x, labels
    return squeeze(x, axis=axes), tuple(v for i, v in enumerate(labels) if i not in axes)


# -- two operands


def contract(x, x_labels, y, y_labels, result, dtype=None) -> Tensor:
    """The sum of products of x and y over the labels that are not in `result`.

    Args:
        x, y: tensors of one dtype.
        x_labels, y_labels: a label (any hashable) for each axis, without repetition.
        result: labels of the result, in order; each occurs in an operand.
        dtype: Keras dtype of the result, if wider (for int8).
    """
    sizes = [dict(zip(v, t.shape, strict=True)) for t, v in ((x, x_labels), (y, y_labels))]
    x, x_labels = _without_ones(x, tuple(x_labels), sizes[1])
    y, y_labels = _without_ones(y, tuple(y_labels), sizes[0])
    x, x_labels = _summed(x, x_labels, {*result, *y_labels})
    y, y_labels = _summed(y, y_labels, {*result, *x_labels})
    if not set(x_labels) & set(y_labels) - set(result):
        if dtype is not None:
            x, y = to_dtype(x, dtype), to_dtype(y, dtype)
        return arithmetic.multiply(
            *(_aligned(*operand, result) for operand in ((x, x_labels), (y, y_labels)))
        )
    only = [label for label in result if (label in x_labels) != (label in y_labels)]
    if only and only[0] in y_labels:  # so that the result needs no transposition
        x, x_labels, y, y_labels = y, y_labels, x, x_labels
    return _product_of_matrices(x, x_labels, y, y_labels, result, dtype)


def _product_of_matrices(x, x_labels, y, y_labels, result, dtype):
    batch = [v for v in result if v in x_labels and v in y_labels]
    rows = [v for v in result if v in x_labels and v not in y_labels]
    columns = [v for v in result if v in y_labels and v not in x_labels]
    inner = [v for v in x_labels if v in y_labels and v not in result]
    x, y = (
        _ordered(x, x_labels, batch + rows + inner),
        _ordered(y, y_labels, batch + inner + columns),
    )
    x_sizes, y_sizes = lengths(x), lengths(y)
    ahead, split = len(batch), len(batch) + len(rows)
    # Rows on several axes stay so where matmul broadcasts the other operand over them.
    apart = not batch and rows
    own = [(n,) for n in x_sizes[:split]] if apart else [(n,) for n in x_sizes[:ahead]]
    x = _grouped(x, [*own, *([] if apart else [x_sizes[ahead:split]]), x_sizes[split:]])
    middle = ahead + len(inner)
    own = [(n,) for n in y_sizes[:ahead]]
    y = _grouped(y, [*own, y_sizes[ahead:middle], y_sizes[middle:]])
    product = matmul(x, y) if dtype is None else matmul(x, y, dtype=dtype)
    # Batch axes may have been broadcast between the operands.
    leading = lengths(product)[:ahead] if len(rows) != 1 or len(columns) != 1 else x_sizes[:ahead]
    if len(columns) != 1 or (len(rows) != 1 and (batch or not rows)):
        product = _reshaped(product, (*leading, *x_sizes[ahead:split], *y_sizes[middle:]))
    return _ordered(product, batch + rows + columns, result)


# -- einsum


def is_int8(x) -> bool:
    """Whether an operand is of int8: a product of such alone is int32, by Keras's rule."""
    return getattr(x, "dtype", None) == "int8"


@functools.lru_cache(maxsize=512)
def _parsed(subscripts: str, ranks: tuple[int, ...]):
    """Labels of each operand and of the result; an axis under `...` is labelled by an int."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ranks):
        raise ValueError(
            f"einsum {subscripts!r} describes {len(terms)} operands; given: {len(ranks)}."
        )
    labels = [_labels(term, rank, subscripts) for term, rank in zip(terms, ranks, strict=True)]
    covered = max((-v for term in labels for v in term if isinstance(v, int)), default=0)
    ellipsis = tuple(range(-covered, 0))
    if not arrow:
        letters = "".join(term.replace("...", "") for term in terms)
        return labels, (*ellipsis, *sorted(v for v in set(letters) if letters.count(v) == 1))
    before, dots, after = output.partition("...")
    result = (*before, *(ellipsis if dots else ()), *after)
    present = {v for term in labels for v in term}
    if len(set(result)) < len(result) or not present.issuperset(result):
        raise ValueError(
            f"einsum {subscripts!r}: each label of the result must occur in it once, and in an "
            "operand."
        )
    return labels, result


def _labels(term, rank, subscripts):
    before, dots, after = term.partition("...")
    named = len(before) + len(after)
    if (
        not set(before + after) <= set(string.ascii_letters)
        or rank < named
        or (not dots and rank != named)
    ):
        raise ValueError(
            f"einsum {subscripts!r}: {term!r} does not describe an operand of rank {rank}."
        )
    return (*before, *range(named - rank, 0), *after)


def _order(labels, result, shapes):
    """Which operands to contract, step by step: positions in the shrinking list (NumPy's path)."""
    if len(labels) <= 2:
        return [tuple(range(len(labels)))]
    names = {}
    for term in (*labels, result):
        for label in term:
            names.setdefault(label, string.ascii_letters[len(names) % 52])
    # an axis of unknown length counts as a typical one
    dummies = [
        np.broadcast_to(np.float32(0), [64 if n is None else n for n in shape]) for shape in shapes
    ]
    terms = ["".join(names[v] for v in term) for term in labels]
    text = f"{','.join(terms)}->{''.join(names[v] for v in result)}"
    path, _ = np.einsum_path(text, *dummies, optimize="greedy")
    return path[1:]


def einsum(subscripts, *operands, **kwargs):
    """`keras.ops.einsum`: sums of products over the labels missing from the result."""
    dtype = "int32" if all(map(is_int8, operands)) else None
    tensors = promote(*operands)
    labels, result = _parsed(subscripts, tuple(t.ndim for t in tensors))
    if dtype and (len(tensors) != 2 or any(_needs_sum(labels, result))):
        tensors, dtype = [to_dtype(t, "int32") for t in tensors], None
    pairs = [_distinct(t, v) for t, v in zip(tensors, labels, strict=True)]
    for step in _order([v for _, v in pairs], result, [t.shape for t, _ in pairs]):
        taken = [pairs.pop(i) for i in sorted(step, reverse=True)][::-1]
        needed = {*result, *(v for _, rest in pairs for v in rest)}
        pairs.append(_combined(taken, result if not pairs else None, needed, dtype))
    return pairs[0][0]


def _needs_sum(labels, result):
    """For each operand, whether it has a label of its own that is summed."""
    for i, term in enumerate(labels):
        others = {*result, *(v for j, other in enumerate(labels) if j != i for v in other)}
        yield not others.issuperset(term) or len(set(term)) < len(term)


def _combined(taken, result, needed, dtype):
    """The contraction of one or two labelled operands, keeping the `needed` labels."""
    if result is None:
        found = dict.fromkeys(v for _, labels in taken for v in labels if v in needed)
        result = tuple(found)
    if len(taken) == 1:
        x, labels = _summed(*taken[0], needed)
        return _ordered(x, labels, result), result
    (x, x_labels), (y, y_labels) = taken
    return contract(x, x_labels, y, y_labels, result, dtype), result
