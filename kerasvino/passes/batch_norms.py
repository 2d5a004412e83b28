"""Batch normalization after a convolution of a finished model, folded into constant weights.

OpenVINO does so as well, on the way: it turns the kernel to its own layout, a copy, and scales it,
another one, each a node at a time. Done here in one pass over blocks that stay in the processor's
cache, compiling takes less time, and less memory at its peak.
"""

from __future__ import annotations

import numpy as np

from kerasvino.graph.trace import constant_node
from kerasvino.nodes.facts import facts
from kerasvino.nodes.lowering import ov, rank
from kerasvino.passes.constants import value as value_of
from kerasvino.passes.patterns import Rule, node, value

__all__ = ["RULES"]

# Channels scaled at a time: a cache line of each row of a kernel that has them last.
_BLOCK = 16

_weights, _bias = value(), value()
_convolution = node("Convolution GroupConvolution", value(), _weights)
_statistics = _scale, _offset, _mean, _variance = value(), value(), value(), value()
_norm = node("BatchNormInference", _convolution | _convolution + _bias, *_statistics)


def _folded(found, scope):
    """A convolution and a bias, in place of a convolution, a bias if any, and a normalization."""
    arrays = [value_of(found[part], scope) for part in (_weights, *_statistics)]
    if any(array is None for array in arrays):
        return None
    weights, scale, offset, mean, variance = arrays
    along_channels = (1, len(scale)) + (1,) * (rank(found[_norm]) - 2)
    centred = -mean
    if found.get(_bias) is not None:
        bias = value_of(found[_bias], scope)
        if bias is None or bias.shape != along_channels:
            return None
        centred = bias.reshape(-1) - mean
    factor = scale / np.sqrt(variance + np.float32(found.root.get_attributes()["epsilon"]))
    shift = offset + centred * factor
    convolution = found[_convolution].get_node()
    channels = 1 + facts(convolution.get_type_name()).groups  # axes: groups, outputs
    scaled = constant_node(_scaled(weights, factor, channels), "float32")
    scaled.set_friendly_name(f"{convolution.get_friendly_name()}/folded")
    convolution.input(1).replace_source_output(scaled.output(0))
    shift = shift.astype(np.float32).reshape(along_channels)
    return ov.add(convolution.output(0), constant_node(shift, "float32")).output(0)


def _scaled(weights: np.ndarray, factor: np.ndarray, channels: int) -> np.ndarray:
    """`weights`, of any layout, times `factor` along the first `channels` axes, in C order."""
    result = np.empty(weights.shape, np.float32)
    weights = weights.reshape((-1, *weights.shape[channels:]))
    rows = result.reshape(weights.shape)
    factor = factor.reshape((-1,) + (1,) * (weights.ndim - 1))
    for first in range(0, len(weights), _BLOCK):
        block = slice(first, first + _BLOCK)
        np.multiply(weights[block].copy(order="K"), factor[block], out=rows[block])
    return result


RULES = (Rule(_norm, _folded),)
