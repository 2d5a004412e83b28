"""Attention to keys and values that an infer request keeps, as the one node that the plugin fuses.

softmax(scale * Q K + bias) V becomes ScaledDotProductAttention where K and V are what was kept with
what is new behind it (`primitives.memory`): the CPU plugin makes one kernel of that node, the
ReadValue, the Gather of rows, the Concat and the Assign, which appends in place. For fewer heads of
keys than of queries it knows two forms of repeating them: Unsqueeze, then Multiply by ones or a
bidirectional Broadcast, then Reshape. Engines that page attention know the second one.

What stands between the two products is followed from the second one: masks and biases in any order,
not the soft caps of Gemma 2, whose attention stays as it is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from openvino import Node, Output

from kerasvino.nodes.lowering import const, dims, ints, ov
from kerasvino.passes.patterns import Rule, node, number_in, value
from kerasvino.passes.positions import Positions, emitted

__all__ = ["RULES"]

# Below any logit and finite: rows of which nothing counts are a mean and no NaN.
LOWEST = -0.7 * float(np.finfo(np.float32).max)

USUAL = (0, 1, 2, 3)  # batch, heads, queries, keys


class _Logits:
    """scale * Q K + bias, followed from what softmax is taken of back to the product."""

    def __init__(self, output: Output, axes: tuple = USUAL):
        self.scale = 1.0
        self._terms: list[tuple[Output, float]] = []
        self._masks: list[Output] = []
        self.split = False  # whether heads of queries are two axes: those of keys, and in a group
        self._axes = axes  # which of batch, heads, queries and keys they are here
        self.product = self._followed(output)

    def _followed(self, output: Output) -> Node | None:
        while True:
            made_by = output.get_node()
            kind = made_by.get_type_name()
            sources = made_by.input_values()
            if kind == "MatMul":
                return made_by if self._axes == USUAL else None
            if kind == "Transpose" and _rank(output) == 4 and _order(made_by) is not None:
                self._axes, output = _before(made_by, self._axes), sources[0]
            elif kind == "Reshape" and _rank(sources[0]) == 4 and _rank(output) == 5:
                self.split, output = True, sources[0]
            elif kind == "Select" and (number_in(sources[2]) or 0) < -1e4:
                self._masks.append(_usual(sources[0], self._axes))
                output = sources[1]
            elif kind == "Multiply" and (pair := _with_number(sources)) is not None:
                output, factor = pair
                self.scale *= factor
            elif kind == "Add" and (pair := self._with_product(sources)) is not None:
                output, term = pair
                self._terms.append((_usual(term, self._axes), self.scale))
            else:
                return None

    def _with_product(self, sources) -> tuple[Output, Output] | None:
        """Of two terms the one that leads to a product, first."""
        for one, other in (sources, sources[::-1]):
            if _Logits(one, self._axes).product is not None:
                return one, other
        return None

    def bias(self, positions: Positions) -> Output | None:
        """What is added to the logits, broadcasts to [batch, heads, queries, keys]."""
        terms = [t if f == 1 else ov.multiply(t, const(f, t)).output(0) for t, f in self._terms]
        terms = [self.without_groups(term) for term in terms]
        masks = [self._simplest(mask, positions) for mask in self._masks]
        masks = [mask for mask in masks if mask is not True]
        if None in terms or None in masks:
            return None
        total = const(np.zeros((1, 1, 1, 1)), self.product.output(0))
        for index, term in enumerate(terms):
            total = term if index == 0 else ov.add(total, term).output(0)
        for mask in masks:
            total = ov.select(mask, total, const(LOWEST, total)).output(0)
        return total

    def _simplest(self, mask: Output, positions: Positions) -> Output | bool | None:
        """A mask with four axes, made anew where it is known what it says; True of all of them."""
        sentence = positions.mask(mask)
        if sentence is None or sentence is False:
            return self.without_groups(mask)
        if sentence is True:
            return True
        return ov.unsqueeze(emitted(sentence, positions), ints([0, 1])).output(0)

    def without_groups(self, output: Output) -> Output | None:
        """A mask or bias with four axes; None where it differs by heads of a group."""
        rank, known = _rank(output), dims(output)
        if self.split:
            apart = known[-4:-2]  # heads of keys, and those in a group
            if any(length != 1 for length in apart):
                return None
            if rank == 5:
                return ov.squeeze(output, ints([1])).output(0)
        if rank > 4:
            return None
        return output if rank == 4 else ov.unsqueeze(output, ints(list(range(4 - rank)))).output(0)


def _rank(output: Output) -> int:
    return len(dims(output))


def _with_number(sources) -> tuple[Output, float] | None:
    for one, other in (sources, sources[::-1]):
        factor = number_in(other)
        if factor is not None and math.isfinite(factor):
            return one, factor
    return None


def _before(transpose: Node, axes: tuple) -> tuple:
    """Which axes those of its input are, if those of its result are `axes`."""
    found = [0] * len(axes)
    for place, source in enumerate(_order(transpose)):
        found[source] = axes[place]
    return tuple(found)


def _usual(output: Output, axes: tuple) -> Output:
    """A mask or bias whose axes are `axes` of [batch, heads, queries, keys], in that order."""
    if axes == USUAL:
        return output
    rank = _rank(output)
    output = ov.unsqueeze(output, ints(list(range(4 - rank)))).output(0) if rank < 4 else output
    return ov.transpose(output, ints([axes.index(axis) for axis in USUAL])).output(0)


class _Probabilities(NamedTuple):
    logits: Output  # what softmax is taken of
    mask: Output | None  # what makes its rows 0 where nothing counts
    queries_first: bool  # whether queries come before the heads of a group in the product's rows
    axes: tuple  # which of batch, heads, queries and keys the axes of the logits are


def _probabilities(output: Output) -> _Probabilities | None:
    mask, turned, axes = None, False, USUAL
    while True:
        made_by = output.get_node()
        kind = made_by.get_type_name()
        sources = made_by.input_values()
        if kind == "Softmax":
            axis = made_by.get_attributes()["axis"] % _rank(output)
            of_keys = axes[axis] == 3 if _rank(output) == 4 else axis == _rank(output) - 1
            return _Probabilities(sources[0], mask, turned, axes) if of_keys else None
        if kind == "Transpose" and _order(made_by) == [0, 1, 3, 2, 4]:
            turned, output = not turned, sources[0]
        elif kind == "Transpose" and _rank(output) == 4 and _order(made_by) is not None:
            axes, output = _before(made_by, axes), sources[0]
        elif kind == "Select" and mask is None and number_in(sources[2]) == 0:
            mask, output = _usual(sources[0], axes), sources[1]
        elif kind == "Add" and sources[0].get_node().get_type_name() == "Softmax":
            output = sources[0]  # the other term makes NaN of whole rows
        elif kind == "Reshape" and _rank(sources[0]) == 5 and _rank(output) == 4:
            output = sources[0]
        else:
            return None


class _Kept:
    """Keys or values: what a Concat appends to, and how often each head stands in a row."""

    def __init__(self, output: Output):
        self.repeats = 1
        made_by = output.get_node()
        if made_by.get_type_name() == "Interpolate":
            source = made_by.input_value(0)
            before, after = dims(source), dims(output)
            repeated = made_by.get_attributes()["mode"] == "nearest" and before[0] == after[0]
            if repeated and before[3] == after[3] and None not in (before[1], after[1]):
                self.repeats, output = after[1] // before[1], source
        self.output = output if _is_appended(output.get_node()) else None

    def heads(self, repeats: int) -> Output:
        """[batch, heads, positions, size], each head `repeats` times in a row."""
        if repeats == 1:
            return self.output
        _, heads, _, size = dims(self.output)
        apart = ov.unsqueeze(self.output, ints([2]))
        apart = ov.broadcast(apart, ints([1, 1, repeats, 1, 1]), broadcast_spec="BIDIRECTIONAL")
        return ov.reshape(apart, ints([0, heads * repeats, -1, size]), True).output(0)


def _is_appended(concat: Node) -> bool:
    if concat.get_type_name() != "Concat" or concat.get_input_size() != 2:
        return False
    past = concat.input_value(0).get_node()
    return (
        past.get_type_name() == "Gather"
        and past.input_value(0).get_node().get_type_name() == "ReadValue"
    )


def _transposed_back(product: Node) -> Output | None:
    """The keys of Q K, axes in the order of those of Q."""
    keys = product.input_value(1)
    attributes = product.get_attributes()
    if attributes["transpose_a"]:
        return None
    if attributes["transpose_b"]:
        return keys
    made_by = keys.get_node()
    if made_by.get_type_name() != "Transpose":
        return None
    return made_by.input_value(0) if _order(made_by) == [0, 1, 3, 2] else None


def _order(transpose: Node) -> list[int] | None:
    order = transpose.input_value(1).get_node()
    return list(order.get_data()) if order.get_type_name() == "Constant" else None


def _scaled(queries: Output) -> tuple[Output, float]:
    """Queries before they were multiplied by a number, and the number."""
    made_by = queries.get_node()
    if made_by.get_type_name() == "Transpose":
        before, factor = _scaled(made_by.input_value(0))
        if factor == 1:
            return queries, 1.0
        return ov.transpose(before, made_by.input_value(1)).output(0), factor
    pair = _with_number(made_by.input_values()) if made_by.get_type_name() == "Multiply" else None
    return pair or (queries, 1.0)


def _attended(found, scope):
    root = found.root
    attributes = root.get_attributes()
    if attributes["transpose_a"] or attributes["transpose_b"] or _rank(root.output(0)) != 4:
        return None
    values = _Kept(root.input_value(1))
    read = _probabilities(root.input_value(0)) if values.output is not None else None
    if read is None:
        return None
    logits = _Logits(read.logits, read.axes)
    keys = _transposed_back(logits.product) if logits.product is not None else None
    keys = _Kept(keys) if keys is not None else None
    if keys is None or keys.output is None or keys.repeats != values.repeats:
        return None
    positions = Positions(scope)
    queries, bias = logits.product.input_value(0), logits.bias(positions)
    groups = dims(read.logits)[2] if logits.split else 1
    heads = dims(queries)[1]
    masked = read.mask is not None and not positions.has_a_column(positions.mask(read.mask))
    mask = logits.without_groups(read.mask) if masked else None
    if bias is None or None in (groups, heads) or (mask is None) == masked:
        return None
    queries, factor = _scaled(queries)
    if logits.split:
        queries = ov.reshape(queries, ints([0, heads * groups, -1, dims(queries)[3]]), True)
    elif read.queries_first:
        return None
    repeats = keys.repeats * groups
    result = ov.scaled_dot_product_attention(
        queries, keys.heads(repeats), values.heads(repeats), bias,
        const(logits.scale * factor, keys.output), causal=False,
    ).output(0)  # fmt: skip
    result = _without_empty_rows(result, mask)
    return _with_groups(result, heads, groups, read.queries_first) if logits.split else result


def _with_groups(result: Output, heads: int, groups: int, queries_first: bool) -> Output:
    """[batch, heads of keys, heads of a group and queries, size], these two in either order."""
    size = dims(result)[3]
    if queries_first:
        apart = ov.reshape(result, ints([0, heads, groups, -1, size]), True)
        result = ov.transpose(apart, ints([0, 1, 3, 2, 4]))
        return ov.reshape(result, ints([0, 0, -1, size]), True).output(0)
    return ov.reshape(result, ints([0, heads, -1, size]), True).output(0)


def _without_empty_rows(result: Output, mask: Output | None) -> Output:
    """`result`, 0 for queries of which no key counts."""
    if mask is None:
        return result
    any_key = ov.reduce_logical_or(mask, ints([-1]), True)
    return ov.select(any_key, result, const(0, result)).output(0)


RULES = (Rule(node("MatMul", value(), value()), _attended, closed=False),)
