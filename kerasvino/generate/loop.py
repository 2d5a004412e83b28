"""Generation as one program: the whole of a task's `generate_step`, its loop included.

Serves every task. The cache is carried by the Loop, which copies it at each step.
"""

from __future__ import annotations

import weakref

from kerasvino.backend.jit import Jitted

__all__ = ["whole"]

_compiled: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def whole(model, inputs, stop_token_ids):
    """`model.generate_step(inputs, stop_token_ids)`, compiled for each shape of the inputs."""
    compiled = _compiled.get(model)
    if compiled is None:
        compiled = _compiled.setdefault(model, _jitted(model))
    return compiled(inputs, stop_token_ids)


def _jitted(model) -> Jitted:
    known = weakref.ref(model)  # else the program would keep its own key alive

    def generate_step(inputs, stop_token_ids):
        return known().generate_step(inputs, stop_token_ids)

    return Jitted(
        generate_step,
        f"{model.name}/generate",
        variables=lambda: known().weights,
        roots=lambda: (known(), known().sampler),
        training=False,
    )
