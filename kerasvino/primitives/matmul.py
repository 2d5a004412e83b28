"""The primitive `matmul`: matrix products of stacks of matrices, exact for integers."""

from __future__ import annotations

import math

import numpy as np
from openvino import Output, Type

from kerasvino import dtypes
from kerasvino.nodes import integer
from kerasvino.nodes.lowering import (
    const,
    convert,
    dims,
    element,
    ints,
    is_integer,
    ov,
    rank,
    transposed,
)  # fmt: skip
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.unbroadcast import unbroadcast

__all__ = ["integer_product", "matmul"]

# Integer contractions of unknown length are exact up to this many terms.
_MANY = 1 << 18
# Largest magnitudes of the types whose products float32 sums exactly, if there are not too many.
_LARGEST = {Type.i8: 128, Type.u8: 255, np.dtype(np.int8): 128, np.dtype(np.uint8): 255}


def _impl(x, y, *, transpose_x=False, transpose_y=False, dtype=None):
    if transpose_x:
        x = x.swapaxes(-1, -2)
    if transpose_y:
        y = y.swapaxes(-1, -2)
    kind = x.dtype
    wanted = kind if dtype is None else dtypes.numpy_dtype(dtype)
    if kind in _LARGEST and y.dtype in _LARGEST and x.shape[-1]:
        # NumPy multiplies integers in a plain loop
        pairs = _pieces(x, y, lambda array, axis, at: np.split(array, at, axis))
        products = (np.matmul(a.astype(np.float32), b.astype(np.float32)) for a, b in pairs)
        return sum(product.astype(np.int32) for product in products).astype(wanted)
    if kind != wanted:
        return np.matmul(x, y, dtype=wanted)
    if kind.itemsize < 4 and kind.kind in "fV":
        # NumPy has no fast product of 16-bit floats.
        return np.matmul(x.astype(np.float32), y.astype(np.float32)).astype(kind)
    if y.ndim == 2 < x.ndim:
        # one product instead of one for each matrix of the stack
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        return np.matmul(rows, y).reshape(*x.shape[:-1], y.shape[1])
    return np.matmul(x, y)


def _lower(x, y, *, transpose_x=False, transpose_y=False, dtype=None):
    kind = element(x) if dtype is None else dtypes.graph_type(dtype)
    x, y = _of_one_length(x, y, -2 if transpose_x else -1, -1 if transpose_y else -2)
    shape = _empty_product(dims(x), dims(y), transpose_x, transpose_y)
    if shape is not None:
        return const(np.zeros(shape), kind)
    if is_integer(x):
        x, y = (_swapped(v, t) for v, t in ((x, transpose_x), (y, transpose_y)))
        return _integers(x, y, kind)

    def product(x, y):
        if dims(x)[-2 if transpose_x else -1] == 1 or dims(y)[-1 if transpose_y else -2] == 1:
            # an outer product; as MatMul the CPU plugin fails to compile chains of them
            return ov.multiply(_swapped(x, transpose_x), _swapped(y, transpose_y))
        if transpose_x and not transpose_y and _is_wide(x, y):
            return ov.transpose(ov.matmul(y, x, True, False), ints([1, 0]))
        return ov.matmul(x, y, transpose_x, transpose_y)

    if kind == Type.boolean:
        count = product(convert(x, Type.f32), convert(y, Type.f32))
        return ov.not_equal(count, const(0, Type.f32))
    return product(x, y)


def _of_one_length(x, y, of_x, of_y):
    """The operands, known to be as long as each other along the axes that are summed over.

    Where a length is unknown, the CPU plugin reads as many elements as the other operand has; a
    Reshape refuses what does not fit.
    """
    left, right = dims(x)[of_x], dims(y)[of_y]
    if left is None and right:
        x = _as_long(x, of_x, right)
    elif right is None and left:
        y = _as_long(y, of_y, left)
    return x, y


def _as_long(x, axis, length):
    shape = [0] * rank(x)  # as it is
    shape[axis] = length
    return ov.reshape(x, ints(shape), special_zero=True).output(0)


def _empty_product(left, right, transpose_x, transpose_y):
    """Shape of a product known to sum nothing, which the CPU plugin may refuse; else None."""
    if left[-2 if transpose_x else -1] != 0 or None in left + right:
        return None
    rows, columns = left[-1 if transpose_x else -2], right[-2 if transpose_y else -1]
    return (*np.broadcast_shapes(left[:-2], right[:-2]), rows, columns)


def _is_wide(x, y):
    """Whether x' y is known to have many more columns than rows: y' x, transposed, is faster then.

    For (4096, 128)' (4096, 5000) it takes 47 ms instead of 73, with 512 columns as long.
    """
    if rank(x) != 2 or rank(y) != 2 or None in dims(x) + dims(y):
        return False
    return dims(y)[1] >= 16 * dims(x)[1] > 16


def _swapped(x, swap):
    width = rank(x)
    return transposed(x, [*range(width - 2), width - 1, width - 2]) if swap else x


def _pieces(x, y, split):
    """Pairs of parts of 8-bit operands, whose products have sums below 2**24, exact in float32.

    `split(array, axis, at)` gives the parts between the positions `at`.
    """
    kinds = [v.get_element_type() if isinstance(v, Output) else v.dtype for v in (x, y)]
    most = 2**24 // (_LARGEST[kinds[0]] * _LARGEST[kinds[1]])
    terms = dims(x)[-1] if isinstance(x, Output) else x.shape[-1]
    at = list(range(most, terms, most))
    return [(x, y)] if not at else list(zip(split(x, -1, at), split(y, -2, at), strict=True))


