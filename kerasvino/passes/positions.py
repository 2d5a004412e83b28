"""What a graph computes of positions alone: lengths, and masks that compare positions.

Masks of attention are written in many ways: ranges that are compared, triangles that are cut out of
a square of all positions, sliding windows. What they say of one query and one key is always the
same kind of sentence: some sums of positions and lengths are not below zero. `Positions` reads that
sentence off the graph, for one element at places that are variables; `emitted` writes it down again
with one range along each axis. A length is known by the parameter of the model that it comes from.

Positions are taken for exact integers, in whatever type the graph counts them. That holds below
2**24.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import openvino
from openvino import Output, Type

from kerasvino.nodes import integer
from kerasvino.nodes.facts import facts
from kerasvino.nodes.lowering import convert, dims, element, ints, is_integer, ov
from kerasvino.passes.patterns import number_in
from kerasvino.passes.walk import Scope

__all__ = ["Linear", "Positions", "emitted", "positions_of"]

ROW, COLUMN = ("place", -2), ("place", -1)


class Linear(NamedTuple):
    """A sum of integer multiples of atoms: places along an axis, lengths, scalars of the graph."""

    terms: tuple  # ((atom, factor), …), sorted by atom, no factor 0
    constant: int

    def factor(self, atom) -> int:
        return dict(self.terms).get(atom, 0)

    def without(self, atom) -> Linear:
        return Linear(tuple(t for t in self.terms if t[0] != atom), self.constant)

    def times(self, factor: int) -> Linear:
        if not factor:
            return linear(0)
        return Linear(tuple((a, f * factor) for a, f in self.terms), self.constant * factor)

    def plus(self, other: Linear) -> Linear:
        found = dict(self.terms)
        for atom, factor in other.terms:
            found[atom] = found.get(atom, 0) + factor
        terms = tuple(sorted((a, f) for a, f in found.items() if f))
        return Linear(terms, self.constant + other.constant)

    def minus(self, other: Linear) -> Linear:
        return self.plus(other.times(-1))

    def put(self, atom, value: Linear) -> Linear:
        """With `value` in place of an atom."""
        return self.without(atom).plus(value.times(self.factor(atom)))


def linear(constant: int) -> Linear:
    return Linear((), constant)


def of(atom) -> Linear:
    return Linear(((atom, 1),), 0)


# -- sentences: True, False, ("at least 0", Linear), ("and" or "or", a frozenset of sentences)


def at_least_zero(value: Linear):
    return ("at least 0", value) if value.terms else value.constant >= 0


def both(*parts):
    return _joined("and", False, parts)


def either(*parts):
    return _joined("or", True, parts)


def _joined(kind, decisive, parts):
    found = set()
    for part in parts:
        if part is decisive:
            return decisive
        if part is not (not decisive):
            found |= part[1] if part[0] == kind else {part}
    if not found:
        return not decisive
    strictest: dict = {}  # of inequalities that differ in their constants alone
    for part in found:
        if part[0] == "at least 0":
            value = part[1]
            known = strictest.get(value.terms)
            if known is None or (value.constant < known.constant) == (kind == "and"):
                strictest[value.terms] = value
    found = {p for p in found if p[0] != "at least 0"}
    found |= {("at least 0", value) for value in strictest.values()}
    return found.pop() if len(found) == 1 else (kind, frozenset(found))


def opposite(sentence):
    if isinstance(sentence, bool):
        return not sentence
    kind, content = sentence
    if kind == "at least 0":
        return at_least_zero(content.times(-1).plus(linear(-1)))
    return (either if kind == "and" else both)(*map(opposite, content))


def replaced(sentence, atom, value: Linear):
    """The sentence with `value` in place of an atom."""
    if isinstance(sentence, bool):
        return sentence
    kind, content = sentence
    if kind == "at least 0":
        return at_least_zero(content.put(atom, value))
    return (both if kind == "and" else either)(*(replaced(s, atom, value) for s in content))


def inequalities(sentence):
    if sentence is None or isinstance(sentence, bool):
        return
    kind, content = sentence
    if kind == "at least 0":
        yield content
    else:
        for part in content:
            yield from inequalities(part)


_COMPARED = {  # what a comparison says of the difference of its operands
    "GreaterEqual": at_least_zero,
    "Greater": lambda d: at_least_zero(d.plus(linear(-1))),
    "LessEqual": lambda d: at_least_zero(d.times(-1)),
    "Less": lambda d: at_least_zero(d.times(-1).plus(linear(-1))),
    "Equal": lambda d: both(at_least_zero(d), at_least_zero(d.times(-1))),
    "NotEqual": lambda d: opposite(_COMPARED["Equal"](d)),
}
# Of booleans, and of numbers that are 0 or 1.
_ALL = ("LogicalAnd", "BitwiseAnd", "Minimum", "Multiply")
_ANY = ("LogicalOr", "BitwiseOr", "Maximum")


class Positions:
    """What outputs of a model say of positions.

    Args:
        scope: of the model, whose parameters' unknown lengths are given names.

    Attributes:
        scalars: {atom: output} of the scalars that atoms stand for.
    """

    def __init__(self, scope: Scope):
        self._lengths: list[tuple[openvino.Symbol, Output, int]] = []
        self.scalars: dict[tuple, Output] = {}
        self._at_least_zero: set = set()
        self._longest: dict = {}  # by atom of a place: the length of its axis
        for parameter in scope.model.get_parameters():
            shape = list(parameter.get_partial_shape())
            for axis, length in enumerate(shape):
                if length.is_dynamic:
                    symbol = openvino.Symbol()
                    length.set_symbol(symbol)
                    self._lengths.append((symbol, parameter.output(0), axis))
            parameter.set_partial_shape(openvino.PartialShape(shape))
        scope.model.validate_nodes_and_infer_types()

    def mask(self, output: Output):
        """The sentence of a mask [..., queries, keys], in terms of ROW and COLUMN, or None.

        The keys are those of an appended cache: as many as the queries, and past ones before.
        """
        rank = len(dims(output))
        rows, columns = self.length(output, rank - 2), self.length(output, rank - 1)
        if rows is None or columns is None:
            return None
        self._longest = {ROW: rows, COLUMN: columns}
        past = columns.minus(rows)
        if len(past.terms) == 1 and past.terms[0][1] == 1 and past.constant <= 0:
            self._at_least_zero.add(past.terms[0][0])
        sentence = self.truth(output, [of(("place", axis - rank)) for axis in range(rank)])
        atoms = {atom for part in inequalities(sentence) for atom, _ in part.terms}
        other_places = {a for a in atoms if a[0] == "place"} - {ROW, COLUMN}
        return None if other_places else sentence

    def lengths(self) -> tuple[Linear, Linear]:
        """How many rows and columns the last mask has."""
        return self._longest[ROW], self._longest[COLUMN]

    def has_a_column(self, sentence) -> bool:
        """Whether the sentence is known to be true of some column in each row."""
        if sentence is None:
            return False
        last = self._longest[COLUMN].plus(linear(-1))
        tried = [last]
        for inequality in inequalities(sentence):
            if abs(inequality.factor(COLUMN)) == 1:  # just true there
                tried.append(inequality.without(COLUMN).times(-inequality.factor(COLUMN)))
        return any(
            self.holds(both(
                at_least_zero(column), at_least_zero(last.minus(column)),
                replaced(sentence, COLUMN, column),
            ))
            for column in tried
        )  # fmt: skip

    def holds(self, sentence) -> bool:
        """Whether a sentence is known to be true at all places."""
        if isinstance(sentence, bool):
            return sentence
        kind, content = sentence
        if kind != "at least 0":
            return (all if kind == "and" else any)(map(self.holds, content))
        for atom, length in self._longest.items():  # at the worst place of the axis
            factor = content.factor(atom)
            content = content.put(atom, linear(0) if factor > 0 else length.plus(linear(-1)))
        return content.constant >= 0 and all(
            factor > 0 and (atom[0] == "length" or atom in self._at_least_zero)
            for atom, factor in content.terms
        )

    # -- lengths

    def length(self, output: Output, axis: int) -> Linear | None:
        """The length of an axis."""
        known = output.get_partial_shape()[axis]
        if known.is_static:
            return linear(known.get_length())
        if known.has_symbol():
            for number, (symbol, _, _) in enumerate(self._lengths):
                if known.get_symbol() == symbol:
                    return of(("length", number))
        node = output.get_node()
        kind = node.get_type_name()
        if kind == "Range":
            start, _, step = node.input_values()
            if (number_in(start), number_in(step)) != (0, 1):
                return None
            return self.number(_not_negative(node.input_value(1)), [])
        if kind == "Broadcast":
            return self.number(node.input_value(1), [linear(axis)])
        if kind == "Gather":
            return self._of_gather(node, axis)
        if facts(kind).rows == "elementwise":
            found = {self.length(v, a) for v, a in _operands(node, axis)}
            return found.pop() if len(found) == 1 else None
        if kind == "Transpose" and (order := _constant_order(node)) is not None:
            return self.length(node.input_value(0), order[axis])
        if kind == "Unsqueeze":
            places = _axes(node)
            return None if places is None else self.length(
                node.input_value(0), axis - sum(p < axis for p in places)
            )  # fmt: skip
        return None

    def _of_gather(self, node, axis):
        along, rank = number_in(node.input_value(2)), len(dims(node.input_value(1)))
        if along is None or node.get_attributes()["batch_dims"]:
            return None
        along = int(along) % len(dims(node.input_value(0)))
        if along <= axis < along + rank:
            return self.length(node.input_value(1), axis - along)
        return self.length(node.input_value(0), axis if axis < along else axis - rank + 1)

    def emitted_length(self, atom) -> Output:
        """A scalar of i32 that an atom of a length or scalar stands for."""
        if atom[0] == "length":
            _, parameter, axis = self._lengths[atom[1]]
            found = ov.gather(ov.shape_of(parameter, "i64"), ints(axis), ints(0)).output(0)
        else:
            found = ov.reshape(self.scalars[atom], ints([]), False).output(0)
        return convert(found, Type.i32)

    # -- elements

    def number(self, output: Output, places: Sequence[Linear]) -> Linear | None:
        """The element of an output of integers, or of whole numbers, at these places."""
        node = output.get_node()
        kind, sources = node.get_type_name(), node.input_values()
        if kind == "Constant":
            return self._constant(node, places)
        if kind == "Parameter" and is_integer(output) and not dims(output):
            return self._scalar(output)
        if kind == "ShapeOf":
            return None if places[0].terms else self.length(sources[0], places[0].constant)
        if kind == "Range":
            start, step = self.number(sources[0], []), number_in(sources[2])
            usable = start is not None and step is not None and step == int(step)
            return start.plus(places[0].times(int(step))) if usable else None
        if kind == "Concat":
            return self._of_concat(node, places)
        if kind == "Convert" and element(sources[0]) == Type.boolean:
            return None
        moved = self._moved(node, kind, sources, places)
        if moved is not None:
            return self.number(*moved)
        if facts(kind).rows != "elementwise":
            return None
        operands = self._elementwise(node, places)
        return None if operands is None else self._computed(kind, operands)

    def _computed(self, kind, operands):
        if kind == "Select":
            sentence = self.truth(*operands[0])
            for known, chosen in ((sentence, 1), (opposite_of(sentence), 2)):
                if known is not None and self.holds(known):
                    return self.number(*operands[chosen])
            return None
        values = [self.number(*operand) for operand in operands]
        if None in values:
            return None
        if kind == "Convert":
            return values[0]
        if kind == "Negative":
            return values[0].times(-1)
        if len(values) != 2:
            return None
        a, b = values
        if kind in ("Add", "Subtract"):
            return a.plus(b) if kind == "Add" else a.minus(b)
        if kind == "Multiply" and not (a.terms and b.terms):
            return b.times(a.constant) if b.terms else a.times(b.constant)
        if kind in ("Maximum", "Minimum"):
            for one, other in ((a, b), (b, a)):
                if self.holds(at_least_zero(one.minus(other))):
                    return one if kind == "Maximum" else other
        return None

    def truth(self, output: Output, places: Sequence[Linear]):
        """The sentence that an output of booleans, or of zeros and ones, holds at these places."""
        node = output.get_node()
        kind, sources = node.get_type_name(), node.input_values()
        if kind == "Constant":
            value = self._constant(node, places)
            return bool(value.constant) if value in (linear(0), linear(1)) else None
        moved = self._moved(node, kind, sources, places)
        if moved is not None:
            return self.truth(*moved)
        operands = self._elementwise(node, places) if facts(kind).rows == "elementwise" else None
        if operands is None:
            return None
        if kind in _COMPARED:
            return self._comparison(kind, sources, operands)
        if kind == "Convert":
            return self.truth(*operands[0])
        parts = [self.truth(*operand) for operand in operands]
        if None in parts:
            return None
        if kind == "LogicalNot":
            return opposite(parts[0])
        if kind == "Select":
            return either(both(parts[0], parts[1]), both(opposite(parts[0]), parts[2]))
        if kind in _ALL or kind in _ANY:
            return (both if kind in _ALL else either)(*parts)
        return None

    def _comparison(self, kind, sources, operands):
        if kind in ("Equal", "NotEqual") and number_in(sources[1]) == 0:
            sentence = self._differs(sources[0].get_node(), operands[0][1])
            if sentence is None:
                sentence = self.truth(*operands[0])
            if sentence is not None:
                return sentence if kind == "NotEqual" else opposite(sentence)
        values = [self.number(*operand) for operand in operands]
        return None if None in values else _COMPARED[kind](values[0].minus(values[1]))

    def _differs(self, xor, places):
        """What it says that a ^ b is not 0. Of all 32 bits, max(a, b) ^ a tells if b is greater."""
        if xor.get_type_name() != "BitwiseXor" or self._elementwise(xor, places) is None:
            return None
        kind, pair = _exactly_compared(xor)
        a, b = (self.number(value, _along(value, places)) for value in pair)
        return None if a is None or b is None else _COMPARED[kind](b.minus(a))

    # -- where an element comes from

    def _moved(self, node, kind, sources, places):
        """The output and places that an element is a copy of, of a node that only moves them."""
        if kind == "Broadcast" and node.get_attributes()["mode"] == "numpy":
            rank = len(places)
            for place, length in enumerate(dims(sources[0])):
                axis = place + rank - len(dims(sources[0]))
                lengths = (self.length(sources[0], place), self.length(node.output(0), axis))
                if length != 1 and (None in lengths or lengths[0] != lengths[1]):
                    return None
            return sources[0], _along(sources[0], places)
        if kind in ("Unsqueeze", "Squeeze"):
            axes = _axes(node)
            if axes is None:
                return None
            if kind == "Unsqueeze":
                return sources[0], [p for a, p in enumerate(places) if a not in axes]
            rest = iter(places)
            rank = len(dims(sources[0]))
            return sources[0], [linear(0) if a in axes else next(rest) for a in range(rank)]
        if kind == "Transpose" and (order := _constant_order(node)) is not None:
            return sources[0], [places[order.index(a)] for a in range(len(order))]
        if kind == "Gather" and not node.get_attributes()["batch_dims"]:
            axis, rank = number_in(sources[2]), len(dims(sources[1]))
            if axis is None:
                return None
            axis = int(axis) % len(dims(sources[0]))
            index = self.number(sources[1], places[axis : axis + rank])
            if index is None or not self.holds(at_least_zero(index)):
                return None
            return sources[0], [*places[:axis], index, *places[axis + rank :]]
        return None

    def _elementwise(self, node, places):
        """[(operand, places in it), …], or None if they may not be equally long."""
        found = []
        for source in node.input_values():
            found.append((source, _along(source, places)))
        for axis in range(len(places)):
            operands = _operands(node, axis)
            if len(operands) > 1:
                lengths = {self.length(v, a) for v, a in operands}
                if len(lengths) > 1 or None in lengths:
                    return None
        return found

    def _constant(self, node, places):
        data = node.get_data()
        if data.size > 1 and any(place.terms for place in places):
            return None
        value = data.reshape(-1)[0] if data.size == 1 else data[tuple(p.constant for p in places)]
        return linear(int(value)) if value == int(value) else None

    def _scalar(self, output):
        atom = ("value", output.get_node().get_instance_id())
        self.scalars[atom] = output
        return of(atom)

    def _of_concat(self, node, places):
        if len(places) != 1 or places[0].terms:
            return None
        place = places[0].constant
        for source in node.input_values():
            (count,) = dims(source)
            if count is None or place < count:
                return None if count is None else self.number(source, [linear(place)])
            place -= count
        return None


def positions_of(scope: Scope) -> Positions:
    """Those of a scope, made once: for passes after which lengths are what they were."""
    found = scope.notes.get(Positions)
    if found is None:
        found = scope.notes[Positions] = Positions(scope)
    return found


def _along(source, places):
    """Places in a value that is broadcast; 0 along what is of length 1."""
    lengths = dims(source)
    return [
        linear(0) if length == 1 else place
        for length, place in zip(lengths, places[len(places) - len(lengths) :], strict=True)
    ]


def _not_negative(output: Output) -> Output:
    """x of max(x, 0): a range up to the one is as long as up to the other."""
    node = output.get_node()
    while node.get_type_name() == "Convert" and is_integer(node.input_value(0)):
        node = node.input_value(0).get_node()
    if node.get_type_name() == "Maximum":
        for one, other in (node.input_values(), node.input_values()[::-1]):
            if number_in(other) == 0:
                return one
    return output


def opposite_of(sentence):
    return None if sentence is None else opposite(sentence)


def _constant_order(transpose) -> list[int] | None:
    order = transpose.input_value(1).get_node()
    return [int(a) for a in order.get_data()] if order.get_type_name() == "Constant" else None


def _operands(node, axis):
    """The inputs that are longer than one, or may be, along an axis of the result; and which."""
    rank = len(dims(node.output(0)))
    found = []
    for source in node.input_values():
        own = axis - rank + len(dims(source))
        if own >= 0 and dims(source)[own] != 1:
            found.append((source, own))
    return found


def _axes(node) -> list[int] | None:
    """Those that an Unsqueeze adds or a Squeeze takes away."""
    if node.get_input_size() < 2 or node.input_value(1).get_node().get_type_name() != "Constant":
        return None
    wide = node.output(0) if node.get_type_name() == "Unsqueeze" else node.input_value(0)
    rank = len(dims(wide))
    return [int(a) % rank for a in node.input_value(1).get_node().get_data().reshape(-1)]


def _exactly_compared(xor):
    """How b is compared with a by a ^ b, and the two."""
    for greatest, a in (xor.input_values(), xor.input_values()[::-1]):
        made_by = greatest.get_node()
        if made_by.get_type_name() == "Maximum" and a in made_by.input_values():
            one, other = made_by.input_values()
            return "Greater", (a, other if one == a else one)
    return "NotEqual", xor.input_values()


# -- writing it


def emitted(sentence, positions: Positions) -> Output:
    """Booleans [queries, keys] of a sentence that is not decided, of the last mask."""
    kind, content = sentence
    if kind != "at least 0":
        parts = sorted(content, key=repr)
        found = emitted(parts[0], positions)
        for part in parts[1:]:
            join = ov.logical_and if kind == "and" else ov.logical_or
            found = join(found, emitted(part, positions)).output(0)
        return found
    factor = content.factor(COLUMN)
    rest, column = content.without(COLUMN), of(COLUMN).times(abs(factor))
    left = _sum(rest if factor <= 0 else rest.times(-1), positions)
    right = _sum(column, positions)
    compare = ov.less_equal if factor <= 0 else ov.greater_equal
    return compare(right, left).output(0)


def _sum(value: Linear, positions: Positions) -> Output:
    rows, columns = positions.lengths()
    total = None
    for atom, factor in sorted(value.terms, key=lambda term: term[0][0] == "place"):
        if atom == ROW:
            term = ov.unsqueeze(_range(rows, positions), ints([1])).output(0)
        elif atom == COLUMN:
            term = _range(columns, positions)
        else:
            term = positions.emitted_length(atom)
        term = term if factor == 1 else ov.multiply(term, integer.i32(factor)).output(0)
        total = term if total is None else ov.add(total, term).output(0)
    if total is None:
        return integer.i32(value.constant)
    return ov.add(total, integer.i32(value.constant)).output(0) if value.constant else total


def _range(length: Linear, positions: Positions) -> Output:
    stop = _sum(length, positions)
    return ov.range(integer.i32(0), stop, integer.i32(1), "i32").output(0)
