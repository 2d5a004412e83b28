"""Products with quantized operands, on the kernels that the CPU plugin has for them.

A traced product of int8 operands is exact in int32. Where it becomes a float next, as in Keras's
quantized layers, it is one product of floats, whose operands are integers. Constant weights of such
a product, and of one of floats by dequantized weights, stay in 8 or 4 bits (`compressed`).

Where the device multiplies 8-bit integers itself, and rightly (`Narrow.int8_kernels`), a quantizer
of activations becomes a FakeQuantize. With it the plugin runs its int8 kernels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from openvino import Node, Output, Type

from kerasvino.graph.trace import constant_node
from kerasvino.nodes.lowering import const, dims, element, ov, rank
from kerasvino.passes.compressed import Compressed, compressed, rounded
from kerasvino.passes.constants import value as constant
from kerasvino.passes.moves import moved, unmoved
from kerasvino.passes.patterns import Rule, node, number, number_in, value
from kerasvino.passes.stored import is_stored, stored, translated

__all__ = ["OF_FLOATS", "OF_SCALES", "OF_TABLES", "OF_WEIGHTS"]

# Fewer weights than this are not worth the nodes that keep them in bytes.
LEAST = 1 << 12
# Fewer than this are not rounded: what that saves is little, and what it costs is not.
LEAST_ROUNDED = 1 << 14
BITS = {"int8": 8, "int4": 4}
_TURNS = ("Reshape", "Transpose")


# -- products of integers that become floats


def _float_product(found, scope):
    """The product of floats whose value an exact integer product has, moved as that is."""
    if found.root.get_output_element_type(0) != Type.f32:
        return None
    output, moves = unmoved(found[_integers], _TURNS)
    pairs = _parts(output)
    if pairs is None:
        return None
    left, right = pairs[0]
    if len(pairs) > 1:
        splits = [[pair[side].get_node() for pair in pairs] for side in (0, 1)]
        if not all(_is_whole(nodes, [p[i] for p in pairs]) for i, nodes in enumerate(splits)):
            return None
        left, right = (nodes[0].input_value(0) for nodes in splits)
    left, right = (ov.convert(operand, "f32") for operand in (left, right))
    return moved(ov.matmul(left, right, False, False).output(0), moves)


def _parts(output: Output) -> list[tuple[Output, Output]] | None:
    """The operands of products that are summed, in order, before they are converted."""
    made_by = output.get_node()
    if made_by.get_type_name() == "Add":
        before, last = (_parts(source) for source in made_by.input_values())
        return None if before is None or last is None else before + last
    if made_by.get_type_name() != "Convert":
        return None
    product = made_by.input_value(0).get_node()
    if product.get_type_name() != "MatMul" or any(product.get_attributes().values()):
        return None
    sources = [operand.get_node() for operand in product.input_values()]
    if any(source.get_type_name() != "Convert" for source in sources):
        return None
    operands = [source.input_value(0) for source in sources]
    return [tuple(operands)] if all(element(o) in (Type.i8, Type.u8) for o in operands) else None


def _is_whole(nodes, outputs) -> bool:
    """Whether these are all outputs of one VariadicSplit, in order."""
    split = nodes[0]
    return (
        split.get_type_name() == "VariadicSplit"
        and len(outputs) == split.get_output_size()
        and all(n.get_instance_id() == split.get_instance_id() for n in nodes)
        and [o.get_index() for o in outputs] == list(range(len(outputs)))
    )


_integers = node("Convert Add Reshape Transpose")
OF_FLOATS = (Rule(node("Convert", _integers), _float_product, closed=False),)


# -- scales of channels


def _scaled_weights(found, scope):
    """Scales weights in place of the product. The plugin does so itself, with floats of its own."""
    product, scale = found[_product].get_node(), scope.constant(found[_scale])
    attributes = product.get_attributes()
    weights = product.input_value(1)
    if scale is None or scale.ndim == 0 or not is_stored(weights, scope):
        return None
    outputs = dims(weights)[-2 if attributes["transpose_b"] else -1]
    if rank(weights) != 2 or scale.size != scale.shape[-1] or scale.size not in (1, outputs):
        return None
    along = (-1, 1) if attributes["transpose_b"] else (1, -1)
    factor = const(scale.reshape(along), Type.f32)
    combined = ov.divide if found.root.get_type_name() == "Divide" else ov.multiply
    weights = combined(weights, factor).output(0)
    return ov.matmul(product.input_value(0), weights, **_swaps(attributes)).output(0)


def _swaps(attributes):
    return {name: attributes[name] for name in ("transpose_a", "transpose_b")}


_product, _scale = node("MatMul"), node("Constant")
OF_SCALES = (Rule(_product / _scale, _scaled_weights), Rule(_product * _scale, _scaled_weights))


# -- weights


def _narrow_weights(found, scope):
    """Gives a product its weights in few bits, and its activations as its kernel wants them."""
    product = found.root
    attributes = product.get_attributes()
    if any(product.get_friendly_name() in ranges.products for ranges in scope.narrow.ranges):
        return None
    held = stored(product.input_value(1), scope)
    if held is None and scope.narrow.weights is not None:
        return _rounded_weights(product, scope)
    if held is None or held.ndim != 2 or math.prod(held.shape) < LEAST:
        return _narrow_activations(product, None, scope)
    weights = compressed(held, attributes["transpose_b"])
    if weights is None or (weights.terms is not None and attributes["transpose_a"]):
        folded = constant_node(np.ascontiguousarray(held.full(), np.float32), "float32")
        product.input(1).replace_source_output(folded.output(0))
        return True
    return _narrow_activations(product, weights, scope)


def _rounded_weights(product, scope):
    """Gives a product constant weights of floats in few bits, as the setting `weights` says."""
    transposed = product.get_attributes()["transpose_b"]
    output = product.input_value(1)
    if rank(output) != 2 or None in dims(output) or math.prod(dims(output)) < LEAST_ROUNDED:
        return None
    array = constant(output, scope)
    weights = None
    if array is not None:
        weights = rounded(array if transposed else array.T, BITS[scope.narrow.weights])
    return None if weights is None else _narrow_activations(product, weights, scope)


def _narrow_activations(product, weights: Compressed | None, scope):
    attributes = product.get_attributes()
    left, right = product.input_values()
    quantized = _quantizer_of(left)
    if weights is None and quantized is None:
        return None
    if quantized is not None:
        kernels = scope.narrow.int8_kernels and weights is not None
        left = quantized.integers(kernels and not weights.is_four_bits)
    transposed = attributes["transpose_b"]
    if weights is not None:
        if weights.terms is not None:
            left = ov.multiply(left, const(weights.terms, left)).output(0)
        right, transposed = weights.node()
    return ov.matmul(left, right, attributes["transpose_a"], transposed).output(0)


class _Quantizer(NamedTuple):
    """Makes integers, as floats: round(x) within limits, NaN as 0, and then moved."""

    x: Output
    low: float
    high: float
    moves: list[Node]

    def integers(self, for_kernels: bool) -> Output:
        """The integers; by the node that int8 kernels take in, if their limits are its."""
        x, zero = self.x, const(0.0, Type.f32)
        undefined = ov.not_equal(x, x)
        if for_kernels and (self.low, self.high) == (-127, 127):
            limits = [const(np.float32(v), Type.f32) for v in (-127, 127, -127, 127)]
            found = ov.fake_quantize(ov.select(undefined, zero, x), *limits, 255)
        else:
            inside = ov.clamp(ov.round(x, "half_to_even"), self.low, self.high)
            found = ov.select(undefined, zero, inside)
        return moved(found.output(0), self.moves)


def _quantizer_of(output: Output) -> _Quantizer | None:
    """What makes integers of 8 bits of floats, as `keras.quantizers.abs_max_quantize` does."""
    while output.get_node().get_type_name() == "Convert" and element(output) not in _BYTES:
        output = output.get_node().input_value(0)
    output, moves = unmoved(output, _TURNS)
    for way in _bytes.ways(output, {_bytes: output}):
        low, high = (number_in(way[limit]) for limit in (_low, _high))
        bounds = _BYTES.get(element(output))
        if bounds is not None and bounds[0] <= low <= high <= bounds[1]:
            return _Quantizer(way[_unrounded], low, high, moves)
    return None


_BYTES = {Type.i8: (-128, 127), Type.u8: (0, 255)}
# -- tables of embeddings


def _narrow_table(found, scope):
    """Rows of a table that is unpacked of bytes: of 4 bits as they are, else of 8."""
    table = found[_table]
    if table.get_node().get_type_name() == "Constant" or element(table) not in _BYTES:
        return None
    held = stored(table, scope)
    if held is None or held.ndim != 2 or not held.plain or scope.constant(found[_axis]) != 0:
        return None
    rows = Compressed(translated(held.codes, np.ascontiguousarray(held.numbers)))
    if not rows.is_four_bits:
        kind = "int8" if element(table) == Type.i8 else "uint8"
        found.root.input(0).replace_source_output(constant_node(rows.values, kind).output(0))
        return True
    gathered = ov.gather(rows.node()[0], found[_places], found[_axis])
    return ov.convert(gathered, element(table).get_type_name()).output(0)


_table, _places, _axis = value(), value(), node("Constant")
OF_TABLES = (
    Rule(node("Gather", _table, _places, _axis, batch_dims=0), _narrow_table, closed=False),
)


# -- activations


_unrounded, _low, _high = value(), number(), number()
_rounded = node("Round", _unrounded, mode="half_to_even")
_above = node("Select", node("Less", _rounded, _low), _low, _rounded)
_within = node("Select", node("Less", _high, _above), _high, _above)
_defined = node("Select", node("NotEqual", _within, _within), 0, _within)
_bytes = node("Convert", node("Convert", node("Clamp", _defined)))

OF_WEIGHTS = (Rule(node("MatMul"), _narrow_weights, closed=False),)
