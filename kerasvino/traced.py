"""Whether a value is only known when a compiled graph runs."""

from __future__ import annotations

from collections import deque

from kerasvino.tensor import Tensor

__all__ = ["is_traced"]


def is_traced(x: object) -> bool:
    """Whether `x` is a traced tensor, or a nested structure in which one is.

    A traced tensor stands for a value of the graph under construction, inside `predict`, `fit` or a
    function of `kerasvino.jit`: operations on it become part of the graph, and Python values of it
    (`float(x)`, `x.numpy()`) are refused. Tensors that hold numbers, NumPy arrays, variables and
    KerasTensors are not traced; of a variable, ask `is_traced(variable.value)`.

    Args:
        x: anything; tuples, lists, dicts, deques and slices are looked into.
    """
    if isinstance(x, Tensor):
        return bool(x.is_symbolic)
    if isinstance(x, (tuple, list, deque)):
        return any(is_traced(item) for item in x)
    if isinstance(x, dict):
        return any(is_traced(item) for item in x.values())
    if isinstance(x, slice):
        return is_traced((x.start, x.stop, x.step))
    return False
