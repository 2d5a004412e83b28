"""Axes as arguments."""

from __future__ import annotations

from numpy.exceptions import AxisError
from numpy.lib.array_utils import normalize_axis_index

__all__ = ["axis_index"]


def axis_index(axis, rank: int) -> int:
    """`axis`, which may count from the end, as an index from 0; ValueError if there is no such."""
    try:
        return normalize_axis_index(axis, rank)
    except AxisError:
        message = f"axis {axis} is out of bounds for a tensor of rank {rank}."
    raise ValueError(message)
