"""Indexing of tensors, `x[key]`, with NumPy's rules.

A concrete tensor that is not recorded gives a NumPy view. Any other key is taken apart: slices and
integers become one `slice`, index arrays and masks one gather over the axes that they index.
"""

from __future__ import annotations

import builtins
import operator

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import Variable as KerasVariable
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.errors import IndexRangeError
from kerasvino.graph.index_bounds import check, outside
from kerasvino.primitives import core
from kerasvino.primitives import indexing as p
from kerasvino.primitives import shape as s
from kerasvino.primitives.arithmetic import add
from kerasvino.primitives.index_checks import within
from kerasvino.primitives.join import concatenate
from kerasvino.tensor import Tensor, register_method

__all__ = ["getitem"]

_PLAIN = (int, type(None), type(Ellipsis))
_BOUNDS = (int, type(None))


def getitem(x: Tensor, key) -> Tensor:
    """`x[key]`: ints, slices, None, Ellipsis, integer and boolean arrays and tensors, mixed.

    Raises:
        IndexRangeError: an index is out of range. In branches and the bodies of loops of a graph
            indices are not checked.
        IndexError: too many indices, or something that is no index.
    """
    entries = key if type(key) is tuple else (key,)
    plain = all([_is_plain(k) for k in entries])
    if not plain:
        entries = tuple([_entry(k) for k in entries])
    if x._array is None or x.record is not None or core._eager_compiled:
        return _composed(x, entries)
    if not plain and core.is_traced(entries):
        return _composed(x, entries)
    try:
        found = x._array[entries]
    except IndexError as error:
        raise _range_error(error, x, entries) from None
    return Tensor._wrap(found if type(found) is np.ndarray else np.asarray(found))


def _range_error(error, x, key):
    """The error to raise for NumPy's: one that names the index, if one is out of range."""
    try:
        _entries(x, key)
    except IndexRangeError as found:
        return found
    except (IndexError, TypeError, ValueError):  # NumPy says it too
        pass
    return error


def _is_plain(k):
    """Whether NumPy takes an entry as it is."""
    kind = type(k)
    if kind is not builtins.slice:
        return kind in _PLAIN
    return type(k.start) in _BOUNDS and type(k.stop) in _BOUNDS and type(k.step) in _BOUNDS


def _entry(k):
    """An entry of a key as NumPy takes it, but for symbolic tensors."""
    if isinstance(k, builtins.slice):
        return builtins.slice(*[b if b is None else _entry(b) for b in (k.start, k.stop, k.step)])
    if isinstance(k, KerasVariable):
        k = k.value
    if isinstance(k, Tensor):
        return k if k._array is None else k._array
    if isinstance(k, list) and core.is_traced(k):
        return convert_to_tensor(k)
    return k


# -- a key taken apart: None, Ellipsis (of no axes, where it stood), slices, ints, integer tensors


def _composed(x, key):
    entries = _entries(x, key)
    axes = [e for e in entries if e is not None and e is not Ellipsis]
    x = _sliced(x, axes)
    places = [axis for axis, e in enumerate(axes) if isinstance(e, Tensor)]
    joined = any(axes[axis].ndim for axis in places)
    if joined:
        # Axes of x are called by their number, those of the index arrays by "i".
        x, names = _gathered(x, [(axis, axes[axis]) for axis in places])
    else:
        for axis in reversed(places):
            x = p.gather(x, axes[axis], axis=axis)
        names = [axis for axis in range(len(axes)) if axis not in places]
    fixed = [axis for axis, e in enumerate(axes) if isinstance(e, int)]
    if fixed:
        x = s.squeeze(x, axis=tuple(sorted(names.index(axis) for axis in fixed)))
        names = [name for name in names if name not in fixed]
    return _arranged(x, entries, names, joined)


def _entries(x, key):
    """The key filled up with slices, masks as indices, every bound checked that is known."""
    given = [_index(k) for k in key]
    if sum(e is Ellipsis for e in given) > 1:
        raise IndexError("An index has at most one Ellipsis (`...`).")
    used = sum(map(_width, given))
    if used > x.ndim:
        raise IndexError(f"Too many indices for a tensor of rank {x.ndim}: {used} are given.")
    place = next((i for i, e in enumerate(given) if e is Ellipsis), len(given))
    given[place + 1 : place + 1] = [builtins.slice(None)] * (x.ndim - used)
    found, axis = [], 0
    for e in given:
        width = _width(e)
        _check(e, x, axis, x.shape[axis : axis + width])
        found += _mask_indices(e) if _is_mask(e) else [e]
        axis += width
    return found


