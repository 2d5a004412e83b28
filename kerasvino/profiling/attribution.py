"""From the nodes that a plugin runs to the layers of the Keras model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import openvino

from kerasvino.primitives.core import PRIMITIVES
from kerasvino.runtime.profile import RuntimeNode

__all__ = ["OUTSIDE", "PHASES", "Layer", "Placed", "in_phases", "layers_of", "place"]

OUTSIDE = "(outside layers)"
# Of a step of training: the model, loss and metrics; the gradients; the optimizer.
PHASES = ("forward", "backward", "update")
_GRADIENT = "gradient"  # in the path of what reverse mode computes for a layer

# Of what is fused into one node, the layer of the most costly operation is charged with it.
_COSTLY = (
    r"(Group)?Convolution|DeformableConvolution|MatMul|.*Sequence|.*Cell|Loop|TensorIterator|If"
    r"|ScaledDotProductAttention|EmbeddingBag",
    r"MVN|Softmax|.*Pool|Interpolate|Gather.*|Scatter.*|TopK|Reduce.*|CumSum|Einsum|DFT|IDFT",
)


@dataclass(frozen=True)
class Placed:
    """A node of the plugin's graph with the layer that it belongs to.

    Attributes:
        node: the node.
        layer: path of the layer.
        fused: paths of the further layers that it computes.
        phase: one of PHASES.
    """

    node: RuntimeNode
    layer: str
    fused: tuple[str, ...]
    phase: str = PHASES[0]


@dataclass
class Layer:
    """Time of a layer's own nodes, without those of the layers in it.

    Attributes:
        path: as in Keras: `block/conv`.
        seconds: that its nodes take in one run.
        nodes: those that were executed.
        fused: paths of the layers that its nodes compute besides.
        phases: {one of PHASES: seconds}, of those in which it takes time.
    """

    path: str
    seconds: float = 0.0
    nodes: list[RuntimeNode] = field(default_factory=list)
    fused: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """Kinds of its nodes, the one that takes longest first."""
        return list(dict.fromkeys(node.kind for node in self._by_time()))

    @property
    def kernels(self) -> list[str]:
        """Implementations of its nodes, the one that takes longest first."""
        return list(dict.fromkeys(node.kernel for node in self._by_time()))

    def _by_time(self) -> list[RuntimeNode]:
        return sorted(self.nodes, key=lambda node: -node.seconds)


def layers_of(placed: Iterable[Placed]) -> list[Layer]:
    """The layers that took time, in the order of execution."""
    found: dict[str, Layer] = {}
    for one in placed:
        if not one.node.executed:
            continue
        layer = found.setdefault(one.layer, Layer(one.layer))
        layer.seconds += one.node.seconds
        layer.nodes.append(one.node)
        layer.phases[one.phase] = layer.phases.get(one.phase, 0.0) + one.node.seconds
        layer.fused += [path for path in one.fused if path not in layer.fused]
    return list(found.values())


def in_phases(placed: Sequence[Placed], optimizer: str) -> list[Placed]:
    """Nodes of a step of training, with their phases; gradients belong to their layers.

    Args:
        placed: as `place` finds them, where gradients have a path of their own.
        optimizer: its name.
    """

    def layer(path: str) -> str:
        return "/".join(part for part in path.split("/") if part != _GRADIENT) or OUTSIDE

    def phase(path: str) -> str:
        parts = path.split("/")
        return PHASES[2 if parts[0] == optimizer else 1 if _GRADIENT in parts else 0]

    return [
        replace(
            one,
            layer=layer(one.layer),
            fused=tuple({layer(path): 0 for path in one.fused if layer(path) != layer(one.layer)}),
            phase=phase(one.layer),
        )
        for one in placed
    ]


def place(model: openvino.Model, nodes: Sequence[RuntimeNode]) -> list[Placed]:
    """Finds the layer of each node that a plugin runs.

    A fused node is known by the name of its last operation; what else it computes lies, in the
    model, between that operation and the last ones of the nodes that it takes data from.

    Args:
        model: the graph of the Keras model, its nodes named after layers.
        nodes: of the plugin's graph.
    """
    operations = {op.get_friendly_name(): op for op in model.get_ordered_ops()}
    data = _depends_on_data(model)
    ends = {node.name: _end(node, operations) for node in nodes}
    boundary = set(ends.values()) - {None}
    consumers: dict[int, list[RuntimeNode]] = {}
    for node in nodes:
        for source in node.sources:
            consumers.setdefault(source, []).append(node)

    def own(node: RuntimeNode) -> tuple[str, ...] | None:
        end = ends[node.name]
        if end is None:
            return tuple(dict.fromkeys(map(_layer, node.covers))) or None
        computed, before = _taken_through(operations[end], boundary - {end}, data)
        first = _layer(_costliest(computed).get_friendly_name())
        # what comes last of a layer before is known to be there, even where it is not named
        done = set(map(_layer, before)) - {_layer(end)}
        paths = [_layer(op.get_friendly_name()) for op in computed]
        return tuple(dict.fromkeys([first, *(path for path in paths if path not in done)]))

    found = []
    for index, node in enumerate(nodes):
        layers = own(node)
        if layers is None:  # a reorder, which its consumer asks for
            neighbours = [n for n in consumers.get(index, []) if n.kind not in ("Output", "Result")]
            neighbours += [nodes[source] for source in node.sources]
            layers = next(filter(None, map(own, neighbours)), (OUTSIDE,))[:1]
        found.append(Placed(node, layers[0], tuple(p for p in layers[1:] if p != OUTSIDE)))
    return found


def _layer(name: str) -> str:
    """The layer's path in a node's name: layer/path/primitive, or with a suffix of OpenVINO's."""
    parts = name.split("/")
    for index in range(len(parts) - 1, -1, -1):
        if parts[index] in PRIMITIVES or re.sub(r"_\d+$", "", parts[index]) in PRIMITIVES:
            return "/".join(parts[:index]) or OUTSIDE
    return "/".join(parts[:-1]) or OUTSIDE


