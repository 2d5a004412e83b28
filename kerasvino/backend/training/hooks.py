"""What tells callbacks of batches, where one listens."""

from __future__ import annotations

from kerasvino.backend.keras_private import CallbackList, ProgbarLogger, is_default, pythonify_logs

__all__ = ["are_awaited", "are_heard", "batch_hooks"]


def batch_hooks(callbacks, mode: str):
    """`begin(batch)` and `end(batch, logs)` of a CallbackList; they do nothing if none listens.

    They return when all have heard that have to (`are_awaited`).
    """
    if not are_heard(callbacks, mode):
        return _unheard, _unheard
    begin, end = (f"on_{mode}_batch_{when}" for when in ("begin", "end"))

    def end_here(batch, logs=None):
        logs = pythonify_logs(logs)
        for callback in callbacks.callbacks:
            getattr(callback, end)(batch, logs=logs)

    # Keras's list hands over to another thread what came to it in other ways than in a list
    here = type(callbacks) is CallbackList and are_awaited(callbacks, mode)
    return getattr(callbacks, begin), end_here if here else getattr(callbacks, end)


def _unheard(batch, logs=None):
    """In the place of a hook that nobody overrides."""


def are_heard(callbacks, mode: str) -> bool:
    """Whether a callback does anything at the begin or the end of a batch.

    Keras's list hands each end of a batch to another thread even if not: as long as a small batch.

    Args:
        callbacks: a CallbackList; one of the user's own kind may do anything.
        mode: "train", "test" or "predict".
    """
    return type(callbacks) is not CallbackList or any(
        _listens(callback, mode) for callback in callbacks.callbacks
    )


def are_awaited(callbacks, mode: str) -> bool:
    """Whether a callback has to have heard of a batch before the next one is begun.

    It may assign weights or stop the loop. Keras's progress bar does not, nor does a callback that
    says `async_safe`, which Keras runs on another thread.
    """
    return type(callbacks) is not CallbackList or any(
        type(callback) is not ProgbarLogger
        and not getattr(callback, "async_safe", False)
        and _listens(callback, mode)
        for callback in callbacks.callbacks
    )


def _listens(callback, mode) -> bool:
    names = [f"on_{kind}batch_{end}" for kind in ("", f"{mode}_") for end in ("begin", "end")]
    return not all(is_default(getattr(callback, name, None)) for name in names)
