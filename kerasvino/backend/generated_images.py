"""KerasHub's tasks that generate images, as one compiled program each.

KerasHub compiles their `generate_step` on TensorFlow and JAX, and calls it as it is on others. Here
it is a program like that of `predict`: from the prompts over the loop of steps to the image.
"""

from __future__ import annotations

import functools

from kerasvino.backend.jit import jitted_of

__all__ = ["compiled_images"]


def compiled_images(make_generate_function):
    """In place of the method of a task: its `generate_step`, compiled for each shape of its inputs.

    A task with `run_eagerly` keeps KerasHub's own.
    """

    @functools.wraps(make_generate_function)
    def made(self):
        if self.generate_function is None and not self.run_eagerly:
            self.generate_function = _Compiled(self)
        return make_generate_function(self)

    return made


class _Compiled:
    """`task.generate_step`, compiled; copies and pickles of the task compile anew."""

    def __init__(self, task):
        self._jitted = jitted_of(task, "generate", lambda known, *args: known.generate_step(*args))

    def __call__(self, *args):
        return self._jitted(*args)

    def __reduce__(self):
        return type(None), ()
