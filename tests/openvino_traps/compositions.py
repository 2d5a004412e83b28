"""What is written instead of the operations that the CPU plugin computes wrong.

Plain OpenVINO; `c` and `f` make scalar constants. Every function here is checked by a test.
"""

import numpy as np
import openvino.opset16 as ops
from openvino import Type


def c(value):
    """An int32 constant."""
    return ops.constant(np.array(value, np.int32))


def f(value):
    """A float32 constant."""
    return ops.constant(np.array(value, np.float32))


def axes(*values):
    """An int64 constant vector: axes, shapes, starts."""
    return ops.constant(np.array(values, np.int64))


def axis(value):
    """An int64 scalar constant."""
    return ops.constant(np.array(value, np.int64))


# Integers. i32 add, subtract, multiply (they wrap), maximum, minimum, bitwise operations,
# cum_sum, topk, reduce_prod and all data movement are exact; comparing with 0 is.
def equal(a, b):
    return ops.equal(ops.bitwise_xor(a, b), c(0))


def less(a, b):
    return ops.not_equal(ops.bitwise_xor(ops.maximum(a, b), a), c(0))


def sign(a):
    """ops.sign goes through a slow float32 reference kernel on integers."""
    return ops.maximum(ops.minimum(a, c(1)), c(-1))


def divmod_floor(a, b):
    """Floor quotient and remainder as NumPy's: (0, 0) for b = 0, MIN // -1 wraps.

    Two float32 estimates: the first leaves a remainder below |b| + 384, the second one off by
    at most one, always to the same side.
    """
    s = sign(b)
    nonzero = ops.multiply(s, s)
    b = ops.add(b, ops.subtract(c(1), nonzero))
    divisor = ops.convert(b, Type.f32)
    estimate = ops.divide(ops.convert(a, Type.f32), divisor)
    q = ops.convert(ops.clamp(estimate, -2147483520.0, 2147483520.0), Type.i32)
    r = ops.subtract(a, ops.multiply(q, b))
    estimate = ops.add(ops.divide(ops.convert(r, Type.f32), divisor), f(0.999))
    up = ops.convert(ops.floor(estimate), Type.i32)
    r = ops.subtract(r, ops.multiply(up, b))
    back = ops.minimum(ops.multiply(sign(r), s), c(0))
    q = ops.add(ops.add(q, up), back)
    r = ops.subtract(r, ops.multiply(back, b))
    return ops.multiply(q, nonzero), ops.multiply(r, nonzero)


def divmod_constant(a, k):
    """As divmod_floor for a Python int |k| >= 4096: one estimate is close enough."""
    estimate = ops.add(ops.divide(ops.convert(a, Type.f32), f(k)), f(0.75))
    q = ops.convert(ops.floor(estimate), Type.i32)
    r = ops.subtract(a, ops.multiply(q, c(k)))
    back = ops.minimum(ops.multiply(sign(r), c(1 if k > 0 else -1)), c(0))
    return ops.add(q, back), ops.subtract(r, ops.multiply(back, c(k)))


def power(base, exponent, bits=31):
    """Square and multiply, wrapping; exponents >= 0 of at most `bits` bits."""
    result = c(1)
    for bit in range(bits):
        chosen = ops.minimum(ops.bitwise_and(exponent, c(1 << bit)), c(1))
        factor = ops.add(ops.multiply(chosen, ops.subtract(base, c(1))), c(1))
        result = ops.multiply(result, factor)
        base = ops.multiply(base, base)
    return result


def reduce_sum(a, at):
    return ops.gather(ops.cum_sum(a, axis(at)), axis(-1), axis(at))


def reduce_max(a, at):
    return ops.squeeze(ops.topk(a, axis(1), at, "max", "value").output(0), axes(at))


def _digits(a):
    """Signed 8-bit digits of an int32, lowest first, as float32."""
    result = []
    for _ in range(4):
        digit = ops.convert(ops.convert(a, Type.i8), Type.i32)
        result.append(ops.convert(digit, Type.f32))
        # a - digit has at most 24 significant bits: exact in float32
        rest = ops.convert(ops.subtract(a, digit), Type.f32)
        a = ops.convert(ops.multiply(rest, f(1 / 256)), Type.i32)
    return result


def matmul(a, b):
    """Exact modulo 2**32 for an inner dimension of at most 1024."""
    left, right = _digits(a), _digits(b)
    total = None
    for weight in range(4):
        for i in range(weight + 1):
            part = ops.convert(ops.matmul(left[i], right[weight - i], False, False), Type.i32)
            part = ops.multiply(part, c(1 << (8 * weight)))
            total = part if total is None else ops.add(total, part)
    return total


def shift_right_logical(a, k):
    """a >> k of the unsigned value, 8 <= k <= 30: 24 bits survive the mask, so the i32
    division, which goes through float32, is exact. The shift nodes cost 60 times as much."""
    mask = np.array((0xFFFFFFFF << k) & 0xFFFFFFFF, np.uint32).view(np.int32)
    shifted = ops.divide(ops.bitwise_and(a, c(mask)), c(1 << k))
    return ops.bitwise_and(shifted, c((1 << (32 - k)) - 1))


def flip(a):
    """Maps unsigned order on the i32 bits to signed order, and back."""
    return ops.bitwise_xor(a, c(-(2**31)))


def wrap16(a):
    return ops.subtract(ops.bitwise_and(ops.add(a, c(32768)), c(65535)), c(32768))


def wrap8(a):
    return ops.convert(ops.convert(a, Type.i8), Type.i32)


def unsigned_to_float(a):
    """The unsigned value of i32 bits in float32, rounded once."""
    high = ops.convert(shift_right_logical(a, 16), Type.f32)
    return ops.add(
        ops.multiply(high, f(65536)), ops.convert(ops.bitwise_and(a, c(65535)), Type.f32)
    )


