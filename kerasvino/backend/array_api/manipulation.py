"""Functions of the standard that change shapes and the order of axes, and join tensors."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.ops.core.scatter import unstack as _unstack
from kerasvino.primitives.shape import lengths

__all__ = [
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "concat", "expand_dims", "flip",
    "moveaxis", "permute_dims", "repeat", "reshape", "roll", "squeeze", "stack", "tile", "unstack",
]  # fmt: skip


def broadcast_to(x, /, shape):
    return knp.broadcast_to(x, shape)


def broadcast_arrays(*arrays):
    """The arrays in their common shape."""
    arrays = [convert_to_tensor(x) for x in arrays]
    shapes = [x.shape for x in arrays]
    if any([None in shape for shape in shapes]):
        raise ValueError(f"`broadcast_arrays` takes arrays of known shapes; given: {shapes}.")
    shape = np.broadcast_shapes(*shapes)
    return [knp.broadcast_to(x, shape) for x in arrays]


def broadcast_shapes(*shapes):
    return np.broadcast_shapes(*shapes)


def concat(arrays, /, *, axis=0):
    """Arrays joined along an axis; without one (None) flattened before."""
    if axis is None:
        arrays, axis = [knp.ravel(x) for x in arrays], 0
    return knp.concatenate(list(arrays), axis)


def stack(arrays, /, *, axis=0):
    return knp.stack(list(arrays), axis)


def unstack(x, /, *, axis=0):
    return tuple(_unstack(x, axis=axis))


def expand_dims(x, /, axis):
    return knp.expand_dims(x, axis)


def squeeze(x, /, axis):
    return knp.squeeze(x, axis)


def flip(x, /, *, axis=None):
    return knp.flip(x, axis)


def moveaxis(x, source, destination, /):
    return knp.moveaxis(x, source, destination)


def permute_dims(x, /, axes):
    return knp.transpose(x, axes)


def repeat(x, repeats, /, *, axis=None):
    return knp.repeat(x, repeats, axis)


def reshape(x, /, shape, *, copy=None):
    return knp.reshape(x, shape)


def roll(x, /, shift, *, axis=None):
    return knp.roll(x, shift, axis)


def tile(x, repetitions, /):
    """Copies side by side; axes that `repetitions` lacks are the first ones, once."""
    x = convert_to_tensor(x)
    return knp.tile(x, tuple(repetitions)) if len(repetitions) else knp.reshape(x, lengths(x))
