"""Tensor: an array on the host, or an output of a graph under construction.

A concrete tensor owns a NumPy array that no one else can write; a symbolic one stands for a value
inside a `Trace`. Either may carry a `record` of the primitive that made it (see `autodiff`).
Operators are registered by the layers above: this module knows no operation.
"""

from __future__ import annotations

import copy
import sys
import weakref
from collections.abc import Callable

import numpy as np

from kerasvino import dtypes
from kerasvino.errors import TracedValueError

__all__ = ["Record", "Tensor", "TracedValueError", "register_method", "register_operators"]


_TO_PRINT = "To print it, run eagerly (run_eagerly=True)."
_EAGERLY = (
    "keras.ops.logical_and, logical_or and logical_not combine conditions. "
    "With run_eagerly=True the value is known."
)
_CHOOSE_ONE = (
    "In place of `if x > 0` write keras.ops.cond(x > 0, f, g), which calls one of two functions, "
    f"or keras.ops.where(x > 0, a, b). {_EAGERLY}"
)
_CHOOSE = (
    "In place of `if x > 0` write keras.ops.where(x > 0, a, b), which chooses by element, or make "
    f"one condition of all by keras.ops.any or all, for keras.ops.cond. {_EAGERLY}"
)


class Record:
    """What made a tensor: the primitive, its inputs, attributes and outputs (for reverse mode).

    Attributes:
        primitive: has `name`, `vjp`, `multiple`, `sparse`, `nondifferentiable`; None for a watched
            tensor.
        recordings: the recordings that this is part of (see `autodiff.recording`): those of the
            inputs that are active when it is made. A record without any has no use.
        path: of the Keras layer that made it.
    """

    __slots__ = ("_outputs", "attrs", "inputs", "path", "primitive", "recordings")

    def __init__(self, primitive, inputs, attrs):
        self.primitive = primitive
        self.inputs = inputs
        self.attrs = attrs
        self.path = ""
        self._outputs = ()
        found = None
        for tensor in inputs:
            if tensor.record is not None:
                more = tensor.record.recordings
                if found is None:
                    found = more
                elif more is not found:
                    found = tuple(dict.fromkeys(found + more))
        self.recordings = tuple(r for r in found if r.active) if found else ()

    def attach(self, outputs: tuple) -> None:
        """Makes this the record of `outputs`, if an active recording is served by it."""
        if self.recordings:
            # Not a cycle where it can be avoided, so that values are freed as soon as unused: a
            # single output is alive whenever its record is.
            self._outputs = weakref.ref(outputs[0]) if len(outputs) == 1 else outputs
            for output in outputs:
                output.record = self

    @property
    def outputs(self) -> tuple:
        outputs = self._outputs
        return outputs if type(outputs) is tuple else (outputs(),)


