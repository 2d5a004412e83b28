"""What KerasHub calls to generate on OpenVINO: takes the place of its `utils.openvino_utils`.

KerasHub's own module makes a graph with private methods of the bundled backend.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np

from kerasvino.backend.keras_private import tree
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.errors import TracedValueError
from kerasvino.generate.loop import whole
from kerasvino.generate.notes import Notes
from kerasvino.generate.session import Session
from kerasvino.generate.stateful import NotThisTime, step_by_step, token_by_token
from kerasvino.primitives.memory import NotAppended

__all__ = ["asked", "ov_infer", "tokens", "why_not_by_steps"]

logger = logging.getLogger("kerasvino")

# Tasks whose steps cannot keep their cache as state, and why.
_whole: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# Tasks that ask for Python values of tensors.
_eager: weakref.WeakSet = weakref.WeakSet()
_calls = Notes()


def ov_infer(model, inputs, stop_token_ids, fn):
    """What `fn(inputs, stop_token_ids)`, the `generate_step` of a task, returns.

    Args:
        model: the task.
        inputs: dict of NumPy arrays, as of `generate_step`.
        stop_token_ids: list or tuple of ids that end a sequence, or None.
        fn: `model.generate_step`.

    Raises:
        ValueError: there is no prompt, or one without tokens.
    """
    if stop_token_ids is not None:
        stop_token_ids = tuple(int(token) for token in stop_token_ids)
    if _calls.found is not None:
        _calls.found.append((inputs, stop_token_ids))
        return dict(inputs)
    _check(inputs)
    if model not in _whole:
        try:
            return step_by_step(model, inputs, stop_token_ids)
        except NotAppended as why:
            _begin_whole(model, why)
    return _at_once(model, inputs, stop_token_ids)


def _check(inputs) -> None:
    """KerasHub begins behind the shortest prompt, with what follows from its last token."""
    mask = inputs.get("decoder_padding_mask", inputs.get("padding_mask"))
    if mask is None or mask.ndim != 2:
        return
    if not len(mask):
        raise ValueError("The batch has no prompt; give at least one.")
    empty = np.flatnonzero(~mask.astype(bool).any(axis=1)).tolist()
    if empty:
        raise ValueError(
            f"The prompts {empty} of the batch have no tokens. Give each at least one, as a start "
            "token is; it is what the first new one follows from."
        )


def asked() -> AbstractContextManager[list]:
    """Notes what this thread's calls of `generate` would begin with, and generates nothing.

    Yields the list of their (inputs, stop_token_ids).
    """
    return _calls.collected()


def tokens(model, inputs, stop_token_ids, session: Session) -> Iterator[int]:
    """The new ids of a batch of one prompt, each as soon as it is chosen.

    Where the cache cannot be state, all come at the end. Arguments as of `token_by_token`.
    """
    told = 0
    if model not in _whole:
        try:
            for ids, place in token_by_token(model, inputs, stop_token_ids, session):
                told += 1
                yield int(ids[0, place])
            return
        except NotAppended as why:
            _begin_whole(model, why)
    result = _at_once(model, inputs, stop_token_ids)
    ids = np.asarray(result["token_ids"])[0][np.asarray(result["padding_mask"])[0].astype(bool)]
    begin = int(np.sum(inputs["padding_mask"])) + told
    yield from ids[begin:].tolist()


def _begin_whole(model, why: NotAppended) -> None:
    logger.debug("%s generates in one program, its cache as a value: %s", model.name, why)
    if not isinstance(why, NotThisTime):
        _whole[model] = str(why)


def why_not_by_steps(model) -> str:
    """Why the last `generate` of a task did not run by compiled steps."""
    return _whole.get(model, "it has not called a step with these inputs.")


def _at_once(model, inputs, stop_token_ids):
    """What `generate_step` returns: of one program, or eagerly where there cannot be one."""
    if model not in _eager:
        try:
            return whole(model, inputs, stop_token_ids)
        except TracedValueError as why:
            logger.debug("%s generates eagerly: %s", model.name, why)
            _eager.add(model)
    return model.generate_step(tree.map_structure(convert_to_tensor, inputs), stop_token_ids)
