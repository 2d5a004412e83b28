"""Steps that take the state of the model and return it, as they are written for JAX."""

import functools
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino
from kerasvino.backend.training.stateless import takes_state
from tests.training import stateless_steps

RECORDED = pathlib.Path(__file__).with_name("stateless_jax.npz")
both = pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eager"])


def of_run(recorded, name):
    return {k.partition("/")[2]: recorded[k] for k in recorded if k.partition("/")[0] == name}


@both
@pytest.mark.parametrize("name", stateless_steps.RUNS)
def test_what_keras_gives_on_jax(name, eagerly):
    with np.load(RECORDED) as recorded:
        expected = of_run(recorded, name)
    keras.utils.clear_session()
    found = stateless_steps.run(name, run_eagerly=eagerly)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5 * scale, err_msg=key)


@pytest.mark.slow
def test_the_recorded_values_are_those_of_jax(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-m", "tests.training.stateless_steps", tmp_path / "new.npz"]
    root = pathlib.Path(__file__).parents[2]
    subprocess.run(command, env=environment, cwd=root, check=True, timeout=600)
    with np.load(RECORDED) as recorded, np.load(tmp_path / "new.npz") as new:
        assert set(recorded) == set(new)
        for name in new:
            np.testing.assert_allclose(recorded[name], new[name], rtol=1e-4, err_msg=name)


# -- which form a step has


def unnamed(step):
    """A decorator that does not say what it decorates."""

    def wrapper(*args, **kwargs):
        return step(*args, **kwargs)

    return wrapper


def named(step):
    return functools.wraps(step)(unnamed(step))


class Jax(keras.Model):
    def train_step(self, state, data): ...

    @named
    def test_step(self, state, data): ...

    @unnamed
    def predict_step(self, state, data): ...


class Tf(keras.Model):
    def train_step(self, data): ...

    @named
    def test_step(self, data, extra=None): ...

    @unnamed
    def predict_step(self, data): ...


class OnJax(Jax):
    def train_step(self, *args):
        return super().train_step(*args)

    test_step = predict_step = named(train_step)


class OnTf(Tf):
    def train_step(self, *args, **kwargs):
        return super().train_step(*args, **kwargs)

    test_step = predict_step = train_step


class OnKeras(keras.Model):
    def train_step(self, *args):
        return super().train_step(*args)

    def test_step(self, *data):
        return super().test_step(*data)

    predict_step = functools.partialmethod(lambda self, scale, data: data, 2.0)


class Odd(Tf):
    train_step = functools.partialmethod(lambda self, scale, state, data: data, 2.0)

    @staticmethod
    def test_step(state, data): ...

    @classmethod
    def predict_step(cls, data): ...


@pytest.mark.parametrize("name", ["train_step", "test_step", "predict_step"])
@pytest.mark.parametrize(
    ("kind", "takes"),
    [
        (Jax, True), (OnJax, True), (Tf, False), (OnTf, False), (OnKeras, False),
        (keras.Model, False), (keras.Sequential, False), (Odd, None),
    ],
)  # fmt: skip
def test_the_signature_tells_the_form(kind, takes, name):
    expected = name != "predict_step" if takes is None else takes
    assert takes_state(kind(), name) is expected


def test_a_step_of_an_object_comes_first():
    model = Tf()
    model.train_step = types.MethodType(lambda self, state, data: None, model)
    model.predict_step = lambda data: data
    assert takes_state(model, "train_step")
    assert not takes_state(model, "predict_step")


# -- what surrounds a step


class Model(stateless_steps.Minimal):
    """The step of the guide, for batches of any structure."""

    def train_step(self, state, data):
        return super().train_step(state, keras.utils.unpack_x_y_sample_weight(data)[:2])


def model_of(kind=Model, *inner, **options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = inputs
    for layer in inner or (lambda: layers.Dense(4, "tanh"),):
        x = layer()(x)
    model = kind(inputs, layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], **options)
    return model


class Default(keras.Model):
    pass


@both
def test_only_some_steps_are_written_so(eagerly):
    """Default steps for validation and prediction; the same numbers as Keras's own step."""
    x, y = stateless_steps.data()
    found = []
    for kind in (Model, Default):
        model = model_of(kind, run_eagerly=eagerly, steps_per_execution=2)
        history = model.fit(
            x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, validation_data=(x[:8], y[:8])
        ).history
        found.append((history, model.predict(x, verbose=0), model.get_weights()))
    (history, predicted, weights), (expected, *others) = found
    assert history.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-4, err_msg=key)
    np.testing.assert_allclose(predicted, others[0], rtol=1e-4, atol=1e-5)
    for a, b in zip(weights, others[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@both
def test_on_one_batch(eagerly):
    x, y = stateless_steps.data()
    model, other = (
        model_of(kind, run_eagerly=eagerly) for kind in (stateless_steps.Weighted, Default)
    )
    for rows in (8, 8, 5):
        found = model.train_on_batch(x[:rows], y[:rows], return_dict=True)
        expected = other.train_on_batch(x[:rows], y[:rows], return_dict=True)
        assert found == pytest.approx(expected, rel=1e-4)
    assert int(model.optimizer.iterations) == 3
    weight = np.linspace(0, 1, 8).astype("float32")
    found = model.test_on_batch(x[:8], y[:8], sample_weight=weight, return_dict=True)
    expected = other.test_on_batch(x[:8], y[:8], sample_weight=weight, return_dict=True)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    predicted = model.predict_on_batch(x)
    np.testing.assert_allclose(predicted["y"], other.predict_on_batch(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predicted["rows"], x.sum(1), rtol=1e-4, atol=1e-5)


def test_an_unbuilt_model():
    class Unbuilt(keras.Model):
        train_step, updated = stateless_steps.Minimal.train_step, stateless_steps.Minimal.updated
        loss_and_updates = stateless_steps.Updates.loss_and_updates

        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x, training=False):
            return self.dense(x)

    x, y = stateless_steps.data()
    for eagerly in (False, True):
        model = Unbuilt()
        model.compile("sgd", "mse", metrics=["mae"], run_eagerly=eagerly)
        losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]


def test_seeds_are_state():
    x, y = stateless_steps.data()
    model = model_of(Model, lambda: layers.Dropout(0.5))
    other = model_of(Default, lambda: layers.Dropout(0.5))
    assert len(model.non_trainable_variables) == 1
    seeds, losses = set(), []
    for _ in range(3):
        losses.append([m.train_on_batch(x, y)[0] for m in (model, other)])
        seeds.add(tuple(model.non_trainable_variables[0].numpy()))
    assert len(seeds) == 3
    for found, expected in losses:
        assert found == pytest.approx(expected, rel=1e-4)
    # inference leaves them where they are
    model.predict(x, verbose=0)
    assert tuple(model.non_trainable_variables[0].numpy()) in seeds


OPTIMIZERS = {
    "accumulation": (lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2), "float32"),
    "average": (
        lambda: keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=3), "float32",
    ),
    "scaled": (lambda: keras.optimizers.Adam(0.01), "mixed_float16"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_that_branch(name):
    """Within `cond`, in a StatelessScope: as the step of Keras, which assigns."""
    optimizer, policy = OPTIMIZERS[name]
    x, y = stateless_steps.data()
    found = []
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        for kind in (stateless_steps.Inherited, Default):
            model = stateless_steps.network(kind)
            model.compile(optimizer(), "mse")
            for _ in range(4):
                model.train_on_batch(x, y)
            found.append([v.numpy() for v in (*model.variables, *model.optimizer.variables)])
    finally:
        keras.config.set_dtype_policy(before)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_what_a_step_leaves_alone_is_not_written():
    x, y = stateless_steps.data()
    frozen = layers.Dense(4, trainable=False)
    model = model_of(Model, lambda: frozen, lambda: layers.Dense(3))
    model.train_on_batch(x, y)
    assigned = model.train_function.compiled.assigned()
    assert not any(v is w for v in assigned for w in frozen.variables)
    assert all(any(v is w for v in assigned) for w in model.trainable_variables)
    model.predict(x, verbose=0)
    model.evaluate(x, y, verbose=0)
    assert not model.predict_function.compiled.assigned()
    before = model.predict(x, verbose=0)
    frozen.kernel.assign(2 * frozen.kernel)
    assert not np.allclose(model.predict(x, verbose=0), before)


def test_prediction_may_change_what_is_not_trained():
    class Counting(keras.Model):
        def __init__(self):
            super().__init__()
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.built = True

        def predict_step(self, state, data):
            _, (calls,) = state
            return keras.utils.unpack_x_y_sample_weight(data)[0] + calls, [calls + 1]

    model = Counting()
    found = model.predict(np.zeros((6, 1), "float32"), batch_size=2, verbose=0)
    np.testing.assert_array_equal(found[:, 0], [0, 0, 1, 1, 2, 2])
    assert float(model.calls) == 3


def test_callbacks_and_a_failing_step_see_whole_states():
    x, y = stateless_steps.data()
    model = model_of(Model)
    rates = []

    class Watching(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(int(self.model.optimizer.iterations))
            self.model.layers[1].kernel.assign(np.zeros((6, 4)))

        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.5

    model.fit(x, y, batch_size=16, verbose=0, callbacks=[Watching()])
    assert rates == [1, 2]
    np.testing.assert_array_equal(model.layers[1].kernel, np.zeros((6, 4)))
    before = model.get_weights()
    model.updated = lambda *args: 1 / 0
    model.compile(model.optimizer, "mse", run_eagerly=True)
    with pytest.raises(ZeroDivisionError):
        model.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


# -- errors


def failing(step, **options):
    kind = type("Kind", (keras.Model,), {"train_step": step})
    model = kind(*(lambda i: (i, layers.Dense(1)(i)))(keras.Input((6,))))
    model.compile("sgd", "mse", **options)
    return lambda: model.train_on_batch(*stateless_steps.data())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda state: {}, r"returns \(logs, \(trainable, non_trainable.*given: dict"),
        (lambda state: ({}, state[:3]), r"given: \(dict, \(list, list, list\)\)"),
        (lambda state: ({}, *state), r"given: \(dict, list, list, list, list\)"),
        (lambda state: ({}, None), r"given: \(dict, NoneType\)"),
        (lambda state: ({}, (state[0][:1], *state[1:])), "2 trainable variables and returned 1"),
    ],
)  # fmt: skip
@both
def test_what_a_step_returns_is_checked(returned, message, eagerly):
    train = failing(lambda self, state, data: returned(state), run_eagerly=eagerly)
    with pytest.raises(ValueError, match=message):
        train()


