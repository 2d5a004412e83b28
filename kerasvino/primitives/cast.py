"""The primitive `cast`: conversion between dtypes.

Floats become integers by truncation; NaN becomes 0 and what is out of range the nearest integer in
it, as in XLA (in NumPy that depends on the processor). Integers wrap to narrower ones. Complex
numbers lose their imaginary part. In a graph 64-bit integers end where 32-bit ones do.
"""

from __future__ import annotations

import numpy as np
from openvino import Type

from kerasvino import dtypes
from kerasvino.nodes import integer
from kerasvino.nodes.floating import round_bf16, round_f8, round_f16
from kerasvino.nodes.lowering import const, convert, element, is_float, is_integer, ov
from kerasvino.primitives.core import Primitive

__all__ = ["cast"]


def _impl(x, *, dtype):
    wanted = dtypes.numpy_dtype(dtype)
    if x.dtype.kind == "c" and wanted.kind not in "cb":
        x = x.real
    if wanted.kind in "iu" and x.dtype.kind not in "iubUSTO":
        return _truncated(x, wanted)
    return x.astype(wanted)


def _truncated(x, wanted):
    """Floats as integers."""
    limits = np.iinfo(wanted)
    # exact in float64, but for 2**63 - 1 and 2**64 - 1, which round up to what is outside
    x = x.astype(np.float64)
    result = x.astype(wanted)
    inside = (x > limits.min - 1.0) & (x < limits.max + 1.0)
    if limits.bits == 64:
        inside &= x >= limits.min
    if not inside.all():
        result = np.where(inside, result, wanted.type(0))
        result = np.where(x >= limits.max, wanted.type(limits.max), result)
        result = np.where(x <= limits.min, wanted.type(limits.min), result)
    return result


def _lower(x, *, dtype):
    kind = dtypes.graph_type(dtype)
    source = element(x)
    if source == kind:
        return x
    if kind == Type.boolean:
        wide = integer.widen(x) if is_integer(x) else x
        return ov.not_equal(wide, const(0, wide))
    if is_float(x):
        return _integers_of(x, kind) if dtypes.is_integer(dtype) else _floats_of(x, kind)
    if dtypes.is_integer(dtype):
        return integer.narrow(integer.widen(x), kind)
    return _floats_of(integer.to_f32(integer.widen(x), source), kind)


def _floats_of(x, kind):
    if kind in (Type.f8e4m3, Type.f8e5m2, Type.f16, Type.bf16):
        x = convert(x, Type.f32)
    if kind == Type.bf16:
        x = round_bf16(x)
    elif kind == Type.f16:
        x = round_f16(x)
    elif kind in (Type.f8e4m3, Type.f8e5m2):
        x = round_f8(x, kind)
    return convert(x, kind)


def _integers_of(x, kind):
    x = convert(x, Type.f32)
    zero = const(0.0, x)
    x = ov.select(ov.not_equal(x, x), zero, x)
    if kind == Type.u32:
        return _u32_of(x)
    bits = integer.width(kind)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if integer.is_unsigned(kind):
        low, high = 0, min(2**bits, 2**31) - 1
    inside = ov.convert(ov.clamp(x, low, min(high, 2147483520)), "i32")
    if high == 2**31 - 1:
        inside = integer.select(ov.less(x, const(2.0**31, x)), inside, integer.i32(high))
    return convert(inside, kind)


def _u32_of(x):
    """f32 without NaN as u32: what is past 2**31 converts after that is taken off."""
    half = const(2.0**31, x)
    upper = ov.less_equal(half, x)
    low = ov.clamp(ov.select(upper, ov.subtract(x, half), x), 0.0, 2147483520.0)
    low = ov.convert(low, "i32")
    top = ov.multiply(ov.convert(upper, "i32"), integer.i32(0x80000000))
    value = ov.bitwise_or(low, top)
    beyond = ov.less_equal(const(2.0**32, x), x)
    value = integer.select(beyond, integer.i32(0xFFFFFFFF), value)
    return convert(value, Type.u32)


def _layout(trace, inputs, attrs):
    output, permutation = trace.physical(inputs[0])
    return [output], attrs, permutation


def _vjp(g, inputs, output, *, dtype):
    source = inputs[0].dtype
    return (cast(g, dtype=source) if dtypes.TABLE[source].kind in "fc" else None,)


# x; dtype: a Keras dtype name.
cast = Primitive(
    "cast", impl=_impl, lower=_lower, dtype=lambda inputs, attrs: attrs["dtype"],
    layout=_layout, vjp=_vjp,
)  # fmt: skip
