"""The walk over a finished model and the bodies of its If, Loop and TensorIterator nodes.

Each of these graphs is a `Scope`: its nodes by kind, and what is constant there. What a body is
given from constants outside is constant in it, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from openvino import Model, Node, Output

from kerasvino.graph.graph import EXACT, Narrow
from kerasvino.nodes.facts import facts

__all__ = ["Scope", "bodies_of", "put_in_place", "scopes", "users_of"]


class Scope:
    """A model, or the body of a node in one.

    Attributes:
        model: the graph.
        narrow: which narrow numbers products may have.
        memory: arrays that constants share the memory of, by their instance ids. What OpenVINO
            gives out is read-only: another constant over it would be a copy.
        kinds: {type of node: nodes, in the graph's order}.
        notes: what passes keep about it, by what it is.
    """

    def __init__(
        self,
        model: Model,
        same: dict | None = None,
        parts: dict | None = None,
        narrow: Narrow = EXACT,
        memory: dict[int, np.ndarray] | None = None,
    ):
        """Of a body by id of its parameters: what outside they are, or are slices of in turn."""
        self.model = model
        self.narrow = narrow
        self.memory = memory or {}
        self._same: dict[int, tuple[Scope, Output]] = same or {}
        self._parts: dict[int, tuple[Scope, Output]] = parts or {}
        self._constant: dict[int, bool] = {}
        self.kinds: dict[str, list[Node]] = {}
        self.notes: dict = {}
        self._nodes = model.get_ordered_ops()
        self._types = [node.get_type_name() for node in self._nodes]
        for node, kind in zip(self._nodes, self._types, strict=True):
            self.kinds.setdefault(kind, []).append(node)

    def of_kinds(self, kinds: Collection[str]) -> Iterator[tuple[Node, str]]:
        """Nodes of these types, with their type, in the graph's order."""
        pairs = zip(self._nodes, self._types, strict=True)
        return ((node, kind) for node, kind in pairs if kind in kinds)

    def source(self, output: Output) -> tuple[Scope, Output]:
        """Where a value comes from: followed out of the bodies that are only given it."""
        scope = self
        while (outer := scope._same.get(output.get_node().get_instance_id())) is not None:
            scope, output = outer
        return scope, output

    def constant(self, output: Output) -> np.ndarray | None:
        """The values of a Constant, here or outside; None of anything else."""
        node = self.source(output)[1].get_node()
        return node.get_data() if node.get_type_name() == "Constant" else None

    def is_constant(self, output: Output) -> bool:
        """Whether a value is computed of constants alone."""
        known, waiting = self._constant, [output.get_node()]
        while waiting:
            node = waiting[-1]
            key = node.get_instance_id()
            if key in known:
                waiting.pop()
                continue
            fed = self._same.get(key) or self._parts.get(key)
            if fed is not None:
                known[key] = fed[0].is_constant(fed[1])
                continue
            sources = [value.get_node() for value in node.input_values()]
            unknown = [n for n in sources if n.get_instance_id() not in known]
            if unknown:
                waiting += unknown
            elif sources:
                known[key] = all(known[n.get_instance_id()] for n in sources)
            else:
                known[key] = node.get_type_name() == "Constant"
        return known[output.get_node().get_instance_id()]


def scopes(
    model: Model, narrow: Narrow = EXACT, memory: dict[int, np.ndarray] | None = None
) -> list[Scope]:
    """Those of a model and of all bodies in it, the outer ones first."""
    found = [Scope(model, narrow=narrow, memory=memory)]
    for scope in found:  # grows
        for node, kind in scope.of_kinds([k for k in scope.kinds if facts(k).bodies]):
            found += [
                Scope(body, *_fed(scope, node, body, descriptions), narrow, memory)
                for body, descriptions in bodies_of(node, kind)
            ]
    return found


def bodies_of(node: Node, kind: str) -> list[tuple[Model, list]]:
    """The bodies of a node, each with the descriptions of its inputs."""
    if facts(kind).bodies == 2:
        return [(node.get_function(i), node.get_input_descriptions(i)) for i in (0, 1)]
    return [(node.get_function(), node.get_input_descriptions())]


def _fed(scope, node, body, descriptions):
    parameters, found = body.get_parameters(), ({}, {})
    for d in descriptions:
        kind = d.get_type_info().name
        if kind != "MergedInputDescription":
            own = parameters[d.body_parameter_index].get_instance_id()
            found[kind == "SliceInputDescription"][own] = scope, node.input_value(d.input_index)
    return found


# -- reading and writing nodes


def users_of(node: Node) -> list[Node]:
    return [i.get_node() for o in node.outputs() for i in o.get_target_inputs()]


def put_in_place(node: Node, output: Output) -> None:
    """Gives `output` the name and all uses of the first output of `node`."""
    output.get_node().set_friendly_name(node.get_friendly_name())
    node.output(0).replace(output)
