"""Leaves positions out of attention to keys that are kept, before the softmax, where logits end.

The exported graph of a decoder takes a mask of padding that its model knows nothing of. It is no
pass of the pipeline, but made to a graph before that.
"""

from __future__ import annotations

from openvino import Model, Node, Output, Type

from kerasvino.nodes.lowering import const, convert, dims, ints, ov
from kerasvino.passes.kept_attention import LOWEST

__all__ = ["attended", "mask_padding", "without_empty_rows"]

# Between a product of queries and keys and its softmax: scales, masks, biases, caps, groups.
_BETWEEN = frozenset(
    ("Multiply", "Divide", "Add", "Subtract", "Select", "Tanh", "Convert", "Reshape", "Transpose",
     "Unsqueeze", "Squeeze", "Concat", "Minimum", "Maximum", "Clamp")
)  # fmt: skip
_ELEMENTWISE = frozenset(("Multiply", "Divide", "Add", "Subtract", "Convert"))
# Between what is kept and the product: other orders of axes, heads repeated.
_REPEATED = frozenset(
    ("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Multiply", "Interpolate", "Broadcast", "Tile",
     "Convert", "Concat", "Gather")
)  # fmt: skip


def mask_padding(logits: Output, batch: int, keys: int, counts: Output) -> set[str]:
    """Leaves positions out of the softmax of `logits` over keys that are kept.

    Args:
        logits: what a Softmax is taken of.
        batch: its axis of the batch.
        keys: its axis of the keys.
        counts: which of all positions count, [batch, positions].

    Returns:
        The names of the states that hold the keys; none if they are not kept, and nothing is done.
    """
    kept = _kept(logits.get_node(), False)
    if not kept:
        return kept
    logits = _beside_sinks(logits, keys) or logits
    mask = convert(counts, Type.boolean)
    if batch > keys:
        mask = ov.transpose(mask, ints([1, 0])).output(0)
    others = [axis for axis in range(len(dims(logits))) if axis not in (batch, keys)]
    users = logits.get_target_inputs()
    mask = ov.unsqueeze(mask, ints(others))
    masked = ov.select(mask, logits, const(LOWEST, logits)).output(0)
    for user in users:
        user.replace_source_output(masked)
    return kept


def attended(model: Model) -> list[Node]:
    """The nodes of `model` that attend to keys."""
    kind = "ScaledDotProductAttention"
    return [node for node in model.get_ordered_ops() if node.get_type_name() == kind]


def without_empty_rows(model: Model) -> None:
    """Takes away what makes rows of attention 0 where no key counts, which are those of padding."""
    for node in attended(model):
        for user in node.output(0).get_target_inputs():
            select = user.get_node()
            if select.get_type_name() != "Select" or user.get_index() != 1:
                continue
            if select.input_value(0).get_node().get_type_name() == "ReduceLogicalOr":
                for other in select.output(0).get_target_inputs():
                    other.replace_source_output(node.output(0))
    model.validate_nodes_and_infer_types()


def _beside_sinks(logits: Output, keys: int) -> Output | None:
    """The logits of keys, if others stand behind them in the same softmax: attention sinks."""
    while True:
        made_by = logits.get_node()
        parts = [v for v in made_by.input_values() if _kept(v.get_node(), False)]
        if made_by.get_type_name() == "Concat" and made_by.get_attributes()["axis"] == keys:
            return parts[0] if len(parts) < made_by.get_input_size() else None
        if made_by.get_type_name() not in _ELEMENTWISE:
            return None
        logits = parts[0]


def _kept(node: Node, of_product: bool) -> set[str]:
    """The states that a product of queries and keys is taken of, from behind it or in it."""
    kind = node.get_type_name()
    if of_product and kind == "ReadValue":
        return {node.get_variable_id()}
    passed = _REPEATED if of_product else _BETWEEN
    if kind not in passed and (of_product or kind != "MatMul"):
        return set()
    inside = of_product or kind == "MatMul"
    return {name for v in node.input_values() for name in _kept(v.get_node(), inside)}
