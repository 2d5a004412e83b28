"""Functions that change the shape or the order of axes and elements."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence

import numpy as np
from numpy.exceptions import AxisError
from numpy.lib.array_utils import normalize_axis_tuple

from kerasvino.backend.keras_private import Variable as KerasVariable
from kerasvino.backend.ops.core.axes import axis_index
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.primitives import indexing, join
from kerasvino.primitives import shape as p
from kerasvino.tensor import Tensor

__all__ = [
    "broadcast_to", "expand_dims", "flip", "fliplr", "flipud", "moveaxis", "ndim", "ravel",
    "reshape", "roll", "rot90", "size", "squeeze", "swapaxes", "tile", "transpose",
]  # fmt: skip


# -- shapes as arguments


def length(n):
    """An entry of a shape: a Python int, or a symbolic integer scalar."""
    if type(n) is int:
        return n
    if isinstance(n, KerasVariable):
        n = n.value
    if isinstance(n, Tensor) and n.is_symbolic:
        return n if n.ndim == 0 else p.reshape(n, shape=())
    if isinstance(n, (Tensor, np.ndarray)) and n.size == 1:
        n = n.item()
    if n is None:
        raise TypeError(
            "None is no length: in the shape of a traced tensor it stands for one that is not "
            "known until the graph runs. Take it from keras.ops.shape(x), or give -1."
        )
    return operator.index(n)


def lengths(shape, count: int | None = None) -> tuple:
    """A shape (int, sequence, or integer tensor of rank 0 or 1) as ints and symbolic scalars.

    `count` is how many there are, of a traced vector whose own length is unknown.
    """
    if isinstance(shape, KerasVariable):
        shape = shape.value
    if isinstance(shape, (list, tuple)):
        return tuple([length(n) for n in shape])
    if not isinstance(shape, (Tensor, np.ndarray)):
        return tuple(map(length, shape)) if isinstance(shape, Sequence) else (length(shape),)
    if shape.ndim == 0:
        return (length(shape),)
    count = count if shape.shape[0] is None else shape.shape[0]
    if count is None:
        raise ValueError(
            "A traced vector gives a shape only if its own length is known; "
            "give a tuple of scalars instead."
        )
    return tuple(length(shape[i]) for i in range(count))


def axes_of(axis, rank: int, argument: str = "axis") -> tuple[int, ...]:
    """An axis, or a sequence of different axes, counted from the front."""
    if type(axis) is int:
        return (axis_index(axis, rank),)
    try:
        return normalize_axis_tuple(axis, rank, argument)
    except AxisError as error:
        message = str(error)
    raise ValueError(message)


# -- shape


def reshape(x, newshape):
    """`keras.ops.reshape`; entries of `newshape` may be tensors, one may be -1."""
    return p.reshape(convert_to_tensor(x), shape=lengths(newshape))


def ravel(x):
    """`keras.ops.ravel`: a view of rank 1."""
    return p.reshape(x if type(x) is Tensor else convert_to_tensor(x), shape=(-1,))


def broadcast_to(x, shape):
    """`keras.ops.broadcast_to`; entries of `shape` may be tensors."""
    return p.broadcast_to(convert_to_tensor(x), shape=lengths(shape))


def expand_dims(x, axis):
    """`keras.ops.expand_dims`; `axis` is an int or a tuple, counted in the result."""
    x = convert_to_tensor(x)
    if isinstance(axis, int):
        return p.expand_dims(x, axis=axes_of(axis, x.ndim + 1))
    return p.expand_dims(x, axis=tuple(sorted(axes_of(axis, x.ndim + len(axis)))))


def squeeze(x, axis=None):
    """`keras.ops.squeeze`; without `axis` every axis known to have length 1 is dropped."""
    x = convert_to_tensor(x)
    if axis is None:
        x._differs_where_a_length_is_1()
        axis = tuple(a for a, n in enumerate(x.shape) if n == 1)
    else:
        axis = tuple(sorted(axes_of(axis, x.ndim)))
        for a in axis:
            if x.shape[a] not in (1, None):
                raise ValueError(
                    f"Cannot squeeze axis {a}: its length is {x.shape[a]}, not 1 (shape {x.shape})."
                )
    return p.squeeze(x, axis=axis)


def ndim(x):
    """`keras.ops.ndim`, an int."""
    return convert_to_tensor(x).ndim


def size(x):
    """`keras.ops.size`: an int, or an int32 tensor where a traced axis is unknown."""
    x = convert_to_tensor(x)
    if x.size is not None:
        return x.size
    return p.dimension(p.reshape(x, shape=(-1,)), axis=0)


# -- order of axes


def transpose(x, axes=None):
    """`keras.ops.transpose`; without `axes` in reversed order."""
    x = convert_to_tensor(x)
    if axes is None:
        return p.transpose(x, axes=tuple(range(x.ndim))[::-1])
    axes = axes_of(axes, x.ndim, "axes")
    if len(axes) != x.ndim:
        raise ValueError(f"`axes` has {len(axes)} entries for a tensor of rank {x.ndim}: {axes}.")
    return p.transpose(x, axes=axes)


def moveaxis(x, source, destination):
    """`keras.ops.moveaxis`."""
    x = convert_to_tensor(x)
    source = axes_of(source, x.ndim, "source")
    destination = axes_of(destination, x.ndim, "destination")
    if len(source) != len(destination):
        raise ValueError(
            "`source` and `destination` name as many axes as each other; given: "
            f"{source} and {destination}."
        )
    axes = [axis for axis in range(x.ndim) if axis not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        axes.insert(place, axis)
    return p.transpose(x, axes=tuple(axes))


def swapaxes(x, axis1, axis2):
    """`keras.ops.swapaxes`."""
    x = convert_to_tensor(x)
    axes = list(range(x.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return p.transpose(x, axes=tuple(axes))


# -- order of elements


def flip(x, axis=None):
    """`keras.ops.flip`; without `axis` along all axes."""
    x = convert_to_tensor(x)
    axis = range(x.ndim) if axis is None else axes_of(axis, x.ndim)
    return indexing.flip(x, tuple(axis))


def fliplr(x):
    """`keras.ops.fliplr`: the order along axis 1 reversed."""
    return flip(x, 1)


def flipud(x):
    """`keras.ops.flipud`: the order along axis 0 reversed."""
    return flip(x, 0)


def rot90(array, k=1, axes=(0, 1)):
    """`keras.ops.rot90`: `k` quarter turns in the plane from the first to the second of `axes`."""
    x = convert_to_tensor(array)
    if x.ndim < 2:
        raise ValueError(
            f"Input array must have at least 2 dimensions. Received: array.ndim={x.ndim}"
        )
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ValueError(f"Invalid axes: {axes}. Axes must be a tuple of two different dimensions.")
    first, second = axes_of(axes, x.ndim, "axes")
    match k % 4:
        case 0:
            return x
        case 1:
            return swapaxes(flip(x, second), first, second)
        case 2:
            return flip(x, (first, second))
    return flip(swapaxes(x, first, second), second)


def roll(x, shift, axis=None):
    """`keras.ops.roll`; without `axis` through the flattened tensor."""
    x = convert_to_tensor(x)
    if axis is None:
        shape = p.lengths(x)
        return p.reshape(roll(p.reshape(x, shape=(-1,)), shift, 0), shape=shape)
    axis = (axis,) if isinstance(axis, int) else tuple(axis)
    shift = lengths(shift)
    if len(shift) != len(axis):
        count = builtins.max(len(shift), len(axis))
        shift = shift * count if len(shift) == 1 else shift
        axis = axis * count if len(axis) == 1 else axis
    axis = tuple(axis_index(a, x.ndim) for a in axis)
    return join.roll(x, shift=shift, axis=axis)


def tile(x, repeats):
    """`keras.ops.tile`; `repeats` counts from the last axis, as in NumPy."""
    x = convert_to_tensor(x)
    repeats = lengths(repeats)
    missing = len(repeats) - x.ndim
    if missing > 0:
        x = p.expand_dims(x, axis=tuple(range(missing)))
    return join.tile(x, repeats=(1,) * -missing + repeats)
