"""A step of training as a graph, without running it."""

from __future__ import annotations

from kerasvino.backend.keras_private import pack_x_y_sample_weight, tree
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.training.data import plain
from kerasvino.backend.training.stateless import stateful
from kerasvino.graph import Graph, Spec, trace
from kerasvino.tensor import Tensor

__all__ = ["step_graph"]


def step_graph(model, x, y, sample_weight=None) -> tuple[Graph, list[Tensor]]:
    """The graph of the model's `train_step` on one batch, and the arguments that it is run on.

    The model is built as by `fit`; nothing is assigned.

    Raises:
        ValueError: `compile()` has not been called.
        TracedValueError: the step asks for a Python value that only the running graph knows.
    """
    model._assert_compile_called("fit")
    data = pack_x_y_sample_weight(*tree.map_structure(plain, (x, y, sample_weight)))  # as `fit`
    model._build_to_train(lambda: data)
    model.make_train_function()
    leaves = tree.flatten_with_path(data)
    tensors = [convert_to_tensor(leaf) for _, leaf in leaves if leaf is not None]

    def step(*given):
        rest = iter(given)
        filled = [None if leaf is None else next(rest) for _, leaf in leaves]
        try:
            logs = stateful(model, "train_step")(tree.pack_sequence_as(data, filled))
        finally:
            model._clear_losses()  # tensors of the trace, of no use after it
        return [leaf for leaf in tree.flatten(logs) if isinstance(leaf, Tensor)]

    names = [_name(path) for path, leaf in leaves if leaf is not None]
    specs = [Spec(t.shape, t.dtype, name) for t, name in zip(tensors, names, strict=True)]
    return trace(step, specs, f"{model.name}_train", None, True), tensors


def _name(path: tuple) -> str:
    first, *rest = path if len(path) else (0,)
    known = ("x", "y", "sample_weight")
    name = known[first] if isinstance(first, int) and first < len(known) else str(first)
    return "/".join((name, *map(str, rest)))
