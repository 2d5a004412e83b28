"""The counter-based generator: random bits as a pure function of a key and a position.

Position n = 1024 * row + column. Row and column are hashed with the key into words, which are
combined by xor and mixed again: simple tabulation hashing (Pătraşcu and Thorup, "The Power of
Simple Tabulation Hashing", 2012) over the two digits of n, followed by a full-avalanche mix. It is
"lowbias32" of Wellons' hash-prospector search (shifts 16, 15, 15). A second word of the row is
added within the mix: otherwise the four words at the crossings of two rows and two columns would
depend on each other, and equal words come in pairs. Bits are the same on the host and in a graph,
where only exact and cheap integer nodes are used: no shift (30 times the cost of a multiplication)
and no modulus.
"""

from __future__ import annotations

import math

import numpy as np
from openvino import Output, Type

from kerasvino.nodes.lowering import const, convert, ints, ov, vector
from kerasvino.primitives.core import Primitive

__all__ = ["random_bits", "random_uniform"]

_COLUMNS = 1024
_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: spreads consecutive counters
_ROUNDS = ((16, 0x21F0AAAD), (15, 0xD35A2D97), (15, None))
_ROLES = (0x85EBCA6B, 0xC2B2AE35)  # tell the row's words from the column's


def _words(values, key, role, use):
    """Two rounds of mixing of counters with both words of the key."""
    first, second = key
    spread = use.multiply(values, use.literal(_GOLDEN))
    mixed = _mix(use.add(spread, use.xor(first, use.literal(role))), use)
    return _mix(use.xor(mixed, use.add(second, use.literal(role))), use)


def _mix(x, use, added=None):
    """A bijection of 32-bit words; `added` takes part in it."""
    for step, (shift, factor) in enumerate(_ROUNDS):
        x = use.xor(x, use.shifted(x, shift))
        if factor is not None:
            x = use.multiply(x, use.literal(factor))
        if step == 0 and added is not None:
            x = use.add(x, added)
    return x


class _Host:
    """The arithmetic of words in NumPy."""

    add, multiply, xor, literal = np.add, np.multiply, np.bitwise_xor, np.uint32

    @staticmethod
    def shifted(x, places):
        return x >> np.uint32(places)


def _host_bits(key, *, shape):
    size = math.prod(shape)
    key = tuple(key.reshape(2)[i : i + 1] for i in range(2))
    counters = (
        np.arange(-(-size // _COLUMNS), dtype=np.uint32),
        np.arange(min(size, _COLUMNS), dtype=np.uint32),
    )
    rows, columns = (_words(n, key, role, _Host) for n, role in zip(counters, _ROLES, strict=True))
    added = _mix(rows ^ np.uint32(_GOLDEN), _Host)
    bits = _mix(rows[:, None] ^ columns, _Host, added[:, None])
    return bits.reshape(-1)[:size].reshape(shape)


# -- in a graph, carried in i32, whose additions and multiplications wrap


def _literal(value):
    return const(np.uint32(value & 0xFFFFFFFF).view(np.int32), Type.i32)


def _shifted(x, places):
    """`x` as unsigned, shifted right by 8 places or more.

    The plugin divides i32 in f32, which is exact here: at most 24 bits are left to divide.
    """
    cleared = ov.bitwise_and(x, _literal(-1 << places))
    divided = ov.divide(cleared, _literal(1 << places))
    return ov.bitwise_and(divided, _literal((1 << (32 - places)) - 1))


class _Nodes:
    """The arithmetic of words in a graph."""

    add, multiply, xor = ov.add, ov.multiply, ov.bitwise_xor
    literal, shifted = staticmethod(_literal), staticmethod(_shifted)


def _counters(count):
    if isinstance(count, int):
        return const(np.arange(count, dtype=np.int32), Type.i32)
    return ov.range(const(0, Type.i32), count, const(1, Type.i32), "i32")


def _size(shape):
    """Number of elements, an int or an i32 scalar (multiplied out: ReduceProd is inexact)."""
    if all(isinstance(length, int) for length in shape):
        return math.prod(shape)
    factors = [convert(n, Type.i32) if isinstance(n, Output) else const(n, Type.i32) for n in shape]
    size = factors[0]
    for factor in factors[1:]:
        size = ov.multiply(size, factor).output(0)
    return size


def _row_count(size):
    if isinstance(size, int):
        return -(-size // _COLUMNS)
    # exact: below 2**31 / 1024 the quotient has at most 21 bits
    up = ov.bitwise_and(ov.add(size, const(_COLUMNS - 1, Type.i32)), const(-_COLUMNS, Type.i32))
    scaled = ov.multiply(convert(up.output(0), Type.f32), const(1.0 / _COLUMNS, Type.f32))
    return convert(scaled.output(0), Type.i32)


def _graph_bits(key, shape):
    """The bits of all positions, as i32 of the given shape."""
    size = _size(shape)
    flat = ov.reshape(convert(key, Type.i32), ints([2]), special_zero=False)
    key = [ov.gather(flat, ints([i]), ints(0)) for i in range(2)]
    columns = min(size, _COLUMNS) if isinstance(size, int) else _COLUMNS
    rows, columns = (
        _words(n, key, role, _Nodes)
        for n, role in zip((_counters(_row_count(size)), _counters(columns)), _ROLES, strict=True)
    )
    rows = ov.unsqueeze(rows, ints(1))
    added = _mix(ov.bitwise_xor(rows, _literal(_GOLDEN)), _Nodes)
    bits = _mix(ov.bitwise_xor(rows, columns), _Nodes, added)
    bits = ov.reshape(bits, ints([-1]), special_zero=False)
    if not isinstance(size, int) or (size % _COLUMNS and size > _COLUMNS):
        # the plugin's Slice copies element by element, a split the whole block, or nothing
        lengths = ov.concat([vector([size]), ints([-1])], 0)
        bits = ov.variadic_split(bits, ints(0), lengths).output(0)
    return ov.reshape(bits, vector(shape), special_zero=False).output(0)


# key: uint32 of shape (2,); shape: of the result, uint32 bits uniform over the whole range.
random_bits = Primitive(
    "random_bits", impl=_host_bits, dtype="uint32", dynamic=("shape",),
    lower=lambda key, *, shape: convert(_graph_bits(key, shape), Type.u32),
    nondifferentiable="random bits do not depend on the key smoothly",
)  # fmt: skip


# The uniform numbers are (0.5 + word / 2**32), the word taken as signed and its low bits cleared:
# all exact in f32, and without a shift.


def _host_uniform(key, *, shape, bits):
    words = _host_bits(key, shape=shape) & np.uint32(-1 << (32 - bits) & 0xFFFFFFFF)
    return words.view(np.int32).astype(np.float32) * np.float32(2.0**-32) + np.float32(0.5)


def _lower_uniform(key, *, shape, bits):
    words = ov.bitwise_and(_graph_bits(key, shape), _literal(-1 << (32 - bits)))
    scaled = ov.multiply(convert(words.output(0), Type.f32), const(2.0**-32, Type.f32))
    return ov.add(scaled, const(0.5, Type.f32))


# key: uint32 of shape (2,); bits: 1 to 24. float32 in [0, 1), multiples of 2**-bits.
random_uniform = Primitive(
    "random_uniform", impl=_host_uniform, lower=_lower_uniform, dtype="float32",
    dynamic=("shape",), nondifferentiable="random bits do not depend on the key smoothly",
)  # fmt: skip
