"""Ranges of some of the products of a graph, without what only served the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from openvino import Node

from kerasvino.graph import Graph
from kerasvino.graph.ranges import Ranges
from kerasvino.passes.ranges import named, products_of
from kerasvino.passes.walk import users_of

__all__ = ["Neighbours", "nothing_of"]


class Neighbours:
    """Which products lie next to the nodes of a graph, with no other product in between."""

    def __init__(self, graph: Graph):
        self._model = graph.bind(graph.foldable())  # keeps the nodes alive
        self._nodes = named(self._model)
        self._products = {self._nodes[name].get_instance_id() for name in products_of(self._nodes)}

    def only(self, ranges: Ranges, products: Iterable[str]) -> Ranges:
        """`ranges` with these products rounded, and the values between them.

        Rounding a value takes time, which only a product in 8 bits next to it gives back.
        """
        kept = set(products)
        found = ranges.without(set(ranges.products) - kept)
        others = {node for a in found.activations for node, _ in a.users} - kept
        return found.without(node for node in others if not self._next_to(node) & kept)

    def _next_to(self, name: str) -> set[str]:
        """The products after a node; where it joins several values, those before it, too."""
        node = self._nodes[name]
        found = self._first(node, users_of)
        if len([s for s in sources_of(node) if s.get_type_name() != "Constant"]) > 1:
            found |= self._first(node, sources_of)
        return found

    def _first(self, node: Node, further: Callable[[Node], list[Node]]) -> set[str]:
        found: set[str] = set()
        seen, waiting = {node.get_instance_id()}, [node]
        while waiting:
            for other in further(waiting.pop()):
                key = other.get_instance_id()
                if key in self._products:
                    found.add(other.get_friendly_name())
                elif key not in seen:
                    waiting.append(other)
                seen.add(key)
        return found


def sources_of(node: Node) -> list[Node]:
    return [output.get_node() for output in node.input_values()]


def nothing_of(ranges: Ranges) -> Ranges:
    """`ranges` that round nothing."""
    return dataclasses.replace(ranges, weights=(), activations=(), shifts=())
