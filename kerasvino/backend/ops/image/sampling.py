"""Interpolation at given coordinates, and what lies outside of the input."""

from __future__ import annotations

import itertools
import math

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, to_dtype
from kerasvino.backend.ops.image.formats import check_choice, computed, floating, rounded
from kerasvino.backend.ops.image.resampling import scalar
from kerasvino.primitives.indexing import gather
from kerasvino.primitives.shape import lengths, reshape
from kerasvino.tensor import Tensor

__all__ = ["FILL_MODES", "map_coordinates", "sampled"]


def map_coordinates(inputs, coordinates, order, fill_mode="constant", fill_value=0.0):
    """`keras.ops.image.map_coordinates`: inputs of rank n at coordinates (n, ...), of shape (...).

    The result has the dtype of the inputs; integers are rounded, ties away from zero, as in SciPy.
    Order 0 takes the nearest element, the higher one of two. With order 1 a coordinate that is not
    finite gives NaN.
    """
    inputs, coordinates = convert_to_tensor(inputs), convert_to_tensor(coordinates)
    if coordinates.ndim > 0 and coordinates.shape[0] not in (inputs.ndim, None):
        raise ValueError(
            "First dim of `coordinates` must be the same as the rank of `inputs`. "
            f"Received inputs with shape: {inputs.shape} and coordinate leading dim of "
            f"{coordinates.shape[0]}"
        )
    if coordinates.ndim < 2:
        raise ValueError(
            "Invalid coordinates rank: expected at least rank 2. "
            f"Received input with shape: {coordinates.shape}"
        )
    check_choice("order", order, (0, 1))
    check_choice("fill_mode", fill_mode, tuple(FILL_MODES))
    shape = lengths(inputs)
    flat = reshape(inputs, shape=(math.prod(shape),))
    places = [coordinates[axis] for axis in range(inputs.ndim)]
    return sampled(flat, shape, places, order, fill_mode, fill_value)


# -- indices outside of an axis of length n, all as whole numbers in a float dtype


def _modulo(index, period):
    """The remainder in [0, period): exact while the index has no more than 24 bits."""
    rest = index - period * knp.floor(index / period)
    # the quotient may be rounded across a whole number
    rest = knp.where(rest < 0.0, rest + period, rest)
    return knp.where(rest >= period, rest - period, rest)


def _mirror(index, n):
    last = n - 1.0
    return last - knp.abs(_modulo(index, knp.maximum(2.0 * last, 1.0)) - last)


def _reflect(index, n):
    place = _modulo(index, 2.0 * n)
    return knp.minimum(place, 2.0 * n - 1.0 - place)


# What index stands for one outside: constant (k k | a b c | k k), nearest (a a | a b c | c c),
# wrap (b c | a b c | a b), mirror (c b | a b c | b a), reflect (b a | a b c | c b).
FILL_MODES = {
    "constant": lambda index, n: index,
    "nearest": lambda index, n: index,
    "wrap": _modulo,
    "mirror": _mirror,
    "reflect": _reflect,
}


def sampled(x: Tensor, shape, coordinates, order, fill_mode, fill_value, offset=None) -> Tensor:
    """Elements of `x` at coordinates, interpolated.

    Args:
        x: (..., elements): axes that stay, and those of `shape`, flattened to one.
        shape: of the axes that the coordinates are in.
        coordinates: for each of them a tensor; they broadcast to the shape S of the result.
        order: 0 nearest, 1 linear.
        fill_mode: of `FILL_MODES`.
        fill_value: a number, used by "constant".
        offset: int32 tensor that broadcasts to S, added to the index of every element.

    Returns:
        Tensor of shape (...) + S, of the dtype of x.
    """
    dtype = computed(x.dtype)
    neighbours = [
        _neighbours(cast(c, dtype), scalar(n, dtype), order, fill_mode)
        for c, n in zip(coordinates, shape, strict=True)
    ]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    fill = rounded(cast(convert_to_tensor(fill_value), "float32"), x.dtype)
    total = None
    for corner in itertools.product(*neighbours):
        places, inside, weights = zip(*corner, strict=True)
        value = _elements(x, places, strides, offset, inside, fill)
        if order == 0:
            return value
        term = floating(value) * math.prod(weights)
        total = term if total is None else total + term
    return rounded(total, x.dtype, ties="away")


def _neighbours(coordinate, n, order, fill_mode):
    """[(index as int32, whether it is inside or None, weight)] of the elements that are read."""
    low = knp.floor(coordinate)
    rest = coordinate - low
    if order == 0:
        candidates = [(low + cast(rest >= 0.5, low.dtype), None)]
    else:
        candidates = [(low, 1.0 - rest), (low + 1.0, rest)]
    found = []
    for index, weight in candidates:
        inside = None
        if fill_mode == "constant":
            inside = knp.logical_and(index >= 0.0, index < n)
        # held within the axis in every mode: huge and infinite ones must not lead out of the input
        place = knp.clip(FILL_MODES[fill_mode](index, n), 0.0, n - 1.0)
        found.append((to_dtype(place, "int32"), inside, weight))
    return found


def _elements(x, places, strides, offset, inside, fill):
    """Elements of x by their index on each axis; `fill` where one is not inside."""
    index = offset
    for place, stride in zip(places, strides, strict=True):
        step = place if isinstance(stride, int) and stride == 1 else place * stride
        index = step if index is None else index + step
    values = gather(x, index, axis=x.ndim - 1)
    for valid in inside:
        if valid is not None:
            values = knp.where(valid, values, fill)
    return values