class Tensor:
    """An n-dimensional array of one dtype: what every `keras.ops` function takes and returns.

    Attributes:
        shape: tuple of int, with None for an axis whose length a graph does not know yet.
        dtype: Keras name of the dtype.
        record: `Record` or None.
        origin: of a symbolic tensor, the one of the same value that it is a twin of, or None.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_array",
        "_dtype",
        "_materialised",
        "_output",
        "_permutation",
        "_shape",
        "_trace",
        "origin",
        "record",
    )
    # NumPy's operators give way to ours: `array + tensor` is a Tensor.
    __array_priority__ = 1000
    # Keras asks each tensor for its mask, several times in each layer; an attribute that is missing
    # costs an exception each time.
    _keras_mask = None

    def __init__(self, value, dtype: str | None = None):
        array = np.array(value, dtype=None if dtype is None else dtypes.numpy_dtype(dtype))
        dtypes.name_of(array.dtype)
        self._array = array
        self.record = None

    @classmethod
    def _wrap(cls, array: np.ndarray) -> Tensor:
        """A concrete tensor over `array`, which the caller hands over and writes no more."""
        tensor = _new(cls)
        tensor._array = array
        tensor.record = None
        return tensor

    @classmethod
    def _symbol(cls, output, dtype: str, trace, permutation=None, shape=()) -> Tensor:
        """A symbolic tensor; logical axis i is axis permutation[i] of `output`."""
        tensor = _new(cls)
        tensor._array = None
        tensor._output = output
        tensor._dtype = dtype
        tensor._permutation = permutation
        tensor._materialised = None
        tensor._shape = shape
        tensor._trace = trace
        tensor.origin = None
        tensor.record = None
        return tensor

    # -- what is known without running anything

    @property
    def is_symbolic(self) -> bool:
        """Whether this stands for a value inside a graph under construction."""
        return self._array is None

    @property
    def dtype(self) -> str:
        array = self._array
        return self._dtype if array is None else dtypes.name_of(array.dtype)

    @property
    def shape(self) -> tuple:
        if self._array is not None:
            return self._array.shape
        if self._shape is None:
            raise self._refusal(
                "The rank of this traced tensor is not known until the graph runs; "
                "give the operation that made it a shape of known length."
            )
        watch = self._trace.watch
        if watch is not None and None in self._shape:
            return watch.shape(self._shape, sys._getframe(1))
        return self._shape

    def _differs_where_a_length_is_1(self) -> None:
        """Says that what is computed now would be something else where an unknown length is 1."""
        if self._array is None and self._trace.watch is not None and None in self._shape:
            self._trace.watch.refused = True

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int | None:
        """Number of elements; None where an axis is unknown."""
        if self._array is not None:
            return self._array.size
        shape = self.shape
        if None not in shape:
            return int(np.prod(shape))
        if self._trace.watch is not None:
            self._trace.watch.note(sys._getframe(1))
        return None

    # -- values

    def _refusal(self, message: str) -> TracedValueError:
        """The error of a method that was asked for what is not known."""
        if self._trace.watch is not None:
            self._trace.watch.refuse(sys._getframe(1))
        return TracedValueError(message)

    def _value(self, asked: str, instead: str) -> np.ndarray:
        if self._array is None:
            raise self._unknown(asked, instead)
        return self._array

    def _unknown(self, asked: str, instead: str) -> TracedValueError:
        """The error where a value was asked for that only the running graph knows."""
        return self._refusal(
            f"{asked} of a traced tensor (shape {self._shape}, dtype {self._dtype}) is not "
            f"known until the compiled graph runs. {instead}"
        )

    def numpy(self) -> np.ndarray:
        """The values as a read-only NumPy array (a view; copy it to write)."""
        view = self._value(
            "The NumPy value",
            "Use keras.ops, which has NumPy's functions, or run eagerly (run_eagerly=True).",
        ).view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype=None, copy=None):
        view = self.numpy()
        if dtype is not None and view.dtype != dtype:
            if copy is False:
                raise ValueError(f"A copy is needed to convert {view.dtype} to {dtype}.")
            return view.astype(dtype)
        return np.array(view) if copy else view

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        array = self._value("The memory", "Run eagerly to exchange it.")
        if copy is False:
            # A consumer may write what it is given, whatever the flag says, so it is given a copy.
            raise BufferError(
                "Tensors hand out copies by DLPack; numpy.asarray(x) is a read-only view of one."
            )
        if array.dtype.kind not in "biufc":
            raise BufferError(
                f"NumPy exchanges no {self.dtype} by DLPack. Exchange its bits, for example: "
                "torch.from_numpy(keras.ops.convert_to_numpy(x).view('int16'))"
                ".view(torch.bfloat16); or cast it to float32."
            )
        asked = {"stream": stream, "max_version": max_version, "dl_device": dl_device}
        asked = {name: value for name, value in asked.items() if value is not None}
        return array.copy().__dlpack__(**asked)

    def __dlpack_device__(self):
        return (1, 0)  # kDLCPU

    def item(self, *index):
        """The value of a one-element tensor, or the one at `index`, as a Python scalar."""
        return self._value("The Python value", "Stay with keras.ops.").item(*index)

    def tolist(self):
        return self._value("The Python value", "Stay with keras.ops.").tolist()

    def __bool__(self):
        array = self._array
        if array is None:
            raise self._unknown("The truth value", _CHOOSE_ONE if self._shape == () else _CHOOSE)
        return bool(array)

    def _scalar(self, kind, instead):
        array = self._value(f"The Python {kind.__name__}", instead)
        if array.size != 1:
            raise TypeError(
                f"Only a tensor with one element converts to {kind.__name__}; "
                f"the shape is {array.shape}."
            )
        return kind(array.item())

    def __int__(self):
        return self._scalar(int, f"Use keras.ops.cast(x, 'int32'). {_TO_PRINT}")

    def __float__(self):
        return self._scalar(float, f"Use keras.ops.cast(x, 'float32'). {_TO_PRINT}")

    def __complex__(self):
        return self._scalar(complex, f"Use keras.ops.cast(x, 'complex64'). {_TO_PRINT}")

    def __index__(self):
        array = self._value(
            "The Python index",
            "keras.ops functions take it as it is (shapes, slice starts, lengths); "
            "for loops use keras.ops.fori_loop or while_loop.",
        )
        if array.ndim != 0 or array.dtype.kind not in "iu":
            raise TypeError(
                "Only an integer tensor of rank 0 can be used as an index; "
                f"this has shape {array.shape} and dtype {self.dtype}."
            )
        return int(array)

    def __len__(self):
        if not self.shape:
            raise TypeError("len() of a tensor of rank 0.")
        if self.shape[0] is None:
            raise self._refusal(
                "len() of a traced tensor whose first axis is unknown; use keras.ops.shape(x)[0]."
            )
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("Iteration over a tensor of rank 0.")
        if self.shape[0] is None:
            raise self._refusal(
                "Iteration over an axis of unknown length; use keras.ops.map, scan or fori_loop."
            )
        return (self[i] for i in range(self.shape[0]))

    def __setitem__(self, key, value):
        raise TypeError(
            "Tensors cannot be changed in place; use x.at[key].set(values), "
            "keras.ops.slice_update or keras.ops.scatter_update, which return a new one."
        )

    # -- identity

    __hash__ = object.__hash__

    def __repr__(self):
        if self._array is None:
            return f"<kerasvino.Tensor traced shape={self._shape} dtype={self._dtype}>"
        return f"<kerasvino.Tensor shape={self.shape} dtype={self.dtype} value={self._array}>"

    def _repr_pretty_(self, printer, cycle):
        """In notebooks: the values first, each row in a line, as NumPy shows them there."""
        if self._array is None:
            printer.text(repr(self))
            return
        values = np.array2string(self._array, separator=", ", prefix="Tensor(")
        about = f"shape={self.shape}, dtype={self.dtype}"
        end = "\n       " if "\n" in values else " "
        printer.text(f"Tensor({values},{end}{about})")

    def __format__(self, spec):
        if self._array is not None and self._array.ndim == 0:
            return format(self._array.item(), spec)
        try:
            return format(repr(self), spec)
        except ValueError:  # a format of numbers
            if self._array is None:
                raise self._unknown(f"The number for {spec!r}", _TO_PRINT) from None
            raise ValueError(
                f"Only a tensor of rank 0 is formatted by {spec!r}; the shape is {self.shape}."
            ) from None

    def __reduce__(self):
        array = self._value("The value", "Pickle after the graph has run.")
        return _restore, (array, self.__dict__ or None)

    def __copy__(self):
        return self._restate(copy.copy(self.__dict__))

    def __deepcopy__(self, memo):
        return self._restate(copy.deepcopy(self.__dict__, memo))

    def _restate(self, attributes):
        """A tensor of the same (immutable) value with `attributes` as its Python attributes."""
        if self._array is None:
            twin = Tensor._symbol(
                self._output, self._dtype, self._trace, self._permutation, self._shape
            )
            twin.origin = self
        else:
            twin = Tensor._wrap(self._array)
        twin.__dict__.update(attributes)
        return twin


_new = Tensor.__new__


def _restore(array, attributes):
    tensor = Tensor._wrap(array)
    if attributes:
        tensor.__dict__.update(attributes)
    return tensor


def register_method(name: str, function: Callable) -> None:
    """Makes `function(self, ...)` (or a property) the attribute `name` of Tensor."""
    assert name not in Tensor.__slots__, name
    setattr(Tensor, name, function)


def register_operators(unary: dict[str, Callable], binary: dict[str, Callable]) -> None:
    """Defines Python's operators: `unary={"neg": f}`, `binary={"add": f}` and its reflection."""

    def reflected(function):
        return lambda self, other: function(other, self)

    for name, function in unary.items():
        register_method(f"__{name}__", lambda self, *args, _f=function: _f(self, *args))
    for name, function in binary.items():
        register_method(f"__{name}__", lambda self, other, _f=function: _f(self, other))
        if name not in ("eq", "ne", "lt", "le", "gt", "ge"):
            register_method(f"__r{name}__", reflected(function))
