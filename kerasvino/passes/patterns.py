"""Patterns of nodes, written as the formula that the nodes compute, and rules that replace them.

    x = value()
    mean = node("ReduceMean", x, value(), keep_dims=True)
    centred = x - mean
    RULES = (Rule(centred * centred, lambda found, scope: ...),)

A pattern is a tree that ends in its root. The same object at two places stands for one and the same
output of the graph: `centred * centred` is a square, not any product of two differences. `a | b` is
either of them. Additions and multiplications are found with their operands in either order. What a
pattern found is looked up by the pattern itself: `found[x]`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from openvino import Node, Output

from kerasvino.passes.walk import Scope, put_in_place, users_of

__all__ = ["Found", "Pattern", "Rule", "node", "number", "number_in", "rewrite", "value"]

_COMMUTATIVE = ("Add", "Multiply", "Maximum", "Minimum")


class Pattern:
    """What an output of a graph may be."""

    kinds: frozenset[str] | None = None  # that the node has one of; None: any

    @functools.cached_property
    def required(self) -> set[frozenset[str]]:
        """Sets of kinds of nodes: a graph that has the pattern has a node of each."""
        return {self.kinds} if self.kinds else set()

    def may_be(self, made_by: Node) -> bool:
        """Whether what a node makes may be this, by its type and those before it: a quick look."""
        return self.kinds is None or made_by.get_type_name() in self.kinds

    def ways(self, output: Output, found: dict) -> Iterator[dict]:
        """The ways in which `output` is this, each as `found` with what was found besides."""
        yield found

    def __or__(self, other):
        return _Either(self, other)

    def __add__(self, other):
        return node("Add", self, other)

    def __radd__(self, other):
        return node("Add", other, self)

    def __sub__(self, other):
        return node("Subtract", self, other)

    def __rsub__(self, other):
        return node("Subtract", other, self)

    def __mul__(self, other):
        return node("Multiply", self, other)

    def __rmul__(self, other):
        return node("Multiply", other, self)

    def __truediv__(self, other):
        return node("Divide", self, other)

    def __rtruediv__(self, other):
        return node("Divide", other, self)

    def __neg__(self):
        return node("Negative", self)


def value() -> Pattern:
    """Any output."""
    return Pattern()


class _Number(Pattern):
    kinds = frozenset(["Constant"])

    def __init__(self, number):
        self._number = number

    def ways(self, output, found):
        held = number_in(output)
        if held is not None and self._number in (None, held):
            yield found


def number(equal: float | None = None) -> Pattern:
    """A Constant of one element, of any value or `equal` to one. Python's numbers stand for it."""
    return _Number(equal)


def number_in(output: Output) -> float | None:
    """The value of a Constant of one element, else None."""
    made_by = output.get_node()
    if made_by.get_type_name() != "Constant" or math.prod(made_by.get_output_shape(0)) != 1:
        return None
    return float(made_by.get_data().reshape(()))


class _Operation(Pattern):
    def __init__(self, kinds, operands, attributes):
        self.kinds = frozenset(kinds)
        self._operands = tuple(p if isinstance(p, Pattern) else number(p) for p in operands)
        self._attributes = attributes
        self._either_order = bool(self.kinds & set(_COMMUTATIVE)) and len(operands) == 2

    @functools.cached_property
    def required(self):
        return {self.kinds}.union(*(p.required for p in self._operands))

    def may_be(self, made_by):
        if made_by.get_type_name() not in self.kinds:
            return False
        if not self._operands:
            return True
        types = [source.get_node().get_type_name() for source in made_by.input_values()]
        return _fit(self._operands, types) or (
            self._either_order and _fit(self._operands, types[::-1])
        )

    def ways(self, output, found):
        made_by = output.get_node()
        if not self.may_be(made_by):
            return
        if self._attributes:
            held = made_by.get_attributes()
            if any(held[name] != wanted for name, wanted in self._attributes.items()):
                return
        if not self._operands:
            yield found
            return
        sources = made_by.input_values()
        yield from _ways_of_all(self._operands, sources, found)
        if self._either_order and sources[0] != sources[1]:
            yield from _ways_of_all(self._operands, sources[::-1], found)


