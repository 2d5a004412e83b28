"""Bounds of the indices that a graph picks elements by, which each run checks.

On the host an index out of range is an error. In a graph OpenVINO makes zeros of it, or moves it
into the range, without a word. So a graph keeps, for each tensor of indices that its user gave, the
lengths that they must lie within. Those that are an argument of the graph, perhaps in another
arrangement, are checked before a run. Others are computed by the graph: they are results of it
beside its outputs, and are checked after a run, before the outputs are handed out and state is
assigned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from openvino import Node, Output, Type
from openvino.op import Result

from kerasvino.errors import IndexRangeError

__all__ = ["Bound", "Noted", "check", "index_error", "outside", "resolved"]


class Noted(NamedTuple):
    """Indices of a graph under construction.

    Attributes:
        where: begin of the message: operation and layer.
        indices: that the operation takes.
        dtype: of them.
        lengths: of the axis that they index; or of several, one for each place of their last axis.
        measured: vector of the lengths, where they are known only when the graph runs.
    """

    where: str
    indices: Output
    dtype: str
    lengths: tuple[int | None, ...]
    measured: Output | None = None


class Bound(NamedTuple):
    """Indices of a finished graph.

    Attributes:
        where: as `Noted`.
        lengths: as `Noted`.
        argument: which input they are, or None.
        result: which of the results beside the outputs they are, or None.
        measured: which of these the lengths are, if they are not known.
    """

    where: str
    lengths: tuple[int | None, ...]
    argument: int | None = None
    result: int | None = None
    measured: int | None = None


def resolved(
    noted: Sequence[Noted], arguments: Sequence[Node]
) -> tuple[list[Bound], list[tuple[Result, str]]]:
    """What to check, and the (Result, dtype)s that the graph needs for it beside its outputs.

    Args:
        noted: in the order of the graph.
        arguments: its Parameters.
    """
    positions = {node.get_friendly_name(): index for index, node in enumerate(arguments)}
    bounds: dict[Bound, None] = {}
    results: list[tuple[Result, str]] = []
    places: dict[tuple[str, int], int] = {}

    def place(output: Output, dtype: str) -> int:
        key = output.get_node().get_friendly_name(), output.get_index()
        if key not in places:
            places[key] = len(results)
            results.append((Result(output), dtype))
        return places[key]

    for item in noted:
        source = _source(item) if item.measured is None else None
        index = None if source is None else positions.get(source.get_friendly_name())
        if index is not None:
            bound = Bound(item.where, item.lengths, argument=index)
        else:
            measured = None if item.measured is None else place(item.measured, "int64")
            at = place(item.indices, item.dtype)
            bound = Bound(item.where, item.lengths, result=at, measured=measured)
        bounds[bound] = None
    return list(bounds), results


_ARRANGED = ("Reshape", "Squeeze", "Transpose", "Unsqueeze")
# Conversions that keep every number: 64-bit integers of a graph lie within 32 bits.
_SMALL = (Type.boolean, Type.i8, Type.u8, Type.i16, Type.u16)
_KEPT = (
    {(small, wide) for small in _SMALL for wide in (Type.i32, Type.i64)}
    | {(Type.i32, Type.i64), (Type.i64, Type.i32)}
)  # fmt: skip
_KEPT_NAMES = {(a.get_type_name(), b.get_type_name()) for a, b in _KEPT}


def _source(item: Noted) -> Node | None:
    """The Parameter that holds the same indices, arranged as they are or otherwise."""
    node = item.indices.get_node()
    arranged = _ARRANGED if len(item.lengths) == 1 else ()
    while node.get_type_name() != "Parameter":
        if node.get_type_name() == "Convert":
            kinds = node.get_input_element_type(0), node.get_output_element_type(0)
            if tuple(kind.get_type_name() for kind in kinds) not in _KEPT_NAMES:
                return None
        elif node.get_type_name() not in arranged:
            return None
        node = node.input_value(0).get_node()
    return node


# Signed integers seen as these are large where they are negative: one comparison for both ends.
_UNSIGNED = {np.dtype(f"int{bits}"): np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)} | {
    np.dtype(bool): np.dtype(np.uint8)
}


def check(where: str, indices: np.ndarray, lengths: Sequence[int]) -> None:
    """Raises IndexRangeError if an index does not lie in -length ... length - 1."""
    if not indices.size:
        return
    kind = _UNSIGNED.get(indices.dtype)
    unsigned = indices if kind is None else indices.view(kind)
    if np.maximum.reduce(unsigned, axis=None) < min(lengths):
        return
    if len(lengths) == 1:
        _refuse_outside(where, indices, lengths[0])
    else:
        for place, length in enumerate(lengths):
            _refuse_outside(where, indices[..., place], length)


def _refuse_outside(where, indices, length):
    indices = np.atleast_1d(indices)
    outsiders = (indices >= length) | (indices < -length)
    if not outsiders.any():
        return
    place = tuple(int(n) for n in np.argwhere(outsiders)[0])
    more = int(outsiders.sum()) - 1
    others = f" (and {more} more out of range)" if more else ""
    raise outside(where, f"{indices[place]} at {list(place)}{others}", length)


def outside(where: str, index: object, length: int) -> IndexRangeError:
    """The error of an index, as a message shows it, into an axis that is not so long."""
    valid = f"{-length} to {length - 1}, where negative ones count from the end"
    return IndexRangeError(
        f"{where} index {index}, but the axis has length {length}; "
        f"valid: {valid if length else 'none'}."
    )


# The CPU plugin's own checks: of GatherElements and of the scatters, whose names are the layers'.
_REFUSED = re.compile(
    r"Node (\S+) of type (?:GatherElements|Scatter\w*Update)\n.*\bind(?:ex|ices|ice)\b", re.DOTALL
)


def index_error(message: str) -> IndexRangeError | None:
    """The error in place of one of OpenVINO, if that is of an index that a graph computed."""
    found = _REFUSED.search(message)
    if found is None:
        return None
    return IndexRangeError(f"{found.group(1)} was given an index that is out of range of its axis.")
