"""A finished graph: an `ov.Model`, its inputs and outputs, and the variables it touches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from openvino import Model, PartialShape
from openvino.op import Result

from kerasvino.graph.calls import unlogged
from kerasvino.graph.trace import Trace, constant_node
from kerasvino.tensor import Tensor

__all__ = ["Graph", "Spec", "trace"]


@dataclass(frozen=True)
class Spec:
    """Shape (None for an unknown axis), Keras dtype and name of a graph's input or output."""

    shape: tuple | None
    dtype: str
    name: str | None = None


@dataclass
class Graph:
    """A model whose parameters are first `inputs`, then one for each variable of `reads`.

    Attributes:
        model: the `ov.Model`; its results are first `outputs`, then one for each of `writes`.
        inputs: specs of the arguments.
        outputs: specs of the results.
        reads: variables whose value the graph takes.
        writes: variables that the graph assigns.
        write_specs: specs of the assigned values.
    """

    model: Model
    inputs: list[Spec]
    outputs: list[Spec]
    reads: list = field(default_factory=list)
    writes: list = field(default_factory=list)
    write_specs: list[Spec] = field(default_factory=list)

    def bind(self, values: dict[int, np.ndarray]) -> Model:
        """A copy of the model with `values`, {index into reads: array}, as constants."""
        model = self.model.clone()
        parameters = model.get_parameters()[len(self.inputs) :]
        for index, array in values.items():
            parameter = parameters[index]
            node = constant_node(array, self.reads[index]._dtype)
            node.set_friendly_name(parameter.get_friendly_name())
            for consumer in list(parameter.output(0).get_target_inputs()):
                consumer.replace_source_output(node.output(0))
            model.remove_parameter(parameter)
        model.validate_nodes_and_infer_types()
        for step in _steps:
            step(model)
        return model

    def reshaped(self, model: Model, shapes: Sequence[tuple]) -> Model:
        """`model` (from `bind`) with the arguments' shapes replaced, in place."""
        targets = {
            index: PartialShape([-1 if n is None else n for n in shape])
            for index, shape in enumerate(shapes)
        }
        model.reshape({model.input(index): shape for index, shape in targets.items()})
        return model


def trace(function: Callable, specs: Sequence[Spec], name: str = "kerasvino") -> Graph:
    """Runs `function(*tensors)` once on symbolic tensors and returns the graph that it built.

    Args:
        function: takes one Tensor for each spec, returns a flat sequence of Tensors.
        specs: of the arguments.
        name: of the model.
    """
    scope = Trace()
    with scope, unlogged():
        arguments = [scope.parameter(s.shape, s.dtype, s.name) for s in specs]
        results = list(function(*arguments))
        for result in results:
            if not isinstance(result, Tensor):
                raise TypeError(f"A traced function returns tensors; it returned {type(result)}.")
        writes = [(v, t) for v, t in scope.writes.values()]
        ends = [Result(scope.output(t)) for t in [*results, *(t for _, t in writes)]]
    reads = [variable for variable, _ in scope.reads.values()]
    parameters = [node for _, node in scope.parameters]
    parameters += [scope.read_parameters[id(v)] for v in reads]
    model = Model(ends, parameters, name)
    _name_nodes(model, scope.named)
    return Graph(
        model,
        list(specs),
        [Spec(t.shape, t.dtype) for t in results],
        reads,
        [v for v, _ in writes],
        [Spec(t.shape, t.dtype) for _, t in writes],
    )


def _name_nodes(model: Model, named: dict[str, str]) -> None:
    """Replaces OpenVINO's process-wide numbering by names that depend on this graph alone.

    `named` maps the automatic name of a primitive's result to the layer path and primitive it
    belongs to. A node without an entry is named after the next node that has one.
    """
    counts: dict[str, int] = {}
    waiting = []
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "Parameter":
            continue
        waiting.append(node)
        base = named.get(node.get_friendly_name())
        if base is None and kind != "Result":
            continue
        base = base or "result"
        for member in waiting:
            label = base if member is node else f"{base}/{member.get_type_name()}"
            counts[label] = counts.get(label, 0) + 1
            suffix = "" if counts[label] == 1 else f"_{counts[label]}"
            member.set_friendly_name(label + suffix)
        waiting = []


_steps: list[Callable[[Model], None]] = []


def register_finish(step: Callable[[Model], None]) -> None:
    """Adds what is done to a model after its constants are bound (this layer knows no opset)."""
    _steps.append(step)
