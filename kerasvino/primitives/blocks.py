"""Primitives that move blocks of pixels into channels and back, channels first."""

from __future__ import annotations

from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lowering import ov

__all__ = ["depth_to_space", "space_to_depth"]


def _space_to_depth(x, *, block):
    batch, channels, *spatial = x.shape
    split = [part for n in spatial for part in (n // block, block)]
    count = len(spatial)
    places, inside = range(2, 2 * count + 2, 2), range(3, 2 * count + 2, 2)
    moved = x.reshape(batch, channels, *split).transpose(0, *inside, 1, *places)
    return moved.reshape(batch, channels * block**count, *(n // block for n in spatial))


def _depth_to_space(x, *, block):
    batch, channels, *spatial = x.shape
    count = len(spatial)
    split = x.reshape(batch, *(block,) * count, channels // block**count, *spatial)
    pairs = [axis for a in range(count) for axis in (count + 2 + a, a + 1)]
    moved = split.transpose(0, count + 1, *pairs)
    return moved.reshape(batch, channels // block**count, *(n * block for n in spatial))


# x (N, C, spatial...), whose spatial lengths are multiples of block -> (N, block**d * C, ...): the
# channels of all pixels at the first place of their block, of those at the next one, and so on.
space_to_depth = Primitive(
    "space_to_depth",
    impl=_space_to_depth,
    lower=lambda x, *, block: ov.space_to_depth(x, "blocks_first", block),
    vjp=lambda g, inputs, output, *, block: (depth_to_space(g, block=block),),
)
# Its inverse.
depth_to_space = Primitive(
    "depth_to_space",
    impl=_depth_to_space,
    lower=lambda x, *, block: ov.depth_to_space(x, "blocks_first", block),
    vjp=lambda g, inputs, output, *, block: (space_to_depth(g, block=block),),
)
