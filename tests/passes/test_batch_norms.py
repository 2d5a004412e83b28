"""Batch normalizations that are folded into the convolution before them, and those that stay."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasvino.graph import Spec, trace

CONVOLUTIONS = {
    "1d": ((9, 3), lambda: layers.Conv1D(5, 3, padding="same")),
    "2d": ((8, 7, 3), lambda: layers.Conv2D(20, 3, strides=2, padding="valid")),
    "2d without bias": ((8, 8, 3), lambda: layers.Conv2D(33, 1, use_bias=False)),
    "dilated": ((8, 8, 3), lambda: layers.Conv2D(4, 3, dilation_rate=2)),
    "groups": ((8, 8, 6), lambda: layers.Conv2D(12, 3, groups=3)),
    "3d": ((4, 5, 6, 2), lambda: layers.Conv3D(3, 2)),
    "depthwise": ((8, 8, 6), lambda: layers.DepthwiseConv2D(3, padding="same")),
    "depthwise of two each": ((8, 8, 5), lambda: layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "separable": ((8, 8, 5), lambda: layers.SeparableConv2D(7, 3)),
}


def randomised(model):
    random = np.random.default_rng(0)
    for variable in model.weights:
        value = random.normal(size=variable.shape)
        variable.assign(np.abs(value) + 0.1 if "variance" in variable.path else value)
    return model


def bound(model):
    """The model as it is compiled, its variables as constants."""
    spec = Spec((2, *model.input_shape[1:]), "float32")
    graph = trace(lambda x: [model(x, training=False)], [spec])
    return graph.bind(graph.foldable())


def count(model, kind):
    return sum(node.get_type_name() == kind for node in model.get_ordered_ops())


def in_parts(model, x):
    """By the eager operations, layer by layer."""
    for layer in model.layers:
        x = layer(x, training=False)
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "epsilon": 0.1}])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_folded(name, options):
    shape, convolution = CONVOLUTIONS[name]
    model = keras.Sequential(
        [keras.Input(shape), convolution(), layers.BatchNormalization(**options), layers.ReLU()]
    )
    randomised(model)
    assert count(bound(model), "BatchNormInference") == 0
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    expected = in_parts(model, x)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-5, atol=1e-5 * scale)


def test_a_new_value_is_folded_anew():
    model = keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(3, 3), layers.BatchNormalization()]
    )
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 2)).astype("float32")
    model.predict_on_batch(x)
    kernels = [np.array(w) for w in model.get_weights()]
    randomised(model)
    expected = in_parts(model, x)
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-4)
    model.set_weights(kernels)
    np.testing.assert_allclose(model.predict_on_batch(x), in_parts(model, x), rtol=1e-4, atol=1e-4)


def after(read):
    """A model in which `read(convolution, norm)` makes the output of a convolution and its norm."""
    inputs = keras.Input((6, 6, 4))
    convolved = layers.Conv2D(4, 3, padding="same")(inputs)
    return keras.Model(inputs, read(inputs, convolved, layers.BatchNormalization()))


KEPT = {
    "a second use": lambda x, y, norm: norm(y) + y,
    "a sum with data": lambda x, y, norm: norm(y + x),
    "a function between": lambda x, y, norm: norm(keras.ops.tanh(y)),
}


@pytest.mark.parametrize("name", KEPT)
def test_kept(name):
    model = randomised(after(KEPT[name]))
    assert count(bound(model), "BatchNormInference") == 1
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 4)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-4)


def test_a_kernel_of_two_convolutions_is_scaled_for_each():
    inputs = keras.Input((6, 6, 4))
    shared = layers.Conv2D(4, 3, padding="same")
    once = layers.BatchNormalization()(shared(inputs))
    model = randomised(keras.Model(inputs, layers.BatchNormalization()(shared(once))))
    assert count(bound(model), "BatchNormInference") == 0
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 4)).astype("float32")
    first, second = (layer for layer in model.layers if "normalization" in layer.name)
    expected = second(shared(first(shared(x), training=False)), training=False)
    expected = keras.ops.convert_to_numpy(expected)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-5, atol=1e-5 * scale)
