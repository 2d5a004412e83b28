"""Passes for what decoders are made of: dense layers over heads, rotary embeddings, logits."""

import numpy as np
import pytest
from keras import layers, ops

from tests.passes.test_normalizations import compiled, normal

WIDTH, HEADS, SIZE = 16, 4, 8


def agrees(function, arrays, program):
    expected = function(*map(ops.convert_to_tensor, arrays))
    for mine, theirs in zip(program(arrays), expected, strict=True):
        np.testing.assert_allclose(mine, np.asarray(theirs), rtol=1e-5, atol=1e-5)


def dense(equation, shape, bias, width=WIDTH):
    layer = layers.EinsumDense(equation, shape, bias_axes=bias)
    layer.build((None, None, width) if equation.startswith("abc,") else (None, None, HEADS, SIZE))
    for index, weight in enumerate(layer.weights):
        weight.assign(normal(*weight.shape, seed=index))
    return layer


DENSE = {
    "to heads": ("abc,cde->abde", (None, HEADS, SIZE), "de"),
    "bias of sizes alone": ("abc,cde->abde", (None, HEADS, SIZE), "e"),
    "no bias": ("abc,cde->abde", (None, HEADS, SIZE), None),
    "from heads": ("abcd,cde->abe", (None, WIDTH), "e"),
}


@pytest.mark.parametrize("case", DENSE)
@pytest.mark.parametrize("dynamic", [False, True])
def test_dense_layers_over_heads(case, dynamic):
    layer = dense(*DENSE[case])
    shape = (2, 5, HEADS, SIZE) if case == "from heads" else (2, 5, WIDTH)
    x = normal(*shape, seed=3)

    def function(x):
        return [layer(x)]

    shapes = [(None, None, *shape[2:])] if dynamic else None
    program, kinds = compiled(function, [x], shapes)
    assert kinds.count("FullyConnected") == 1
    if case == "to heads":  # the product takes the bias in
        assert kinds.count("Eltwise") == 0
    agrees(function, [x], program)


def test_a_kernel_is_a_constant_of_two_axes():
    from kerasvino.graph import Spec, trace
    from kerasvino.passes.pipeline import run

    layer = dense(*DENSE["to heads"])
    graph = trace(lambda x: [layer(x)], [Spec((None, None, WIDTH), "float32")])
    model = graph.bind(graph.foldable())
    (product,) = (n for n in model.get_ordered_ops() if n.get_type_name() == "MatMul")
    kernel = product.input_value(1).get_node()
    assert kernel.get_type_name() == "Constant"
    assert list(kernel.get_output_shape(0)) == [WIDTH, HEADS * SIZE]
    assert run(model) is model


def embedded(x, index, size=SIZE):
    """Rotary embedding as KerasHub writes it, of (batch, positions, heads, size)."""
    place = ops.arange(ops.shape(x)[1], dtype="float32") + ops.cast(index, "float32")
    inverse = ops.convert_to_tensor(10.0 ** -np.arange(0, 1, 2 / size).astype("float32"))
    angle = ops.einsum("bi,j->bij", place[None], inverse)
    angle = ops.reshape(ops.stack((angle, angle), axis=-2), (*ops.shape(angle)[:-1], size))
    angle = angle[:, :, None]
    first, second = ops.split(x, 2, axis=-1)
    turned = ops.reshape(ops.stack((-second, first), axis=-2), ops.shape(x))
    return x * ops.cos(angle) + turned * ops.sin(angle)


def test_rotary_embeddings_before_heads_come_first():
    def function(x, index):
        return [
            ops.matmul(
                ops.transpose(embedded(x, index), (0, 2, 1, 3)), np.eye(SIZE, dtype="float32")
            )
        ]

    arrays = [normal(2, 5, HEADS, SIZE), np.array(7, np.int32)]
    program, kinds = compiled(function, arrays, [(None, None, HEADS, SIZE), ()])
    assert kinds.count("RoPE") == 1
    agrees(function, arrays, program)


