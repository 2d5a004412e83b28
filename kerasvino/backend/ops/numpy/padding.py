"""Padding in NumPy's modes."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, to_dtype
from kerasvino.backend.ops.numpy import reductions
from kerasvino.backend.ops.numpy.arithmetic import divide, floor_divide, multiply
from kerasvino.backend.ops.numpy.creation import arange, full_like
from kerasvino.backend.ops.numpy.shaping import lengths
from kerasvino.backend.ops.numpy.statistics import median
from kerasvino.primitives import indexing, join
from kerasvino.primitives import shape as p
from kerasvino.primitives.compare import select
from kerasvino.primitives.elementwise import rint
from kerasvino.tensor import Tensor

__all__ = ["pad"]

_MODES = {m: m for m in ("constant", "edge", "reflect", "symmetric", "wrap")}
_MODES |= {"empty": "constant", "circular": "wrap"}


def _pairs(widths, rank):
    """`pad_width` as (before, after) of each axis."""
    if isinstance(widths, (Tensor, np.ndarray)):
        widths = widths.tolist() if not getattr(widths, "is_symbolic", False) else widths
    if not isinstance(widths, (list, tuple)):
        widths = ((widths, widths),)
    elif not any(isinstance(w, (list, tuple, np.ndarray)) for w in widths):
        widths = ((widths[0], widths[-1]),)
    widths = tuple(lengths(pair) for pair in widths)
    widths = tuple(pair * 2 if len(pair) == 1 else pair for pair in widths)
    if len(widths) == 1:
        widths *= rank
    if len(widths) != rank or any(len(pair) != 2 for pair in widths):
        raise ValueError(
            "`pad_width` must have the same length as `x.shape`. Received: "
            f"pad_width={widths} (of length {len(widths)}) for a tensor of rank {rank}."
        )
    if any(isinstance(n, int) and n < 0 for pair in widths for n in pair):
        raise ValueError(f"`pad_width` is not negative; given: {widths}.")
    return widths


def pad(x, pad_width, mode="constant", constant_values=None):
    """`keras.ops.pad` in every mode of `numpy.pad`, and "circular", which is "wrap".

    "empty" pads with zeros. In mode "constant" widths and the value may be tensors.
    """
    x = convert_to_tensor(x)
    if mode not in (*_MODES, *_BORDERS):
        raise ValueError(f"`mode` is one of {', '.join([*_MODES, *_BORDERS])}; given: {mode!r}.")
    if constant_values is not None and mode != "constant":
        raise ValueError(
            "Argument `constant_values` can only be "
            f"provided when `mode == 'constant'`. Received: mode={mode}"
        )
    pads = _pairs(pad_width, x.ndim)
    if mode in _BORDERS:
        for axis, (before, after) in enumerate(pads):
            low, high = _BORDERS[mode](x, axis, before, after)
            x = join.concatenate(low, x, high, axis=axis)
        return x
    value = to_dtype(convert_to_tensor(0 if constant_values is None else constant_values), x.dtype)
    mode = _MODES[mode]
    if not value.is_symbolic and value.record is None:
        return join.pad(x, pads=pads, mode=mode, value=value.item())
    inside = join.pad(full_like(x, True, "bool"), pads=pads, mode=mode, value=False)
    return select(inside, join.pad(x, pads=pads, mode=mode, value=0), value)


# -- modes whose borders are computed: the blocks before and after x along an axis


def _statistic(function):
    def borders(x, axis, before, after):
        found = function(x, axis, keepdims=True)
        if not dtypes.is_float(x.dtype):
            found = rint(found) if dtypes.is_float(found.dtype) else found
        found, sizes = to_dtype(found, x.dtype), p.lengths(x)
        return [
            p.broadcast_to(found, shape=(*sizes[:axis], n, *sizes[axis + 1 :]))
            for n in (before, after)
        ]

    return borders


def _ramp(x, axis, before, after):
    """From 0 at the outer end towards the first and the last element."""
    trailing = (1,) * (x.ndim - axis - 1)
    found = []
    for n, (start, stop) in ((before, (0, 1)), (after, (-1, indexing.END))):
        edge = indexing.slice_(x, axis=(axis,), starts=(start,), stops=(stop,), steps=(1,))
        steps = p.reshape(arange(n), shape=(n, *trailing))
        if dtypes.is_float(x.dtype):
            found.append(multiply(edge, divide(cast(steps, x.dtype), max(n, 1))))
        else:
            found.append(to_dtype(floor_divide(multiply(edge, steps), max(n, 1)), x.dtype))
    return found[0], indexing.flip(found[1], (axis,))


_BORDERS = {
    "linear_ramp": _ramp, "maximum": _statistic(reductions.max),
    "mean": _statistic(reductions.mean), "median": _statistic(median),
    "minimum": _statistic(reductions.min),
}  # fmt: skip