def _index(k):
    """An entry as None, Ellipsis, slice, int, or a tensor of integers or booleans."""
    if k is None or k is Ellipsis or isinstance(k, builtins.slice):
        return k
    if not isinstance(k, (bool, np.bool_, Tensor, list, np.ndarray)):
        try:
            return operator.index(k)
        except TypeError:
            raise IndexError(
                "A tensor is indexed by ints, slices, None, Ellipsis and integer or boolean "
                f"tensors and arrays; given: {k!r}."
            ) from None
    k = convert_to_tensor(np.zeros((0,), np.int32) if isinstance(k, list) and not k else k)
    if k.dtype == "bool":
        if k.ndim == 0:
            raise IndexError("A single boolean does not index a traced or recorded tensor.")
        return k
    if not dtypes.is_integer(k.dtype):
        raise IndexError(f"Index arrays are integer or boolean; given: {k.dtype}.")
    return int(k) if k.ndim == 0 and not k.is_symbolic else k


def _is_mask(e):
    return isinstance(e, Tensor) and e.dtype == "bool"


def _width(e):
    """How many axes of x an entry indexes."""
    if e is None or e is Ellipsis:
        return 0
    return e.ndim if _is_mask(e) else 1


def _mask_indices(mask):
    found = p.nonzero(mask)
    return [found[axis] for axis in range(mask.ndim)]


def _check(e, x, axis, lengths):
    """Raises IndexError for an entry that does not fit the axes that it indexes."""
    if _is_mask(e):
        if any(
            None not in pair and pair[0] != pair[1] for pair in zip(e.shape, lengths, strict=True)
        ):
            raise IndexError(f"A mask of shape {e.shape} does not index axes of lengths {lengths}.")
        return
    if isinstance(e, Tensor):
        if e.is_symbolic or lengths[0] is None:
            within(e, x, (axis,), "x[...]")
        else:
            check("x[...] was given", e._array, lengths)
    elif isinstance(e, int):
        (length,) = lengths
        if length is not None and not -length <= e < length:
            raise outside("x[...] was given", e, length)


def _sliced(x, axes):
    """x with its slices taken, and along axes with an int the one element left."""
    taken = []
    for axis, entry in enumerate(axes):
        if isinstance(entry, builtins.slice):
            if any(bound is not None for bound in (entry.start, entry.stop, entry.step)):
                taken.append((axis, *_bounds(entry)))
        elif isinstance(entry, int):
            taken.append((axis, entry, p.END if entry == -1 else entry + 1, 1))
    if not taken:
        return x
    axis, starts, stops, steps = zip(*taken, strict=True)
    return p.slice_(x, axis=axis, starts=starts, stops=stops, steps=steps)


def _bounds(entry):
    """(start, stop, step) of a slice, without None."""
    step = 1 if entry.step is None else operator.index(entry.step)
    if step == 0:
        raise ValueError("The step of a slice cannot be zero.")
    first, last = (0, p.END) if step > 0 else (p.END, -p.END)
    start, stop = (
        default if bound is None else _bound(bound)
        for bound, default in ((entry.start, first), (entry.stop, last))
    )
    return start, stop, step


def _bound(n):
    if isinstance(n, Tensor):
        return n if n.ndim == 0 else s.reshape(n, shape=())
    return max(-p.END, min(p.END, operator.index(n)))


def _gathered(x, indices):
    """x at (axis, index array)s, and the names of the axes of the result."""
    rest = [axis for axis in range(x.ndim) if axis not in [axis for axis, _ in indices]]
    if len(indices) == 1:
        ((axis, index),) = indices
        names = [*rest[:axis], *["i"] * index.ndim, *rest[axis:]]
        return p.gather(x, index, axis=axis), names
    index = _joined([index for _, index in indices])
    x = s.transpose(x, axes=(*[axis for axis, _ in indices], *rest))
    return p.gather_nd(x, index), ["i"] * (index.ndim - 1) + rest


def _joined(arrays):
    """Index arrays broadcast together, as one with a last axis."""
    arrays = [to_dtype(index, "int32") for index in arrays]
    total = arrays[0]
    for index in arrays[1:]:
        total = add(total, index)
    shape = s.lengths(total)
    arrays = [s.broadcast_to(index, shape=shape) for index in arrays]
    return concatenate(
        *[s.expand_dims(index, axis=(len(shape),)) for index in arrays], axis=len(shape)
    )


def _arranged(x, entries, names, joined):
    """x, whose axes are `names`, in the order that the key asks for, with its new axes."""
    places = [i for i, e in enumerate(entries) if isinstance(e, (Tensor, int))] if joined else []
    apart = bool(places) and places != list(range(places[0], places[-1] + 1))
    wanted, axis = ["i"] if apart else [], 0
    for i, entry in enumerate(entries):
        if places and i == places[0] and not apart:
            wanted.append("i")
        if entry is None:
            wanted.append(None)
        elif entry is not Ellipsis:
            wanted += [axis] if isinstance(entry, builtins.slice) else []
            axis += 1
    order, new = [], []
    for name in wanted:
        if name is None:
            new.append(len(order) + len(new))
        else:
            order += [i for i, own in enumerate(names) if own == name]
    if order != list(range(len(order))):
        x = s.transpose(x, axes=tuple(order))
    return s.expand_dims(x, axis=tuple(new)) if new else x


register_method("__getitem__", getitem)
