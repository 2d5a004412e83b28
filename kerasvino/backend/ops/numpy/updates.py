"""Updates of elements by index, as on JAX's arrays: `x.at[key].set(values)` is a new tensor.

A key is what `x[key]` takes. A block (integers and slices of step 1, all known) is updated as one;
for other keys the numbers of the elements are indexed by the key, and scattered to.
"""

from __future__ import annotations

import operator

from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.ops.core.scatter import scatter_update, slice_update
from kerasvino.backend.ops.numpy import arithmetic, elementwise
from kerasvino.backend.ops.numpy.creation import arange, ones_like, zeros
from kerasvino.backend.ops.numpy.joining import concatenate
from kerasvino.backend.ops.numpy.shaping import broadcast_to, size
from kerasvino.primitives import shape as s
from kerasvino.tensor import Tensor

__all__ = ["At"]


class At:
    """`x.at`: an index selects what is updated."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Tensor):
        self._tensor = tensor

    def __getitem__(self, key):
        return _Place(self._tensor, key)


def _update(name, reduction, combine):
    """The method `name`: `reduction` joins scattered values, `combine` a block with new ones."""

    def method(self, values, *, indices_are_sorted=False, unique_indices=False, mode=None):
        _check_mode(mode)
        return self._updated(values, reduction, combine)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The tensor after `{name}` of `values` at the index."
    return method


def _check_mode(mode):
    if mode not in (None, "promise_in_bounds"):
        raise ValueError(
            f"mode={mode!r}: an index out of range raises IndexError, or updates nothing in the "
            "body of a compiled loop; give `mode=None`."
        )


class _Place:
    """`x.at[key]`."""

    __slots__ = ("_key", "_tensor")

    def __init__(self, tensor: Tensor, key):
        self._tensor = tensor
        self._key = key

    def get(self, *, indices_are_sorted=False, unique_indices=False, mode=None):
        """The elements at the index."""
        _check_mode(mode)
        return self._tensor[self._key]

    set = _update("set", None, lambda old, new: new)
    add = _update("add", "add", arithmetic.add)
    multiply = _update("multiply", "mul", arithmetic.multiply)
    max = _update("max", "max", arithmetic.maximum)
    min = _update("min", "min", arithmetic.minimum)
    mul = multiply

    def subtract(self, values, **hints):
        """The tensor after subtraction of `values` at the index."""
        return self.add(
            elementwise.negative(convert_to_tensor(values, self._tensor.dtype)), **hints
        )

    def divide(self, values, **hints):
        """The tensor after division by `values` at the index; integers become floats."""
        return arithmetic.true_divide(self._tensor, self._factors(values, hints))

    def power(self, values, **hints):
        """The tensor after raising to the power of `values` at the index."""
        return arithmetic.power(self._tensor, self._factors(values, hints))

    def _factors(self, values, hints):
        return _Place(ones_like(self._tensor), self._key).multiply(values, **hints)

    def _updated(self, values, reduction, combine):
        x = self._tensor
        values = convert_to_tensor(values, x.dtype)
        block = _block(x, self._key)
        if block is not None:
            starts, lengths = block
            old = x[self._key]
            new = broadcast_to(_narrow(combine(old, values), old.ndim), old.shape)
            return slice_update(x, starts, s.reshape(new, shape=lengths))
        # elements are counted from 1: in a graph an index out of range gathers 0, and what is
        # scattered there is dropped
        numbers = s.reshape(arange(1, size(x) + 1, dtype="int32"), shape=s.lengths(x))[self._key]
        values = broadcast_to(_narrow(values, numbers.ndim), s.lengths(numbers))
        flat = concatenate([zeros((1,), x.dtype), s.reshape(x, shape=(-1,))], axis=0)
        flat = scatter_update(
            flat, s.reshape(numbers, shape=(-1, 1)), s.reshape(values, shape=(-1,)), reduction
        )
        return s.reshape(flat[1:], shape=s.lengths(x))


def _narrow(values, rank):
    """`values` without leading axes of length 1 beyond `rank`, which NumPy's assignment allows."""
    while values.ndim > rank and values.shape[0] == 1:
        values = s.squeeze(values, axis=(0,))
    return values


def _block(x, key):
    """(starts, lengths) of a key of integers and slices of step 1 into known axes, or None."""
    entries = list(key) if type(key) is tuple else [key]
    entries = [entry for entry in entries if entry is not None]
    if None in x.shape or not all(map(_is_plain, entries)):
        return None
    if sum(entry is Ellipsis for entry in entries) > 1 or len(entries) > x.ndim + 1:
        return None
    place = next((i for i, entry in enumerate(entries) if entry is Ellipsis), len(entries))
    rest = x.ndim - len(entries) + (place < len(entries))
    entries[place : place + 1] = [slice(None)] * rest
    starts, lengths = [], []
    for entry, length in zip(entries, x.shape, strict=False):
        if isinstance(entry, slice):
            start, stop, step = entry.indices(length)
            if step != 1:
                return None
            starts.append(start)
            lengths.append(max(stop - start, 0))
        else:
            starts.append(operator.index(entry) % length if length else 0)
            lengths.append(1)
    return tuple(starts), tuple(lengths)


def _is_plain(entry):
    if isinstance(entry, slice):
        return all(b is None or type(b) is int for b in (entry.start, entry.stop, entry.step))
    return entry is Ellipsis or type(entry) is int
