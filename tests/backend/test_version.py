"""Compiled functions follow their model: a table of changes, of kinds of models, of entry points.

Each change is made to a model whose every entry point has run compiled, and to a twin of it that
has never run. Afterwards both must do the same, the twin by `run_eagerly`.
"""

import argparse
import collections
import concurrent.futures
import functools
import gc
import sys
import types
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino
from kerasvino.backend.assignments import latest
from kerasvino.backend.jit import _Traces
from kerasvino.backend.version import Version

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)).astype("float32")
Y = RNG.normal(size=(4, 3)).astype("float32")


class Options:
    """Settings of a user's own kind."""

    power = 1


class Scaled(layers.Layer):
    """A user's layer that holds one of everything that is not a variable."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.factor = 1.0
        self.history = self.loss = 1.0  # names that mean something else in a model
        self._hidden_factor = 1.0
        self.tensor = ops.ones((5,))
        self.table = np.ones((5,), "float32")
        self.scales = [1.0, 1.0]
        self.named = {"shift": 0.0, "deep": {"shift": 0.0}}
        self.options = Options()
        self.more = types.SimpleNamespace(shift=0.0)
        self.function = lambda x: x
        self.blocks = [layers.Activation("linear"), layers.Activation("linear")]

    def call(self, x):
        x = (
            x
            * self.history
            * self.loss
            * self.factor
            * self._hidden_factor
            * self.tensor
            * self.table
        )
        x = x * self.scales[0] * self.scales[1] + self.named["shift"] + self.named["deep"]["shift"]
        for block in self.blocks:
            x = block(x)
        return self.function(x) ** self.options.power + self.more.shift


def parts():
    return [
        layers.Dense(5, activation="tanh", kernel_regularizer="l2", name="first"),
        Scaled(name="scaled"),
        layers.Normalization(name="norm", mean=0.0, variance=1.0),
        layers.BatchNormalization(name="bn"),
        layers.Dropout(0.0, seed=1, name="drop"),
        layers.Dense(3, name="last"),
    ]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="net")
        self.stages = parts()

    def call(self, x):
        for stage in self.stages:
            x = stage(x)
        return x


def sequential():
    return keras.Sequential([keras.Input((6,)), *parts()], name="net")


def functional():
    i = x = keras.Input((6,))
    for part in parts():
        x = part(x)
    return keras.Model(i, x, name="net")


def nested():
    *inner, last = parts()
    i = keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), *inner], name="inner")
    return keras.Model(i, last(inner(i)), name="net")


def shared():
    first, *rest, last = parts()
    a = keras.Input((6,))
    b = layers.Add()([first(a), first(a * 0.5)])
    for part in rest:
        b = part(b)
    return keras.Model(a, last(b), name="net")


def lora():
    model = sequential()
    find(model, "first").enable_lora(1)
    find(model, "first").lora_kernel_b.assign(np.ones((1, 5)))
    return model


KINDS = [sequential, functional, Subclassed, nested, shared, lora]


def find(model, name):
    return next(layer for layer in model._flatten_layers() if layer.name == name)


# -- changes


def enable_lora(model):
    dense = find(model, "last")
    dense.enable_lora(2)
    dense.lora_kernel_a.assign(np.ones((5, 2)))
    dense.lora_kernel_b.assign(np.full((2, 3), 0.3))


def lora_weights(model):
    dense = find(model, "first")
    if not dense.lora_enabled:
        dense.enable_lora(1)
    dense.lora_kernel_a.assign(np.ones((6, 1)))
    dense.lora_kernel_b.assign(np.full((1, 5), 0.2))


def adapt(model):
    norm = find(model, "norm")
    norm.mean, norm.variance = ops.full((1, 5), 0.5), ops.full((1, 5), 4.0)


def in_place(model):
    find(model, "scaled").table[1] = 3.0


def of_nested_dict(model):
    find(model, "scaled").named["deep"]["shift"] = 2.0


def freeze_variable(model):
    find(model, "first").bias.trainable = False


def constrain(model):
    find(model, "last").kernel.constraint = keras.constraints.NonNeg()


def regularize(model):
    find(model, "first").kernel_regularizer.l2 = np.float32(0.7)


def train_step(model):
    whole = type(model).train_step

    def step(data):
        return whole(model, (data[0] * 0.5, *data[1:]))

    model.train_step = step


def recompile(model):
    model.compile(keras.optimizers.SGD(0.3), "mae", metrics=["mse"])


CHANGES = {
    "activation": lambda m: setattr(find(m, "first"), "activation", ops.sin),
    "rate": lambda m: setattr(find(m, "drop"), "rate", 0.5),
    "factor": lambda m: setattr(find(m, "scaled"), "factor", 2.0),
    "name of a model's attribute": lambda m: setattr(find(m, "scaled"), "history", 2.0),
    "private attribute": lambda m: setattr(find(m, "scaled"), "_hidden_factor", 2.0),
    "function": lambda m: setattr(find(m, "scaled"), "function", ops.cos),
    "tensor": lambda m: setattr(find(m, "scaled"), "tensor", ops.full((5,), 2.0)),
    "array": lambda m: setattr(find(m, "scaled"), "table", np.full((5,), 2.0, "float32")),
    "array in place": in_place,
    "list": lambda m: find(m, "scaled").scales.__setitem__(0, 3.0),
    "dict": lambda m: find(m, "scaled").named.update({"shift": 1.0}),
    "dict in a dict": of_nested_dict,
    "object": lambda m: setattr(find(m, "scaled").options, "power", 2),
    "namespace": lambda m: setattr(find(m, "scaled").more, "shift", 2.0),
    "list of layers": lambda m: find(m, "scaled").blocks.pop(),
    "layer in a list": lambda m: setattr(find(m, "scaled").blocks[0], "activation", ops.relu),
    "call": lambda m: setattr(find(m, "first"), "call", lambda x, **_: x[:, :5] * 2.0),
    "plain tensors": adapt,
    "lora": enable_lora,
    "lora weights": lora_weights,
    "quantize": lambda m: find(m, "last").quantize("int8"),
    "quantize the model": lambda m: m.quantize("int8"),
    "dtype policy": lambda m: setattr(find(m, "last"), "dtype_policy", "mixed_bfloat16"),
    "frozen layer": lambda m: setattr(find(m, "first"), "trainable", False),
    "frozen batch normalization": lambda m: setattr(find(m, "bn"), "trainable", False),
    "frozen model": lambda m: setattr(m, "trainable", False),
    "frozen variable": freeze_variable,
    "constraint": constrain,
    "regularizer": regularize,
    "optimizer": lambda m: setattr(m, "optimizer", keras.optimizers.SGD(0.5)),
    "optimizer's attribute": lambda m: setattr(m.optimizer, "clipvalue", 0.001),
    "loss weights": lambda m: m.compile("sgd", "mse", loss_weights=[0.25]),
    "compile": recompile,
    "train_step": train_step,
}


def pop(model):
    model.pop()
    model.add(layers.Dense(3, kernel_initializer="ones", name="other"))


def add(model):
    model.add(layers.Activation("sigmoid", name="other"))


# Every change in two kinds of models, and in the others one of each sort.
SAMPLE = (
    "activation",
    "function",
    "list of layers",
    "lora",
    "quantize",
    "optimizer",
    "plain tensors",
)
CASES = {
    f"{kind.__name__}-{name}": (kind, change)
    for kind in KINDS
    for name, change in CHANGES.items()
    if kind in (sequential, Subclassed) or name in SAMPLE or name.startswith("frozen")
}
CASES |= {
    f"{kind.__name__}-{c.__name__}": (kind, c) for kind in (sequential, lora) for c in (add, pop)
}


# -- entry points


def entry_points(model):
    """What can be run of a model, by name; those that train come last."""
    eagerly = model.run_eagerly
    jitted = (lambda: model(X)) if eagerly else (lambda: model._jitted(X))
    within = (lambda: model(X) * 2) if eagerly else (lambda: model._within(X))
    return {
        "predict": lambda: model.predict(X, batch_size=4, verbose=0),
        "predict_on_batch": lambda: model.predict_on_batch(X),
        "call": lambda: model(X),
        "jit": jitted,
        "jit of a function": within,
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "test_on_batch": lambda: model.test_on_batch(X, Y),
        "train_on_batch": lambda: model.train_on_batch(X, Y),
        "weights": model.get_weights,
        "fit": lambda: model.fit(X, Y, verbose=0, shuffle=False).history["loss"],
        "weights at the end": model.get_weights,
    }


def outcome(run):
    """What a run gives, or the kind of its error: an optimizer that does not know a weight, say."""
    try:
        result = run()
    except (ValueError, KeyError, AttributeError) as error:
        return type(error).__name__
    return [np.asarray(part, "float64") for part in keras.tree.flatten(result)]


def compiled(make):
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse", metrics=["mae"])
    model(X)
    model.optimizer.build(model.trainable_variables)
    model.__dict__["_jitted"] = kerasvino.jit(model)
    model.__dict__["_within"] = kerasvino.jit(lambda x: model(x) * 2)
    return model


def variables(model):
    return model.variables + model.optimizer.variables


@pytest.mark.parametrize(("make", "change"), CASES.values(), ids=CASES)
def test_every_entry_point_follows_a_change(make, change):
    model, twin = compiled(make), compiled(make)
    for run in entry_points(model).values():
        run()
    for _ in range(2):  # model(x) is compiled when it was called a few times
        model(X)
    for mine, its in zip(variables(model), variables(twin), strict=True):
        its.assign(mine)
    change(model)
    change(twin)
    twin.run_eagerly = True
    found, expected = entry_points(model), entry_points(twin)
    for name in found:
        mine, its = outcome(found[name]), outcome(expected[name])
        if isinstance(mine, str) or isinstance(its, str):
            assert mine == its, name
            return  # an eager step has begun before it failed
        tolerance = 2e-2 if change is CHANGES["dtype policy"] else 2e-4
        for a, b in zip(mine, its, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


# -- what does not cost a trace


def count_traces(monkeypatch):
    from kerasvino.runtime import function

    counts, whole = [], function.trace
    monkeypatch.setattr(function, "trace", lambda *a, **k: (counts.append(1), whole(*a, **k))[1])
    return counts


@pytest.mark.parametrize("make", KINDS)
def test_nothing_is_traced_twice_without_a_change(make, monkeypatch):
    counts = count_traces(monkeypatch)
    model = compiled(make)
    for _ in range(2):
        for run in entry_points(model).values():
            run()
    first, before = len(counts), latest()
    for _ in range(2):
        for run in entry_points(model).values():
            run()
    assert len(counts) == first
    assert latest() == before


def test_flags_that_alternate_keep_their_programs(monkeypatch):
    counts = count_traces(monkeypatch)
    model = compiled(functional)
    first = find(model, "first")
    for step in range(6):
        first.trainable = bool(step % 2)
        kernel = first.get_weights()[0]
        model.train_on_batch(X, Y)
        moved = np.abs(first.get_weights()[0] - kernel).max()
        assert (moved > 0) == bool(step % 2)
    assert len(counts) == 2


def test_equal_numbers_assigned_again_cost_no_trace(monkeypatch):
    counts = count_traces(monkeypatch)
    model = compiled(functional)
    scaled = find(model, "scaled")
    for _ in range(4):
        scaled.factor = float("2.5")
        scaled.options.power = int("1000") // 500
        model.optimizer.clipnorm = float("1.5")
        model.train_on_batch(X, Y)
    assert len(counts) == 1


def test_another_model_that_changes_costs_no_trace(monkeypatch):
    counts = count_traces(monkeypatch)
    model, other = compiled(functional), compiled(functional)
    model.predict_on_batch(X)
    other.predict_on_batch(X)
    for factor in range(3):
        find(other, "scaled").factor = float(factor)
        model.predict_on_batch(X)
    assert len(counts) == 2


def test_what_a_call_assigns_to_its_own_layer_costs_no_trace(monkeypatch):
    class Remembers(layers.Layer):
        def call(self, x):
            self.last = x
            self.calls = getattr(self, "calls", 0) + 1
            return x * 2

    counts = count_traces(monkeypatch)
    model = keras.Sequential([keras.Input((6,)), Remembers()])
    for _ in range(3):
        model.predict_on_batch(X)
        model(X)
    assert len(counts) == 1


def test_compiling_for_training_leaves_predictions(monkeypatch):
    counts = count_traces(monkeypatch)
    model = compiled(functional)
    step = kerasvino.jit(model)
    step(X)
    model(X)
    model.compile("adam", "mae")
    step(X)
    assert len(counts) == 1


def test_a_value_that_changes_at_each_call_is_warned_of():
    model = compiled(sequential)
    with pytest.warns(UserWarning, match=r"'factor' of Scaled 'scaled'.*keras\.Variable"):
        for factor in range(12):
            find(model, "scaled").factor = float(factor)
            model.predict_on_batch(X[:1])


def test_a_model_that_is_dropped_leaves_memory():
    model = compiled(functional)
    for run in entry_points(model).values():
        run()
    reference = weakref.ref(model)
    del model, run
    gc.collect()
    assert reference() is None


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
