"""A Trace: a graph under construction, its inputs, constants, captured tensors and variable state.

A trace is entered as a context manager and is then the innermost one of its thread. The body of an
If or Loop is traced in a child whose outer tensors become parameters of the body (`captured`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import numpy as np
from openvino import Dimension, PartialShape, Shape, Symbol, Type
from openvino import Tensor as OVTensor
from openvino.op import Constant, Parameter

from kerasvino import dtypes
from kerasvino.errors import TracedValueError
from kerasvino.graph.index_bounds import Noted
from kerasvino.graph.lengths import Watch
from kerasvino.graph.ranges import Ranges
from kerasvino.locks import rlock
from kerasvino.tensor import Tensor

__all__ = ["Trace", "constant_node", "current_trace", "logical_shape", "untraced"]

_active = threading.local()
# Layer calls write Python state (losses, seeds, caches) while they are traced: one trace at a time.
_tracing = rlock()


def current_trace() -> Trace | None:
    """The innermost trace of this thread, or None."""
    return getattr(_active, "trace", None)


@contextlib.contextmanager
def untraced():
    """Inside, no trace is active on this thread: variables have their concrete values."""
    outer = current_trace()
    _active.trace = None
    try:
        yield
    finally:
        _active.trace = outer


def lengths_of(shape: PartialShape) -> tuple | None:
    """An OpenVINO shape with None for unknown lengths; None if its rank is unknown.

    By index: iterating over a shape takes ten times as long, and tracing asks each node for one.
    """
    if shape.is_static:
        known = shape.to_shape()
        return tuple(map(known.__getitem__, range(len(known))))
    if shape.rank.is_dynamic:
        return None
    found = [shape[axis] for axis in range(len(shape))]
    return tuple([d.get_length() if d.is_static else None for d in found])


def logical_shape(output, permutation=None) -> tuple | None:
    """Shape of an `ov.Output` with None for unknown axes (None if its rank is unknown)."""
    shape = lengths_of(output.get_partial_shape())
    if shape is None:
        return None
    return shape if permutation is None else tuple(shape[axis] for axis in permutation)


def constant_node(array: np.ndarray, dtype: str) -> Constant:
    """A Constant that shares the memory of `array` where its layout allows.

    Raises GraphRangeError for 64-bit integers that a graph would change.
    """
    element = dtypes.graph_type(dtype)
    dtypes.check_graph_values(array, dtype, "A constant")
    if dtype == "float64":
        array = array.astype(np.float32)
    if not array.flags.c_contiguous or not array.flags.writeable:
        array = np.array(array, order="C")
    if element in _VIEWED:
        # A Constant does not keep the array alive that such a tensor is made over: copied.
        tensor = OVTensor(element, Shape(array.shape))
        tensor.data.view(_VIEWED[element])[...] = array.view(_VIEWED[element])
        return Constant(tensor)
    if array.size == 0:
        return Constant(OVTensor(element, Shape(array.shape)))
    return Constant(array, shared_memory=array.ndim > 0)


# Element types for which OpenVINO takes no NumPy array, only a tensor over same-sized integers.
_VIEWED = {Type.bf16: np.uint16, Type.f8e4m3: np.uint8, Type.f8e5m2: np.uint8}


def _partial_shape(shape) -> PartialShape:
    """A shape whose unknown lengths are told apart, so that OpenVINO sees which ones cancel."""
    dimensions = [Dimension(-1 if length is None else length) for length in shape]
    for dimension in dimensions:
        if dimension.is_dynamic:
            dimension.set_symbol(Symbol())
    return PartialShape(dimensions)


class Held:
    """A host array that a graph reads as an input, like a variable that is never assigned.

    The CPU plugin clips uint32 constants to 2**31 - 1, folded ones too; inputs keep their bits.
    """

    def __init__(self, array: np.ndarray):
        self._value = Tensor._wrap(array)
        self._dtype = dtypes.name_of(array.dtype)
        self.shape = array.shape
        self.path = "constant"


class Trace:
    """One graph (or body of a control-flow node) under construction.

    Attributes:
        parent: the trace whose If or Loop body this is, or None.
        parameters: list of (Tensor, Parameter), the graph's own inputs in order.
        captured: {id of outer tensor: (outer tensor, inner Tensor, Parameter)} of a body.
        reads: {id of variable: (variable, Tensor)}, variables that are an input of this graph.
        writes: {id of variable: (variable, Tensor)}, variables assigned here, with the last value.
        watch: is told which code is given an unknown length; None where nobody asks.
        sinks: nodes that assign the state of an infer request.
        exchanged: a result of the last exchange with other processes, or None.
        exchanges: whether there is one in this graph or its bodies.
        ranges: of the calibrated models that are called.
    """

    def __init__(self, parent: Trace | None = None):
        self.parent = parent
        self.parameters: list[tuple[Tensor, Parameter]] = []
        self.captured: dict[int, tuple[Tensor, Tensor, Parameter]] = {}
        self.reads: dict[int, tuple[object, Tensor]] = {}
        self.writes: dict[int, tuple[object, Tensor]] = {}
        self.named: dict[str, str] = {}
        self.read_parameters: dict[int, Parameter] = {}
        self.watch: Watch | None = None if parent is None else parent.watch
        self.sinks: list = []
        self.exchanged = None
        self.exchanges = False
        self.ranges: list[Ranges] = []
        self.noted: list[Noted] = []  # indices that are to be checked when the graph runs
        self._constants: dict[int, tuple[np.ndarray, object]] = {}
        self._finished = False

    # -- scope

    def __enter__(self):
        _tracing.acquire()
        self._outer = current_trace()
        _active.trace = self
        return self

    def __exit__(self, *_):
        _active.trace = self._outer
        self._finished = True
        _tracing.release()

    # -- values

    def parameter(self, shape, dtype: str, name: str | None = None) -> Tensor:
        """A new input of the graph; None in `shape` for an axis of unknown length."""
        tensor, node = self._parameter(shape, dtype)
        node.set_friendly_name(name or f"input_{len(self.parameters)}")
        node.output(0).get_tensor().set_names({node.get_friendly_name()})
        self.parameters.append((tensor, node))
        return tensor

    def _parameter(self, shape, dtype):
        partial = PartialShape.dynamic() if shape is None else _partial_shape(shape)
        node = Parameter(dtypes.graph_type(dtype), partial)
        known = None if shape is None else tuple(shape)
        return Tensor._symbol(node.output(0), dtype, self, None, known), node

    def symbol(self, output, dtype: str, permutation=None) -> Tensor:
        """A tensor of this trace over `output`."""
        return Tensor._symbol(output, dtype, self, permutation, logical_shape(output, permutation))

    def output(self, tensor: Tensor):
        """The `ov.Output` of a tensor in this graph, axes in logical order."""
        if tensor._array is not None:
            return self.constant(tensor._array)
        if tensor._trace is not self:
            return self._capture(tensor)._output
        if tensor._permutation is None:
            return tensor._output
        if tensor._materialised is None:
            tensor._materialised = _transpose(tensor._output, tensor._permutation)
        return tensor._materialised

    def settle(self, tensor: Tensor) -> None:
        """Makes a tensor of this trace hold its data in the order of its axes from now on."""
        if tensor._permutation is not None:
            tensor._output, tensor._permutation = self.output(tensor), None

    def physical(self, tensor: Tensor):
        """(output, permutation) of a tensor in this graph, its pending permutation left pending."""
        if tensor._array is None and tensor._trace is self:
            return tensor._output, tensor._permutation
        return self.output(tensor), None

    def constant(self, array: np.ndarray):
        """The Constant of a host array, made once per trace and array."""
        known = self._constants.get(id(array))
        if known is None:
            if array.dtype == np.uint32 and array.size and array.max() >= 2**31:
                output = self.output(self.read(Held(array)))
            else:
                output = constant_node(array, dtypes.name_of(array.dtype)).output(0)
            known = self._constants[id(array)] = array, output
        return known[1]

    def constants_by_name(self) -> dict[str, np.ndarray]:
        """The arrays that were made Constants for the user, by the names of these nodes."""
        return {
            output.get_node().get_friendly_name(): array
            for array, output in self._constants.values()
        }

    def _capture(self, tensor: Tensor) -> Tensor:
        known = self.captured.get(id(tensor))
        if known is None:
            if self.parent is None:
                raise TracedValueError(
                    f"{tensor!r} belongs to a graph that is no longer being built: a traced "
                    "tensor was kept (in an attribute, a list, a closure) and used in another "
                    "call. Return it from the traced function, or keep it in a keras.Variable."
                )
            output = self.parent.output(tensor)
            inner, node = self._parameter(logical_shape(output), tensor.dtype)
            known = self.captured[id(tensor)] = (tensor, inner, node)
        return known[1]

    def calls(self, ranges: Ranges) -> None:
        """Says that a calibrated model has been called. What was within it is part of it.

        Nodes of bodies have no names of their own: they are not rounded.
        """
        if self.parent is None:
            within = set(ranges.products)
            self.ranges = [r for r in self.ranges if not within.issuperset(r.products)]
            self.ranges.append(ranges)

    # -- variables

    def read(self, variable) -> Tensor:
        """The current value of a variable: as assigned here, or an input; never its initializer."""
        key = id(variable)
        if key in self.writes:
            return self.writes[key][1]
        if self.parent is not None:
            return self.parent.read(variable)
        if key not in self.reads:
            tensor, node = self._parameter(variable.shape, variable._dtype)
            node.set_friendly_name(f"variable/{variable.path}")
            self.reads[key] = (variable, tensor)
            self.read_parameters[key] = node
        return self.reads[key][1]

    def write(self, variable, tensor: Tensor) -> None:
        """Replaces the current value of a variable for the rest of this trace."""
        self.writes[id(variable)] = (variable, tensor)


def _no_transpose(output, permutation):
    raise RuntimeError("kerasvino.primitives has not been imported.")


_transpose: Callable = _no_transpose


def register_transpose(function: Callable) -> None:
    """Gives this layer, which knows no opset, the node that materialises a pending permutation."""
    global _transpose
    _transpose = function
