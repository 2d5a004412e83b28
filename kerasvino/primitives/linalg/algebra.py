"""Matrix algebra made of primitives, for gradients: triangles, diagonals, transposes."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives.arithmetic import add, subtract
from kerasvino.primitives.cast import cast
from kerasvino.primitives.compare import greater_equal, where
from kerasvino.primitives.create import iota
from kerasvino.primitives.indexing import END, slice_
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.reduce import reduce_sum
from kerasvino.primitives.shape import expand_dims, lengths, transpose
from kerasvino.primitives.triangle import band, part
from kerasvino.tensor import Tensor

__all__ = [
    "beyond", "diagonal", "eye", "gaps", "head", "lower", "on_diagonal", "past", "product",
    "scaled", "symmetric", "tail", "transposed", "unscaled", "upper",
]  # fmt: skip


def transposed(x: Tensor) -> Tensor:
    """The last two axes swapped."""
    last = x.ndim - 1
    return transpose(x, axes=(*range(last - 1), last, last - 1))


def product(*factors: Tensor) -> Tensor:
    """The matrix product, from the left."""
    result = factors[0]
    for factor in factors[1:]:
        result = matmul(result, factor)
    return result


def symmetric(x: Tensor) -> Tensor:
    """The symmetric part."""
    return (x + transposed(x)) * 0.5


def lower(x: Tensor, strict: bool = False) -> Tensor:
    """The lower triangle, with the diagonal or without."""
    return part(x, 0, "greater" if strict else "greater_equal")


def upper(x: Tensor) -> Tensor:
    """The upper triangle with the diagonal."""
    return part(x, 0, "less_equal")


def eye(x: Tensor) -> Tensor:
    """Ones on the diagonal, in the size (m, n) and dtype of matrices x."""
    return cast(band(*lengths(x)[-2:], 0, "equal"), dtype=x.dtype)


def diagonal(x: Tensor) -> Tensor:
    """The diagonals (..., n) of matrices (..., n, n)."""
    return reduce_sum(part(x, 0, "equal"), axis=(x.ndim - 1,), keepdims=False)


def on_diagonal(values: Tensor) -> Tensor:
    """Matrices (..., n, n) with diagonals (..., n)."""
    size = lengths(values)[-1]
    values = expand_dims(values, axis=(values.ndim,))
    return where(band(size, size, 0, "equal"), values, 0)


def scaled(x: Tensor, values: Tensor) -> Tensor:
    """Columns of x (..., m, n) multiplied by values (..., n)."""
    return x * expand_dims(values, axis=(values.ndim - 1,))


def unscaled(x: Tensor, values: Tensor) -> Tensor:
    """Columns of x (..., m, n) divided by values (..., n); those divided by 0 become 0."""
    return scaled(x, _inverse(values))


def _inverse(x):
    """1 / x; 0 where x is 0."""
    missing = x == 0
    return where(missing, 0, 1 / where(missing, 1, x))


def gaps(values: Tensor, squared: bool = False) -> Tensor:
    """1 / (v_j - v_i) at (i, j) for values v (..., n), or of their squares; 0 where v_i = v_j."""
    pairs = (
        expand_dims(values, axis=(values.ndim - 1,)), expand_dims(values, axis=(values.ndim,)),
    )  # fmt: skip
    differences = subtract(*pairs)
    return _inverse(differences * add(*pairs) if squared else differences)


def head(x: Tensor, axis: int, count) -> Tensor:
    """The first `count` (an int or a symbolic int32) along an axis (counted from the end)."""
    return slice_(x, axis=(x.ndim + axis,), starts=(0,), stops=(count,), steps=(1,))


def tail(x: Tensor, axis: int, count) -> Tensor:
    """What `head` leaves."""
    return slice_(x, axis=(x.ndim + axis,), starts=(count,), stops=(END,), steps=(1,))


def past(x: Tensor, count) -> Tensor:
    """x (..., m, n) with zeros in its first `count` columns.

    It stands in products for `tail`, which may turn out to be empty: OpenVINO refuses a product
    over no terms to which another operation is fused.
    """
    return where(beyond(lengths(x)[-1], count), x, 0)


def beyond(size, count) -> Tensor:
    """Booleans (size,): whether a place is one after the first `count`."""
    count = count if isinstance(count, Tensor) else Tensor._wrap(np.asarray(count, np.int32))
    return greater_equal(iota(size=size), count)
