"""Comparisons, logic and choice."""

from __future__ import annotations

from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy import reductions
from kerasvino.backend.ops.numpy.arithmetic import binary
from kerasvino.backend.ops.numpy.indexing import nonzero
from kerasvino.primitives import arithmetic as a
from kerasvino.primitives import compare as p
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "allclose", "equal", "greater", "greater_equal", "isclose", "less", "less_equal",
    "logical_and", "logical_not", "logical_or", "logical_xor", "not_equal", "select", "where",
]  # fmt: skip

equal = binary("equal", p.equal)
not_equal = binary("not_equal", p.not_equal)
less = binary("less", p.less)
less_equal = binary("less_equal", p.less_equal)
greater = binary("greater", p.greater)
greater_equal = binary("greater_equal", p.greater_equal)


def _truth(x):
    return to_dtype(x if type(x) is Tensor else convert_to_tensor(x), "bool")


def _logical(name, compute):
    def function(x1, x2):
        return compute(_truth(x1), _truth(x2))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`keras.ops.{name}`."
    return function


logical_and = _logical("logical_and", p.logical_and)
logical_or = _logical("logical_or", p.logical_or)
logical_xor = _logical("logical_xor", p.logical_xor)


def logical_not(x):
    """`keras.ops.logical_not`."""
    return p.logical_not(_truth(x))


def where(condition, x1=None, x2=None):
    """`keras.ops.where`; with the condition alone, the indices where it holds (see `nonzero`)."""
    if x1 is None and x2 is None:
        return nonzero(condition)
    if x1 is None or x2 is None:
        raise ValueError("`where` takes both `x1` and `x2`, or neither of them.")
    x1, x2 = promote(x1, x2)
    return p.select(_truth(condition), x1, x2)


def select(condlist, choicelist, default=0):
    """`keras.ops.select`: element by element the choice whose condition is the first that holds."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(
            "`select` takes as many choices as conditions, and at least one; given: "
            f"{len(condlist)} conditions, {len(choicelist)} choices."
        )
    *choices, result = promote(*choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        result = p.select(_truth(condition), choice, result)
    return result


def isclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """`keras.ops.isclose`: |x1 - x2| <= atol + rtol * |x2|, or both the same infinity."""
    x1, x2 = promote(x1, x2, least=float)
    allowed = a.add(constant_like(atol, x2), a.multiply(constant_like(rtol, x2), a.absolute(x2)))
    near = p.logical_and(p.isfinite(x2), p.less_equal(a.absolute(a.subtract(x1, x2)), allowed))
    result = p.logical_or(near, p.equal(x1, x2))
    if equal_nan:
        result = p.logical_or(result, p.logical_and(p.isnan(x1), p.isnan(x2)))
    return result


def allclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """`keras.ops.allclose`: whether `isclose` holds everywhere."""
    return reductions.all(isclose(x1, x2, rtol, atol, equal_nan))
