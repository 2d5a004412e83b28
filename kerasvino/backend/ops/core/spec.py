"""compute_output_spec: shapes and dtypes of a function's results, without running it."""

from __future__ import annotations

from keras.src import tree
from keras.src.backend.common import standardize_dtype
from keras.src.backend.common.keras_tensor import KerasTensor
from keras.src.backend.common.stateless_scope import StatelessScope
from keras.src.backend.common.symbolic_scope import SymbolicScope

from kerasvino.autodiff import suspended
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
