"""Weights of a product in 4 or 8 bits, in the form that the CPU plugin keeps them in.

The plugin multiplies by such weights as they are, if a Constant of theirs is converted, centred and
scaled by nodes of these kinds, in this order, and nothing else. Its kernels take weights of 4 bits
with the terms of a sum in a row, and an even number of them: with an odd one they compute
something else (tests/openvino_traps/test_compressed.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import openvino
from openvino import Output, Type
from openvino.op import Constant

from kerasvino.graph.trace import constant_node
from kerasvino.nodes.lowering import const, convert, ints, is_float, ov
from kerasvino.passes.stored import Spread, Stored, translated

__all__ = ["Compressed", "compressed", "is_compressed", "rounded"]

# Groups of fewer terms than this have more scales than they save of weights.
_LEAST_GROUP = 16
# Lengths of the groups that weights are rounded in, the first that fits.
GROUPS = (128, 64, 32)


class Compressed(NamedTuple):
    """Weights (outputs, terms) of a product: (values - zero) * scale, by groups of terms.

    Attributes:
        values: integers of 8 bits, (outputs, terms).
        zero: integers, (outputs, groups); None for 0.
        scale: float32, (outputs, groups); None for 1.
        terms: what each term is multiplied by besides, (terms,); None for 1.
    """

    values: np.ndarray
    zero: np.ndarray | None = None
    scale: np.ndarray | None = None
    terms: np.ndarray | None = None

    @property
    def groups(self) -> int:
        """How many groups of terms there are."""
        return max(1 if part is None else part.shape[1] for part in (self.zero, self.scale))

    @property
    def is_four_bits(self) -> bool:
        """Whether the values are kept in 4 bits."""
        lowest, highest = int(self.values.min()), int(self.values.max())
        even = self.values.shape[1] // self.groups % 2 == 0
        return even and highest - lowest < 16 and (lowest >= -8 or self.zero is not None)

    def node(self) -> tuple[Output, bool]:
        """The weights in a graph without `terms`, and whether as (outputs, terms)."""
        values, zero, groups = self.values, self.zero, self.groups
        outputs, terms = values.shape
        scale = np.ones((outputs, groups), np.float32) if self.scale is None else self.scale
        if self.is_four_bits:
            return self._four_bits(values, zero, scale, groups), True
        kind = "int8" if values.dtype == np.int8 else "uint8"
        if groups > 1:
            held = constant_node(values.reshape(outputs, groups, -1), kind)
            return _scaled(held, zero, scale, (outputs, terms)), True
        turned = values.T.flags.c_contiguous  # as most layers keep their kernels: no copy
        if turned:
            held = constant_node(values.T, kind)
        else:
            # square ones may be the memory of those of a product that are not transposed
            held = constant_node(np.array(values, order="C", copy=outputs == terms or None), kind)
        if turned:
            zero, scale = None if zero is None else zero.T, scale.T
        return _scaled(held, zero, scale), not turned

    def _four_bits(self, values, zero, scale, groups):
        lowest = int(values.min())
        signed = zero is None and lowest < 0
        if not signed and lowest < 0:
            values, zero = values - np.int8(lowest), zero - lowest
        values = _in_rows(values)
        shape = (values.shape[0], groups, -1) if groups > 1 else values.shape
        kind = Type.i4 if signed else Type.u4
        whole = values.shape if groups > 1 else None
        return _scaled(_packed(values.reshape(shape), kind), zero, scale, whole)


def _scaled(held, zero, scale, whole=None) -> Output:
    """(held - zero) * scale, the groups of it put together to the shape `whole`."""
    wide = convert(held.output(0), Type.f32)
    if whole is not None:
        zero, scale = None if zero is None else zero[:, :, None], scale[:, :, None]
    if zero is not None:
        kind = "uint8" if zero.min() >= 0 else "int8"
        zero = constant_node(np.ascontiguousarray(zero.astype(kind)), kind)
        wide = ov.subtract(wide, convert(zero.output(0), Type.f32)).output(0)
    wide = ov.multiply(wide, const(np.ascontiguousarray(scale), Type.f32)).output(0)
    return wide if whole is None else ov.reshape(wide, ints(whole), False).output(0)


def _in_rows(values: np.ndarray) -> np.ndarray:
    """An array of bytes in C order. NumPy transposes one byte at a time; this does eight."""
    if values.flags.c_contiguous or not values.T.flags.c_contiguous or len(values) % 8:
        return np.ascontiguousarray(values)
    words = np.ascontiguousarray(values.T.view(np.uint64).T)
    parts = words.view(values.dtype).reshape(*words.shape, 8)
    return np.ascontiguousarray(parts.transpose(0, 2, 1)).reshape(values.shape)


def _packed(values: np.ndarray, kind: Type) -> Constant:
    """A Constant of 4 bits for each value, two in a byte, the first in the lower half."""
    flat = values.reshape(-1).view(np.uint8)
    tensor = openvino.Tensor(kind, openvino.Shape(values.shape))
    np.bitwise_or(flat[0::2] & 15, flat[1::2] << 4, out=tensor.data.reshape(-1))
    return Constant(tensor)


def rounded(weights: np.ndarray, bits: int) -> Compressed | None:
    """Weights of floats (outputs, terms) rounded to integers, each as near as its scale allows.

    Of 8 bits with a scale for each output, from -127 on; of 4 bits with a scale and a zero for each
    group of terms. None for weights that are not finite.

    Args:
        weights: float32.
        bits: 8 or 4.
    """
    outputs, terms = weights.shape
    if bits == 8:
        largest = np.maximum(weights.max(1), -weights.min(1))
        if not np.isfinite(largest).all():
            return None
        scale = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)[:, None]
        values = np.rint(weights * (1 / scale)).astype(np.int8)
        return Compressed(values, scale=scale)
    size = next((g for g in GROUPS if terms % g == 0), terms)
    grouped = np.ascontiguousarray(weights).reshape(outputs, -1, size)
    low, high = np.minimum(grouped.min(2), 0), np.maximum(grouped.max(2), 0)
    if not np.isfinite(low + high).all():
        return None
    scale = (np.where(high > low, high - low, 1) / 15).astype(np.float32)
    zero = np.rint(-low / scale)
    values = np.rint(grouped * (1 / scale)[:, :, None])
    values += zero[:, :, None]
    values = np.clip(values, 0, 15, out=values).astype(np.uint8).reshape(outputs, terms)
    return Compressed(values, zero.astype(np.int16), scale)


def is_compressed(weights: Output) -> bool:
    """Whether these are weights of a `Compressed`."""
    made_by = weights.get_node()
    for kind in ("Reshape", "Multiply", "Subtract", "Convert"):
        if made_by.get_type_name() == kind:
            made_by = made_by.input_value(0).get_node()
    return made_by.get_type_name() == "Constant" and not is_float(made_by.output(0))


# -- from what is known of constants


def compressed(weights: Stored, transposed: bool) -> Compressed | None:
    """Weights of rank 2 as the plugin can have them, or None.

    Args:
        weights: (terms, outputs), or (outputs, terms) if `transposed`.
    """
    if weights.ndim != 2 or weights.before is not None or weights.numbers.dtype != np.float32:
        return None
    order = (0, 1) if transposed else (1, 0)
    values = _integers(weights)
    if values is None:
        return None
    values = values.transpose(order)
    found = Compressed(values)
    for factor in weights.factors:
        part = _grouped(factor, order, values.shape)
        if part is None:
            return None
        along_terms, part = part
        if along_terms:
            terms = part if found.terms is None else found.terms * part
            found = found._replace(terms=terms)
        else:
            found = found._replace(scale=_together(found.scale, part, np.multiply))
    if weights.zero is not None:
        part = _grouped(weights.zero, order, values.shape)
        if part is None or part[0] or not _is_byte(part[1]):
            return None
        found = found._replace(zero=part[1].astype(np.int16))
    return _of_equal_groups(found)


def _integers(weights):
    """The numbers as integers of 8 bits, in the array that holds them where it can be."""
    numbers = weights.numbers
    codes = np.arange(256, dtype=np.uint8)
    for kind in (np.int8, np.uint8):
        if np.array_equal(numbers, codes.view(kind)):
            return weights.codes.view(kind)
    for kind in (np.int8, np.uint8):
        whole = numbers.astype(kind)
        if np.array_equal(numbers, whole):
            return translated(weights.codes, whole)
    return None


def _is_byte(numbers) -> bool:
    whole = np.array_equal(numbers, np.rint(numbers))
    return whole and numbers.min() >= -120 and numbers.max() <= 120


def _grouped(part, order, shape):
    """(whether it is of each term, array) of something that weights are scaled by; or None.

    The array is (outputs, groups), or (terms,).
    """
    outputs, terms = shape
    if part.ndim < 2:
        part = part.transpose((0,)) if part.ndim else part
        missing = 2 - part.ndim
        if isinstance(part, Spread):
            part = Spread(part.values.reshape(1, -1), part.index, 1)
        else:
            part = part.reshape((1,) * missing + part.shape)
    part = part.transpose(order)
    if isinstance(part, Spread):
        if part.axis == 1 and part.values.shape[1] > 1:
            count = part.values.shape[1]
            size = -(-terms // count)
            if terms % size or not np.array_equal(part.index, np.arange(terms) // size):
                return None
            return False, np.broadcast_to(part.values, (outputs, count))
        part = part.full() if part.axis == 0 else part.values
    if part.shape[1] == 1:
        return False, np.broadcast_to(part, (outputs, 1))
    return (True, part[0]) if part.shape[0] == 1 else _of_runs(part)


def _of_runs(part):
    """Of a whole array the groups that its elements are equal in."""
    changes = 1 + np.flatnonzero((part[:, 1:] != part[:, :-1]).any(0))
    size = int(np.gcd.reduce(changes, initial=part.shape[1]))
    return (False, part[:, ::size]) if size >= _LEAST_GROUP else None


def _together(one, other, function):
    """Of two arrays (outputs, groups) one."""
    if one is None:
        return other
    return function(*_of_same_groups(one, other))


def _of_same_groups(*parts):
    groups = np.lcm.reduce([part.shape[1] for part in parts])
    return [np.repeat(part, groups // part.shape[1], 1) for part in parts]


def _of_equal_groups(found):
    scale = np.ones((1, 1), np.float32) if found.scale is None else found.scale
    parts = (scale,) if found.zero is None else (scale, found.zero)
    parts = _of_same_groups(*parts)
    outputs, terms = found.values.shape
    groups = parts[0].shape[1]
    if terms % groups or (groups > 1 and terms // groups < _LEAST_GROUP):
        return None
    parts = [np.broadcast_to(part, (outputs, groups)) for part in parts]
    scale = None if found.scale is None else parts[0]
    return found._replace(scale=scale, zero=None if found.zero is None else parts[1])
