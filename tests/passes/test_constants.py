"""What is computed of constants before a model is compiled, and what is left to OpenVINO."""

import collections

import numpy as np
import openvino
import openvino.opset16 as ov
import pytest
from keras import layers

from kerasvino.graph import Spec, trace
from kerasvino.nodes.lowering import const, convert, ints
from kerasvino.passes.constants import value
from kerasvino.passes.walk import Scope
from kerasvino.runtime.program import Program

MATRIX = np.arange(24, dtype=np.float32).reshape(4, 6) - 7
MATRIX.setflags(write=False)


def matrix():
    return const(MATRIX, openvino.Type.f32)


def shared():
    """Sums of sums of the same node: 2**40 paths lead to the matrix."""
    found = matrix()
    for _ in range(40):
        found = ov.add(found, found).output(0)
    return found


KNOWN = {
    "a constant": matrix,
    "of rank 0": lambda: const(3.5, openvino.Type.f32),
    "transposed": lambda: ov.transpose(matrix(), ints([1, 0])),
    "transposed, as if by default": lambda: ov.transpose(matrix(), ints([])),
    "reshaped": lambda: ov.reshape(matrix(), ints([2, -1, 3]), special_zero=False),
    "unsqueezed": lambda: ov.unsqueeze(ov.transpose(matrix(), ints([1, 0])), ints([0, -1])),
    "squeezed": lambda: ov.squeeze(ov.unsqueeze(matrix(), ints(1)), ints(1)),
    "the second of a split": lambda: ov.split(matrix(), ints(-1), 3).output(1),
    "joined": lambda: ov.concat([*ov.split(matrix(), ints(0), 2).outputs()[::-1], matrix()], 0),
    "joined along the last": lambda: ov.concat([matrix(), matrix()], -1),
    "added with broadcasting": lambda: ov.add(matrix(), const(MATRIX[:, :1], openvino.Type.f32)),
    "reshaped like another": lambda: ov.reshape(
        matrix(), ov.shape_of(ov.convert(ov.transpose(matrix(), ints([1, 0])), "i32")), False
    ),
    "broadcast": lambda: ov.broadcast(const(2.5, openvino.Type.f32), ints([2, 3])),
    "shared": shared,
}
UNKNOWN = {
    "a parameter": lambda p: p,
    "of a parameter": lambda p: ov.concat([matrix(), p], 0),
    "of a kind unknown": lambda p: ov.sqrt(matrix()),
    "made of one": lambda p: ov.unsqueeze(ov.sqrt(matrix()), ints(0)),
    "broadcast from several": lambda p: ov.broadcast(matrix(), ints([2, 4, 6])),
    "reshaped to what only the run knows": lambda p: ov.reshape(
        matrix(), ov.convert(ov.gather(p, ints(0), ints(0)), "i64"), False
    ),
    "integers": lambda p: ov.add(ints([1, 2]), ints([3, 4])),
    "of another precision": lambda p: convert(matrix(), openvino.Type.bf16),
}


def output_of(made):
    return made if isinstance(made, openvino.Output) else made.output(0)


@pytest.mark.parametrize("name", KNOWN)
def test_value(name):
    output = output_of(KNOWN[name]())
    model = openvino.Model([output], [])
    expected = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([])[0]
    np.testing.assert_array_equal(value(output, Scope(model)), expected)


@pytest.mark.parametrize("name", UNKNOWN)
def test_no_value(name):
    parameter = openvino.op.Parameter(openvino.Type.f32, openvino.PartialShape([4, 6]))
    output = output_of(UNKNOWN[name](parameter.output(0)))
    assert value(output, Scope(openvino.Model([output], [parameter]))) is None


RECURRENT = {
    "LSTM": lambda: layers.LSTM(5, return_sequences=True),
    "LSTM without bias": lambda: layers.LSTM(5, use_bias=False),
    "GRU": lambda: layers.GRU(5, return_sequences=True),
    "GRU that resets before": lambda: layers.GRU(5, reset_after=False),
    "GRU without bias": lambda: layers.GRU(5, use_bias=False, go_backwards=True),
    "both ways": lambda: layers.Bidirectional(layers.GRU(5)),
}


def traced(layer, batch):
    layer.build((batch, 7, 3))
    random = np.random.default_rng(0)
    for variable in layer.weights:
        variable.assign(random.normal(size=variable.shape))
    return trace(lambda x: [layer(x)], [Spec((batch, 7, 3), "float32")])


def kinds(model):
    return collections.Counter(node.get_type_name() for node in model.get_ordered_ops())


@pytest.mark.parametrize("name", RECURRENT)
def test_kernels_read_constants(name):
    graph = traced(RECURRENT[name](), 2)
    found = kinds(graph.bind(graph.foldable()))
    assert not set(found) & {"Split", "Transpose", "Unsqueeze", "Add", "ShapeOf", "Broadcast"}
    assert found["LSTMSequence"] + found["GRUSequence"] == (2 if name == "both ways" else 1)


@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize("name", RECURRENT)
def test_folded_or_not_is_the_same(name, batch):
    layer = RECURRENT[name]()
    graph = traced(layer, batch)
    x = np.random.default_rng(1).normal(size=(2, 7, 3)).astype("float32")
    folded = Program(graph, "CPU", graph.foldable())([x])[0]
    fed = Program(graph, "CPU", {})([x, *graph.foldable().values()])[0]
    np.testing.assert_allclose(folded, fed, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(folded, np.asarray(layer(x)), rtol=1e-5, atol=1e-5)


def test_weights_are_not_touched():
    layer = RECURRENT["LSTM"]()
    graph = traced(layer, 2)
    before = [np.array(weight) for weight in layer.weights]
    Program(graph, "CPU", graph.foldable())([np.ones((2, 7, 3), "float32")])
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), old)
