"""Compiled functions follow their model: a table of changes, of kinds of models, of entry points.

Each change is made to a model whose every entry point has run compiled, and to a twin of it that
has never run. Afterwards both must do the same, the twin by `run_eagerly`.
"""

import gc
import types
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino
from kerasvino.backend.assignments import latest
from tests.backend.forms import count_traces

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


def test_a_layer_that_becomes_part_of_another_model_costs_no_trace(monkeypatch):
    counts = count_traces(monkeypatch)
    model = compiled(functional)
    model.predict_on_batch(X)
    again = keras.Input(model.input_shape[1:])
    keras.Model(again, model(again))  # adds nodes to the model and to the layers in it
    find(model, "first")(again)
    model.predict_on_batch(X)
    assert len(counts) == 1


@pytest.mark.parametrize("empty", [[], {}, set()], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("nested", [False, True])
def test_an_empty_container_tells_when_it_is_filled(empty, nested):
    class Shifts(layers.Layer):
        def __init__(self):
            super().__init__()
            self.shifts = {"inner": type(empty)()} if nested else type(empty)()

        def held(self):
            return self.shifts["inner"] if nested else self.shifts

        def call(self, x):
            return x + float(len(self.held()))

    model = keras.Sequential([keras.Input((6,)), Shifts()])
    held = model.layers[0].held()
    assert (model.predict_on_batch(X) == X).all()
    if isinstance(held, dict):
        held["one"] = 1
    else:
        (held.add if isinstance(held, set) else held.append)(1)
    assert (model.predict_on_batch(X) == X + 1).all()


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
