"""When two results agree."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from tests.fuzz import limits

__all__ = ["difference"]


def difference(found, expected, operation, arrays) -> str | None:
    """What is wrong with the list of arrays `found`, in a few words, or None."""
    if len(found) != len(expected):
        return f"{len(found)} results for {len(expected)}"
    for ours, theirs in zip(found, expected, strict=True):
        wrong = _of_one(np.asarray(ours), np.asarray(theirs), operation, arrays)
        if wrong is not None:
            return wrong
    return None


def _of_one(found, expected, operation, arrays):
    name = dtypes.name_of(expected.dtype)
    if found.dtype != expected.dtype:
        return f"dtype {dtypes.name_of(found.dtype)} for {name}"
    if found.shape != expected.shape:
        return f"shape {found.shape} for {expected.shape}"
    if dtypes.TABLE[name].kind in "biu":
        wrong = found != expected
    else:
        wrong = ~_close(found, expected, name, operation, arrays)
    wrong &= ~limits.incomparable(expected, name, operation.name, arrays)
    return _at(found, expected, wrong) if wrong.any() else None


def _close(found, expected, name, operation, arrays):
    with np.errstate(all="ignore"):
        if name == "float64":  # beyond float32 an infinity, in a graph
            expected = expected.astype(np.float32)
        found, expected = found.astype(np.float64), expected.astype(np.float64)
        rtol = limits.TOLERANCE[name] * operation.tolerance
        atol = limits.absolute(operation.name, name) + rtol * _magnitude(operation.terms, arrays)
        within = np.abs(found - expected) <= atol + rtol * np.abs(expected)
        nan = np.isnan(expected) & np.isnan(found)
        return within | (found == expected) | nan


def _magnitude(terms, arrays):
    """How large the terms are that a result sums: rounding leaves a share of these.

    "largest": as the elements of the arrays; "sum": of all of them; "square": of all their squares;
    "product": of products of an element of each array.
    """
    if terms is None:
        return 0.0
    sizes = []
    for array in arrays:
        values = np.abs(array.astype(np.float64))
        finite = values[np.isfinite(values)]
        sizes.append(float(finite.max()) if finite.size else 0.0)
    count = max([a.size for a in arrays], default=1)
    largest = max(sizes, default=0.0)
    return {
        "largest": largest,
        "sum": largest * count,
        "square": largest**2 * count,
        "product": float(np.prod(sizes)) * count,
    }[terms]


def _at(found, expected, wrong):
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{found[place]} for {expected[place]} at {place}"
