"""Primitives on the bits of floats: ldexp, nextafter, and bitcast, which takes another type."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from openvino import Type

from kerasvino import dtypes
from kerasvino.nodes import integer
from kerasvino.nodes.floating import magnitude
from kerasvino.nodes.lowering import const, convert, element, ints, ov
from kerasvino.primitives import layout
from kerasvino.primitives.arithmetic import binary
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.unbroadcast import unbroadcast
from kerasvino.primitives.wide import in_float32

__all__ = ["bitcast", "ldexp", "nextafter"]

# Powers of two from the smallest normal to the largest.
_POWERS = np.ldexp(np.float32(1), np.arange(-126, 128)).astype(np.float32)


def _power_of_two(exponent):
    """2**exponent of i32 within the exponents of float32, exactly."""
    index = ov.add(exponent, integer.i32(126))
    return ov.gather(const(_POWERS, Type.f32), index, ints(0))


def _lower_ldexp(x, n):
    n = integer.widen(n)
    # in three steps, of which each is a power of two that float32 has
    for _ in range(3):
        step = ov.maximum(ov.minimum(n, integer.i32(126)), integer.i32(-126))
        x, n = ov.multiply(x, _power_of_two(step)), ov.subtract(n, step)
    return x


def _ldexp_impl(x, n):
    return np.ldexp(x, np.clip(n, -(2**20), 2**20).astype(np.int32))


# x (float), n (integer): x * 2**n.
ldexp = Primitive(
    "ldexp", impl=in_float32(_ldexp_impl), lower=_lower_ldexp, wide="exact",
    layout=layout.elementwise,
    vjp=lambda g, inputs, output: (unbroadcast(ldexp(g, inputs[1]), inputs[0]), None),
)  # fmt: skip


# Exponent of the smallest normal number, digits after the leading one, largest number.
_FORMATS = {
    Type.f16: (-14, 10, 65504.0),
    Type.bf16: (-126, 7, float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)),
    Type.f32: (-126, 23, float(np.finfo(np.float32).max)),
}


def _lower_nextafter(x, y):
    kind = element(x)
    smallest, digits, largest = _FORMATS[kind]
    x, y = convert(x, Type.f32), convert(y, Type.f32)
    size, zero, tiny = magnitude(x), const(0.0, x), const(2.0**smallest, x)
    index = ov.subtract(ov.bucketize(size, const(_POWERS, x), "i32", False), integer.i32(1))
    power = ov.gather(const(_POWERS, x), ov.maximum(index, integer.i32(0)), ints(0))
    rises = ov.less(x, y)
    shrinks = ov.not_equal(ov.less(x, zero), ov.logical_not(rises))
    # below a power of two the numbers lie twice as dense, but for the smallest
    edge = ov.logical_and(ov.logical_and(shrinks, ov.equal(size, power)), ov.less(tiny, size))
    power = ov.select(edge, ov.multiply(power, const(0.5, x)), ov.maximum(power, tiny))
    step = ov.multiply(power, const(2.0**-digits, x))
    moved = ov.select(rises, ov.add(x, step), ov.subtract(x, step))
    finite = ov.select(rises, const(-largest, x), const(largest, x))
    moved = ov.select(ov.is_inf(x), finite, moved)
    moved = ov.select(ov.equal(x, y), y, moved)
    ordered = ov.logical_and(ov.equal(x, x), ov.equal(y, y))
    return convert(ov.select(ordered, moved, const(np.nan, x)).output(0), kind)


# The neighbour of x1 in the direction of x2.
nextafter = binary("nextafter", _lower_nextafter, lambda g, x, y, out: (g, None))

# x; dtype: a Keras dtype name. The same bytes in row-major order, the last axis longer or shorter.
bitcast = Primitive(
    "bitcast",
    impl=lambda x, *, dtype: np.asarray(x, order="C").view(dtypes.numpy_dtype(dtype)),
    dtype=lambda inputs, attrs: attrs["dtype"],
    nondifferentiable="a view of bits",
    untraceable="OpenVINO does not read the bits of one type as another",
)
