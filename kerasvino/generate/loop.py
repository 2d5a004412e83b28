"""Generation as one program: the whole of a task's `generate_step`, its loop included.

Serves every task. The cache is carried by the Loop, which copies it at each step.
"""

from __future__ import annotations

import weakref

from kerasvino.backend.jit import jitted_of

__all__ = ["whole"]

_compiled: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def whole(model, inputs, stop_token_ids):
    """`model.generate_step(inputs, stop_token_ids)`, compiled for each shape of the inputs."""
    compiled = _compiled.get(model)
    if compiled is None:
        made = jitted_of(
            model,
            "generate",
            lambda task, *args: task.generate_step(*args),
            roots=lambda task: (task, task.sampler),
        )
        compiled = _compiled.setdefault(model, made)
    return compiled(inputs, stop_token_ids)