def test_what_a_step_of_prediction_returns_is_checked():
    class Kind(keras.Model):
        def predict_step(self, state, data):
            return data[0]

    model = Kind()
    model.built = True
    with pytest.raises(ValueError, match=r"returns \(outputs, non_trainable\).*given: Tensor"):
        model.predict_on_batch(np.zeros((2, 6), "float32"))


def differentiating(self, state, data):
    import jax

    return jax.value_and_grad(lambda t: ops.sum(t[0]))(state[0]), state


def averaging(self, state, data):
    import jax.numpy

    return {"loss": jax.numpy.mean(state[0][0])}, state


def jitting(self, state, data):
    import jax

    return {"loss": jax.jit(ops.sum)(state[0][0])}, state


def converting(self, state, data):
    import jax.numpy

    return {"loss": ops.sum(ops.convert_to_tensor(jax.numpy.asarray(np.asarray(data[0]))))}, state


@both
@pytest.mark.parametrize("step", [differentiating, averaging, jitting])
def test_jax_in_a_step_names_what_to_write(step, eagerly):
    with pytest.raises(TypeError, match=r"calls JAX[^$]*kerasvino\.value_and_grad"):
        failing(step, run_eagerly=eagerly)()


def test_errors_that_are_not_of_jax_stay_as_they_are():
    def step(self, state, data):
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        failing(step)()


def test_a_step_that_reads_values_runs_eagerly_without_jit_compile():
    assert np.isfinite(failing(converting, jit_compile=False)())


def test_the_loss_of_keras_may_be_differentiated_by_other_arguments():
    x, y = stateless_steps.data()
    model = model_of(Default)
    groups = model.trainable_variables, model.non_trainable_variables, model.metrics_variables
    state = [[v.value for v in group] for group in groups]
    loss, (unscaled, y_pred, _, metrics) = model.compute_loss_and_updates(*state, x, y, None)
    assert float(loss) == float(unscaled) == pytest.approx(np.mean((y_pred.numpy() - y) ** 2))
    assert len(metrics) == len(model.metrics_variables)
    gradient = kerasvino.grad(model.compute_loss_and_updates, has_aux=True)(*state, x, y, None)[0]
    assert [g.shape for g in gradient] == [v.shape for v in model.trainable_variables]
