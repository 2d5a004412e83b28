"""Convolution and pooling: layouts without transposes, padding of unknown lengths, clear errors."""

import collections

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasvino.graph import Spec, trace
from kerasvino.runtime.function import Function
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor


def kinds(function, *shapes):
    """Results of a compiled function on random inputs, and how many nodes of each kind ran."""
    function = Function(function)
    inputs = [Tensor(np.random.default_rng(0).normal(size=s), "float32") for s in shapes]
    results = function(*inputs)
    (entry,) = function.specialisations.of_shapes.values()
    nodes = entry.program.runtime_model.get_ordered_ops()
    found = collections.Counter(str(n.get_rt_info()["layerType"].astype(str)) for n in nodes)
    return inputs, results, found


def block(x, filters, stride):
    """An inverted residual block with squeeze and excitation, as in MobileNetV3."""
    y = layers.Conv2D(filters * 2, 1, use_bias=False)(x)
    y = layers.BatchNormalization()(y)
    y = layers.Activation("hard_silu")(y)
    if stride == 2:
        y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
    y = layers.DepthwiseConv2D(3, stride, padding="valid" if stride == 2 else "same")(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    gate = layers.Conv2D(filters * 2, 1, activation="hard_sigmoid")(gate)
    y = layers.Conv2D(filters, 1)(layers.Multiply()([y, gate]))
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == filters else y


def small_network():
    x = inputs = layers.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255, -1)(x)
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu")(x)
    for filters, stride in ((12, 2), (12, 1)):
        x = block(x, filters, stride)
    pools = layers.MaxPooling2D(3, 1, padding="same"), layers.AveragePooling2D(2, 1, padding="same")
    x = layers.Concatenate()([pool(x) for pool in pools])
    x = layers.Dropout(0.5)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def test_a_channels_last_network_runs_channels_first():
    keras.utils.set_random_seed(0)
    model = small_network()
    for weight in model.weights:
        if "moving" in weight.path:
            weight.assign(np.random.default_rng(1).uniform(0.5, 1.5, weight.shape))
    (x,), (found,), nodes = kinds(lambda x: [model(x, training=False)], (1, 32, 32, 3))
    np.testing.assert_allclose(found, model(x, training=False), atol=1e-6)
    # the input, and the pooled vector before the classifier
    assert nodes["Transpose"] + nodes["Reorder"] <= 3
    assert nodes["Convolution"] == 11


def test_batch_normalization_becomes_part_of_the_convolution():
    model = keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    )
    _, _, nodes = kinds(lambda x: [model(x, training=False)], (1, 8, 8, 3))
    assert nodes["Convolution"] == 1
    assert not {"Eltwise", "Subgraph", "Math"} & set(nodes)


@pytest.mark.parametrize("function", ["conv", "depthwise", "max_pool", "average_pool"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_of_unknown_lengths(function, kernel, stride):
    weights = np.random.default_rng(1).normal(size=(kernel, kernel, 3, 2)).astype("float32")
    compute = {
        "conv": lambda x: ops.conv(x, weights, stride, "same"),
        "depthwise": lambda x: ops.depthwise_conv(x, weights, stride, "same"),
        "max_pool": lambda x: ops.max_pool(x, kernel, stride, "same"),
        "average_pool": lambda x: ops.average_pool(x, kernel, stride, "same"),
    }[function]
    graph = trace(lambda x: [compute(x)], [Spec((None, None, None, 3), "float32")])
    program = Program(graph, "CPU", {})
    for shape in ((2, 7, 10, 3), (1, 4, 5, 3)):
        x = np.random.default_rng(2).normal(size=shape).astype("float32")
        (found,) = program([x])
        np.testing.assert_allclose(found, compute(x), rtol=1e-5, atol=1e-5)
        assert found.shape[1:3] == tuple(-(-n // stride) for n in shape[1:3])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_data_formats_agree(rank):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *(7, 6, 5)[:rank], 4)).astype("float32")
    first = np.moveaxis(x, -1, 1)
    kernel = rng.normal(size=(*(3, 2, 2)[:rank], 2, 6)).astype("float32")
    back = rng.normal(size=(*(3, 2, 2)[:rank], 5, 4)).astype("float32")
    for compute in (
        lambda x, f: ops.conv(x, kernel, 2, "same", data_format=f),
        lambda x, f: ops.conv_transpose(x, back, 2, "same", data_format=f),
        lambda x, f: ops.max_pool(x, 2, data_format=f),
        lambda x, f: ops.adaptive_average_pool(x, 3, data_format=f),
    ):
        last = np.array(compute(x, "channels_last"))
        np.testing.assert_array_equal(np.moveaxis(last, -1, 1), compute(first, "channels_first"))


def test_grouped_convolution_is_one_of_each_group():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(1, 5, 5, 4)), rng.normal(size=(3, 3, 2, 6))
    x, kernel = x.astype("float32"), kernel.astype("float32")
    parts = [ops.conv(x[..., i : i + 2], kernel[..., j : j + 3]) for i, j in ((0, 0), (2, 3))]
    np.testing.assert_allclose(ops.conv(x, kernel), np.concatenate(parts, -1), rtol=1e-5, atol=1e-6)


def test_integer_convolution_is_exact():
    x = np.full((1, 4, 4, 1), 2**30 + 1, np.int32)
    kernel = np.full((2, 2, 1, 1), 3, np.int32)
    found = np.array(ops.conv(x, kernel))
    assert (found == np.array((2**30 + 1) * 12).astype(np.uint32).view(np.int32)).all()


def test_pooling_of_integers_keeps_their_values():
    x = np.array([2**24, 2**24 + 1, -(2**31), 5], np.int32).reshape(1, 4, 1)
    assert ops.max_pool(x, 2, 1).tolist() == [[[2**24 + 1], [2**24 + 1], [5]]]
    with pytest.raises(TypeError, match="average_pool takes floats, not int32"):
        ops.average_pool(x, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, k: ops.conv(x[..., :2], k), "input channels must match the kernel"),
        (lambda x, k: ops.conv(x, k[0]), "takes inputs .batch, 1 to 3 spatial axes"),
        (lambda x, k: ops.conv(x, k, strides=0), "`strides` must be a positive int"),
        (lambda x, k: ops.conv(x, k, strides=(1, 2, 3)), "or 2 of them"),
        (lambda x, k: ops.conv(x, k, padding="full"), "'same' or 'valid'"),
        (lambda x, k: ops.conv(x[:, :2], k), "spans .3, 3. elements, more than the input"),
        (lambda x, k: ops.max_pool(x, 9), "larger than the input"),
        (lambda x, k: ops.max_pool(x[0, 0], 2), "1 to 3 spatial axes"),
    ],
)
def test_errors_say_what_is_accepted(call, message):
    x, kernel = np.ones((1, 5, 5, 3), "float32"), np.ones((3, 3, 3, 2), "float32")
    with pytest.raises(ValueError, match=message):
        call(x, kernel)
