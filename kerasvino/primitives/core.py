"""Primitive: one operation with its host implementation, lowering, gradient and layout rule.

Calling a primitive dispatches on its arguments alone: all concrete -> `impl` on the host, any
symbolic -> `lower` into the graph under construction. The result is recorded iff an input is.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

import numpy as np
from openvino import Output

from kerasvino import dtypes
from kerasvino.errors import TracedValueError
from kerasvino.graph.calls import Call, append, opened
from kerasvino.graph.trace import Trace, constant_node, current_trace
from kerasvino.primitives.operation_errors import LoweringError, attributed, explained, layer_path
from kerasvino.primitives.wide import widened
from kerasvino.tensor import Record, Tensor
from kerasvino.traced import is_traced

__all__ = ["PRIMITIVES", "Primitive", "as_ints", "defvjp", "is_traced", "register_eager"]

PRIMITIVES: dict[str, Primitive] = {}

# (compile every concrete call, run(primitive, inputs, attrs)): set once by kerasvino.runtime.
_eager_compiled = False
_eager_run: Callable | None = None


def register_eager(run: Callable, compiled: bool) -> None:
    """Registers what runs a primitive on concrete inputs as a compiled program.

    Args:
        run: `run(primitive, inputs, attrs)` -> a Tensor, or a tuple for several outputs.
        compiled: whether it serves every primitive that has a `lower` (`KERASVINO_EAGER=compiled`)
            or only those without an `impl`.
    """
    global _eager_run, _eager_compiled
    _eager_run, _eager_compiled = run, compiled


# Of each thread: `run` of a context in which NumPy does not warn of division by zero or overflow,
# as no accelerator does. Entering it costs a tenth of `np.errstate`, but cannot be nested: an
# `impl` must not call primitives.
_quiet = threading.local()


def _quiet_context() -> Callable:
    context = contextvars.copy_context()
    context.run(np.seterr, all="ignore")
    return context.run


def _same_as_first(inputs, attrs):
    return inputs[0]


class Primitive:
    """An operation of the backend.

    Args:
        name: unique; names nodes and errors.
        impl: `impl(*arrays, **attrs)` -> array(s), NumPy on the host; None if it has no host form.
        lower: `lower(*outputs, **attrs)` -> `ov.Output`(s); None if graphs cannot express it.
        dtype: `dtype(input_dtypes, attrs)` -> Keras dtype of the result (tuple for several); a
            string is that dtype always; default: that of the first input.
        wide: True if `impl` and `lower` are not to see floats of 8 and 16 bits: inputs of the dtype
            of the first one are given to them in float32, and a result of floats is rounded once.
            "impl" or "lower" for that alone, where kernels of the other do so themselves. "exact"
            as "lower", for results that are elements of the inputs, or no floats: not rounded.
        vjp: `vjp(grads, inputs, outputs, **attrs)` -> a cotangent or None for each input, made with
            primitives. `grads` and `outputs` are single tensors when the primitive has one output.
        layout: `layout(trace, inputs, attrs)` -> (physical outputs, attrs, permutation of the
            result) or None to materialise pending permutations (see `kerasvino.primitives.layout`).
            Called when an input has a pending permutation; always, with `permutes`.
        permutes: whether the operation is itself a permutation, which stays pending.
        dynamic: names of attributes whose leaves may be symbolic integer tensors (shapes, starts).
            `impl` gets them as Python ints, `lower` as ints and `ov.Output`s of rank 0.
        multiple: whether the result is a tuple.
        sparse: whether `vjp` takes None for an output without a cotangent, instead of zeros.
        nondifferentiable: reason why no gradient exists, if that is so ("integer result").
        untraceable: reason why there is no `lower`, if that is so.
    """

    __slots__ = (
        "_dtype",
        "_narrow",
        "dynamic",
        "impl",
        "layout",
        "lower",
        "multiple",
        "name",
        "nondifferentiable",
        "permutes",
        "sparse",
        "untraceable",
        "vjp",
    )

    def __init__(
        self, name, *, impl=None, lower=None, dtype=None, wide=False, vjp=None, layout=None,
        permutes=False, dynamic=(), multiple=False, sparse=False, nondifferentiable=None,
        untraceable=None,
    ):  # fmt: skip
        if name in PRIMITIVES:
            raise ValueError(f"There is a primitive named {name!r} already.")
        self.name = name
        self.impl = impl
        self._narrow, self.lower = widened(impl, lower, wide)
        self._dtype = dtype or _same_as_first
        self.vjp = vjp
        self.layout = layout
        self.permutes = permutes
        self.dynamic = tuple(dynamic)
        self.multiple = multiple
        self.sparse = sparse
        self.nondifferentiable = nondifferentiable
        self.untraceable = untraceable
        PRIMITIVES[name] = self

    def __repr__(self):
        return f"<Primitive {self.name}>"

    def __call__(self, *inputs: Tensor, **attrs):
        traced = recorded = False
        for tensor in inputs:
            if tensor._array is None:
                traced = True
            if tensor.record is not None:
                recorded = True
        if self.dynamic and not traced:
            for name in self.dynamic:
                if is_traced(attrs[name]):
                    traced = True
        if traced:
            result = self._traced(inputs, attrs)
        elif self.impl is None or (_eager_compiled and self._compilable(inputs, attrs)):
            result = _eager_run(self, inputs, self._concrete(attrs))
        else:
            result = self._hosted(inputs, attrs)
        if recorded:
            self._record(inputs, attrs, result)
        if opened:
            append(Call(self, inputs, attrs, result if self.multiple else (result,)), traced)
        return result

    def _hosted(self, inputs, attrs):
        if self.dynamic:
            attrs = self._concrete(attrs)
        try:
            run = _quiet.run
        except AttributeError:
            run = _quiet.run = _quiet_context()
        impl = self.impl
        if self._narrow is not None and inputs[0]._array.dtype.itemsize < 4:
            impl = self._narrow
        try:
            result = run(impl, *[tensor._array for tensor in inputs], **attrs)
        except Exception as error:
            raise explained(error, self.name, inputs, attrs) from error
        if self.multiple:
            return tuple(Tensor._wrap(np.asarray(array)) for array in result)
        return Tensor._wrap(result if type(result) is np.ndarray else np.asarray(result))

    def _compilable(self, inputs, attrs):
        names = [*(tensor.dtype for tensor in inputs), *self.output_dtypes(inputs, attrs)]
        return self.lower is not None and all(dtypes.TABLE[name].kind not in "cs" for name in names)

    def _concrete(self, attrs):
        """`attrs` with the concrete tensors in its dynamic attributes as Python ints."""
        if not self.dynamic:
            return attrs
        return {k: as_ints(v) if k in self.dynamic else v for k, v in attrs.items()}

    def output_dtypes(self, inputs, attrs):
        """Keras dtype of each output, as a tuple."""
        rule = self._dtype
        names = rule if isinstance(rule, str) else rule([t.dtype for t in inputs], attrs)
        return (names,) if isinstance(names, str) else tuple(names)

    def _traced(self, inputs, attrs):
        trace = current_trace()
        if trace is None:
            raise TracedValueError(
                f"{self.name} was given a traced tensor that belongs to a graph that is no "
                "longer being built: it was kept and used outside its call. Return it from the "
                "traced function instead."
            )
        if self.lower is None:
            reason = f": {self.untraceable}" if self.untraceable else ""
            raise LoweringError(
                attributed(
                    self.name, f"has no form in a compiled OpenVINO graph{reason}; run it eagerly."
                )
            )
        try:
            names = self.output_dtypes(inputs, attrs)
            outputs, permutation = self.emit(trace, inputs, attrs)
        except Exception as error:
            raise explained(error, self.name, inputs, attrs) from error
        results = []
        for output, name in zip(outputs, names, strict=True):
            if output.get_element_type() != dtypes.TABLE[name].graph:
                raise AssertionError(
                    f"The lowering of {self.name} made {output.get_element_type()} for {name}."
                )
            tensor = trace.symbol(output, name, permutation)
            if tensor._shape is not None and 0 in tensor._shape and None not in tensor._shape:
                tensor = trace.symbol(_empty(output, name), name, permutation)
            results.append(tensor)
        if not self.permutes:
            self._name(trace, outputs)
        return tuple(results) if self.multiple else results[0]

    def emit(self, trace: Trace, inputs, attrs):
        """Adds the nodes to `trace`; returns (outputs, pending permutation of them or None)."""
        for name in self.dynamic:
            attrs = {**attrs, name: _outputs(attrs[name], trace)}
        permutation = placed = None
        if self.permutes or (
            self.layout is not None
            and any(trace.physical(t)[1] is not None for t in inputs if t._array is None)
        ):
            placed = self.layout(trace, inputs, attrs)
        if placed is not None:
            operands, attrs, permutation = placed
        else:
            operands = [trace.output(tensor) for tensor in inputs]
        result = self.lower(*operands, **attrs)
        outputs = list(result) if self.multiple else [result]
        return [o if isinstance(o, Output) else o.output(0) for o in outputs], permutation

    def _name(self, trace, outputs):
        path = attributed(self.name)
        for output in outputs:
            trace.named.setdefault(output.get_node().get_friendly_name(), path)

    def _record(self, inputs, attrs, result):
        record = Record(self, inputs, attrs)
        record.path = layer_path()
        record.attach(result if self.multiple else (result,))


def _empty(output, dtype):
    """An empty Constant of the shape of `output`, which is known to hold a zero.

    The CPU plugin crashes, or reads uninitialised memory, on static shapes without elements.
    """
    empty = np.empty(tuple(output.get_shape()), dtypes.numpy_dtype(dtype))
    return constant_node(empty, dtype).output(0)


def as_ints(value):
    """A (nested) attribute with its concrete tensors and arrays as Python ints."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return tuple(as_ints(item) for item in value)
    return value


def _outputs(value, trace):
    if isinstance(value, Tensor):
        return value.tolist() if value._array is not None else trace.output(value)
    if isinstance(value, (tuple, list)):
        return tuple(_outputs(item, trace) for item in value)
    return value


def defvjp(primitive: Primitive, rule: Callable) -> None:
    """Fills the `vjp` column of a primitive whose rule needs primitives defined after it."""
    primitive.vjp = rule
