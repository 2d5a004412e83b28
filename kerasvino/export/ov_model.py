"""A Keras model as an `openvino.Model` that stands alone."""

from __future__ import annotations

from dataclasses import replace

import openvino

from kerasvino._version import __version__
from kerasvino.backend.keras_private import VERSION, tree
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.export.signature import Signature, output_names, signature_of
from kerasvino.export.stateful_model import State, stateful
from kerasvino.graph import Graph, trace
from kerasvino.graph.graph import EXACT, Narrow

__all__ = ["convert", "traced"]


def convert(model, input_signature=None) -> openvino.Model:
    """The forward pass of a Keras model, its weights as constants.

    Args:
        model: a `keras.Model` that has been built.
        input_signature: see `export_openvino`.
    """
    converted = _converted(traced(model, signature_of(model, input_signature)))
    converted.set_rt_info(__version__, ["kerasvino", "version"])
    converted.set_rt_info(VERSION, ["kerasvino", "keras_version"])
    return converted


def traced(model, signature: Signature) -> Graph:
    """The graph of a call of `model` in inference mode, its inputs and outputs with their names."""
    latest = []

    def function(*leaves):
        outputs = tree.map_structure(convert_to_tensor, signature.call(model, leaves))
        latest[:] = output_names(model, outputs)
        return tree.flatten(outputs)

    graph = trace(function, signature.specs, model.name)
    graph.outputs = [replace(s, name=n) for s, n in zip(graph.outputs, latest, strict=True)]
    return graph


def _converted(graph: Graph) -> openvino.Model:
    """A graph with what it only reads as constants, and what it assigns as state."""
    results = {id(v): len(graph.outputs) + i for i, v in enumerate(graph.writes)}
    constants = graph.foldable()
    states = [
        State(f"{variable.path}:{index}", variable._value._array, results.get(id(variable)))
        for index, variable in enumerate(graph.reads)
        if index not in constants
    ]
    # What is assigned and never read is of no effect here.
    bound = graph.bind(constants, _narrow(graph))
    converted = stateful(bound, [spec.name for spec in graph.outputs], states)
    if any(state.result is not None for state in states):
        converted.set_rt_info("true", ["kerasvino", "stateful"])
    return converted


def _narrow(graph: Graph) -> Narrow:
    """What the products of a file may have: it is to be right on processors of any kind.

    So weights of a calibrated model have 7 bits, whose products may be added in 16 bits.
    """
    return Narrow(ranges=graph.ranges, bits=7) if graph.ranges else EXACT
