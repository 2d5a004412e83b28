"""Sums over the processes that train together: a host operation, also within a compiled graph.

In a graph it is a node of ours, which calls back into Python when the plugin comes to it: a step
stays one program, with its gradients before the exchange and the update behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import openvino

from kerasvino import dtypes
from kerasvino.graph.trace import current_trace
from kerasvino.primitives.core import Primitive, defvjp

__all__ = ["exchange", "register_exchange"]


def _alone(weight: float, arrays: Sequence[np.ndarray], mean: bool):
    """`Group.total` of a process that has joined no others."""
    factor = 1 if mean else weight
    found = [a * a.dtype.type(factor) if a.dtype.kind == "f" else a for a in arrays]
    return found, np.float32(weight)


_total: Callable = _alone


def register_exchange(total: Callable | None) -> None:
    """Gives this layer, which knows no transport, `Group.total`; None: this process is alone."""
    global _total
    _total = total or _alone


def _impl(weight, *arrays, mean):
    found, total = _total(float(weight), arrays, mean)
    return (*(np.array(array) for array in found), total)  # its memory is written again


class Exchange(openvino.Op):
    """The node: inputs are the weight, the arrays, and the result of the exchange before it.

    The last makes all processes come to their exchanges in the same order. Outputs: one for each
    array, then the sum of weights.
    """

    def __init__(self, inputs=None, mean=False, count=0):
        super().__init__(self)
        self._mean = mean
        self._count = count
        if inputs is not None:
            self.set_arguments(inputs)
            self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self):
        self.set_output_size(self._count + 1)
        for index in range(self._count):
            source = index + 1
            self.set_output_type(
                index, self.get_input_element_type(source), self.get_input_partial_shape(source)
            )
        self.set_output_type(
            self._count, self.get_input_element_type(0), self.get_input_partial_shape(0)
        )

    def clone_with_new_inputs(self, inputs):
        return Exchange(inputs, self._mean, self._count)

    def visit_attributes(self, visitor):
        return True

    def has_evaluate(self):
        return True

    def evaluate(self, outputs, inputs):
        given = [tensor.data for tensor in inputs[1 : self._count + 1]]
        found, total = _total(float(inputs[0].data.reshape(())), given, self._mean)
        for place, array in zip(outputs, (*found, total), strict=True):
            if tuple(place.shape) != np.shape(array):
                place.shape = np.shape(array)
            place.data[...] = array
        return True


def _lower(weight, *arrays, mean):
    trace = current_trace()
    before = [] if trace.exchanged is None else [trace.exchanged]
    node = Exchange([weight, *arrays, *before], mean, len(arrays))
    outputs = list(node.outputs())
    trace.exchanged = outputs[-1]
    root = trace
    while root.parent is not None:
        root = root.parent
    root.exchanges = True
    return outputs


def _dtypes(inputs, attrs):
    """Those of the arrays. OpenVINO hands bfloat16 to the host as if it were float16."""
    if any(dtypes.TABLE[name].kind == "f" and name not in _FLOATS for name in inputs[1:]):
        raise TypeError(f"Values of {inputs[1:]} are exchanged in float32; cast them first.")
    return (*inputs[1:], "float32")


_FLOATS = ("float16", "float32", "float64")

# exchange(weight, *tensors, mean=…): the sums over processes of weight * tensor, then the sum of
# the weights (a float32 scalar); with `mean`, divided by that. See `Group.total`.
exchange = Primitive(
    "exchange",
    impl=_impl,
    lower=_lower,
    dtype=_dtypes,
    multiple=True,
)


def _vjp(grads, inputs, outputs, *, mean):
    """The gradient of a mean, as each process is to see it.

    The loss is the weighted mean of those of the processes, and gradients become weighted means in
    the end, too. In these terms a mean is its own transpose.
    """
    if not mean:
        raise NotImplementedError("A sum over processes has no gradient here; exchange the mean.")
    found = exchange(inputs[0], *grads[:-1], mean=True)
    return (None, *found[:-1])


defvjp(exchange, _vjp)