# Floats.
def maximum(a, b):
    """NaN if either is."""
    return ops.select(ops.is_nan(a), a, ops.select(ops.less_equal(b, a), a, b))


def clip(a, low, high):
    inner = ops.select(ops.less(f(high), a), f(high), a)
    return ops.select(ops.less(a, f(low)), f(low), inner)


def absolute(a):
    """For rank 1: through rank 2."""
    return ops.squeeze(ops.abs(ops.unsqueeze(a, axes(0))), axes(0))


def _split(a):
    """The upper 12 bits of a float32, and the rest: products of such parts are exact."""
    wide = ops.multiply(a, f(4097))
    high = ops.subtract(wide, ops.subtract(wide, a))
    return high, ops.subtract(a, high)


def float_divmod_floor(a, b):
    """Floor quotient and remainder of float32, as NumPy's where |a / b| < 2**23."""
    zero, one = f(0), f(1)
    estimate = ops.divide(a, b)
    # towards zero: with floor, -1 + 1e30 would be 1e30 before it is compared with 1e30
    q = ops.select(ops.less(estimate, zero), ops.ceiling(estimate), ops.floor(estimate))
    r = a
    high_q, low_q = _split(q)
    high_b, low_b = _split(b)
    for u, v in ((high_q, high_b), (high_q, low_b), (low_q, high_b), (low_q, low_b)):
        r = ops.subtract(r, ops.multiply(u, v))
    step = ops.select(ops.logical_xor(ops.less(r, zero), ops.less(b, zero)), f(-1), one)
    step = ops.select(ops.less_equal(ops.abs(b), ops.abs(r)), step, zero)
    q, r = ops.add(q, step), ops.subtract(r, ops.multiply(step, b))
    apart = ops.logical_xor(ops.less(r, zero), ops.less(b, zero))
    below = ops.logical_and(ops.not_equal(r, zero), apart)
    r = ops.select(below, ops.add(r, b), r)
    q = ops.select(below, ops.subtract(q, one), q)
    # an infinite divisor: a itself, or one step back to the divisor's side
    infinite = ops.logical_and(ops.is_inf(b), ops.less(ops.abs(a), f(np.inf)))
    same = ops.equal(ops.less(a, zero), ops.less(b, zero))
    same = ops.logical_or(ops.equal(a, zero), same)
    r = ops.select(infinite, ops.select(same, a, b), r)
    q = ops.select(infinite, ops.select(same, zero, f(-1)), q)
    by_zero = ops.equal(b, zero)
    r = ops.select(by_zero, f(np.nan), r)
    q = ops.select(by_zero, ops.divide(a, b), ops.select(ops.is_nan(r), r, q))
    return q, r


def exp(a):
    half = ops.exp(ops.multiply(a, f(0.5)))
    finite = ops.select(ops.less(f(88), a), ops.multiply(half, half), ops.exp(a))
    return ops.select(ops.is_nan(a), a, finite)


def is_finite(a):
    return ops.less(ops.abs(a), f(np.inf))


def float_reduce_max(a, at):
    """NaN if any is, -inf if all are."""
    missing = ops.is_nan(a)
    top = reduce_max(ops.select(missing, f(np.inf), a), at)
    return ops.select(ops.reduce_logical_or(missing, axes(at)), f(np.nan), top)


def log1p(a):
    u = ops.add(a, f(1))
    rest = ops.divide(ops.subtract(a, ops.subtract(u, f(1))), u)
    y = ops.select(ops.equal(u, f(0)), f(-np.inf), ops.add(ops.log(u), rest))
    return ops.select(ops.less(ops.abs(u), f(np.inf)), y, u)


def softplus(a):
    """exp is squared out of exp(-|a| / 2): log(1 + exp) would be fused into SoftPlus again."""
    half = ops.exp(ops.multiply(ops.abs(a), f(-0.5)))
    return ops.add(ops.select(ops.less(a, f(0)), f(0), a), log1p(ops.multiply(half, half)))


def round_to_bfloat16(a):
    """The nearest bfloat16 (ties to even), still in float32: Veltkamp's splitting."""
    big = ops.less(f(2.0**100), ops.abs(a))
    scaled = ops.select(big, ops.multiply(a, f(2.0**-64)), a)
    wide = ops.multiply(scaled, f(65537))
    near = ops.subtract(wide, ops.subtract(wide, scaled))
    near = ops.select(big, ops.multiply(near, f(2.0**64)), near)
    # the bits of a NaN that Convert would cut off or carry over may be all it has
    other = ops.select(ops.is_nan(a), f(np.nan), a)
    return ops.select(ops.less(ops.abs(a), f(np.inf)), near, other)


def reduce_sum_flat(a):
    """The sum of a vector of any length, in two steps. Without the unsqueeze between them the
    two reductions are merged into one again."""
    missing = ops.floor_mod(ops.negative(ops.shape_of(a)), axes(1024))
    padded = ops.pad(a, axes(0), missing, "constant", f(0))
    rows = ops.reduce_sum(ops.reshape(padded, axes(-1, 1024), False), axes(1))
    return ops.reduce_sum(ops.unsqueeze(rows, axes(0)), axes(0, 1))


# Control flow.
def loop_rows(rows, trips, row_shape):
    """A Loop's concatenated output where `trips` (0-d i32) may be 0: then it holds the rows of
    the run before, or none of a lost shape."""
    count = ops.unsqueeze(ops.convert(trips, Type.i64), axes(0))
    kept = ops.slice(rows, axes(0), count, axes(1), axes(0))
    return ops.reshape(kept, ops.concat([count, row_shape], 0), False)
