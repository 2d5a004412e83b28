"""Compiled functions follow what layers, losses and others hold of their user's, in threads too."""

import argparse
import collections
import concurrent.futures
import functools
import gc
import sys
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino
from kerasvino.backend.jit import _Traces
from kerasvino.backend.version import Version
from tests.backend.forms import count_traces

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)).astype("float32")
Y = RNG.normal(size=(4, 3)).astype("float32")


# -- what layers and losses hold of their user's


class Setting:
    """An object of a user's class, which may be called."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, *values):
        return ops.sum(values[0]) * self.doubled() if len(values) == 2 else values[0] * self.factor

    def doubled(self):
        return 2 * self.factor


class Slotted:
    __slots__ = ("factor", "unset")

    def __init__(self):
        self.factor = 1.0


class Holder(layers.Layer):
    def __init__(self, held, call):
        super().__init__()
        self.held, self.of = held, call

    def call(self, x):
        return self.of(self.held, x)


def scaled_by(setting):
    return lambda x: x * setting.doubled()


GLOBAL_SETTING = Setting()


def by_global(x):
    return x * GLOBAL_SETTING.factor


def set_global(layer):
    GLOBAL_SETTING.factor += 1.0


HELD = {
    "slots": (
        lambda: Holder(Slotted(), lambda s, x: x * s.factor),
        lambda layer: setattr(layer.held, "factor", 3.0),
    ),
    "deque": (
        lambda: Holder(collections.deque([1.0]), lambda d, x: x * d[0]),
        lambda layer: layer.held.__setitem__(0, 3.0),
    ),
    "UserDict": (
        lambda: Holder(collections.UserDict(a=1.0), lambda d, x: x * d["a"]),
        lambda layer: layer.held.update(a=3.0),
    ),
    "arguments": (
        lambda: Holder(argparse.Namespace(a=1.0), lambda d, x: x * d.a),
        lambda layer: setattr(layer.held, "a", 3.0),
    ),
    "partial": (
        lambda: Holder(functools.partial(lambda s, x: x * s.factor, Setting()), lambda f, x: f(x)),
        lambda layer: setattr(layer.held.args[0], "factor", 3.0),
    ),
    "keywords": (
        lambda: Holder(functools.partial(ops.leaky_relu, negative_slope=0.1), lambda f, x: f(x)),
        lambda layer: layer.held.keywords.update(negative_slope=0.9),
    ),
    "closure": (
        lambda: Holder(scaled_by(Setting()), lambda f, x: f(x)),
        lambda layer: setattr(layer.held.__closure__[0].cell_contents, "factor", 3.0),
    ),
    "callable": (
        lambda: layers.Activation(Setting()),
        lambda layer: setattr(layer.activation, "factor", 3.0),
    ),
    "method": (
        lambda: layers.Activation(Setting().__call__),
        lambda layer: setattr(layer.activation.__self__, "factor", 3.0),
    ),
    "global": (lambda: layers.Activation(by_global), set_global),
}


@pytest.mark.parametrize(("make", "change"), HELD.values(), ids=HELD)
def test_objects_of_the_users_are_looked_at(make, change, monkeypatch):
    counts = count_traces(monkeypatch)
    model = keras.Sequential([keras.Input((6,)), make()])
    step = kerasvino.jit(model)

    def run():
        return [model.predict_on_batch(X), np.asarray(step(X)), np.asarray(model(X))]

    for _ in range(4):
        before = run()
    assert len(counts) == 2  # predict and jit; a call of the user's function stays eager
    change(model.layers[0])
    after = run()
    assert not np.allclose(after[2], before[2])
    for found in after:
        np.testing.assert_allclose(found, after[2], rtol=1e-6)


def changed_weight(loss):
    loss.factor = 3.0


LOSSES = {
    "object": (Setting, changed_weight),
    "keywords": (lambda: keras.losses.Huber(), lambda loss: loss._fn_kwargs.update(delta=0.01)),
    "method": (lambda: Setting().__call__, lambda loss: changed_weight(loss.__self__)),
}


@pytest.mark.parametrize(("make", "change"), LOSSES.values(), ids=LOSSES)
def test_objects_in_the_place_of_losses_are_looked_at(make, change):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    model.compile("sgd", make())
    before = model.test_on_batch(X, Y)
    change(model.loss)
    after = model.test_on_batch(X, Y)
    model.run_eagerly = True
    assert after != pytest.approx(before)
    assert after == pytest.approx(model.test_on_batch(X, Y), rel=1e-5)


def test_attributes_that_a_function_does_not_read_cost_no_trace(monkeypatch):
    class Experiment:
        def __init__(self):
            self.step, self.factor = 0, 1.0

        def loss(self, y, y_pred):
            return ops.mean(ops.abs(y - y_pred)) * self.weight()

        def weight(self):
            return self.factor

    counts = count_traces(monkeypatch)
    experiment = Experiment()
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    model.compile("sgd", experiment.loss)
    for _ in range(4):
        before = model.test_on_batch(X, Y)
        experiment.step += 1
    assert len(counts) == 1
    experiment.factor = 2.0
    assert model.test_on_batch(X, Y) == pytest.approx(2 * before, rel=1e-5)


def test_what_a_call_assigns_to_its_own_objects_costs_no_trace(monkeypatch):
    class Counts(layers.Layer):
        def __init__(self):
            super().__init__()
            self.state = Setting()
            self.state.calls = 0

        def call(self, x):
            self.state.calls += 1
            self.state.last = x
            return x * self.state.factor

    counts = count_traces(monkeypatch)
    model = keras.Sequential([keras.Input((6,)), Counts()])
    for _ in range(3):
        model.predict_on_batch(X)
    assert len(counts) == 1
    model.layers[0].state.factor = 3.0
    np.testing.assert_allclose(model.predict_on_batch(X), 3 * X, rtol=1e-6)


def test_the_format_of_images_counts():
    class Pooled(layers.Layer):
        def call(self, x):
            return ops.max_pool(x, 2)

        def compute_output_shape(self, shape):
            return shape

    model = keras.Sequential([keras.Input((4, 6, 8)), Pooled()])
    images = RNG.normal(size=(2, 4, 6, 8)).astype("float32")
    assert model.predict_on_batch(images).shape == (2, 2, 3, 8)
    keras.config.set_image_data_format("channels_first")
    try:
        assert model.predict_on_batch(images).shape == (2, 4, 3, 4)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_classes_of_the_users_are_not_kept():
    held = Setting()
    reference = weakref.ref(held)

    def run(held):
        class Model(keras.Model):
            def call(self, x):
                return x * held.factor

        Model().predict_on_batch(X)

    run(held)
    del held
    gc.collect()
    assert reference() is None


def test_long_lists_of_layers_are_seen():
    class Long(layers.Layer):
        def __init__(self):
            super().__init__()
            self.numbers = [1.0] * 5000

        def call(self, x):
            return x * self.numbers[0]

    model = keras.Sequential([keras.Input((6,)), Long()])
    model.predict_on_batch(X)
    model.layers[0].numbers[0] = 3.0
    np.testing.assert_allclose(model.predict_on_batch(X), 3 * X, rtol=1e-6)


# -- threads


@pytest.fixture
def switching():
    """Threads take turns after each few operations."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(run, count=4):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(run) for _ in range(count)]:
            done.result()


def test_threads_may_call_a_model_first(switching):
    for _ in range(3):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
        in_threads(lambda model=model: [model(X) for _ in range(4)])


def test_an_object_has_one_stamp_whichever_thread_comes_first(switching):
    for _ in range(20):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
        versions = [Version() for _ in range(4)]
        left = iter(versions)
        in_threads(lambda model=model, left=left: next(left).include([model]))
        model.layers[0].use_bias = False
        assert not any(version.is_current() for version in versions)


def test_flags_that_threads_see_change(switching):
    traces = _Traces(training=True)
    layer = layers.Activation("relu")  # one flag
    traces.version.include([layer])
    traces.found()
    of_flags = {True: traces.functions()}
    layer.trainable = False
    traces.version.is_current()
    of_flags[False] = traces.functions()
    assert of_flags[True] is not of_flags[False]

    def run():
        for _ in range(200):
            traces.version.is_current()
            assert any(traces.functions() is known for known in of_flags.values())

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        running = [pool.submit(run) for _ in range(3)]
        for step in range(50):
            layer.trainable = bool(step % 2)
        for done in running:
            done.result()
    for flag in (True, False):
        layer.trainable = flag
        traces.version.is_current()
        assert traces.functions() is of_flags[flag]
