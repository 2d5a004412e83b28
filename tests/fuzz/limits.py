"""What a compiled graph is known to compute otherwise: tolerances and exclusions, with reasons.

The only place where a disagreement may be declared acceptable.
"""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes

__all__ = ["TOLERANCE", "excluded", "incomparable", "smallest", "unlike_numpy"]

# Relative tolerance of floats. float64 in a graph is float32 (OpenVINO has no other).
TOLERANCE = {"float64": 4e-6, "float32": 4e-6, "float16": 2e-3, "bfloat16": 1.6e-2}

# (operations, predicate of the case, reason): not compared.
_EXCLUDED: list = []

# (operations, predicate of the case and the dtypes of its results, reason): not compared with
# NumPy, because Keras means something else.
_UNLIKE_NUMPY: list = []


def excluded(case) -> str | None:
    """The reason why a case is not compared, or None."""
    for names, applies, reason in _EXCLUDED:
        if case.operation in names and applies(case):
            return reason
    return None


def unlike_numpy(case, kinds) -> str | None:
    """The reason why the eager results of a case are not compared with NumPy's, or None."""
    for names, applies, reason in _UNLIKE_NUMPY:
        if (names is None or case.operation in names) and applies(case, kinds):
            return reason
    return None


def incomparable(host: np.ndarray, dtype: str) -> np.ndarray:
    """Mask of the elements of a host result that a graph cannot give.

    64-bit integers beyond 32 bits: the CPU plugin computes them in 32 bits.
    """
    limits = dtypes.TABLE[dtype].graph_range
    if limits is None:
        return np.zeros(host.shape, bool)
    return (host < limits[0]) | (host > limits[1])


def smallest(dtype: str) -> float:
    """Absolute tolerance: numbers below the normal ones are flushed to 0 by the kernels."""
    return {"float16": 6.2e-5}.get(dtype, 1.2e-38)
