"""Layers of Keras in graphs of unknown lengths."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasvino.graph import Spec, trace
from kerasvino.tensor import TracedValueError


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.TimeDistributed(layers.Dense(2)), (2, 5, 3), "number of steps"),
        (layers.CenterCrop(9, 9), (2, 5, 5, 3), "number of pixels"),
    ],
)
def test_a_layer_that_would_go_wrong_says_what_it_needs(layer, shape, message):
    layer(np.ones(shape, "float32"))
    unknown = (shape[0], *(None for _ in shape[1:-1]), shape[-1])
    with pytest.raises(TracedValueError, match=message):
        trace(lambda x: [layer(x)], [Spec(unknown, "float32")])
    trace(lambda x: [layer(x)], [Spec((None, *shape[1:]), "float32")])


def test_such_a_layer_predicts_for_any_number_of_lengths():
    inner = layers.Dense(2)
    model = keras.Sequential([keras.Input((None, 3)), layers.TimeDistributed(inner)])
    assert model.output_shape == (None, None, 2)
    for steps in range(1, 8):
        x = np.random.default_rng(steps).normal(size=(3, steps, 3)).astype("float32")
        kernel, bias = (np.asarray(w) for w in inner.weights)
        np.testing.assert_allclose(
            model.predict(x, verbose=0), x @ kernel + bias, rtol=1e-5, atol=1e-6
        )


def test_images_of_any_size_are_resized():
    model = keras.Sequential(
        [keras.Input((None, None, 2)), layers.UpSampling2D(2, interpolation="bilinear")]
    )
    for size in range(2, 8):
        x = np.random.default_rng(size).random((1, size, 3, 2)).astype("float32")
        wanted = keras.ops.image.resize(x, (2 * size, 6))
        np.testing.assert_allclose(model.predict(x, verbose=0), wanted, atol=1e-6)


def test_a_layer_in_a_program_has_the_attributes_of_others():
    used, other = layers.Dense(2), layers.Dense(2)
    keras.Sequential([keras.Input((3,)), used]).predict_on_batch(np.ones((1, 3), "float32"))
    keras.Sequential([keras.Input((3,)), other])
    assert set(dir(used)) == set(dir(other))
