"""Operation: a row of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from keras import ops

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import result_type

__all__ = ["Operation", "lookup"]


@dataclass(frozen=True)
class Operation:
    """What is called and with what.

    Attributes:
        name: in `keras.ops`, dotted ("image.resize"), with a word after a space to tell rows apart.
        arguments: strategy of (list of Array, keyword arguments).
        call: `call(*tensors, **attrs)`, by default the function of that name.
        reference: the same function of NumPy, or None.
        tolerance: factor on the relative tolerance.
        terms: what is summed, see `comparison`.
        as_given: whether NumPy gets the arrays as they are, not in the dtype of the result.
        known: the arrays, by index, whose shape a graph needs to know (weights).
    """

    name: str
    arguments: st.SearchStrategy
    call: Callable | None = None
    reference: Callable | None = None
    tolerance: float = 1.0
    terms: str | None = None
    as_given: bool = False
    known: tuple[int, ...] = ()

    def run(self, tensors, attrs) -> list:
        """The results as a flat list."""
        result = (self.call or lookup(self.name))(*tensors, **attrs)
        return list(result) if isinstance(result, (tuple, list)) else [result]

    def by_numpy(self, arrays, attrs, kinds) -> list[np.ndarray]:
        """NumPy's results, in the dtypes `kinds`: floats are computed in float64."""
        with np.errstate(all="ignore"):
            if not self.as_given:
                arrays = [_for_reference(a, arrays, kinds[0]) for a in arrays]
            result = self.reference(*arrays, **attrs)
            results = list(result) if isinstance(result, (tuple, list)) else [result]
            return [
                np.asarray(r).astype(dtypes.numpy_dtype(k))
                for r, k in zip(results, kinds, strict=True)
            ]


def _for_reference(array, arrays, kind):
    """Keras converts operands to the dtype of the result, or, for a boolean one, to their own."""
    if kind == "bool" or not (dtypes.is_float(kind) or dtypes.is_integer(kind)):
        kind = result_type(*[dtypes.name_of(a.dtype) for a in arrays])
    array = array.astype(dtypes.numpy_dtype(kind))
    return array.astype(np.float64) if dtypes.is_float(kind) else array


def lookup(name: str) -> Callable:
    """The function of keras.ops that a row is about."""
    found = ops
    for part in name.split()[0].split("."):
        found = getattr(found, part)
    return found
