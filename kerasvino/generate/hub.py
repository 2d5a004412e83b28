"""What KerasHub calls to generate on OpenVINO: takes the place of its `utils.openvino_utils`.

KerasHub's own module makes a graph with private methods of the bundled backend.
"""

from __future__ import annotations

import logging
import weakref

from kerasvino.generate.loop import whole
from kerasvino.generate.stateful import step_by_step
from kerasvino.primitives.memory import NotAppended

__all__ = ["ov_infer"]

logger = logging.getLogger("kerasvino")

# Tasks whose steps cannot keep their cache as state.
_whole: weakref.WeakSet = weakref.WeakSet()


def ov_infer(model, inputs, stop_token_ids, fn):
    """What `fn(inputs, stop_token_ids)`, the `generate_step` of a task, returns.

    Args:
        model: the task.
        inputs: dict of NumPy arrays, as of `generate_step`.
        stop_token_ids: list or tuple of ids that end a sequence, or None.
        fn: `model.generate_step`.
    """
    if stop_token_ids is not None:
        stop_token_ids = tuple(int(token) for token in stop_token_ids)
    if model not in _whole:
        try:
            return step_by_step(model, inputs, stop_token_ids)
        except NotAppended as why:
            logger.debug("%s generates in one program, its cache as a value: %s", model.name, why)
            _whole.add(model)
    return whole(model, inputs, stop_token_ids)
