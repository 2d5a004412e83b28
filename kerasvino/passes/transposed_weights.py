"""Square constant weights of a finished model: a copy of those that are used transposed as well.

The CPU plugin takes one repacked copy of a constant matrix for its products and for those with its
transpose, if it is square, and one of a kernel for convolutions and transposed ones, if it has as
many inputs as outputs: one of them is wrong. Gradients by the input of a layer with frozen weights
are such a pair. The transposed ones get memory of their own here; those of 4 and 8 bits have it.
"""

from __future__ import annotations

from kerasvino.nodes.facts import facts
from kerasvino.nodes.lowering import dims, is_float, ov
from kerasvino.passes.compressed import is_compressed
from kerasvino.passes.patterns import Rule, node

__all__ = ["RULES"]


def _separate(found, scope):
    """Copies the weights of a node if they are used transposed, and as long on both sides."""
    user, kind = found.root, found.root.get_type_name()
    weights = user.input_value(1)
    rank = weights.get_partial_shape().rank
    if rank.is_dynamic or rank.get_length() < 2 or not is_float(weights):
        return None
    if kind == "MatMul":
        sides = -2, -1
        if not user.get_attributes()["transpose_b"] and not _is_transposed(weights):
            return None
    else:
        groups = facts(kind).groups
        sides = groups, groups + 1
    inputs, outputs = (dims(weights)[side] for side in sides)
    if inputs != outputs or not scope.is_constant(weights) or is_compressed(weights):
        return None
    # folded, but not before products are put together with their constants
    own = ov.negative(ov.negative(weights))
    user.input(1).replace_source_output(own.output(0))
    return True


def _is_transposed(weights) -> bool:
    """Whether weights come out of a Transpose, through operations that could move behind it."""
    made_by = weights.get_node()
    while facts(made_by.get_type_name()).moves:
        made_by = made_by.input_value(0).get_node()
    return made_by.get_type_name() == "Transpose"


RULES = (
    Rule(
        node("MatMul ConvolutionBackpropData GroupConvolutionBackpropData"), _separate, closed=False
    ),
)
