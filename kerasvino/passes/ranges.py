"""Products of a calibrated model in 8 bits, in the form that plugins have kernels for.

`graph.ranges` says which values are rounded, and where. A value goes through a FakeQuantize;
constant weights become integers of 8 bits that are converted and scaled by channel. The plugin
finds its kernels by these nodes, and files of the model are a quarter as large.

Where products of bytes are added in 16 bits (see `int8_probe`), weights have 7 bits: then such sums
hold them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

import numpy as np
from openvino import Model, Node, Output, Type

from kerasvino.graph.ranges import Activation, Channels, Ranges, Shift, array
from kerasvino.graph.trace import constant_node
from kerasvino.nodes.lowering import const, convert, element, ov
from kerasvino.passes.constants import fold_inputs, value
from kerasvino.passes.walk import Scope, scopes

__all__ = ["PRODUCTS", "folded", "in_ranges", "largest", "named", "products_of", "rounded_value"]

PRODUCTS = (
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
    "MatMul",
)  # fmt: skip

logger = logging.getLogger("kerasvino")


def in_ranges(scope: Scope) -> bool:
    """Rounds what the ranges of `scope.narrow` say; returns whether anything was."""
    nodes = named(scope.model)
    changed = False
    for ranges in scope.narrow.ranges:
        if not _is_of(ranges, nodes):
            logger.info(
                "A quantized model is part of a graph in which other layers have the names of its "
                "own, or in which it is called twice: it is computed there as if not quantized."
            )
            continue
        changed = True
        for shift in ranges.shifts:
            _shift(nodes[shift.node], shift, scope)
        for weights in ranges.weights:
            _round_weights(nodes[weights.node], weights, scope)
        for activation in ranges.activations:
            _round(activation, nodes)
    return changed


def folded(model: Model) -> Model:
    """A finished model whose products have their weights, and biases, as Constants: in place."""
    scope = scopes(model)[0]
    for node, _ in scope.of_kinds((*PRODUCTS, "Add")):
        fold_inputs(node, scope)
    return model


# -- names


def named(model: Model) -> dict[str, Node]:
    """The nodes of a finished model by name; those that passes left to OpenVINO to name get one.

    They are named after the first node that takes what they make, and so the same each time.
    """
    nodes = model.get_ordered_ops()
    names = [node.get_friendly_name() for node in nodes]
    place = {node.get_instance_id(): index for index, node in enumerate(nodes)}
    taken = set(names)
    for index in range(len(nodes) - 1, -1, -1):
        node = nodes[index]
        kind = node.get_type_name()
        if kind == "Parameter" or not re.fullmatch(rf"{kind}_\d+", names[index]):
            continue
        users = [
            (place[i.get_node().get_instance_id()], i.get_index())
            for output in node.outputs()
            for i in output.get_target_inputs()
            if i.get_node().get_instance_id() in place
        ]
        if users:
            first, port = min(users)
            label = base = f"{names[first]}/{kind}.{port}"
            count = 1
            while label in taken:
                label = f"{base}_{(count := count + 1)}"
            taken.add(label)
            names[index] = label
            node.set_friendly_name(label)
    return dict(zip(names, nodes, strict=True))


def products_of(nodes: dict[str, Node]) -> list[str]:
    """Names of the nodes that multiply, in the graph's order."""
    return [name for name, node in nodes.items() if node.get_type_name() in PRODUCTS]


def _base(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _is_of(ranges: Ranges, nodes: dict[str, Node]) -> bool:
    """Whether the products under the model's layers are those that were calibrated."""
    bases = {_base(name) for name in ranges.products}
    return {name for name in products_of(nodes) if _base(name) in bases} == set(ranges.products)


# -- weights


def largest(bits: int) -> int:
    """The largest integer that weights of so many bits are rounded to; the least is minus that."""
    return 2 ** (bits - 1) - 1


def rounded_value(weights: np.ndarray, axes: Iterable[int], bits: int = 8):
    """(integers of 8 bits, scales) of weights, None where they are not finite.

    Args:
        weights: float32.
        axes: along which scales differ.
        bits: how many of them are used.
    """
    others = tuple(axis for axis in range(weights.ndim) if axis not in tuple(axes))
    most = np.maximum(weights.max(others, keepdims=True), -weights.min(others, keepdims=True))
    if not np.isfinite(most).all():
        return None
    scale = (np.where(most > 0, most, 1) / largest(bits)).astype(np.float32)
    return np.rint(weights * (1 / scale)).astype(np.int8), scale


def _round_weights(node: Node, weights: Channels, scope: Scope) -> None:
    port = node.input(weights.input)
    held = value(port.get_source_output(), scope)
    found = None
    if held is not None and held.size and max(weights.axes, default=0) < held.ndim:
        found = rounded_value(held, weights.axes, scope.narrow.bits)
    if found is None:
        return
    integers, scale = found
    constant = constant_node(integers, "int8")
    constant.set_friendly_name(f"{weights.node}/weights")
    wide = convert(constant.output(0), Type.f32)
    port.replace_source_output(ov.multiply(wide, const(scale, Type.f32)).output(0))


# -- values


def _round(activation: Activation, nodes: dict[str, Node]) -> None:
    """Gives the users of a value the rounded one; of the same value only once."""
    made: dict[tuple, Output] = {}
    for name, index in activation.users:
        # what lies between products may have other nodes where lengths are unknown
        if name not in nodes or index >= nodes[name].get_input_size():
            continue
        port = nodes[name].input(index)
        source = port.get_source_output()
        if element(source) != Type.f32:
            continue
        key = source.get_node().get_instance_id(), source.get_index()
        if key not in made:
            low, high = (
                const(array(limits, activation.shape), Type.f32)
                for limits in (activation.low, activation.high)
            )
            quantizer = ov.fake_quantize(source, low, high, low, high, activation.levels)
            quantizer.set_friendly_name(f"{name}/FakeQuantize.{index}")
            made[key] = quantizer.output(0)
        port.replace_source_output(made[key])


def _shift(node: Node, shift: Shift, scope: Scope) -> None:
    """Adds to the result of a node: to what is added anyway, where that is constant."""
    values = array(shift.values, shift.shape)
    ports = list(node.output(0).get_target_inputs())
    if len(ports) == 1 and ports[0].get_node().get_type_name() == "Add":
        other = ports[0].get_node().input(1 - ports[0].get_index())
        bias = value(other.get_source_output(), scope)
        if bias is not None and bias.size == values.size:
            together = constant_node(bias + values.reshape(bias.shape), "float32")
            other.replace_source_output(together.output(0))
            return
    shifted = ov.add(node.output(0), const(values, Type.f32)).output(0)
    for port in ports:
        port.replace_source_output(shifted)