def _split(x, axis, at):
    lengths = np.diff([0, *at, dims(x)[axis]])
    return ov.variadic_split(x, ints(axis % rank(x)), ints(lengths.tolist())).outputs()


def _bytes_product(x, y, kind):
    """The product of 8-bit operands, one of float32 for so many terms as it sums exactly."""
    total = None
    for left, right in _pieces(x, y, _split):
        product = ov.matmul(convert(left, Type.f32), convert(right, Type.f32), False, False)
        term = convert(product.output(0), Type.i32)
        total = term if total is None else ov.add(total, term).output(0)
    return integer.narrow(total, kind)


def _integers(x, y, kind):
    terms = dims(x)[-1]
    if terms and element(x) in _LARGEST and element(y) in _LARGEST:
        return _bytes_product(x, y, kind)
    return integer_product(
        x, y, kind, _MANY if terms is None else terms,
        lambda left, right: ov.matmul(left, right, False, False),
    )  # fmt: skip


def integer_product(x, y, kind, terms: int, product) -> Output:
    """A bilinear operation on integers, wrapping as `kind` does, from float32 ones on their digits.

    Args:
        x, y: integer operands.
        kind: element type of the result.
        terms: how many products each element of the result sums; with few of them digits are wide.
        product: the operation on f32 operands.
    """
    # Sums of `terms` products of digits of at most 2**(bits - 1) stay within 2**24, where float32
    # is exact in whatever order it adds.
    bits = max(2, (24 - max(terms - 1, 0).bit_length()) // 2 + 1)
    width = min(8 * kind.get_size(), 32)
    left, right = _digits(x, bits, width), _digits(y, bits, width)
    total = None
    for i, low in enumerate(left):
        for j, high in enumerate(right):
            place = bits * (i + j)
            if place >= width:
                continue
            term = convert(product(low, high).output(0), Type.i32)
            if place:
                term = ov.multiply(term, integer.i32(1 << place)).output(0)
            total = term if total is None else ov.add(total, term).output(0)
    return integer.narrow(total, kind)


def _digits(x, bits, width):
    """Digits of x to base 2**bits as f32, lowest first, none above half the base in magnitude.

    They make up x modulo 2**width, and x itself where it is signed and narrower than that.
    """
    narrow = min(8 * element(x).get_size(), width) if element(x) in (Type.i8, Type.i16) else width
    half, mask, count = 1 << bits - 1, (1 << bits) - 1, -(-narrow // bits)
    rest, found = integer.widen(x), []
    for place in range(count):
        digit = rest
        if place < count - 1 or narrow == width:
            low = ov.bitwise_and(ov.add(rest, integer.i32(half)), integer.i32(mask))
            digit = ov.subtract(low, integer.i32(half)).output(0)
            rest = _shifted_down(ov.subtract(rest, digit), bits)
        found.append(convert(digit, Type.f32))
    return found


def _shifted_down(x, bits):
    """x / 2**bits of an i32 multiple of 2**bits; shift nodes are a hundred times slower."""
    if bits < 8:
        return ov.bitwise_right_shift(x, integer.i32(bits)).output(0)
    # At most 24 significant bits are left: float32 holds them.
    scale = const(2.0**-bits, Type.f32)
    return convert(ov.multiply(ov.convert(x, "f32"), scale).output(0), Type.i32)


def _layout(trace, inputs, attrs):
    """A pending swap of the last two axes turns into a flag."""
    attrs, operands = dict(attrs), []
    for tensor, flag in zip(inputs, ("transpose_x", "transpose_y"), strict=True):
        output, permutation = trace.physical(tensor)
        if permutation is not None:
            last = len(permutation) - 1
            if permutation == (*range(last - 1), last, last - 1):
                attrs[flag] = not attrs.get(flag, False)
            else:
                output = trace.output(tensor)
        operands.append(output)
    return operands, attrs, None


def _rows(x):
    """A stack of matrices as one with all their rows."""
    from kerasvino.primitives.shape import lengths, reshape

    return reshape(x, shape=(-1, lengths(x)[-1]))


def _vjp(g, inputs, output, *, transpose_x=False, transpose_y=False, dtype=None):
    x, y = inputs
    if transpose_x:
        dx = matmul(y, g, transpose_x=transpose_y, transpose_y=True)
    else:
        dx = matmul(g, y, transpose_y=not transpose_y)
        if y.ndim == 2 < x.ndim:
            # one product that sums over the stack: a product for each and their sum take twice that
            x, g = _rows(x), _rows(g)
    if transpose_y:
        dy = matmul(g, x, transpose_x=True, transpose_y=transpose_x)
    else:
        dy = matmul(x, g, transpose_x=not transpose_x)
    return unbroadcast(dx, inputs[0]), unbroadcast(dy, y)


# x (..., M, K) and y (..., K, N), of rank 2 or more, leading axes broadcast; transpose_x and
# transpose_y say that the last two axes are stored swapped; dtype: of the result where it is wider
# than that of integer operands. Integers wrap, booleans answer whether any product is True.
matmul = Primitive(
    "matmul", impl=_impl, lower=_lower, wide="lower", layout=_layout, vjp=_vjp,
    dtype=lambda inputs, attrs: attrs.get("dtype") or inputs[0],
)  # fmt: skip
