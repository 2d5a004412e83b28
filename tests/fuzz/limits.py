"""What a compiled graph is known to compute otherwise or to refuse, with reasons.

The only place where a disagreement may be declared acceptable.
"""

from __future__ import annotations

import re

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import result_type

__all__ = [
    "TOLERANCE", "absolute", "excluded", "incomparable", "refused", "too_large",
]  # fmt: skip

# Relative tolerance of floats. float64 in a graph is float32 (OpenVINO has no other).
TOLERANCE = {"float64": 4e-6, "float32": 4e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def _has(*kinds):
    return lambda case: any(a.dtype in kinds for a in case.arrays)


# (operations, predicate of the case and whether its lengths are unknown, reason): not compared.
_EXCLUDED = [
    (
        ("squeeze",),
        lambda case, dynamic: dynamic and case.attrs["axis"] is None,
        "as in Keras's symbolic shapes, an axis of unknown length stays",
    ),
    (
        ("saturate_cast",),
        lambda case, _: _has("int64", "uint64")(case) or case.attrs["dtype"] in ("int64", "uint64"),
        "Keras clips to the bounds of 64-bit integers, which a graph does not hold",
    ),
]

# (operation, pattern of the error, reason): what a graph that knows no length refuses.
_REFUSED = [
    ("conv", "data_shape_IC == filter_sh", "the groups follow from the number of channels"),
    ("cross", "takes vectors of 2 or 3 components", "so it says"),
    ("dot_product_attention", "needs to know the number of heads", "so it says"),
    ("layer_normalization", "None is no length", "Keras reshapes the scale by the lengths"),
    ("pad", "pad_mode != op::PadMode", "OpenVINO mirrors an axis once; NumPy again and again"),
    ("unstack", "`num` is needed", "so it says"),
]


def refused(operation: str, error: str, dynamic: bool) -> bool:
    """Whether it is known that a graph refuses what runs eagerly, by the text of the error."""
    if "no form in a compiled OpenVINO graph" in error:
        return True
    return dynamic and any(
        operation == name and re.search(pattern, error) for name, pattern, _ in _REFUSED
    )


# {operation: absolute tolerance, because}
_ABSOLUTE = {
    # errors of about 1e-7 of OpenVINO's fused activations, whose tails are flushed to 0
    **dict.fromkeys(("celu", "elu", "gelu", "log_sigmoid", "selu", "silu", "softplus"), 1e-6),
    "hard_silu": 1e-6,
    "sinc": 1e-6,  # pi is rounded
    "tanh_shrink": 1e-6,  # the difference of two numbers with errors of 1e-7
}


def absolute(operation: str, dtype: str) -> float:
    """Absolute tolerance of an operation: that of the table, or numbers that are flushed to 0."""
    return max(_ABSOLUTE.get(operation, 0.0), smallest(dtype))


def excluded(case, dynamic: bool) -> str | None:
    """The reason why a case is not compared, or None."""
    for names, applies, reason in _EXCLUDED:
        if case.operation in names and applies(case, dynamic):
            return reason
    return None


# (operations, mask of the elements that are not compared, of the arrays; reason)
_MASKED = [
    (
        ("mod", "fmod", "floor_divide"),
        lambda x, y: np.abs(x.astype(np.float64) / y.astype(np.float64)) > 2.0**44,
        "remainders are exact for quotients up to 2**44",
    ),
]


def too_large(arrays) -> bool:
    """Whether operands are converted to 64 bits, of which a graph computes 32, that do not fit.

    A uint32 of 2**31 or more with a signed integer or a uint64.
    """
    kind = result_type(*[dtypes.name_of(a.dtype) for a in arrays])
    limits = dtypes.TABLE[kind].graph_range
    return limits is not None and any(
        a.size and a.dtype.kind in "iu" and (a.min() < limits[0] or a.max() > limits[1])
        for a in arrays
    )


def incomparable(host: np.ndarray, dtype: str, operation: str, arrays) -> np.ndarray:
    """Mask of the elements of a host result that are not compared.

    64-bit integers beyond 32 bits: the CPU plugin computes them in 32 bits. And `_MASKED`.
    """
    limits = dtypes.TABLE[dtype].graph_range
    mask = np.zeros(host.shape, bool)
    if limits is not None:
        mask |= (host < limits[0]) | (host > limits[1])
    for names, rule, _ in _MASKED:
        if operation in names:
            with np.errstate(all="ignore"):
                mask |= rule(*arrays)
    return mask


def smallest(dtype: str) -> float:
    """Absolute tolerance: numbers below the normal ones are flushed to 0 by the kernels."""
    return {"float16": 6.2e-5}.get(dtype, 1.2e-38)
