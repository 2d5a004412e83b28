"""Which of KerasHub's tasks a model is, without importing KerasHub."""

from __future__ import annotations

import sys

from kerasvino.backend.keras_private import at

__all__ = ["CAUSAL", "SEQUENCES", "task_of"]

CAUSAL, SEQUENCES = "CausalLM", "Seq2SeqLM"
# The second is derived from the first.
_CLASSES = {
    SEQUENCES: "keras_hub.src.models.seq_2_seq_lm:Seq2SeqLM",
    CAUSAL: "keras_hub.src.models.causal_lm:CausalLM",
}


def task_of(model) -> str | None:
    """CAUSAL, SEQUENCES, or None for any other object."""
    if "keras_hub" not in sys.modules:  # then nothing is of its classes
        return None
    known = ((name, at(where)) for name, where in _CLASSES.items())
    return next((name for name, kind in known if kind and isinstance(model, kind)), None)
