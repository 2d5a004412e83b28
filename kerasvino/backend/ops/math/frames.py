"""Sequences cut out of the last axis, overlapping ones too, and put together again."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.primitives import indexing, join, reduce, shape
from kerasvino.primitives.arithmetic import add, floor_divide, maximum, multiply
from kerasvino.primitives.create import iota
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["extract_sequences"]


def _positive(value, name):
    if not isinstance(value, (int, np.integer)) or value <= 0:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
    return int(value)


def _number(length, width, stride):
    """How many sequences of `width` begin `stride` apart within `length`, which may be symbolic."""
    if isinstance(length, int):
        return max(0, 1 + (length - width) // stride)
    room = add(length, constant_like(stride - width, length))
    return maximum(floor_divide(room, constant_like(stride, room)), constant_like(0, room))


def extract_sequences(x, sequence_length, sequence_stride):
    """`keras.ops.extract_sequences`: (..., n) to (..., number of sequences, sequence_length)."""
    x = convert_to_tensor(x)
    if x.ndim < 1:
        raise ValueError(f"Input should have rank >= 1. Received: input.shape = {x.shape}")
    width = _positive(sequence_length, "sequence_length")
    stride = _positive(sequence_stride, "sequence_stride")
    count = _number(shape.lengths(x)[-1], width, stride)
    starts = iota(size=count)
    starts = shape.expand_dims(multiply(starts, constant_like(stride, starts)), axis=(1,))
    places = add(starts, Tensor._wrap(np.arange(width, dtype=np.int32)))
    return indexing.gather(x, places, axis=x.ndim - 1)


def overlapped(frames: Tensor, stride: int) -> Tensor:
    """The sum of frames (..., number, width) that begin `stride` apart: (..., time).

    Frames are cut into k pieces of `stride`. Piece j of frame t belongs at place t + j: with k
    places added after the last frame, reading the pieces of each j in rows one place shorter
    moves row j by j.
    """
    *batch, number, width = shape.lengths(frames)
    outer = len(batch)
    pieces = -(-width // stride)

    def padded(x, axis, count):
        pads = tuple((0, count if a == axis else 0) for a in range(x.ndim))
        return join.pad(x, pads=pads, mode="constant", value=0)

    rows = padded(frames, outer + 1, pieces * stride - width)
    rows = shape.reshape(rows, shape=(*batch, number, pieces, stride))
    rows = shape.transpose(rows, axes=(*range(outer), outer + 1, outer, outer + 2))
    rows = padded(rows, outer + 1, pieces)
    rows = shape.reshape(rows, shape=(*batch, -1))
    rows = indexing.slice_(rows, axis=(outer,), starts=(0,), stops=(-pieces * stride,), steps=(1,))
    rows = shape.reshape(rows, shape=(*batch, pieces, -1))
    total = reduce.reduce_sum(rows, axis=(outer,), keepdims=False)
    # number + pieces - 1 places, of which the last one may be cut short
    beyond = pieces * stride - width
    if not beyond:
        return total
    return indexing.slice_(total, axis=(outer,), starts=(0,), stops=(-beyond,), steps=(1,))
