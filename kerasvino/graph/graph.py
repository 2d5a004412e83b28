"""A finished graph: an `ov.Model`, its inputs and outputs, and the variables it touches."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

import numpy as np
from openvino import Model, PartialShape
from openvino.op import Result

from kerasvino.graph.calls import unlogged
from kerasvino.graph.finite import Steps, steps_of
from kerasvino.graph.index_bounds import Bound, resolved
from kerasvino.graph.lengths import Watch
from kerasvino.graph.ranges import Ranges
from kerasvino.graph.trace import Trace, constant_node
from kerasvino.tensor import Tensor

__all__ = ["EXACT", "Graph", "Narrow", "Spec", "trace"]


@dataclass(frozen=True)
class Spec:
    """Shape (None for an unknown axis), Keras dtype and name of a graph's input or output."""

    shape: tuple | None
    dtype: str
    name: str | None = None


@dataclass(frozen=True)
class Narrow:
    """Which narrow numbers the products of a bound model may have.

    Attributes:
        int8_kernels: whether the device multiplies 8-bit integers itself, and rightly.
        bf16_kernels: whether the device multiplies bfloat16 itself, and adds in float32.
        weights: what constant weights of floats are rounded to, "int8" or "int4"; None: nothing.
        ranges: of what is rounded to 8 bits besides, for each calibrated model.
        bits: of the weights that `ranges` names, 8 or 7.
    """

    int8_kernels: bool = False
    bf16_kernels: bool = False
    weights: str | None = None
    ranges: tuple[Ranges, ...] = ()
    bits: int = 8


EXACT = Narrow()


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
        bounds: of indices, to be checked in each run.
        hidden: specs of the results behind the assigned values, which serve these checks.
        steps: its operations, if the last of the hidden results holds their codes (see `finite`).
        argument: `argument(index)` is what messages call one of `inputs`; None: its number.
        exchanges: whether its runs exchange values with other processes.
        ranges: of the calibrated models that it calls.
    """

    model: Model
    inputs: list[Spec]
    outputs: list[Spec]
    reads: list = field(default_factory=list)
    writes: list = field(default_factory=list)
    write_specs: list[Spec] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    hidden: list[Spec] = field(default_factory=list)
    steps: Steps | None = None
    argument: Callable[[int], str] | None = None
    exchanges: bool = False
    ranges: tuple[Ranges, ...] = ()

    def foldable(self) -> dict[int, np.ndarray]:
        """What `bind` may take: values of the variables that are only read, by index in reads."""
        written = {id(variable) for variable in self.writes}
        # uint32 constants are clipped to 2**31 - 1 by the CPU plugin (see trace.Held)
        return {
            index: variable._value._array
            for index, variable in enumerate(self.reads)
            if id(variable) not in written and variable._dtype != "uint32"
        }

    def fed(self, constants: Container[int]) -> list:
        """The variables of `reads` whose indices are not among `constants`: inputs of a program."""
        return [v for index, v in enumerate(self.reads) if index not in constants]

    def bind(self, values: dict[int, np.ndarray], narrow: Narrow = EXACT) -> Model:
        """As `bound`, and rewritten by the passes (`kerasvino.passes.pipeline`)."""
        memory: dict[int, np.ndarray] = {}
        return _rewritten(self.bound(values, memory), narrow, memory)

    def bound(self, values: dict[int, np.ndarray], memory: dict | None = None) -> Model:
        """A copy of the model with `values`, {index into reads: array}, as constants.

        Args:
            values: the arrays, whose memory the constants share where their layout allows.
            memory: is given these arrays, by the instance ids of their constants.
        """
        model = self.model.clone()
        parameters = model.get_parameters()[len(self.inputs) :]
        for index, array in values.items():
            parameter = parameters[index]
            node = constant_node(array, self.reads[index]._dtype)
            node.set_friendly_name(parameter.get_friendly_name())
            if memory is not None:
                memory[node.get_instance_id()] = array
            for consumer in list(parameter.output(0).get_target_inputs()):
                consumer.replace_source_output(node.output(0))
            model.remove_parameter(parameter)
        model.validate_nodes_and_infer_types()
        return model

    def reshaped(self, model: Model, shapes: Sequence[tuple]) -> Model:
        """`model` (from `bind`) with the arguments' shapes replaced, in place."""
        targets = {
            index: PartialShape([-1 if n is None else n for n in shape])
            for index, shape in enumerate(shapes)
        }
        model.reshape({model.input(index): shape for index, shape in targets.items()})
        return model


