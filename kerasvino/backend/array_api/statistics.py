"""Functions of the standard that reduce and accumulate."""

from __future__ import annotations

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.ops.numpy.elementwise import sqrt
from kerasvino.backend.ops.numpy.methods import variance
from kerasvino.primitives.shape import lengths

__all__ = [
    "all", "any", "cumulative_prod", "cumulative_sum", "diff", "max", "mean", "min", "prod", "std",
    "sum", "var",
]  # fmt: skip


def sum(x, /, *, axis=None, dtype=None, keepdims=False):
    return convert_to_tensor(x).sum(axis, dtype, keepdims=keepdims)


def prod(x, /, *, axis=None, dtype=None, keepdims=False):
    return convert_to_tensor(x).prod(axis, dtype, keepdims=keepdims)


def max(x, /, *, axis=None, keepdims=False):
    return knp.max(x, axis, keepdims)


def min(x, /, *, axis=None, keepdims=False):
    return knp.min(x, axis, keepdims)


def mean(x, /, *, axis=None, keepdims=False):
    return knp.mean(x, axis, keepdims)


def var(x, /, *, axis=None, correction=0.0, keepdims=False):
    return variance(convert_to_tensor(x), axis, correction, keepdims)


def std(x, /, *, axis=None, correction=0.0, keepdims=False):
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def all(x, /, *, axis=None, keepdims=False):
    return knp.all(x, axis, keepdims)


def any(x, /, *, axis=None, keepdims=False):
    return knp.any(x, axis, keepdims)


def _cumulative(name, neutral):
    def function(x, /, *, axis=None, dtype=None, include_initial=False):
        x = convert_to_tensor(x)
        if axis is None:
            if x.ndim > 1:
                raise ValueError(f"`{name}` needs an `axis` of a tensor of rank {x.ndim}.")
            x, axis = knp.ravel(x), 0
        if dtype is None:
            dtype = knp.reductions.accumulated(x.dtype)
        found = getattr(x, "cumsum" if neutral == 0 else "cumprod")(axis, dtype)
        if not include_initial:
            return found
        shape = list(lengths(found))
        shape[axis] = 1
        return knp.concatenate([knp.full(shape, neutral, found.dtype), found], axis)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}`; with `include_initial` it begins with {neutral}."
    return function


cumulative_sum = _cumulative("cumulative_sum", 0)
cumulative_prod = _cumulative("cumulative_prod", 1)


def diff(x, /, *, axis=-1, n=1, prepend=None, append=None):
    """Differences of neighbours, n times, of x between `prepend` and `append`."""
    parts = [part for part in (prepend, x, append) if part is not None]
    return knp.diff(knp.concatenate(parts, axis) if len(parts) > 1 else x, n, axis)
