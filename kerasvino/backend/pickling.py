"""Pickles of layers and models, which import Kerasvino before Keras where they are read."""

from __future__ import annotations

import functools
from collections.abc import Callable

__all__ = ["importing_kerasvino", "restored"]


def importing_kerasvino(reduce: Callable) -> Callable:
    """Keras's `__reduce__`, whose result names a function of ours first.

    So Keras runs on Kerasvino in a process that had not imported it, and where it runs on another
    backend already, `import kerasvino` refuses.
    """

    @functools.wraps(reduce)
    def __reduce__(self):
        make, arguments, *state = reduce(self)
        return restored, (make, arguments), *state

    return __reduce__


def restored(make: Callable, arguments: tuple):
    """What Keras makes of a pickled layer or model."""
    return make(*arguments)
