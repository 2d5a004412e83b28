"""Indices given by a user, held against the lengths of what they index."""

from __future__ import annotations

from collections.abc import Sequence

from kerasvino.errors import IndexRangeError
from kerasvino.graph.index_bounds import Noted, check
from kerasvino.graph.trace import current_trace
from kerasvino.nodes.lowering import scalar_dim, vector
from kerasvino.primitives import core
from kerasvino.primitives.operation_errors import attributed
from kerasvino.tensor import Tensor

__all__ = ["range_error", "within"]


def within(indices: Tensor, x: Tensor, axes: Sequence[int], operation: str) -> None:
    """Checks indices into x: now if they are known, else in each run of the graph.

    Those of operations on the host are left to NumPy, which checks them (see `range_error`). In
    branches and the bodies of loops, which a run may skip, nothing is checked.

    Args:
        indices: integers; of several axes, one for each of them along the last axis.
        x: what they index.
        axes: of x.
        operation: for the message.

    Raises:
        IndexRangeError: one is out of range, and that is known now.
    """
    known = indices._array is not None
    if known and x._array is not None and not core._eager_compiled:
        return
    lengths = tuple([x.shape[axis] for axis in axes])
    if known and None not in lengths:
        check(attributed(operation, "was given"), indices._array, lengths)
        return
    trace = current_trace()
    if trace is None or trace.parent is not None:
        return
    measured = None
    if None in lengths:
        whole = trace.output(x)
        measured = vector([scalar_dim(whole, axis) for axis in axes])
    where = attributed(operation, "was given")
    trace.noted.append(Noted(where, trace.output(indices), indices.dtype, lengths, measured))


def range_error(
    error: IndexError, indices: Tensor, x: Tensor, axes: Sequence[int], operation: str
) -> IndexError:
    """The error to raise for one that NumPy raised, where an index is what it is about.

    Args:
        error: of an operation on the host.
        indices, x, axes, operation: as of `within`.
    """
    if isinstance(error, IndexRangeError) or indices._array is None or x._array is None:
        return error
    if any(axis >= x.ndim for axis in axes):
        return error
    try:
        check(attributed(operation, "was given"), indices._array, [x.shape[axis] for axis in axes])
    except IndexRangeError as found:
        return found
    return error
