"""Gives the kernels of LSTM and GRU constant weights where they are made of constants."""

from __future__ import annotations

from openvino import Model

from kerasvino.passes.constants import fold_inputs
from kerasvino.passes.walk import kind_of

__all__ = ["fold_sequence_weights"]


def fold_sequence_weights(model: Model) -> None:
    """Arranges constant weights and states for the kernels that read them."""
    for node in model.get_ordered_ops():
        if kind_of(node) in ("LSTMSequence", "GRUSequence"):
            fold_inputs(node)
