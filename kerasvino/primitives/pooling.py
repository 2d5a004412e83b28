"""Primitives of pooling, channels first, in one to three spatial axes; compiled also when eager.

Their gradients are in `pooling_gradient`.
"""

from __future__ import annotations

import itertools

import numpy as np
from openvino import Type

# That of opset 16 crashes the CPU plugin of OpenVINO 2026.4.
from openvino.opset14 import avg_pool

from kerasvino.nodes import integer
from kerasvino.nodes.lowering import (
    const,
    dims,
    element,
    ints,
    is_integer,
    ov,
    rank,
)
from kerasvino.primitives.core import Primitive

__all__ = ["adaptive_average_pool", "adaptive_max_pool", "average_pool", "max_pool"]

_LAST = 2**31 - 1


def _window(padding, count):
    """(pads before, pads after, OpenVINO's auto_pad) of a `padding` attribute."""
    if padding == "same":
        return [0] * count, [0] * count, "same_upper"
    return *map(list, zip(*padding, strict=True)), "explicit"


def _empty(x, size, strides, padding):
    """The result for a batch known to be empty, which OpenVINO refuses to pool; else None."""
    batch, channels, *spatial = dims(x)
    if batch != 0 or channels is None or None in spatial:
        return None
    if padding == "same":
        spatial = [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
    else:
        spatial = [
            (n + sum(p) - k) // s + 1
            for n, k, s, p in zip(spatial, size, strides, padding, strict=True)
        ]
    return const(np.zeros((0, channels, *spatial)), x)


def _lower_max(x, *, size, strides, padding):
    begins, ends, mode = _window(padding, len(size))
    empty = _empty(x, size, strides, padding)
    if empty is not None:
        return empty
    if is_integer(x):
        return _max_of_integers(x, size, strides, padding)
    dilations = [1] * len(size)
    pooled = ov.max_pool(
        x, list(strides), dilations, begins, ends, list(size), "floor", mode, "i32", 0
    )
    return pooled.output(0)


def _max_of_integers(x, size, strides, padding):
    """Maximum over strided slices, one for each place in the window: MaxPool goes through f32."""
    if padding == "same":
        raise ValueError(
            "max_pool of integers with padding='same' needs spatial axes of known length; "
            "cast to float32 first."
        )
    kind, wide = element(x), integer.widen(x)
    unsigned = kind == Type.u32
    if unsigned:
        wide = integer.flip_sign(wide)
    if any(map(any, padding)):
        before, after = ([0, 0, *pads] for pads in zip(*padding, strict=True))
        lowest = integer.i32(-(2**31))
        wide = ov.pad(wide, ints(before), ints(after), "constant", lowest).output(0)
    axes = list(range(2, rank(x)))
    found = None
    for place in itertools.product(*map(range, size)):
        stops = [p - k + 1 or _LAST for p, k in zip(place, size, strict=True)]
        part = ov.slice(wide, ints(place), ints(stops), ints(strides), ints(axes)).output(0)
        found = part if found is None else ov.maximum(found, part).output(0)
    return integer.narrow(integer.flip_sign(found) if unsigned else found, kind)


# x (N, C, spatial...); size, strides: an int for each spatial axis; padding: (before, after) for
# each, or "same" (see conv). NaN is ignored, and -inf alone gives the lowest finite number.
max_pool = Primitive("max_pool", lower=_lower_max)


def _lower_average(x, *, size, strides, padding):
    begins, ends, mode = _window(padding, len(size))
    empty = _empty(x, size, strides, padding)
    if empty is not None:
        return empty
    arguments = list(strides), begins, ends, list(size), True, "floor", mode
    return avg_pool(x, *arguments)


# As max_pool, of floats: the mean of the elements under the window, padding not counted.
average_pool = Primitive("average_pool", lower=_lower_average, wide="lower")


def _lower_adaptive_max(x, *, size):
    return ov.adaptive_max_pool(x, ints(size), "i32").output(0)


def _lower_adaptive_average(x, *, size):
    return ov.adaptive_avg_pool(x, ints(size))


# x (N, C, spatial...) of floats; size: lengths m of the result's spatial axes, whose element i is
# pooled from floor(i * n / m) up to ceil((i + 1) * n / m).
adaptive_max_pool = Primitive("adaptive_max_pool", lower=_lower_adaptive_max, wide="exact")
adaptive_average_pool = Primitive(
    "adaptive_average_pool", lower=_lower_adaptive_average, wide="lower"
)