def test_rotary_embeddings_that_stay_as_they_are():
    def function(x, index):
        return [embedded(x, index) + 1]

    arrays = [normal(2, 5, HEADS, SIZE), np.array(7, np.int32)]
    program, kinds = compiled(function, arrays, [(None, None, HEADS, SIZE), ()])
    assert "RoPE" not in kinds
    agrees(function, arrays, program)


def interleaved(x):
    """Joined on the last axis: every other element is of the one half, which is no Concat."""
    first, second = ops.split(x, 2, axis=-1)
    return ops.reshape(ops.stack((first, second), axis=-1), ops.shape(x))


def rearranged(x):
    """Flattened into other axes than those that were stacked."""
    first, second = ops.split(x, 2, axis=-1)
    return ops.reshape(ops.stack((first, second), axis=-2), (ops.shape(x)[1], -1, SIZE))


def stacked(x):
    first, second = ops.split(x, 2, axis=-1)
    return ops.reshape(ops.stack((second, first), axis=-2), ops.shape(x))


@pytest.mark.parametrize("join", [stacked, interleaved, rearranged])
@pytest.mark.parametrize("shape", [(None, None, SIZE), (None, 5, SIZE), (2, 5, SIZE)])
def test_stacked_halves(join, shape):
    def function(x):
        return [ops.exp(join(x) / 8)]

    x = normal(2, 5, SIZE)
    program, _ = compiled(function, [x], [shape])
    agrees(function, [x], program)


def cap(x):
    return ops.tanh(x / 30) * 30


TABLE = normal(64, WIDTH, seed=5)
LOGITS = {
    "plain": (lambda x: ops.matmul(x, ops.transpose(TABLE)), True),
    "capped": (lambda x: cap(ops.matmul(x, ops.transpose(TABLE))), True),
    "with a bias": (lambda x: ops.matmul(x, ops.transpose(TABLE)) + TABLE[:, 0], True),
    "positions mixed": (lambda x: ops.cumsum(ops.matmul(x, ops.transpose(TABLE)), axis=1), False),
    "no product": (lambda x: ops.exp(x / 8), False),
}


@pytest.mark.parametrize("case", LOGITS)
@pytest.mark.parametrize("key", [np.s_[:, -1:], np.s_[:, 1:3], np.s_[:, ::2]])
def test_selected_positions_are_taken_before_a_product(case, key):
    made, moves = LOGITS[case]

    def function(x):
        hidden = ops.exp(x / 8)
        return [made(hidden)[key], hidden]

    x = normal(2, 5, WIDTH)
    program, _ = compiled(function, [x], [(None, None, WIDTH)])
    agrees(function, [x], program)
    model = program.graph.bind({})
    (cut,) = (n for n in model.get_ordered_ops() if n.get_type_name() == "Slice")
    after = {i.get_node().get_type_name() for i in cut.output(0).get_target_inputs()}
    assert ("MatMul" in after) == moves


def test_what_others_use_as_well_is_computed_whole():
    def function(x):
        logits = ops.matmul(x, ops.transpose(TABLE))
        return [logits[:, -1:], logits]

    x = normal(2, 5, WIDTH)
    program, _ = compiled(function, [x], [(None, None, WIDTH)])
    agrees(function, [x], program)


@pytest.mark.parametrize("start, stop, step", [(0, 5, 1), (2, 7, 1), (0, 7, 2), (5, 0, -1)])
def test_ranges_of_traced_bounds(start, stop, step):
    def function(stop):
        return [ops.arange(start, stop, step), ops.arange(start, stop, step, dtype="float32")]

    program, _ = compiled(function, [np.array(stop, np.int32)])
    for mine, kind in zip(program([np.array(stop, np.int32)]), ("int32", "float32"), strict=True):
        np.testing.assert_array_equal(mine, np.arange(start, stop, step).astype(kind))
