"""Gives LSTM and GRU nodes constant weights and states where these are made of constants."""

from __future__ import annotations

from kerasvino.passes.constants import fold_inputs
from kerasvino.passes.patterns import Rule, node

__all__ = ["RULES"]

RULES = (
    Rule(
        node("LSTMSequence GRUSequence"),
        lambda found, scope: fold_inputs(found.root, scope),
        closed=False,
    ),
)
