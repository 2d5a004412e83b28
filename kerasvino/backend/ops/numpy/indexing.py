"""Functions that pick elements by index."""

from __future__ import annotations

from kerasvino import dtypes
from kerasvino.backend.keras_private import vectorize_impl
from kerasvino.backend.ops.core.axes import axis_index
from kerasvino.backend.ops.core.control_flow import vectorized_map
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import floor_divide, mod
from kerasvino.backend.ops.numpy.shaping import lengths
from kerasvino.primitives import indexing as p
from kerasvino.primitives import shape as s
from kerasvino.primitives.index_checks import range_error, within
from kerasvino.tensor import Tensor

__all__ = ["nonzero", "take", "take_along_axis", "unravel_index", "vectorize"]


def indices_of(x) -> Tensor:
    """Indices as an integer tensor; whole floats and booleans are taken too."""
    x = convert_to_tensor(x)
    return x if dtypes.is_integer(x.dtype) else to_dtype(x, "int32")


def take(x, indices, axis=None):
    """`keras.ops.take`; negative indices count from the end, without `axis` of the flattened x.

    Raises:
        IndexRangeError: an index is out of range; in branches and the bodies of loops of a compiled
            graph its elements are 0.
    """
    x, indices = convert_to_tensor(x), indices_of(indices)
    if axis is None:
        x, axis = s.reshape(x, shape=(-1,)), 0
    axis = axis_index(axis, x.ndim)
    within(indices, x, (axis,), "take")
    try:
        return p.gather(x, indices, axis=axis)
    except IndexError as error:
        raise range_error(error, indices, x, (axis,), "take") from error.__cause__


def nonzero(x):
    """`keras.ops.nonzero`: for each axis the int32 indices of the elements that are not 0."""
    x = convert_to_tensor(x)
    if x.ndim == 0:
        x = s.reshape(x, shape=(1,))
    places = p.nonzero(x)
    return tuple(places[axis] for axis in range(x.ndim))


def take_along_axis(x, indices, axis=None):
    """`keras.ops.take_along_axis`; the other axes broadcast, without `axis` of the flattened x.

    Raises IndexRangeError for an index out of range.
    """
    return picked_along_axis(x, indices, axis, checked=True)


def picked_along_axis(x, indices, axis, checked=False):
    """`take_along_axis`, of indices that are in range unless they are to be checked."""
    x, indices = convert_to_tensor(x), indices_of(indices)
    if axis is None:
        x, axis = s.reshape(x, shape=(-1,)), 0
        indices = s.reshape(indices, shape=(-1,))
    if x.ndim != indices.ndim:
        raise ValueError(f"`x` and `indices` have one rank; given: {x.ndim} and {indices.ndim}.")
    axis = axis_index(axis, x.ndim)
    if checked:
        within(indices, x, (axis,), "take_along_axis")
    x, indices = _matched(x, indices, axis, (1,)), _matched(indices, x, axis, (1, None))
    try:
        return p.take_along_axis(x, indices, axis=axis)
    except IndexError as error:
        raise range_error(error, indices, x, (axis,), "take_along_axis") from error.__cause__


def _matched(x, other, axis, short):
    """x broadcast to `other` along the axes of a length in `short`, but for `axis`."""
    pairs = enumerate(zip(x.shape, other.shape, strict=True))
    wide = {a for a, (own, wanted) in pairs if own in short and wanted != 1 and a != axis}
    if not wide:
        return x
    own, wanted = s.lengths(x), s.lengths(other)
    return s.broadcast_to(x, shape=tuple(wanted[a] if a in wide else own[a] for a in range(x.ndim)))


def unravel_index(indices, shape):
    """`keras.ops.unravel_index`: a tuple of indices into each axis of a tensor of `shape`."""
    indices = convert_to_tensor(indices)
    found = []
    for length in reversed(lengths(shape)):
        found.append(mod(indices, cast(length, indices.dtype)))
        indices = floor_divide(indices, cast(length, indices.dtype))
    return tuple(reversed(found))


def vectorize(pyfunc, *, excluded=None, signature=None):
    """`keras.ops.vectorize`: `pyfunc` applied to each element, or as `signature` says."""
    return vectorize_impl(pyfunc, _mapped, excluded=excluded, signature=signature)


def _mapped(function, in_axes):
    """`function` over the first axis of the arguments whose entry in `in_axes` is 0, not None."""

    def run(*args):
        def step(rows):
            rows = iter(rows)
            pairs = zip(args, in_axes, strict=True)
            return function(*[arg if axis is None else next(rows) for arg, axis in pairs])

        pairs = zip(args, in_axes, strict=True)
        return vectorized_map(step, [arg for arg, axis in pairs if axis is not None])

    return run
