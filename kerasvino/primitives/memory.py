"""What an infer request keeps between runs, as a graph under construction sees it.

`Kept` stands for a cache of keys and values: a tensor of past positions that each run appends to.
It is an argument of traced code and no `Tensor`: it can be indexed, asked for its shape and
appended to by `slice_update`. Nothing else, since everything else would copy it at each run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from openvino import PartialShape, opset6

from kerasvino import dtypes
from kerasvino.graph.trace import Trace, current_trace
from kerasvino.nodes.lowering import const, convert, ints, ov, vector
from kerasvino.primitives.shape import transpose
from kerasvino.tensor import Tensor

__all__ = ["Kept", "NotAppended"]

# Axes of what the plugin keeps: [batch, heads, positions, size]; of what it stands for:
# [batch, positions, heads, size].
_SWAPPED = (0, 2, 1, 3)


class NotAppended(TypeError):
    """Traced code does something else with a cache than appending to it."""


class _Slot:
    """One [batch, heads, positions, size] of the request's state, in the form that is fused."""

    def __init__(self, trace: Trace, name: str, heads: int, size: int, dtype: str):
        self._trace, self._name, self._dtype = trace, name, dtype
        self._heads, self._size = heads, size
        self.whole = None

    def append(self, updates: Tensor, rows: Tensor):
        if self.whole is not None:
            raise NotAppended("A cache is appended to twice in one run.")
        if current_trace() is not self._trace:
            raise NotAppended("A cache is appended to in the body of a loop or condition.")
        kind, rows = dtypes.graph_type(self._dtype), self._trace.output(rows)
        new = self._trace.output(transpose(updates, axes=_SWAPPED))
        batch = ov.gather(ov.shape_of(rows), ints(0), ints(0)).output(0)
        empty = ov.broadcast(const(0, kind), vector([batch, self._heads, 0, self._size]))
        shape = PartialShape([-1, self._heads, -1, self._size])
        past = opset6.read_value(empty, self._name, kind, shape)
        past = ov.gather(past, rows, ints(0))
        whole = ov.concat([past, convert(new, kind)], 2)
        self._trace.sinks.append(opset6.assign(whole, self._name))
        self.whole = whole.output(0)
        return self._trace.symbol(self.whole, self._dtype, _SWAPPED)


class Kept:
    """A cache [batch, …, positions, heads, size] in a trace; `…` are axes of layers, keys, values.

    Attributes:
        shape: symbolic for the lengths of the batch and of the positions, new ones included.
        dtype: Keras name.
    """

    def __init__(self, slots: np.ndarray, dtype: str, rows: Tensor, index: Tensor, lengths: tuple):
        self._slots, self._rows, self._index, self._lengths = slots, rows, index, lengths
        batch, positions, heads, size = lengths
        self.dtype = dtype
        self.shape = (batch, *slots.shape, positions, heads, size)

    @classmethod
    def made(
        cls, name: str, like: Sequence[int], dtype: str, rows, index, batch, positions
    ) -> Kept:
        """One whose constant lengths are those of the shape `like`.

        Args:
            name: of the state; unique in the graph.
            like: the shape [batch, …, positions, heads, size].
            dtype: Keras name.
            rows: int32 [batch], which rows of the state as it was these are.
            index: int32 of rank 0, how many positions there are so far.
            batch, positions: how many there are after the run.
        """
        heads, size = like[-2:]
        slots = np.empty(like[1:-3], object)
        for place in np.ndindex(slots.shape):
            label = ".".join(map(str, (name, *place)))
            slots[place] = _Slot(current_trace(), label, heads, size, dtype)
        return cls(slots, dtype, rows, index, (batch, positions, heads, size))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def count(self) -> int:
        """Of its states, each of keys or of values."""
        return self._slots.size

    def __getitem__(self, key) -> Kept:
        key = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in key:
            place = key.index(Ellipsis)
            key[place : place + 1] = [slice(None)] * (self.ndim - len(key) + 1)
        key += [slice(None)] * (self.ndim - len(key))
        between = key[1 : self._slots.ndim + 1]
        others = [key[0], *key[self._slots.ndim + 1 :]]
        whole = all(isinstance(k, slice) and k == slice(None) for k in others)
        if not whole or not all(isinstance(k, (int, slice)) for k in between):
            raise NotAppended(f"A cache is indexed by {key}.")
        slots = np.asarray(self._slots[tuple(between)], object)
        return Kept(slots, self.dtype, self._rows, self._index, self._lengths)

    def appended(self, starts, updates: Tensor) -> Tensor:
        """All positions, `updates` [batch, new, heads, size] behind those before."""
        starts = list(starts) if isinstance(starts, (list, tuple)) else []
        zeros = [n for axis, n in enumerate(starts) if axis != 1]
        if self._slots.ndim or len(starts) != 4 or any(type(n) is not int or n for n in zeros):
            raise NotAppended(f"A cache of shape {self.shape} is updated from {starts}.")
        if starts[1] is not self._index and getattr(starts[1], "origin", None) is not self._index:
            raise NotAppended("A cache is written elsewhere than behind its last position.")
        return self._slots.item().append(updates, self._rows)

    def is_in(self, tensor: Tensor) -> bool:
        """Whether `tensor` is this cache after the run: the appended slots, stacked in order."""
        if not isinstance(tensor, Tensor) or not tensor.is_symbolic:
            return False
        found = _stacked(current_trace().output(tensor))
        return found == [slot.whole for slot in self._slots.flat]


def _stacked(output) -> list:
    """What a value is stacked of: followed through nodes that only join and rearrange axes."""
    made_by = output.get_node()
    kind = made_by.get_type_name()
    if kind == "Concat" and made_by.input_value(0).get_node().get_type_name() != "Gather":
        return [o for value in made_by.input_values() for o in _stacked(value)]
    if kind in ("Unsqueeze", "Transpose", "Reshape"):
        return _stacked(made_by.input_value(0))
    return [output]
