"""A graph as a model that stands alone: named results, and variables as state of the request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from openvino import Model, PartialShape, Type
from openvino.op import Result, assign, read_value
from openvino.op.util import Variable, VariableInfo

from kerasvino import dtypes
from kerasvino.graph.trace import constant_node
from kerasvino.nodes.lowering import convert, identity

__all__ = ["State", "stateful"]


@dataclass(frozen=True)
class State:
    """A trailing parameter of a model that becomes state (ReadValue, Assign).

    Attributes:
        name: unique among the states.
        value: what it begins with.
        result: index of the result that assigns it, or None if it keeps its value.
    """

    name: str
    value: np.ndarray
    result: int | None


def stateful(model: Model, names: Sequence[str], states: Sequence[State]) -> Model:
    """A model whose results are the first `len(names)` of `model`, with these names.

    Args:
        model: is taken over.
        names: of the results, all different.
        states: of the trailing parameters, in order.
    """
    parameters = model.get_parameters()
    inputs = parameters[: len(parameters) - len(states)]
    results, sinks = model.get_results(), []
    for parameter, state in zip(parameters[len(inputs) :], states, strict=True):
        name = dtypes.name_of(state.value.dtype)
        held = _held(name)
        info = VariableInfo()
        info.data_shape, info.data_type = PartialShape(list(state.value.shape)), held
        info.variable_id = state.name
        variable = Variable(info)
        read = read_value(_initial(state.value, name), variable)
        read.set_friendly_name(parameter.get_friendly_name())
        value = convert(read.output(0), dtypes.graph_type(name))
        for consumer in list(parameter.output(0).get_target_inputs()):
            consumer.replace_source_output(value)
        new = value if state.result is None else results[state.result].input_value(0)
        sinks.append(assign(convert(new, held).get_node(), variable))
    outputs = _named([_readable(result.input_value(0)) for result in results[: len(names)]], names)
    made = Model(outputs, sinks, inputs, model.get_friendly_name())
    for output, name in zip(made.outputs, names, strict=True):
        output.get_tensor().set_names({name})
    return made


def _readable(output):
    """A result in a type that every language has: bf16 and f8 as f32, which holds them exactly.

    OpenVINO's Python hands out bf16 results labelled as float16.
    """
    narrow = output.get_element_type() in (Type.bf16, Type.f8e4m3, Type.f8e5m2)
    return convert(output, Type.f32) if narrow else output


def _named(outputs, names) -> list[Result]:
    """Results, each of a node of its own: names belong to what is computed, not to a Result."""
    seen, results = set(), []
    for output, name in zip(outputs, names, strict=True):
        port = output.get_node().get_friendly_name(), output.get_index()
        if port in seen or output.get_node().get_type_name() == "Parameter":
            output = identity(output)
        seen.add(port)
        result = Result(output)
        result.set_friendly_name(f"{name}/result")
        results.append(result)
    return results


def _held(name: str) -> Type:
    """The type that the CPU plugin keeps values of a dtype in: it takes no state of most others."""
    return Type.f32 if dtypes.is_float(name) else Type.i32


def _initial(array: np.ndarray, name: str):
    """The initial value as a Constant of the held type; uint32 by its bits."""
    dtypes.check_graph_values(array, name, "State")
    if name == "uint32":
        return constant_node(array.view(np.int32), "int32")
    kind = "float32" if dtypes.is_float(name) else "int32"
    return constant_node(array.astype(kind), kind)
