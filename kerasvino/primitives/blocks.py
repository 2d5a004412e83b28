"""Primitives that move blocks of pixels into channels and back, channels first."""

from __future__ import annotations

from kerasvino.nodes.lowering import ov
from kerasvino.primitives.core import Primitive

__all__ = ["depth_to_space", "space_to_depth"]


def _space_to_depth(x, *, block, depth_first):
    batch, channels, *spatial = x.shape
    split = [part for n in spatial for part in (n // block, block)]
    count = len(spatial)
    places, inside = range(2, 2 * count + 2, 2), range(3, 2 * count + 2, 2)
    depth = (1, *inside) if depth_first else (*inside, 1)
    moved = x.reshape(batch, channels, *split).transpose(0, *depth, *places)
    return moved.reshape(batch, channels * block**count, *(n // block for n in spatial))


def _depth_to_space(x, *, block, depth_first):
    batch, channels, *spatial = x.shape
    count, inner = len(spatial), channels // block ** len(spatial)
    inside = (block,) * count
    depth = (inner, *inside) if depth_first else (*inside, inner)
    own, first = (1, 2) if depth_first else (count + 1, 1)
    pairs = [axis for a in range(count) for axis in (count + 2 + a, first + a)]
    moved = x.reshape(batch, *depth, *spatial).transpose(0, own, *pairs)
    return moved.reshape(batch, inner, *(n * block for n in spatial))


def _order(depth_first):
    return "depth_first" if depth_first else "blocks_first"


# x (N, C, spatial...), whose spatial lengths are multiples of block -> (N, block**d * C, ...): the
# channels of all pixels at the first place of their block, of those at the next one, and so on;
# with depth_first the block of the first channel, of the next one, and so on.
space_to_depth = Primitive(
    "space_to_depth",
    impl=_space_to_depth,
    lower=lambda x, *, block, depth_first: ov.space_to_depth(x, _order(depth_first), block),
    vjp=lambda g, inputs, output, **attrs: (depth_to_space(g, **attrs),),
)
# Its inverse.
depth_to_space = Primitive(
    "depth_to_space",
    impl=_depth_to_space,
    lower=lambda x, *, block, depth_first: ov.depth_to_space(x, _order(depth_first), block),
    vjp=lambda g, inputs, output, **attrs: (space_to_depth(g, **attrs),),
)