def _end(node: RuntimeNode, operations) -> str | None:
    """Name of the last operation of the model that a node computes."""
    known = [name for name in (*node.covers, node.name) if name in operations]
    if node.kind == "Const" or not known:
        return None
    return known[-1] if node.name not in node.covers else known[-2 if len(known) > 1 else -1]


def _depends_on_data(model) -> set[str]:
    """Names of the operations whose results are not known before a run."""
    found: set[str] = set()
    variables = [p for p in model.get_parameters() if p.get_friendly_name().startswith("variable/")]
    fixed = {p.get_friendly_name() for p in variables}
    for op in model.get_ordered_ops():
        name = op.get_friendly_name()
        sources = [value.get_node().get_friendly_name() for value in op.input_values()]
        is_input = op.get_type_name() == "Parameter" and name not in fixed
        if is_input or any(source in found for source in sources):
            found.add(name)
    return found


def _taken_through(end, boundary: set[str], data: set[str]) -> tuple[list, set[str]]:
    """The operations that `end` takes data through, from the first; and what lies before them."""
    found, before, waiting = {end.get_friendly_name(): end}, set(), [end]
    while waiting:
        for value in waiting.pop().input_values():
            op = value.get_node()
            name = op.get_friendly_name()
            if name in boundary:
                before.add(name)
            elif name not in found and name in data and op.get_type_name() != "Parameter":
                found[name] = op
                waiting.append(op)
    return list(found.values())[::-1], before


def _costliest(operations):
    """The first of the most costly operations; the last one where all are cheap."""
    for pattern in _COSTLY:
        for op in operations:
            if re.fullmatch(pattern, op.get_type_name()):
                return op
    return operations[-1]
