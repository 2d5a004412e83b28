"""What tells callbacks of batches, where one listens."""

from __future__ import annotations

from keras.src.callbacks.callback_list import CallbackList
from keras.src.utils.python_utils import is_default

__all__ = ["are_heard", "batch_hooks"]


def batch_hooks(callbacks, mode: str):
    """`begin(batch)` and `end(batch, logs)` of a CallbackList; they do nothing if none listens."""
    if not are_heard(callbacks, mode):
        return _unheard, _unheard
    return getattr(callbacks, f"on_{mode}_batch_begin"), getattr(callbacks, f"on_{mode}_batch_end")


def _unheard(batch, logs=None):
    """In the place of a hook that nobody overrides."""


def are_heard(callbacks, mode: str) -> bool:
    """Whether a callback does anything at the begin or the end of a batch.

    Keras's list hands each end of a batch to another thread even if not: as long as a small batch.

    Args:
        callbacks: a CallbackList; one of the user's own kind may do anything.
        mode: "train", "test" or "predict".
    """
    names = [f"on_{kind}batch_{end}" for kind in ("", f"{mode}_") for end in ("begin", "end")]
    return type(callbacks) is not CallbackList or not all(
        is_default(getattr(callback, name, None))
        for callback in callbacks.callbacks
        for name in names
    )
