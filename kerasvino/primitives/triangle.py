"""Parts of matrices by their distance from the diagonal, made of primitives."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives import compare
from kerasvino.primitives.arithmetic import add
from kerasvino.primitives.cast import cast
from kerasvino.primitives.core import is_traced
from kerasvino.primitives.create import iota
from kerasvino.primitives.shape import expand_dims, lengths
from kerasvino.tensor import Tensor

__all__ = ["band", "part"]


def band(rows, columns, k, name: str) -> Tensor:
    """Booleans of a matrix: where `compare.<name>` holds for (row + k, column).

    The sizes and k are ints or symbolic int32 scalars.
    """
    if not is_traced((rows, columns, k)):
        found = getattr(np, name)(np.arange(rows)[:, None] + k, np.arange(columns))
        return Tensor._wrap(found)
    row = expand_dims(iota(size=rows), axis=(1,))
    k = cast(k, dtype="int32") if isinstance(k, Tensor) else Tensor._wrap(np.asarray(k, np.int32))
    return getattr(compare, name)(add(row, k), iota(size=columns))


def part(x: Tensor, k, name: str) -> Tensor:
    """x (..., m, n) with zeros where `band` of its size does not hold."""
    inside = band(*lengths(x)[-2:], k, name)
    return compare.where(inside, x, 0)
