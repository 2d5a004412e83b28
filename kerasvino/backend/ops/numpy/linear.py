"""Products of vectors, matrices and tensors."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops.core.axes import axis_index
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, result_type, to_dtype
from kerasvino.backend.ops.numpy.contraction import contract, is_int8
from kerasvino.backend.ops.numpy.diagonals import diagonal
from kerasvino.backend.ops.numpy.shaping import moveaxis
from kerasvino.primitives import linalg
from kerasvino.primitives import matmul as p
from kerasvino.primitives.arithmetic import multiply, negative, subtract
from kerasvino.primitives.complex_parts import conjugate
from kerasvino.primitives.indexing import gather, slice_
from kerasvino.primitives.join import concatenate, pad
from kerasvino.primitives.reduce import reduce_sum
from kerasvino.primitives.shape import expand_dims, lengths, reshape, squeeze
from kerasvino.tensor import Tensor

__all__ = [
    "correlate", "cross", "dot", "inner", "kron", "matmul", "outer", "slogdet", "tensordot",
    "trace", "vdot",
]  # fmt: skip


def matmul(x1, x2):
    """`keras.ops.matmul`; the product of int8 matrices is int32."""
    bytes_only = is_int8(x1) and is_int8(x2)
    x1, x2 = promote(x1, x2)
    shape1, shape2 = x1.shape, x2.shape
    ranks = len(shape1), len(shape2)
    if not shape1 or not shape2:
        raise ValueError(
            f"matmul takes operands of rank 1 or more; the shapes are {shape1} and {shape2}. "
            "Use multiply for scalars."
        )
    n, m = shape1[-1], shape2[-2 if ranks[1] > 1 else 0]
    if n != m and n is not None and m is not None:
        raise ValueError(
            f"matmul: the last axis of x1, of length {n}, and the rows of x2, {m}, must be equal; "
            f"the shapes are {shape1} and {shape2}."
        )
    if ranks[0] == 1:
        x1 = expand_dims(x1, axis=(0,))
    if ranks[1] == 1:
        x2 = expand_dims(x2, axis=(1,))
    result = p.matmul(x1, x2, dtype="int32") if bytes_only else p.matmul(x1, x2)
    if 1 not in ranks:
        return result
    dropped = [result.ndim - 2] * (ranks[0] == 1) + [result.ndim - 1] * (ranks[1] == 1)
    return squeeze(result, axis=tuple(dropped))


def tensordot(x1, x2, axes=2):
    """`keras.ops.tensordot`: the sum of products over `axes`, a number or two lists of axes."""
    x1, x2 = promote(x1, x2)
    if isinstance(axes, int):
        first, second = range(x1.ndim - axes, x1.ndim), range(axes)
    else:
        first, second = ([a] if isinstance(a, int) else list(a) for a in axes)
    if len(first) != len(second) or len(first) > min(x1.ndim, x2.ndim):
        raise ValueError(
            f"tensordot sums as many axes of x1 as of x2; axes={axes!r} of shapes {x1.shape} and "
            f"{x2.shape}."
        )
    return _summed_over(
        x1, [axis_index(a, x1.ndim) for a in first],
        x2, [axis_index(a, x2.ndim) for a in second],
    )  # fmt: skip


def _summed_over(x, x_axes, y, y_axes):
    for i, j in zip(x_axes, y_axes, strict=True):
        if x.shape[i] != y.shape[j] and None not in (x.shape[i], y.shape[j]):
            raise ValueError(
                f"Axis {i} of shape {x.shape} and axis {j} of shape {y.shape} differ in length."
            )
    left = [("x", i) for i in range(x.ndim)]
    right = [("y", i) for i in range(y.ndim)]
    for i, j in zip(x_axes, y_axes, strict=True):
        right[j] = left[i]
    summed = {left[i] for i in x_axes}
    result = [label for label in left + right if label not in summed]
    return contract(x, left, y, right, result)


def dot(x1, x2):
    """`keras.ops.dot`: over the last axis of x1 and the last but one of x2 (its only one)."""
    x1, x2 = promote(x1, x2)
    if 0 in (x1.ndim, x2.ndim):
        return multiply(x1, x2)
    return _summed_over(x1, [x1.ndim - 1], x2, [max(x2.ndim - 2, 0)])


def inner(x1, x2):
    """`keras.ops.inner`: over the last axes."""
    x1, x2 = promote(x1, x2)
    if 0 in (x1.ndim, x2.ndim):
        return multiply(x1, x2)
    return _summed_over(x1, [x1.ndim - 1], x2, [x2.ndim - 1])


def _flat(x):
    return reshape(x, shape=(-1,))


def vdot(x1, x2):
    """`keras.ops.vdot`: of the flattened operands, the first one conjugated."""
    x1, x2 = promote(x1, x2)
    if dtypes.TABLE[x1.dtype].kind == "c":
        x1 = conjugate(x1)
    return _summed_over(_flat(x1), [0], _flat(x2), [0])


def outer(x1, x2):
    """`keras.ops.outer`: all products of the flattened operands."""
    x1, x2 = promote(x1, x2)
    return multiply(expand_dims(_flat(x1), axis=(1,)), expand_dims(_flat(x2), axis=(0,)))


def kron(x1, x2):
    """`keras.ops.kron`: x2 scaled by each element of x1, laid out as blocks."""
    x1, x2 = promote(x1, x2)
    rank = max(x1.ndim, x2.ndim)
    x1, x2 = (expand_dims(x, axis=tuple(range(rank - x.ndim))) for x in (x1, x2))
    blocks = multiply(
        expand_dims(x1, axis=tuple(range(1, 2 * rank, 2))),
        expand_dims(x2, axis=tuple(range(0, 2 * rank, 2))),
    )
    pairs = zip(lengths(x1), lengths(x2), strict=True)
    return reshape(blocks, shape=tuple(_times(n, m) for n, m in pairs))


def _times(n, m):
    if isinstance(n, int) and isinstance(m, int):
        return n * m
    return multiply(convert_to_tensor(n, "int32"), convert_to_tensor(m, "int32"))


def cross(x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """`keras.ops.cross` of vectors of 2 or 3 components; of two of 2, its only one."""
    x1, x2 = promote(x1, x2)
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = _components(x1, axisa, "x1"), _components(x2, axisb, "x2")
    rank = max(a[0].ndim, b[0].ndim)
    a, b = ([_padded(c, rank) for c in components] for components in (a, b))
    if len(a) == len(b) == 2:
        return squeeze(_minor(a, b, 0, 1), axis=(rank - 1,))
    parts = [_minor(a, b, i, j) for i, j in ((1, 2), (2, 0), (0, 1))]
    return moveaxis(concatenate(*parts, axis=rank - 1), -1, axisc)


def _components(x, axis, name):
    """The 2 or 3 components along an axis, each with that axis last and of length 1."""
    count = x.shape[axis]
    if count not in (2, 3):
        raise ValueError(
            f"cross takes vectors of 2 or 3 components; axis {axis} of {name} has length {count}."
        )
    x = moveaxis(x, axis, -1)
    last = (x.ndim - 1,)
    return [slice_(x, axis=last, starts=(i,), stops=(i + 1,), steps=(1,)) for i in range(count)]


def _padded(x, rank):
    return expand_dims(x, axis=tuple(range(rank - x.ndim))) if x.ndim < rank else x


def _minor(a, b, i, j):
    """a[i] * b[j] - a[j] * b[i], where a component that one of them lacks is 0."""
    first, second = (
        multiply(a[k], b[m]) if k < len(a) and m < len(b) else None for k, m in ((i, j), (j, i))
    )
    if first is None:
        return negative(second)
    return first if second is None else subtract(first, second)


def trace(x, offset=0, axis1=0, axis2=1):
    """`keras.ops.trace`: the sum of a diagonal; narrow integers and booleans in 32 bits."""
    x = convert_to_tensor(x)
    wide = {"u": "uint32", "i": "int32", "b": "int32"}
    row = dtypes.TABLE[x.dtype]
    if row.kind in wide and row.bits < 32:
        x = to_dtype(x, wide[row.kind])
    found = diagonal(x, offset, axis1, axis2)
    return reduce_sum(found, axis=(found.ndim - 1,), keepdims=False)


def correlate(x1, x2, mode="valid"):
    """`keras.ops.correlate` of two vectors of known length; the result is a float."""
    x1, x2 = promote(x1, x2)
    kind = {"int64": "float64"}.get(x1.dtype, "float32")
    if dtypes.TABLE[x1.dtype].kind not in "fc":
        x1, x2 = to_dtype(x1, kind), to_dtype(x2, kind)
    if x1.ndim != 1 or x2.ndim != 1 or None in (*x1.shape, *x2.shape):
        raise ValueError(
            f"correlate takes two vectors of known length; the shapes are {x1.shape}, {x2.shape}."
        )
    n, m = x1.shape[0], x2.shape[0]
    # (first, length) of the result within that of mode "full", whose element i is at lag i - m + 1
    longer, shorter = max(n, m), min(n, m)
    ranges = {
        "full": (0, n + m - 1),
        "same": ((m - 1) // 2 if n >= m else n // 2, longer),
        "valid": (shorter - 1, longer - shorter + 1),
    }
    if mode not in ranges:
        raise ValueError(f"`mode` must be one of {', '.join(ranges)}; given: {mode!r}.")
    first, count = ranges[mode]
    padded = pad(x1, pads=((m - 1, m - 1),), mode="constant", value=0)
    places = first + np.arange(count)[:, None] + np.arange(m)
    windows = gather(padded, Tensor._wrap(places.astype(np.int32)), axis=0)
    if dtypes.TABLE[x2.dtype].kind == "c":
        x2 = conjugate(x2)
    return squeeze(p.matmul(windows, expand_dims(x2, axis=(1,))), axis=(1,))


def slogdet(x):
    """`keras.ops.slogdet`: sign and logarithm of the magnitude of the determinant."""
    x = convert_to_tensor(x)
    dtype = result_type(x.dtype, float)
    return linalg.slogdet(to_dtype(x, "float32" if dtype in ("float16", "bfloat16") else dtype))
