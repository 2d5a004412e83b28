"""compute_output_spec: shapes and dtypes of a function's results, without running it."""

from __future__ import annotations

from kerasvino.autodiff import suspended
from kerasvino.backend.keras_private import (
    KerasTensor,
    StatelessScope,
    SymbolicScope,
    standardize_dtype,
    tree,
)
from kerasvino.graph import Trace, current_trace
from kerasvino.tensor import Tensor

__all__ = ["compute_output_spec"]


def compute_output_spec(fn, *args, **kwargs):
    """The structure that `fn` returns, with a KerasTensor for each tensor in it.

    `fn` is traced once: each KerasTensor among the (nested) arguments becomes an input of a graph
    that is then thrown away. An axis whose length the graph cannot tell is None.
    """
    with suspended(), StatelessScope(), SymbolicScope(), Trace(current_trace()) as trace:

        def enter(x):
            if isinstance(x, KerasTensor):
                return trace.parameter(x.shape, standardize_dtype(x.dtype))
            return x

        def leave(x):
            if isinstance(x, Tensor):
                return KerasTensor(x.shape, dtype=x.dtype)
            return x

        args, kwargs = tree.map_structure(enter, (args, kwargs))
        return tree.map_structure(leave, fn(*args, **kwargs))
