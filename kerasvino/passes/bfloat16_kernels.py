"""Arithmetic of bfloat16 on the kernels that a processor has for it.

Lowerings compute narrow floats in float32 and round once (`nodes.floating.in_f32`), which every
processor can. Where the device multiplies bfloat16 itself, and adds in float32
(`Narrow.bf16_kernels`), the same product is one node: its kernel takes bfloat16 in, and rounds what
it gives. There a conversion rounds by itself as well, if shapes are known.
"""

from __future__ import annotations

from openvino import Node, Output, Type

from kerasvino.nodes.floating import rounded_operand
from kerasvino.nodes.lowering import element, ov
from kerasvino.passes.moves import moved, unmoved, with_operands
from kerasvino.passes.patterns import Rule, node

__all__ = ["RULES"]

# Those that add up in float32, whatever the type of their operands.
_KERNELS = (
    "Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData",
    "MatMul", "ReduceSum",
)  # fmt: skip


def _in_bfloat16(found, scope) -> Output | None:
    """What becomes a bfloat16: computed as one, or at least converted by the plugin alone."""
    root = found.root
    if not scope.narrow.bf16_kernels or root.get_output_element_type(0) != Type.bf16:
        return None
    source = root.input_value(0)
    exact = rounded_operand(source.get_node())
    wide = source if exact is None else exact
    if element(wide) != Type.f32:
        return None
    product, moves = unmoved(wide)
    if product.get_node().get_type_name() in _KERNELS:
        made = _narrow(product.get_node())
        if made is not None:
            return moved(made, moves)
    if exact is None or root.get_output_partial_shape(0).is_dynamic:
        return None
    return ov.convert(wide, "bf16").output(0)


def _narrow(product: Node) -> Output | None:
    """`product` of bfloat16, where its operands are no more than such numbers, converted."""
    count = 1 if product.get_type_name() == "ReduceSum" else 2
    operands = [_unconverted(operand) for operand in product.input_values()[:count]]
    if None in operands:
        return None
    return with_operands(product, *operands)


def _unconverted(output: Output) -> Output | None:
    """`output` of f32 as the bfloat16 that it was converted from, moved as it is."""
    source, moves = unmoved(output)
    made_by = source.get_node()
    if made_by.get_type_name() != "Convert" or element(made_by.input_value(0)) != Type.bf16:
        return None
    return moved(made_by.input_value(0), moves)


RULES = (Rule(node("Convert"), _in_bfloat16, closed=False),)
