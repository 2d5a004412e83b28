"""Primitives on the digits of numbers: ldexp, nextafter, gcd, lcm, bit patterns, complex parts."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import openvino
from openvino import Type

from kerasvino import dtypes
from kerasvino.nodes import integer
from kerasvino.nodes.floating import magnitude
from kerasvino.nodes.lowering import const, convert, dims, element, ints, ov
from kerasvino.primitives import layout
from kerasvino.primitives.arithmetic import absolute, binary, multiply, sign
from kerasvino.primitives.cast import cast
from kerasvino.primitives.core import Primitive, defvjp
from kerasvino.primitives.unbroadcast import constant_like, unbroadcast
from kerasvino.primitives.wide import in_float32

__all__ = ["bitcast", "conjugate", "gcd", "imag", "lcm", "ldexp", "nextafter", "real"]

# -- floats by their binary digits

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

# -- greatest common divisor


def _euclid(x, y):
    """gcd of u32 carried in i32: a loop that ends when all remainders are 0."""
    a = ov.bitwise_or(x, ov.bitwise_and(y, integer.i32(0)))
    b = ov.bitwise_or(y, ov.bitwise_and(x, integer.i32(0)))
    if 0 in dims(a.output(0)):
        return a.output(0)
    shape = a.get_output_partial_shape(0)
    index = ov.parameter([], Type.i64)
    inner = inner_a, inner_b = ov.parameter(shape, Type.i32), ov.parameter(shape, Type.i32)
    done = ov.equal(inner_b, integer.i32(0))
    rest = integer.divmod_unsigned(inner_a.output(0), inner_b.output(0))[1]
    next_a = ov.result(integer.select(done, inner_a, inner_b))
    next_b = ov.result(rest)
    left = ov.reshape(ov.not_equal(rest, integer.i32(0)), ints([-1]), special_zero=False)
    proceed = ov.result(ov.reduce_logical_or(left, ints([0]), keep_dims=False))
    body = openvino.Model([next_a, next_b, proceed], [index, *inner])
    loop = ov.loop(integer.i32(64), const(True, Type.boolean))
    loop.set_function(body)
    loop.set_special_body_ports([0, 2])
    loop.set_merged_input(inner_a, a.output(0), next_a.output(0))
    loop.set_merged_input(inner_b, b.output(0), next_b.output(0))
    return loop.get_iter_value(next_a.output(0), -1)


def _sizes(x, y):
    kind = element(x)
    operands = integer.widen(x), integer.widen(y)
    if not integer.is_unsigned(kind):
        operands = tuple(magnitude(v).output(0) for v in operands)
    return *operands, kind


def _lower_gcd(x, y):
    x, y, kind = _sizes(x, y)
    return integer.narrow(_euclid(x, y), kind)


def _lower_lcm(x, y):
    x, y, kind = _sizes(x, y)
    parts = integer.divmod_unsigned(x, _euclid(x, y))[0]
    return integer.narrow(ov.multiply(parts, y), kind)


def _integers(name, lower):
    return Primitive(
        name, impl=getattr(np, name), lower=lower, layout=layout.elementwise,
        nondifferentiable="integer result",
    )  # fmt: skip


gcd = _integers("gcd", _lower_gcd)
lcm = _integers("lcm", _lower_lcm)

# -- on the host only: graphs have no complex numbers and no reinterpretation of bits

_PART = {"complex64": "float32", "complex128": "float64"}


def _complex(name, dtype, vjp):
    return Primitive(
        name, impl=getattr(np, name), dtype=dtype, layout=None,
        vjp=lambda g, inputs, output: (vjp(g, inputs[0].dtype),),
    )  # fmt: skip


def _part(inputs, attrs):
    return _PART[inputs[0]]


# Of complex numbers.
conjugate = _complex("conjugate", None, lambda g, dtype: conjugate(g))
real = _complex("real", _part, lambda g, dtype: cast(g, dtype=dtype))


def _imag_vjp(g, dtype):
    g = cast(g, dtype=dtype)
    return multiply(g, constant_like(-1j, g))


imag = _complex("imag", _part, _imag_vjp)


def _absolute_vjp(g, x):
    if x.dtype.startswith("complex"):
        return cast(g, dtype=x.dtype) * conjugate(sign(x))
    return g * sign(x)


defvjp(absolute, lambda g, inputs, output: (_absolute_vjp(g, inputs[0]),))

# x; dtype: a Keras dtype name. The same bytes in row-major order, the last axis longer or shorter.
bitcast = Primitive(
    "bitcast",
    impl=lambda x, *, dtype: np.asarray(x, order="C").view(dtypes.numpy_dtype(dtype)),
    dtype=lambda inputs, attrs: attrs["dtype"],
    nondifferentiable="a view of bits",
    untraceable="OpenVINO does not read the bits of one type as another",
)
