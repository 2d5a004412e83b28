"""`model(x)` compiled: the same results, and eager wherever that could be told."""

import gc
import logging
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from kerasvino.backend import model_calls
from kerasvino.graph.trace import current_trace
from kerasvino.tensor import Tensor

CALLS = model_calls.EAGER_CALLS + 2


def network(*extra):
    return keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(3, 3, activation="relu"), *extra, layers.Flatten()]
    )


def state_of(model):
    return model_calls._states[model]


def image(batch=2):
    return np.random.default_rng(0).normal(size=(batch, 6, 6, 2)).astype("float32")


def test_compiled_after_a_few_calls_with_the_same_results():
    model, x = network(layers.BatchNormalization()), image()
    results = [model(x) for _ in range(CALLS)]
    assert all(isinstance(y, Tensor) and not y.is_symbolic for y in results)
    for y in results[1:]:
        np.testing.assert_allclose(y, results[0], rtol=1e-5, atol=1e-6)
    assert state_of(model)._function is not None
    np.testing.assert_allclose(model(x), model.predict(x, verbose=0), rtol=1e-6)


def test_few_calls_stay_eager():
    model, x = network(), image()
    for _ in range(model_calls.EAGER_CALLS):
        model(x)
    assert state_of(model)._function is None


def test_weights_and_attributes_assigned_later_count():
    model, x = network(layers.Dropout(0.5, seed=1)), image()
    for _ in range(CALLS):
        before = model(x)
    kernel = model.layers[0].kernel
    kernel.assign(kernel * 2.0)
    model.layers[0].bias.assign(model.layers[0].bias * 2.0)
    np.testing.assert_allclose(model(x), before.numpy() * 2, rtol=1e-5, atol=1e-6)
    model.layers[0].activation = keras.activations.linear
    assert float(keras.ops.min(model(x))) < 0


def test_state_advances_as_it_does_eagerly():
    def outputs(calls):
        keras.utils.set_random_seed(3)
        model, x = network(layers.BatchNormalization(), layers.Dropout(0.5, seed=1)), image()
        results = [model(x, training=True).numpy() for _ in range(calls)]
        return results, [v.numpy() for v in model.variables], model

    compiled, variables, model = outputs(CALLS)
    assert state_of(model)._function is not None
    assert not np.array_equal(compiled[-1] == 0, compiled[-2] == 0)
    model = network()
    limit, model_calls.EAGER_CALLS = model_calls.EAGER_CALLS, 100
    try:
        eager, eager_variables, _ = outputs(CALLS)
    finally:
        model_calls.EAGER_CALLS = limit
    for a, b in zip([*compiled, *variables], [*eager, *eager_variables], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


class Printing(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)
        self.seen = []

    def call(self, x):
        self.seen.append(x)
        return self.dense(x)


def my_activation(x):
    return x * 2


def test_code_of_the_user_runs_every_time(caplog):
    model = Printing()
    x = np.ones((1, 3), "float32")
    model(x)
    model.seen.clear()
    with caplog.at_level(logging.DEBUG, "kerasvino"):
        for _ in range(CALLS + 3):
            model(x)
    assert len(model.seen) == CALLS + 3
    assert all(not x.is_symbolic for x in model.seen)
    assert sum("stays eager" in r.message for r in caplog.records) == 1


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Lambda(lambda x: x * 2),
        lambda: layers.Activation(my_activation),
        lambda: layers.ActivityRegularization(l2=0.1),
    ],
)
def test_layers_that_may_have_effects_stay_eager(layer):
    model, x = network(layer()), image()
    for _ in range(CALLS):
        model(x)
    assert state_of(model)._refused
    assert len(model.losses) == (1 if isinstance(layer(), layers.ActivityRegularization) else 0)


def test_masks_on_outputs_stay():
    model = keras.Sequential([keras.Input((4,)), layers.Embedding(5, 3, mask_zero=True)])
    for _ in range(CALLS):
        y = model(np.array([[1, 2, 0, 0]]))
        assert y._keras_mask.tolist() == [[True, True, False, False]]


def test_nothing_is_compiled_inside_a_trace_or_a_stateless_scope():
    model, x = network(), image()
    for _ in range(CALLS):
        model.stateless_call(model.trainable_variables, model.non_trainable_variables, x)
    assert model not in model_calls._states or state_of(model)._function is None
    outer = keras.Sequential([keras.Input((6, 6, 2)), model])
    for _ in range(CALLS):
        outer(x)
    assert model not in model_calls._states or state_of(model)._function is None
    assert current_trace() is None


def test_float64_arrays_are_cast_as_by_the_layer(recwarn):
    model, x = network(), image().astype("float64")
    for _ in range(CALLS):
        assert model(x).dtype == "float32"
    assert not [w for w in recwarn if "float64" in str(w.message)]
    assert state_of(model)._function is not None


def test_nested_inputs_and_outputs():
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model({"a": a, "b": b}, {"sum": a + b, "both": [a * 2, b]})
    x = {"a": np.ones((1, 3), "float32"), "b": np.full((1, 3), 2, "float32")}
    for _ in range(CALLS):
        y = model(x)
        assert y["sum"].numpy().tolist() == [[3, 3, 3]]
        assert y["both"][0].numpy().tolist() == [[2, 2, 2]]


def test_gradients_are_recorded_after_many_calls():
    import kerasvino

    model, x = network(), image()
    for _ in range(CALLS):
        model(x)
    with kerasvino.GradientTape() as tape:
        loss = keras.ops.sum(model(x))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(
        g is not None and g.shape == v.shape
        for g, v in zip(gradients, model.trainable_variables, strict=True)
    )


def test_a_model_that_nobody_holds_is_freed():
    model = network()
    for _ in range(CALLS):
        model(image())
    assert state_of(model)._function is not None
    gone = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None
