"""Compiled functions over nested structures: tensors are traced, everything else is static."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras.src import tree

from kerasvino.backend.core.convert import convert_to_tensor
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor

__all__ = ["Jitted", "jit"]


class Jitted:
    """`function` compiled once for each structure, static leaf, shape and dtype of its arguments.

    Arguments may be nested. Tensors and NumPy arrays in them are traced; other leaves (None,
    numbers, strings) are part of the signature and must be hashable. An array handed in must not be
    written by another thread during the call.

    Raises:
        TracedValueError: the function asks for a Python value that only the running graph knows.
    """

    def __init__(self, function: Callable, name: str | None = None):
        self._function = function
        self._name = name or getattr(function, "__name__", "function")
        self._functions: dict[tuple, Function] = {}

    def __call__(self, *args):
        leaves = tree.flatten(args)
        traced = [isinstance(leaf, (Tensor, np.ndarray)) for leaf in leaves]
        statics = tuple(
            None if moves else (type(leaf), leaf)
            for leaf, moves in zip(leaves, traced, strict=True)
        )
        key = (_skeleton(args), statics)
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._compiled(args, leaves, traced)
        tensors = [
            leaf if isinstance(leaf, Tensor) else Tensor._wrap(leaf)
            for leaf, moves in zip(leaves, traced, strict=True)
            if moves
        ]
        results, structure = function.run(tensors)
        rest = iter(results)
        packed = [next(rest) if leaf is _TENSOR else leaf for leaf in structure[1]]
        return tree.pack_sequence_as(structure[0], packed)

    def _compiled(self, args, leaves, traced):
        latest = []

        def flat_function(*tensors):
            rest = iter(tensors)
            filled = [
                next(rest) if moves else leaf for leaf, moves in zip(leaves, traced, strict=True)
            ]
            result = self._function(*tree.pack_sequence_as(args, filled))
            outputs, pattern = [], []
            for leaf in tree.flatten(result):
                if hasattr(leaf, "dtype"):
                    outputs.append(convert_to_tensor(leaf))
                    leaf = _TENSOR
                pattern.append(leaf)
            latest[:] = [(tree.map_structure(lambda _: 0, result), pattern)]
            return outputs

        # the arguments of this first call are not kept alive by the closure
        leaves = [None if moves else leaf for leaf, moves in zip(leaves, traced, strict=True)]
        args = tree.map_structure(lambda _: 0, args)
        return Function(flat_function, self._name, structure=lambda: latest[0])


_TENSOR = object()


def _skeleton(structure):
    """A hashable description of a nested structure: containers, keys, places of leaves."""
    if isinstance(structure, dict):
        return (type(structure), *((k, _skeleton(structure[k])) for k in sorted(structure)))
    if isinstance(structure, (list, tuple)):
        return (type(structure), *map(_skeleton, structure))
    return None


def jit(function: Callable) -> Jitted:
    """`function` of (nested) tensors, compiled; see `Jitted`."""
    return Jitted(function)
