"""The passes over a finished model, in the order in which they run.

trace -> constants in -> `run` -> compile or export; `Graph.bind` does the second and third step. A
pass is a tuple of rules (see `patterns`), which are tried at the nodes of a model and of the bodies
of its If, Loop and TensorIterator nodes. The order is one tuple: what a pass may rely on is what
those before it leave behind. What a calibration found goes by the names of nodes, and comes after
all (`ranges`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from openvino import Model

from kerasvino.graph.graph import EXACT, Narrow, register_passes
from kerasvino.passes import (
    attention_operands,
    batch_norms,
    bfloat16_kernels,
    dense_products,
    kept_attention,
    loop_memory,
    lstm_gru_constants,
    normalizations,
    quantized_products,
    rotary,
    rounded_constants,
    selections,
    stacks,
    transposed_weights,
)
from kerasvino.passes.patterns import Rule, rewrite
from kerasvino.passes.ranges import in_ranges
from kerasvino.passes.walk import scopes

__all__ = ["PASSES", "Pass", "run"]


class Pass(NamedTuple):
    """Rules that are tried together, and why they are tried where they are."""

    name: str
    rules: tuple[Rule, ...]
    reason: str


PASSES = (
    Pass(
        "rounded constants", rounded_constants.RULES,
        "First: these become Constants, which others look for.",
    ),
    Pass(
        "kernels of bfloat16", bfloat16_kernels.RULES,
        "After constants are rounded, and before others look at products of float32.",
    ),
    Pass(
        "products of integers", quantized_products.OF_FLOATS,
        "Before weights are looked at: makes products of floats, which have kernels.",
    ),
    Pass(
        "scales of products", quantized_products.OF_SCALES,
        "Before weights are looked at: moves scales to them.",
    ),
    Pass(
        "quantized weights", quantized_products.OF_WEIGHTS,
        "Before anything folds what is constant: scales are still apart from what they scale.",
    ),
    Pass(
        "quantized tables", quantized_products.OF_TABLES,
        "Before anything folds what is constant: unpacked tables would stay so.",
    ),
    Pass(
        "batch normalizations", batch_norms.RULES,
        "After constants are rounded: folds what is constant into convolutions.",
    ),
    Pass(
        "weights of sequences", lstm_gru_constants.RULES,
        "After constants are rounded: folds what LSTM and GRU read.",
    ),
    Pass(
        "normalizations", normalizations.RULES,
        "Makes one node of many, and moves a Transpose, before others look at what there is.",
    ),
    Pass(
        "dense products", dense_products.RULES,
        "After constants are rounded: folds what they are reshaped to.",
    ),
    Pass(
        "selected positions", selections.RULES,
        "After dense products: a bias is added in front of a Reshape there, which ends a chain.",
    ),
    Pass(
        "stacked halves", stacks.RULES,
        "Anywhere: what it joins no other pass looks at.",
    ),
    Pass(
        "rotary embeddings", rotary.RULES,
        "After halves are joined: looks for them.",
    ),
    Pass(
        "attention to what is kept", kept_attention.RULES,
        "Before operands of attention are kept apart: takes the products they belong to away.",
    ),
    Pass(
        "transposed weights", transposed_weights.RULES,
        "After folding: its copies are of constants, but made so that nothing folds them early.",
    ),
    Pass(
        "operands of attention", attention_operands.RULES,
        "After normalizations, which may put a Transpose before a product or take one away.",
    ),
    Pass(
        "values of loops", loop_memory.RULES,
        "Last: which values of a body need a copy depends on the nodes that it has in the end.",
    ),
)  # fmt: skip


def run(model: Model, narrow: Narrow = EXACT, memory: dict[int, np.ndarray] | None = None) -> Model:
    """`model`, rewritten in place by all passes.

    Args:
        model: with its constants.
        narrow: which narrow numbers its products may have.
        memory: arrays that constants share the memory of, by their instance ids.
    """
    graphs = scopes(model, narrow, memory)
    for step in PASSES:
        changed = [rewrite(step.rules, scope) for scope in graphs]
        if any(changed):
            graphs = scopes(model, narrow, memory)
    if narrow.ranges:  # last: those were found in a finished model
        in_ranges(graphs[0])
    return model


register_passes(run)