def node(kind: str, *operands: Pattern | float, **attributes) -> Pattern:
    """The result of a node.

    Args:
        kind: type of the node, or several with spaces between.
        operands: patterns of all its inputs; none where they do not matter.
        attributes: that it has these values of.
    """
    return _Operation(kind.split(), operands, attributes)


class _Either(Pattern):
    def __init__(self, *options):
        self._options = options
        self.kinds = None
        if all(option.kinds is not None for option in options):
            self.kinds = frozenset().union(*(option.kinds for option in options))

    @functools.cached_property
    def required(self):
        return set.intersection(*(option.required for option in self._options))

    def ways(self, output, found):
        for option in self._options:
            yield from _ways(option, output, found)


def _ways(pattern, output, found):
    known = found.get(pattern)
    if known is None:
        yield from pattern.ways(output, {**found, pattern: output})
    elif known == output:
        yield found


def _ways_of_all(patterns, outputs, found):
    if not patterns:
        yield found
        return
    for way in _ways(patterns[0], outputs[0], found):
        yield from _ways_of_all(patterns[1:], outputs[1:], way)


def _fit(patterns, types) -> bool:
    """Whether nodes of these types may make what the patterns are of."""
    return len(patterns) == len(types) and all(
        pattern.kinds is None or kind in pattern.kinds
        for pattern, kind in zip(patterns, types, strict=True)
    )


class Found:
    """What a pattern found: outputs, by the parts of the pattern."""

    def __init__(self, outputs: dict[Pattern, Output], root: Pattern):
        self._outputs = outputs
        self.root = outputs[root].get_node()

    def __getitem__(self, pattern: Pattern) -> Output:
        return self._outputs[pattern]

    def get(self, pattern: Pattern) -> Output | None:
        """None for a part that does not occur, of another option."""
        return self._outputs.get(pattern)

    def is_closed(self) -> bool:
        """Whether nothing else uses what is computed within: it may go."""
        inner = [o.get_node() for p, o in self._outputs.items() if isinstance(p, _Operation)]
        within = {n.get_instance_id() for n in inner}
        return all(
            user.get_instance_id() in within
            for one in inner
            if one.get_instance_id() != self.root.get_instance_id()
            for user in users_of(one)
        )


class Rule(NamedTuple):
    """What to do where a pattern is found.

    Attributes:
        pattern: of the nodes; its root says at which kinds of nodes it is tried.
        replacement: `replacement(found, scope)` -> the output that takes the place of the root's,
            True where it has changed the graph itself, else None.
        closed: whether the nodes within the pattern must have no use outside it.
    """

    pattern: Pattern
    replacement: Callable[[Found, Scope], Output | bool | None]
    closed: bool = True

    def apply(self, root: Node, scope: Scope) -> bool:
        """Whether the pattern is found at `root`, and was replaced."""
        for way in _ways(self.pattern, root.output(0), {}):
            found = Found(way, self.pattern)
            if self.closed and not found.is_closed():
                continue
            result = self.replacement(found, scope)
            if isinstance(result, Output):
                put_in_place(root, result)
            if result:
                return True
        return False


def rewrite(rules: tuple[Rule, ...], scope: Scope) -> bool:
    """Applies the first of the rules that fits to each node of a scope, in the graph's order.

    Returns whether anything was changed.
    """
    present = scope.kinds.keys()
    changed = False
    fitting = [r for r in rules if all(kinds & present for kinds in r.pattern.required)]
    if not fitting:
        return False
    roots = frozenset().union(*(rule.pattern.kinds for rule in fitting))
    for root, _ in scope.of_kinds(roots):
        for rule in fitting:
            if rule.pattern.may_be(root) and rule.apply(root, scope):
                changed = True
                break
    return changed
