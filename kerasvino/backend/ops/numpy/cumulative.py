"""Cumulative sums and products, differences."""

from __future__ import annotations

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.ops.numpy.reductions import reduced_axes
from kerasvino.primitives import compare
from kerasvino.primitives import cumulative as p
from kerasvino.primitives.arithmetic import subtract
from kerasvino.primitives.shape import reshape
from kerasvino.primitives.unbroadcast import constant_like

__all__ = ["cumprod", "cumsum", "diff", "nancumprod", "nancumsum"]


def _cumulative(name, primitive, neutral=None):
    """The contract function `name`; with `neutral` it takes the place of NaN."""

    def function(x, axis=None, dtype=None):
        x = convert_to_tensor(x)
        dtype = dtype or x.dtype
        x = to_dtype(x, "int32" if dtype == "bool" else dtype)
        if neutral is not None and dtypes.is_float(x.dtype):
            x = compare.select(compare.isnan(x), constant_like(neutral, x), x)
        if axis is None:
            x, axis = reshape(x, shape=(-1,)), 0
        return primitive(x, axis=reduced_axes(x, axis)[0], reverse=False)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`keras.ops.{name}`; without `axis` of the flattened tensor."
    return function


cumsum = _cumulative("cumsum", p.cumsum)
cumprod = _cumulative("cumprod", p.cumprod)
nancumsum = _cumulative("nancumsum", p.cumsum, 0)
nancumprod = _cumulative("nancumprod", p.cumprod, 1)


def diff(a, n=1, axis=-1):
    """`keras.ops.diff`: differences of neighbours along an axis, taken n times."""
    x = convert_to_tensor(a)
    if n < 0:
        raise ValueError(f"`n` must not be negative; given: {n}.")
    (axis,) = reduced_axes(x, axis)
    before, after = ([slice(None)] * x.ndim for _ in range(2))
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    for _ in range(n):
        high, low = x[tuple(after)], x[tuple(before)]
        x = compare.not_equal(high, low) if x.dtype == "bool" else subtract(high, low)
    return x
