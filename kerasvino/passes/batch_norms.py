"""Batch normalization after a convolution of a finished model, folded into constant weights.

OpenVINO does so as well, on the way: it turns the kernel to its own layout, a copy, and scales it,
another one, each a node at a time. Done here in one pass over blocks that stay in the processor's
cache, compiling takes less time, and less memory at its peak.
"""

from __future__ import annotations

import numpy as np
from openvino import Model, Node, Output

from kerasvino.graph.trace import constant_node
from kerasvino.nodes.lowering import ov, rank
from kerasvino.passes.constants import value
from kerasvino.passes.walk import kind_of, only_user, other_operand, put_in_place

__all__ = ["fold_batch_norms"]

# Channels scaled at a time: a cache line of each row of a kernel that has them last.
_BLOCK = 16


def fold_batch_norms(model: Model) -> None:
    """Replaces convolution, bias if any, batch normalization by a convolution and a bias."""
    for node in model.get_ordered_ops():
        if kind_of(node) == "BatchNormInference":
            found = _convolution_before(node)
            if found is not None:
                _fold(node, *found)


def _convolution_before(norm: Node) -> tuple[Node, np.ndarray | None] | None:
    """The convolution whose result `norm` alone uses, and the bias between them."""
    before, bias = norm.input_value(0).get_node(), None
    if kind_of(before) == "Add" and only_user(before, "BatchNormInference") is not None:
        convolution = _convolution(before.input_value(0)) or _convolution(before.input_value(1))
        if convolution is None or only_user(convolution, "Add") is None:
            return None
        bias = value(other_operand(before, convolution))
        channels = norm.get_input_shape(1)[0]
        if bias is None or bias.shape != _along_channels(channels, rank(norm.input_value(0))):
            return None
        return convolution, bias.reshape(-1)
    convolution = _convolution(norm.input_value(0))
    if convolution is None or only_user(convolution, "BatchNormInference") is None:
        return None
    return convolution, None


def _convolution(output: Output) -> Node | None:
    node = output.get_node()
    return node if kind_of(node) in ("Convolution", "GroupConvolution") else None


def _along_channels(channels: int, width: int) -> tuple[int, ...]:
    return (1, channels) + (1,) * (width - 2)


def _fold(norm: Node, convolution: Node, bias: np.ndarray | None) -> None:
    weights = value(convolution.input_value(1))
    scale, offset, mean, variance = (value(norm.input_value(index)) for index in range(1, 5))
    if any(array is None for array in (weights, scale, offset, mean, variance)):
        return
    factor = scale / np.sqrt(variance + np.float32(norm.get_attributes()["epsilon"]))
    shift = offset - mean * factor if bias is None else offset + (bias - mean) * factor
    channels = 2 if kind_of(convolution) == "GroupConvolution" else 1  # axes: groups, outputs
    scaled = constant_node(_scaled(weights, factor, channels), "float32")
    scaled.set_friendly_name(f"{convolution.get_friendly_name()}/folded")
    convolution.input(1).replace_source_output(scaled.output(0))
    shift = shift.astype(np.float32).reshape(_along_channels(len(shift), rank(norm.input_value(0))))
    total = ov.add(convolution.output(0), constant_node(shift, "float32"))
    put_in_place(norm, total.output(0))


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