def trace(
    function: Callable,
    specs: Sequence[Spec],
    name: str = "kerasvino",
    watch: Watch | None = None,
    checked: bool = False,
    numerics: Callable | None = None,
) -> Graph:
    """Runs `function(*tensors)` once on symbolic tensors and returns the graph that it built.

    Args:
        function: takes one Tensor for each spec, returns a flat sequence of Tensors.
        specs: of the arguments.
        name: of the model.
        watch: is told which code is given an unknown length.
        checked: whether its runs check indices (see `index_bounds`); others have no such results.
        numerics: nodes that tell NaN and infinities, if its runs are to look for them (`finite`).
    """
    scope = Trace()
    scope.watch = watch
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
    bounds, hidden = resolved(scope.noted if checked else (), parameters[: len(specs)])
    ends += [result for result, _ in hidden]
    # sinks that are added to a finished model stay unbound
    model = (
        Model(ends, scope.sinks, parameters, name) if scope.sinks else Model(ends, parameters, name)
    )
    operations = _name_nodes(model, scope.named)
    steps = codes = None
    if numerics is not None:
        steps, codes = steps_of(model, operations, scope.constants_by_name(), numerics)
    if codes is not None:
        model.add_results([codes])
        hidden.append((codes, "float32"))
    return Graph(
        model,
        list(specs),
        [Spec(t.shape, t.dtype) for t in results],
        reads,
        [v for v, _ in writes],
        [Spec(t.shape, t.dtype) for _, t in writes],
        bounds,
        [Spec(None, dtype) for _, dtype in hidden],
        steps if codes is not None else None,
        exchanges=scope.exchanges,
        ranges=tuple(scope.ranges),
    )


def _name_nodes(model: Model, named: dict[str, str]) -> dict[str, str]:
    """Replaces OpenVINO's process-wide numbering by names that depend on this graph alone.

    `named` maps the automatic name of a primitive's result to the layer path and primitive it
    belongs to. A node without an entry is named after the first one that it leads to.

    Returns the entries of `named` under the new names.
    """
    nodes = model.get_ordered_ops()
    automatic = [node.get_friendly_name() for node in nodes]
    position = {name: index for index, name in enumerate(automatic)}
    bases: list[str | None] = [None] * len(nodes)
    for index in range(len(nodes) - 1, -1, -1):
        base = named.get(automatic[index])
        if base is None and nodes[index].get_type_name() == "Result":
            base = "result"
        if base is None:
            uses = [use for output in nodes[index].outputs() for use in output.get_target_inputs()]
            users = {position.get(use.get_node().get_friendly_name()) for use in uses}
            users.discard(None)  # one that leads to no result is not in the model
            base = bases[min(users)] if users else None
        bases[index] = base
    counts: dict[str, int] = {}
    renamed: dict[str, str] = {}
    for node, name, base in zip(nodes, automatic, bases, strict=True):
        kind = node.get_type_name()
        if kind == "Parameter" or base is None:
            continue
        label = base if name in named or kind == "Result" else f"{base}/{kind}"
        counts[label] = counts.get(label, 0) + 1
        label = label if counts[label] == 1 else f"{label}_{counts[label]}"
        node.set_friendly_name(label)
        if name in named:
            renamed[label] = base
    return renamed


def _no_passes(model: Model, narrow: Narrow, memory: dict[int, np.ndarray]) -> Model:
    raise RuntimeError("kerasvino.passes has not been imported.")


_rewritten: Callable[[Model, Narrow, dict[int, np.ndarray]], Model] = _no_passes


def register_passes(run: Callable[[Model, Narrow, dict[int, np.ndarray]], Model]) -> None:
    """Gives this layer, which knows no opset, what rewrites a bound model."""
    global _rewritten
    _rewritten = run
