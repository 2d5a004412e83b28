"""Nodes that tell NaN and infinities of a graph's values in one small vector (see graph.finite)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from openvino import Output, Type

from kerasvino.graph.finite import FINITE, INFINITE, NAN
from kerasvino.nodes.floating import magnitude
from kerasvino.nodes.lowering import const, convert, ints, ov, rank

__all__ = ["codes"]


def codes(groups: Sequence[Sequence[Output]]) -> Output:
    """For each group of floats the greatest code of an element, as a vector of f32."""
    return ov.concat([_code(group) for group in groups], 0).output(0)


def _code(group):
    found = [_greatest(convert(x, Type.f32)) for x in group]
    if len(found) == 1:
        return found[0]
    return ov.reduce_max(ov.concat(found, 0), ints([0]), True).output(0)


def _greatest(x):
    """Of one tensor, with a shape of (1,). Codes are finite, which OpenVINO's maximum takes."""
    infinite = ov.equal(magnitude(x), const(math.inf, x))
    code = ov.select(infinite, const(float(INFINITE), x), const(float(FINITE), x))
    code = ov.select(ov.not_equal(x, x), const(float(NAN), x), code)
    axes = list(range(rank(x)))
    code = ov.reduce_max(code, ints(axes), False) if axes else code
    return ov.reshape(code, ints([1]), special_zero=False).output(0)
