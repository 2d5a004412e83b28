"""Evenly and geometrically spaced sequences, and the matrix of powers."""

from __future__ import annotations

import operator

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops.core.axes import axis_index
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, result_type, to_dtype
from kerasvino.backend.ops.numpy.arithmetic import add, divide, multiply, power, subtract
from kerasvino.backend.ops.numpy.creation import arange, dtype_or, hosted
from kerasvino.backend.ops.numpy.elementwise import absolute, exp, floor, log, sign
from kerasvino.backend.ops.numpy.shaping import expand_dims, moveaxis
from kerasvino.primitives.shape import lengths
from kerasvino.tensor import Tensor

__all__ = ["geomspace", "linspace", "logspace", "vander"]


def _operands(start, stop, dtype):
    """(start, stop, dtype of the result); plain values as NumPy's when neither is a graph's."""
    # a Python number would be rounded to the default float
    exact = "float64" if dtype is not None and dtype_or(dtype) == "float64" else None
    start, stop = (
        convert_to_tensor(v, exact if isinstance(v, (int, float)) else None) for v in (start, stop)
    )
    dtype = dtype_or(dtype, result_type(start.dtype, stop.dtype, float))
    if any(t.is_symbolic or t.record is not None for t in (start, stop)):
        return cast(start, _float(dtype)), cast(stop, _float(dtype)), dtype
    return start.numpy(), stop.numpy(), dtype


def _float(dtype):
    return result_type(dtype, float)


def _count(num):
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"`num` is not negative; given: {num}.")
    return num


def _result(samples, dtype):
    if isinstance(samples, Tensor):
        return to_dtype(floor(samples) if dtypes.is_integer(dtype) else samples, dtype)
    return hosted(samples, dtype)


def _line(start, stop, num, endpoint, axis):
    """(samples, step) for tensors."""
    parts = num - 1 if endpoint else num
    step = divide(subtract(stop, start), max(parts, 1))
    samples = multiply(expand_dims(step, -1), cast(arange(num), step.dtype))
    samples = add(samples, expand_dims(start, -1))
    return moveaxis(samples, -1, axis), step


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    """`keras.ops.linspace`; with `retstep` a tuple of the samples and their distance."""
    num = _count(num)
    start, stop, dtype = _operands(start, stop, dtype)
    if isinstance(start, Tensor):
        samples, step = _line(start, stop, num, endpoint, axis)
    else:
        kind = dtypes.numpy_dtype(dtype) if dtypes.is_integer(dtype) else None
        samples, step = np.linspace(start, stop, num, endpoint, True, kind, axis)
        step = hosted(step, _float(dtype))
    samples = _result(samples, dtype)
    return (samples, step) if retstep else samples


def logspace(start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0):
    """`keras.ops.logspace`: powers of `base` with evenly spaced exponents."""
    num = _count(num)
    start, stop, dtype = _operands(start, stop, dtype)
    if isinstance(start, Tensor):
        return _result(
            power(cast(base, start.dtype), _line(start, stop, num, endpoint, axis)[0]), dtype
        )
    return _result(np.logspace(start, stop, num, endpoint, base, None, axis), dtype)


def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """`keras.ops.geomspace`: each sample a constant multiple of the one before; not through 0."""
    num = _count(num)
    start, stop, dtype = _operands(start, stop, dtype)
    if isinstance(start, Tensor):
        exponents, _ = _line(log(absolute(start)), log(absolute(stop)), num, endpoint, axis)
        signs = expand_dims(sign(add(start, multiply(stop, 0))), axis_index(axis, exponents.ndim))
        return _result(multiply(exp(exponents), signs), dtype)
    return _result(np.geomspace(start, stop, num, endpoint, None, axis), dtype)


def vander(x, N=None, increasing=False):
    """`keras.ops.vander`: powers of x along a new last axis, from N - 1 down to 0."""
    x = convert_to_tensor(x)
    exponents = arange(lengths(x)[0] if N is None else _count(N))
    exponents = exponents if increasing else exponents[::-1]
    return power(expand_dims(x, -1), cast(exponents, x.dtype))
