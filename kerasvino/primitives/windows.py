"""Windows over the spatial axes of an image, channels first: their padding, and what they reach."""

from __future__ import annotations

from kerasvino.primitives.indexing import END, slice_
from kerasvino.primitives.join import pad

__all__ = ["extended", "reach", "window_padding"]


def window_padding(lengths, windows, strides):
    """(before, after) of each axis for padding "same": ceil(n / stride) windows, centred.

    "same" itself where an axis has no known length and its padding depends on it.
    """
    pads = []
    for n, window, stride in zip(lengths, windows, strides, strict=True):
        if stride == 1:
            total = window - 1
        elif n is None:
            return "same"
        else:
            total = max((-(-n // stride) - 1) * stride + window - n, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def reach(image, grid, padding, spans, strides):
    """(padding, how much longer each padded axis is than its windows reach)."""
    shape = image.shape[2:]
    if None in shape:
        raise ValueError(
            "The gradient of a convolution or pooling needs spatial axes of known length; "
            f"the shape is {image.shape}."
        )
    pads = window_padding(shape, spans, strides) if padding == "same" else padding
    spare = [
        n + sum(p) - span - (m - 1) * s
        for n, p, span, m, s in zip(shape, pads, spans, grid.shape[2:], strides, strict=True)
    ]
    return pads, spare


def extended(x, pads, value=0):
    """x with `value` before and after its spatial axes, or without as many elements if negative."""
    axes = tuple(range(2, x.ndim))
    if any(n < 0 for pair in pads for n in pair):
        starts = tuple(max(-before, 0) for before, _ in pads)
        stops = tuple(after if after < 0 else END for _, after in pads)
        x = slice_(x, axis=axes, starts=starts, stops=stops, steps=(1,) * len(axes))
    pads = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if not any(map(any, pads)):
        return x
    return pad(x, pads=((0, 0), (0, 0), *pads), mode="constant", value=value)
