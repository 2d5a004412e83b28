"""Passes enter the bodies of If and Loop, and know what is constant there."""

import collections

import numpy as np
import pytest
from keras import layers, ops

from kerasvino.graph import Spec, trace
from kerasvino.nodes.floating import rounded_operand
from kerasvino.passes import pipeline
from kerasvino.passes.walk import scopes
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(2, 3, shape).astype("float32")


def built(layer, shape):
    layer.build(shape)
    for index, weight in enumerate(layer.weights):
        values = normal(*weight.shape, seed=index)
        weight.assign(np.abs(values) + 0.1 if "variance" in weight.path else values)
    return layer


def kinds(graph):
    """Of the nodes outside of bodies, and of those in them."""
    first, *inner = scopes(graph.bind(graph.foldable()))
    count = lambda found: sum(
        (collections.Counter({k: len(v) for k, v in scope.kinds.items()}) for scope in found),
        collections.Counter(),
    )
    return count([first]), count(inner)


def in_while(function):
    """Its trips are known at the run alone."""

    def looped(x):
        end = ops.cast(ops.sum(x) * 0, "int32") + 3
        return ops.while_loop(lambda i, x: i < end, lambda i, x: (i + 1, function(x)), (0, x))[1]

    return looped


def in_fori(function):
    return lambda x: ops.fori_loop(0, 3, lambda i, x: function(x), x)


def in_scan(function):
    """Of each row, the state being the one before."""
    return lambda x: ops.scan(lambda c, row: (function(c + row), function(row)), x[0], x)[1]


def in_branch(function):
    return lambda x: ops.cond(ops.sum(x) < 1e9, lambda: function(x) + x, lambda: x)


def in_loop_of_branches(function):
    return in_fori(lambda x: ops.cond(ops.sum(x) < 1e9, lambda: function(x), lambda: x))


AROUND = [in_while, in_fori, in_scan, in_branch, in_loop_of_branches]


def checked(function, shape, dynamic=None):
    x = normal(*shape, seed=5)
    graph = trace(lambda x: [function(x)], [Spec(dynamic or shape, "float32")])
    program = Program(graph, "CPU", graph.foldable())
    wanted = function(Tensor(x))
    for _ in range(2):  # what the first run leaves in memory is not what the second one reads
        np.testing.assert_allclose(program([x])[0], wanted, rtol=2e-4, atol=2e-4)
    return kinds(graph)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("around", AROUND, ids=lambda f: f.__name__)
def test_layer_normalization_is_one_node(around, dynamic):
    norm = built(layers.LayerNormalization(), (None, None, 16))
    shape = (3, 2, 5, 16) if around is in_scan else (2, 5, 16)
    unknown = (None,) * (len(shape) - 1) + (16,)
    _, inner = checked(around(norm), shape, unknown if dynamic else None)
    # a scan of rows whose number only the run knows has a branch for none of them
    assert inner["MVN"] == (2 + dynamic if around is in_scan else 1)
    assert not inner["Sqrt"]


def test_what_a_body_closes_over_is_normalized_anew_in_each_iteration():
    """The kernel may compute in place: the next iteration must read what was given."""
    norm = built(layers.LayerNormalization(), (None, 16))

    def function(x):
        return ops.fori_loop(0, 4, lambda i, total: total + norm(x), ops.zeros_like(x))

    _, inner = checked(function, (3, 16))
    assert inner["MVN"] == 1


@pytest.mark.parametrize("around", AROUND, ids=lambda f: f.__name__)
def test_batch_normalization_is_folded(around):
    convolution = built(layers.Conv1D(4, 3, padding="same"), (2, 9, 4))
    norm = built(layers.BatchNormalization(), (2, 9, 4))
    step = lambda x: ops.tanh(norm(convolution(x), training=False))
    _, inner = checked(around(step), (2, 2, 9, 4) if around is in_scan else (2, 9, 4))
    assert inner["Convolution"]
    assert not inner["BatchNormInference"]


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
def test_weights_of_sequences_are_folded(kind):
    layer = built(kind(4, return_sequences=True), (2, 5, 4))
    _, inner = checked(in_fori(layer), (2, 5, 4))
    assert inner["LSTMSequence"] + inner["GRUSequence"] == 1
    assert not inner.keys() & {"Split", "Transpose"}


def test_constants_are_rounded():
    layer = built(layers.Dense(4, dtype="mixed_bfloat16"), (2, 4))
    step = in_fori(lambda x: ops.cast(layer(x), "float32"))
    graph = trace(lambda x: [step(x)], [Spec((2, 4), "float32")])

    def left(model):
        """Roundings of constants."""
        return sum(
            (operand := rounded_operand(node.input_value(0).get_node())) is not None
            and scope.constant(operand) is not None
            for scope in scopes(model)
            for node, _ in scope.of_kinds(["Convert"])
        )

    model = graph.bound(graph.foldable())
    assert left(model) > 0
    assert left(pipeline.run(model)) == 0


def test_a_carried_weight_is_not_constant():
    """Nothing is folded of what an iteration changes."""
    convolution = built(layers.Conv1D(4, 3, padding="same", use_bias=False), (2, 9, 4))
    norm = built(layers.BatchNormalization(), (2, 9, 4))

    def function(x):
        def step(i, state):
            x, kernel = state
            y = norm(ops.conv(x, kernel, padding="same"), training=False)
            return ops.tanh(y), kernel * 0.5

        return ops.fori_loop(0, 3, step, (x, ops.convert_to_tensor(convolution.kernel)))[0]

    _, inner = checked(function, (2, 9, 4))
    assert inner["BatchNormInference"] == 1
