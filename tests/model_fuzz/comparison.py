"""When the results of a model agree."""

from __future__ import annotations

import numpy as np
from keras import ops, tree

from kerasvino import dtypes
from tests.model_fuzz import limits

__all__ = ["difference"]


def difference(found, expected, rough) -> str | None:
    """What is wrong with nested results, in a few words, or None.

    Args:
        found: arrays, tensors and numbers, nested.
        expected: likewise.
        rough: reasons of `limits.TOLERANCE`.
    """
    try:
        tree.assert_same_structure(found, expected)
    except (ValueError, TypeError) as error:
        return f"structure: {' '.join(str(error).split())[:200]}"
    found, expected = (list(map(_array, tree.flatten(r))) for r in (found, expected))
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        wrong = _of_one(ours, theirs, rough)
        if wrong is not None:
            return f"result {index}: {wrong}"
    return None


def _array(value):
    return value if isinstance(value, np.ndarray) else np.asarray(ops.convert_to_numpy(value))


def _of_one(found, expected, rough):
    names = dtypes.name_of(found.dtype), dtypes.name_of(expected.dtype)
    if names[0] != names[1]:
        return f"dtype {names[0]} for {names[1]}"
    if found.shape != expected.shape:
        return f"shape {found.shape} for {expected.shape}"
    if dtypes.TABLE[names[1]].kind in "biu":
        wrong = found != expected
        return f"{wrong.sum()} of {wrong.size} elements" if wrong.any() else None
    found, expected = found.astype("float64"), expected.astype("float64")
    if (np.isnan(found) != np.isnan(expected)).any():
        return f"{np.isnan(found).sum()} NaN for {np.isnan(expected).sum()}"
    with np.errstate(invalid="ignore"):
        off = np.abs(np.where(found == expected, 0.0, found - expected))
    off, size = off[~np.isnan(off)], np.abs(expected[np.isfinite(expected)]).max(initial=1e-3)
    return _too_far(off, size, limits.tolerances(rough))


def _too_far(off, size, tolerances):
    """`off` is compared with shares of `size`: all elements with one, most of them with another.

    Of few elements, a loss above all, each is made of many, of which some may be off.
    """
    most, all_of_them = tolerances
    if off.size < 1 / limits.FEW:
        most = all_of_them
    far = (off > most * size).mean() if off.size else 0.0
    if off.max(initial=0.0) > all_of_them * size or far > limits.FEW:
        return f"off by {off.max():.3g} where the largest is {size:.3g}, {far:.0%} of the elements"
    return None
