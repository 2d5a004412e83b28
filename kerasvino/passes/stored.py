"""Constants of 4 and 8 bits, followed through the nodes that make numbers of them.

What a quantized layer multiplies by is computed of constants: bytes that are unpacked, converted,
and moved and scaled by channel or by group. OpenVINO folds that to an array of float32. Here the
bytes and the scales are kept apart, as the kernels for compressed weights want them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from openvino import Node, Output, Type

from kerasvino.nodes.facts import FOLDED, facts
from kerasvino.passes.walk import Scope

__all__ = ["Spread", "Stored", "is_stored", "stored", "translated"]

# Smaller arrays are computed as they are.
_LEAST = 256


@dataclass(frozen=True)
class Spread:
    """An array whose elements along an axis are those of `values` at `index`."""

    values: np.ndarray
    index: np.ndarray
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        shape = list(self.values.shape)
        shape[self.axis] = len(self.index)
        return tuple(shape)

    @property
    def ndim(self) -> int:
        return self.values.ndim

    def transpose(self, order: Sequence[int]) -> Spread:
        return Spread(self.values.transpose(order), self.index, list(order).index(self.axis))

    def of(self, function) -> Spread:
        return Spread(function(self.values), self.index, self.axis)

    def full(self) -> np.ndarray:
        return np.take(self.values, self.index, self.axis)


@dataclass(frozen=True)
class Stored:
    """An array of numbers that bytes stand for: (numbers[codes] - zero) * factors.

    Attributes:
        codes: bytes.
        numbers: what each of the 256 bytes stands for.
        zero: what is subtracted, broadcast; None for nothing.
        factors: what it is multiplied by, broadcast.
        before: what this is a reshape of; then nothing else is known of zero and factors.
    """

    codes: np.ndarray
    numbers: np.ndarray
    zero: np.ndarray | Spread | None = None
    factors: tuple[np.ndarray | Spread, ...] = ()
    before: Stored | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def ndim(self) -> int:
        return self.codes.ndim

    @property
    def plain(self) -> bool:
        """Whether it is nothing but numbers that bytes stand for."""
        return self.zero is None and not self.factors and self.before is None

    def moved(self, move) -> Stored:
        """With its elements elsewhere, for a plain one."""
        return replace(self, codes=move(self.codes))

    def full(self) -> np.ndarray:
        """The numbers, in an array."""
        if self.before is not None:
            return self.before.full().reshape(self.codes.shape)
        array = self.numbers[self.codes]
        if self.zero is not None:
            array -= _full(self.zero)
        for factor in self.factors:
            array *= _full(factor)
        return array


def stored(output: Output, scope: Scope) -> Stored | None:
    """What an output is made of, if it is constant and its numbers are stored in bytes.

    None if it depends on anything else, or is made by nodes unknown here.
    """
    if not is_stored(output, scope):
        return None
    with np.errstate(all="ignore"):
        found = _value(output, scope, {})
    return found if isinstance(found, Stored) else None


def is_stored(output, scope) -> bool:
    """Whether an output depends on a Constant of bytes, and not on anything that is none."""
    seen, waiting, found = set(), [(scope, output)], False
    while waiting:
        inner, output = waiting.pop()
        inner, output = inner.source(output)
        node = output.get_node()
        if node.get_instance_id() in seen:
            continue
        seen.add(node.get_instance_id())
        kind = node.get_type_name()
        if kind == "Constant":
            found = found or _is_bytes(node)
        elif kind not in _RULES:
            return False
        waiting += [(inner, source) for source in node.input_values()]
    return found


def _is_bytes(constant) -> bool:
    kind = constant.get_output_element_type(0)
    return kind in (Type.i8, Type.u8) and math.prod(constant.get_output_shape(0)) >= _LEAST


def _value(output, scope, known):
    scope, output = scope.source(output)
    node = output.get_node()
    key = node.get_instance_id()
    if key not in known:
        known[key] = _of_node(node, scope, known)
    return known[key] if output.get_index() == 0 else None


def _of_node(node: Node, scope, known):
    kind = node.get_type_name()
    if kind == "Constant":
        return _constant(node, scope.memory)
    rule = _RULES.get(kind)
    if rule is None:
        return None
    inputs = [_value(source, scope, known) for source in node.input_values()]
    return None if any(value is None for value in inputs) else rule(node, *inputs)


def _constant(node, memory):
    kind = node.get_output_element_type(0)
    if kind not in FOLDED:
        return None
    array = memory.get(node.get_instance_id())
    array = node.get_data() if array is None else array
    if _is_bytes(node):
        numbers = np.arange(256, dtype=np.uint8).view(array.dtype)
        return Stored(array.view(np.uint8), numbers)
    return array


def translated(codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """`numbers[codes]` of numbers of 8 bits. NumPy makes indices of 64 bits of the codes first."""
    found = codes.tobytes().translate(numbers.tobytes())
    return np.frombuffer(found, numbers.dtype).reshape(codes.shape)


def _full(value):
    return value if isinstance(value, np.ndarray) else value.full()


# -- nodes that compute each element


def _elementwise(node, *inputs):
    fold = facts(node.get_type_name()).fold
    held = [value for value in inputs if isinstance(value, Stored)]
    others = [value for value in inputs if not isinstance(value, Stored)]
    if not held:
        if len(others) == 1 and isinstance(others[0], Spread):
            return others[0].of(lambda array: _first(fold(node, array)))
        return _first(fold(node, *map(_full, others)))
    codes = held[0].codes
    if any(not v.plain or v.codes is not codes for v in held) or any(
        math.prod(value.shape) != 1 for value in others
    ):
        return None
    # the same of all equal bytes: computed for each byte
    arrays = [v.numbers if isinstance(v, Stored) else _full(v).reshape(()) for v in inputs]
    numbers = _first(fold(node, *arrays))
    return None if numbers is None else Stored(codes, np.broadcast_to(numbers, (256,)))


def _first(results):
    return None if results is None else np.asarray(results[0])


def _is_float(value):
    return isinstance(value, Stored) and value.numbers.dtype == np.float32 and not value.before


def _subtract(node, left, right):
    of_numbers = _elementwise(node, left, right)
    if of_numbers is None and _is_float(left) and left.plain and not isinstance(right, Stored):
        return replace(left, zero=right)
    return of_numbers


def _multiply(node, left, right):
    of_numbers = _elementwise(node, left, right)
    if of_numbers is None and not _is_float(left):
        left, right = right, left
    if of_numbers is None and _is_float(left) and not isinstance(right, Stored):
        return replace(left, factors=(*left.factors, right))
    return of_numbers


def _divide(node, left, right):
    of_numbers = _elementwise(node, left, right)
    if of_numbers is None and _is_float(left) and not isinstance(right, Stored):
        inverse = right.of(np.reciprocal) if isinstance(right, Spread) else np.reciprocal(right)
        return replace(left, factors=(*left.factors, inverse))
    return of_numbers


def _convert(node, value):
    if isinstance(value, Stored) and not value.plain:
        return value if node.get_output_element_type(0) == Type.f32 else None
    return _elementwise(node, value)


# -- nodes that move elements


def _transpose(node, value, order):
    order = tuple(_full(order).tolist()) or tuple(reversed(range(value.ndim)))
    if not isinstance(value, Stored):
        return value.transpose(order)
    if value.before is not None:
        return None

    def moved(part):
        part = _of_rank(part, len(order))
        return part.transpose(order)

    return Stored(
        value.codes.transpose(order),
        value.numbers,
        None if value.zero is None else moved(value.zero),
        tuple(moved(factor) for factor in value.factors),
    )


def _of_rank(part, rank):
    missing = rank - part.ndim
    if not missing:
        return part
    if isinstance(part, Spread):
        values = part.values.reshape((1,) * missing + part.values.shape)
        return Spread(values, part.index, part.axis + missing)
    return part.reshape((1,) * missing + part.shape)


def _reshape(node, value, *_):
    if node.get_output_partial_shape(0).is_dynamic:
        return None
    shape = tuple(node.get_output_shape(0))
    if not isinstance(value, Stored):
        return _full(value).reshape(shape)
    if value.plain:
        return value.moved(lambda codes: codes.reshape(shape))
    whole = value.before or value
    if shape == whole.codes.shape:
        return whole
    return Stored(value.codes.reshape(shape), value.numbers, before=whole)


def _slice(node, value, start, stop, step, axes=None):
    if isinstance(value, Stored) and not value.plain:
        return None
    bounds = [_full(part).reshape(-1).tolist() for part in (start, stop, step)]
    count = len(bounds[0])
    along = range(count) if axes is None else _full(axes).reshape(-1).tolist()

    def moved(array):
        index = [slice(None)] * array.ndim
        for axis, first, last, by in zip(along, *bounds, strict=True):
            if by < 0 and last < -array.shape[axis]:
                last = None
            index[axis] = slice(first, last, by)
        return array[tuple(index)]

    return value.moved(moved) if isinstance(value, Stored) else moved(_full(value))


def _concat(node, *values):
    axis = node.get_attributes()["axis"]
    if not any(isinstance(value, Stored) for value in values):
        return np.concatenate([_full(value) for value in values], axis)
    if not all(isinstance(v, Stored) and v.plain and v.numbers.dtype.itemsize == 1 for v in values):
        return None
    # numbers of 8 bits are the bytes that stand for themselves
    shape = list(values[0].codes.shape)
    shape[axis] = sum(value.codes.shape[axis] for value in values)
    codes = np.empty(shape, np.uint8)
    at = 0
    for value in values:
        index = [slice(None)] * codes.ndim
        index[axis] = slice(at, at := at + value.codes.shape[axis])
        codes[tuple(index)] = translated(value.codes, value.numbers).view(np.uint8)
    return Stored(codes, np.arange(256, dtype=np.uint8).view(values[0].numbers.dtype))


def _gather(node, value, index, axis):
    value, index, axis = _full(value), _full(index), int(_full(axis))
    if node.get_attributes()["batch_dims"] or index.ndim != 1:
        return None
    return Spread(value, index, axis % value.ndim)


_RULES = {
    "Subtract": _subtract,
    "Multiply": _multiply,
    "Divide": _divide,
    "Convert": _convert,
    "Transpose": _transpose,
    "Slice": _slice,
    "Concat": _concat,
    "Gather": _gather,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(
        [
            "Abs", "Add", "BitwiseAnd", "BitwiseOr", "BitwiseRightShift", "BitwiseXor", "Clamp",
            "Equal", "Less", "LessEqual", "Maximum", "Minimum", "NotEqual", "Select",
        ],
        _elementwise,
    ),
}  # fmt: skip
