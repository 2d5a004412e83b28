"""Diagonals and triangles of matrices."""

from __future__ import annotations

from kerasvino.backend.ops.core.axes import axis_index
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import maximum, minimum
from kerasvino.backend.ops.numpy.creation import dtype_or
from kerasvino.backend.ops.numpy.shaping import length
from kerasvino.primitives import compare, indexing, join
from kerasvino.primitives import shape as p
from kerasvino.primitives.core import is_traced
from kerasvino.primitives.create import iota
from kerasvino.primitives.triangle import band, part
from kerasvino.primitives.unbroadcast import constant_like

__all__ = ["diag", "diagflat", "diagonal", "eye", "identity", "tri", "tril", "triu"]


def eye(N, M=None, k=0, dtype=None):
    """`keras.ops.eye`; the sizes and `k` may be tensors."""
    rows, columns = length(N), length(N if M is None else M)
    return to_dtype(band(rows, columns, length(k), "equal"), dtype_or(dtype))


def identity(n, dtype=None):
    """`keras.ops.identity`."""
    return eye(n, dtype=dtype)


def tri(N, M=None, k=0, dtype=None):
    """`keras.ops.tri`; the sizes and `k` may be tensors."""
    rows, columns = length(N), length(N if M is None else M)
    return to_dtype(band(rows, columns, length(k), "greater_equal"), dtype_or(dtype))


def _triangle(x, k, name):
    x = convert_to_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"A tensor with rows and columns is needed; given one of rank {x.ndim}.")
    return part(x, length(k), name)


def tril(x, k=0):
    """`keras.ops.tril`: zeros above the k-th diagonal of the last two axes."""
    return _triangle(x, k, "greater_equal")


def triu(x, k=0):
    """`keras.ops.triu`: zeros below the k-th diagonal of the last two axes."""
    return _triangle(x, k, "less_equal")


def diag(x, k=0):
    """`keras.ops.diag`: the matrix with k-th diagonal x, or the k-th diagonal of the matrix x."""
    x = convert_to_tensor(x)
    if x.ndim == 1:
        return _on_diagonal(x, k)
    if x.ndim != 2:
        raise ValueError(f"`x` must be 1-D or 2-D, but received shape {x.shape}.")
    return diagonal(x, k)


def diagflat(x, k=0):
    """`keras.ops.diagflat`: the matrix with the elements of x on its k-th diagonal."""
    return _on_diagonal(p.reshape(convert_to_tensor(x), shape=(-1,)), k)


def _on_diagonal(x, k):
    zero = constant_like(0, x)
    x = join.pad(x, pads=((0, abs(k)),), mode="constant", value=0)
    size = p.lengths(x)[0]
    # Above the main diagonal the row tells which element, below it the column.
    x = p.expand_dims(x, axis=(1 if k > 0 else 0,))
    return compare.select(band(size, size, length(k), "equal"), x, zero)


def diagonal(x, offset=0, axis1=0, axis2=1):
    """`keras.ops.diagonal`: as the last axis, the elements at (i, i + offset) of two axes."""
    x = convert_to_tensor(x)
    if x.ndim < 2:
        raise ValueError(
            "`diagonal` requires an array of at least two dimensions, but `x` is of shape "
            f"{x.shape}."
        )
    first, second = axis_index(axis1, x.ndim), axis_index(axis2, x.ndim)
    if first == second:
        raise ValueError(f"`axis1` and `axis2` are different axes; given: {axis1} and {axis2}.")
    rest = [a for a in range(x.ndim) if a not in (first, second)]
    x = p.transpose(x, axes=(*rest, first, second))
    *outer, rows, columns = p.lengths(x)
    if is_traced((rows, columns)):
        return _traced_diagonal(x, rows, columns, offset)
    count = max(0, min(rows - max(-offset, 0), columns - max(offset, 0)))
    start = offset if offset >= 0 else -offset * columns
    flat = p.reshape(x, shape=(*outer, rows * columns))
    return indexing.slice_(
        flat, axis=(len(outer),), starts=(start,), stops=(start + count * (columns + 1),),
        steps=(columns + 1,),
    )  # fmt: skip


def _traced_diagonal(x, rows, columns, offset):
    below, above = max(-offset, 0), max(offset, 0)
    count = maximum(minimum(rows - below, columns - above), 0)
    row = iota(size=count)
    row, column = (p.expand_dims(row + shift, axis=(1,)) for shift in (below, above))
    # The two axes first, since that is where gather_nd looks.
    x = p.transpose(x, axes=(x.ndim - 2, x.ndim - 1, *range(x.ndim - 2)))
    found = indexing.gather_nd(x, join.concatenate(row, column, axis=1))
    return p.transpose(found, axes=(*range(1, found.ndim), 0))
