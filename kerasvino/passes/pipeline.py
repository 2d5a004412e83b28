"""The passes over a finished model, in the order in which they run.

trace -> `Graph.bind` -> `run` -> compile or export. A pass takes an `ov.Model` and rewrites it in
place. What it may rely on is what the passes before it leave behind: the order is this tuple, and a
reason stands beside each place.
"""

from __future__ import annotations

from collections.abc import Callable

from openvino import Model

from kerasvino.passes.attention import keep_operands
from kerasvino.passes.batch_norms import fold_batch_norms
from kerasvino.passes.normalizations import fuse_normalizations
from kerasvino.passes.rounded_constants import round_constants
from kerasvino.passes.sequences import fold_sequence_weights
from kerasvino.passes.transposed_weights import separate_transposed_weights

__all__ = ["PASSES", "names", "run"]

PASSES: tuple[Callable[[Model], None], ...] = (
    # first: what the others look for is constants, and these become some
    round_constants,
    # before its operands are folded: what is transposed is seen by the Transpose in front of it
    separate_transposed_weights,
    # one node in place of many, before anything looks at what the nodes are
    fuse_normalizations,
    # behind the fusions, which may take away the transpositions that it keeps apart
    keep_operands,
    # of constants alone: the order of these does not matter
    fold_batch_norms,
    fold_sequence_weights,
)


def run(model: Model) -> Model:
    """`model`, rewritten in place by all passes."""
    for rewrite in PASSES:
        rewrite(model)
    return model


def names() -> list[str]:
    """The passes by name, in their order."""
    return [rewrite.__name__ for rewrite in PASSES]
