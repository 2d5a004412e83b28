"""The column `wide` of a primitive: narrow floats computed in float32 and rounded once."""

from __future__ import annotations

import numpy as np

from kerasvino.nodes.floating import in_f32

__all__ = ["in_float32", "widened"]


def widened(impl, lower, wide: bool | str):
    """Of a primitive with the column `wide` (see `Primitive`) what runs on narrow floats.

    Returns:
        (host form for operands of narrow dtypes or None if it is no other, the lowering).
    """
    if wide not in (False, True, "impl", "lower", "exact"):
        raise ValueError(f"`wide` is a bool, 'impl', 'lower' or 'exact'; given: {wide!r}.")
    narrow = in_float32(impl) if wide in (True, "impl") and impl is not None else None
    if wide in (True, "lower", "exact") and lower is not None:
        lower = in_f32(lower, exact=wide == "exact")
    return narrow, lower


def in_float32(impl):
    """`impl` of arrays, of which those with the dtype of the first are float32 where it is narrow.

    A result of floats is rounded once, to the dtype of the first operand.
    """

    def computed_wide(x, *others, **attrs):
        kind = x.dtype
        if kind.itemsize >= 4 or kind.kind not in "fV":
            return impl(x, *others, **attrs)
        others = [y.astype(np.float32) if y.dtype == kind else y for y in others]
        found = impl(x.astype(np.float32), *others, **attrs)
        return found.astype(kind) if found.dtype.kind == "f" else found

    return computed_wide
