"""Shapes of the arguments of a call, compared with those of other calls.

`shapes` is a tuple with the shape of each argument. A pattern is the same with None for a length
that may be any.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ShorterBatch", "covers", "merged", "open_batch", "shorter_batch", "unknown_axes"]


class ShorterBatch(NamedTuple):
    """How a batch is shorter than another one.

    Attributes:
        rows: its length.
        length: of the other batch.
        batched: indices of the arguments that have a row for each sample.
    """

    rows: int
    length: int
    batched: frozenset[int]


def shorter_batch(shapes: tuple, longer: tuple) -> ShorterBatch | None:
    """How `shapes` are a shorter batch than `longer`; None if they differ in another way."""
    batched = frozenset(i for i, (a, b) in enumerate(zip(shapes, longer, strict=True)) if a != b)
    pairs = {(shapes[i][:1], longer[i][:1]) for i in batched}
    if len(pairs) != 1 or any(shapes[i][1:] != longer[i][1:] for i in batched):
        return None
    ((rows,), (length,)) = pairs.pop()
    if length is None or not 0 < rows < length:
        return None
    # an input as long as the batch that stays so would not be cut with the others
    if any(s[:1] in ((rows,), (length,)) for i, s in enumerate(shapes) if i not in batched):
        return None
    return ShorterBatch(rows, length, batched)


def open_batch(shapes: tuple, batched: frozenset[int]) -> tuple:
    """The pattern of `shapes` for batches of any length."""
    return tuple((None, *s[1:]) if i in batched else s for i, s in enumerate(shapes))


def unknown_axes(pattern: tuple) -> frozenset[tuple[int, int]]:
    """(argument, axis) of each length that is None in a pattern."""
    return frozenset(
        (i, axis) for i, shape in enumerate(pattern) for axis, n in enumerate(shape) if n is None
    )


def merged(pattern: tuple, shapes: tuple) -> tuple:
    """The pattern of both: None, too, on every axis whose length in `shapes` is another."""
    return tuple(
        tuple(a if a == b else None for a, b in zip(*pair, strict=True))
        for pair in zip(pattern, shapes, strict=True)
    )


def covers(pattern: tuple, shapes: tuple) -> bool:
    """Whether `shapes` are of the pattern."""
    for lengths, shape in zip(pattern, shapes, strict=True):
        for length, other in zip(lengths, shape, strict=True):
            if length is not None and length != other:
                return False
    return True
