"""Programs of unknown lengths are used only where no Python code was given None for a length."""

# ruff: noqa: RUF005, RUF015 - each way to ask for a length is a case

import functools
import math
import operator
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasvino.graph import Spec, trace
from kerasvino.graph.lengths import Watch
from kerasvino.runtime import specialisations
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor

ROWS = range(1, 10)


def tensor(*shape, dtype="float32"):
    return Tensor(np.arange(np.prod(shape, dtype=int)).reshape(shape), dtype)


def _unpacked(x):
    rows, columns = x.shape
    return x * rows if rows else x * columns


def _starred(x):
    rows, *_ = x.shape
    return x * rows if rows else x


def _caught(x):
    try:
        return x * len(x)
    except TypeError:
        return x


def _caught_int(x):
    try:
        return x * int(ops.shape(x)[0])
    except TypeError:
        return x


def _iterable(x):
    return x * 2 if np.iterable(x) else x


def _matched(x):
    match x.shape:
        case (int(rows), _):
            return x * rows
    return x


# Python code that takes another branch, or computes another value, for None than for a number.
ASKING = {
    "index": lambda x: x * x.shape[0] if x.shape[0] else x,
    "from the end": lambda x: x * 2 if x.shape[-2] == 7 else x,
    "slice": lambda x: x * 2 if x.shape[:1] == (3,) else x,
    "equal": lambda x: x * 2 if x.shape == (3, 2) else x,
    "unequal": lambda x: x if x.shape != (3, 2) else x * 2,
    "contains": lambda x: x * 2 if 5 in x.shape else x,
    "contains none": lambda x: x if None in x.shape else x * 2,
    "count": lambda x: x * x.shape.count(3),
    "hash": lambda x: x * {(3, 2): 2}.get(x.shape, 1),
    "unpack": _unpacked,
    "star": _starred,
    "match": _matched,
    "tuple": lambda x: x * 2 if tuple(x.shape)[0] else x,
    "list": lambda x: x * 2 if list(x.shape)[0] else x,
    "star in a tuple": lambda x: x * 2 if (*x.shape, 1)[0] else x,
    "star in a call": lambda x: (lambda rows, columns: x * 2 if rows else x)(*x.shape),
    "plus": lambda x: x * 2 if (x.shape + (1,))[0] else x,
    "plus, reflected": lambda x: x * 2 if ((1,) + x.shape)[1] else x,
    "times": lambda x: x * 2 if (x.shape * 2)[0] else x,
    "for": lambda x: x * sum(1 for n in x.shape if n),
    "any": lambda x: x * 2 if all(x.shape) else x,
    "zip": lambda x: x * 2 if next(zip(x.shape, "ab", strict=True))[0] else x,
    "reduce": lambda x: x * functools.reduce(lambda a, n: a + (n or 0), x.shape, 0),
    "reversed": lambda x: x * 2 if list(reversed(x.shape))[1] else x,
    "f-string": lambda x: x * 2 if "None" not in f"{x.shape}" else x,
    "getattr": lambda x: x * 2 if operator.attrgetter("shape")(x)[0] else x,
    "numpy": lambda x: x * 2 if np.shape(x)[0] else x,
    "size": lambda x: x * 2 if x.size else x,
    "isinstance": lambda x: x * 2 if isinstance(x.shape[0], int) else x,
    "of another tensor": lambda x: x * 2 if ops.transpose(x).shape[1] else x,
    "through Keras": lambda x: x * 2 if layers.Dense(3).compute_output_shape(x.shape)[0] else x,
    "KerasTensor": lambda x: x * 2 if keras.KerasTensor(x.shape).shape[0] else x,
    "try len": _caught,
    "try int": _caught_int,
    "iterable": _iterable,
    "in a branch": lambda x: ops.cond(
        ops.sum(x) >= 0, lambda: x * 2 if x.shape[0] else x, lambda: x
    ),
    "in a loop": lambda x: ops.fori_loop(0, 2, lambda i, v: v * 2 if v.shape[0] else v, x),
    "errors": lambda x: x * math.prod(x.shape),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKING)
def test_code_that_is_given_a_length_is_given_a_number(name):
    function = Function(lambda x: [ASKING[name](x)])
    for rows in ROWS:
        x = tensor(rows, 2)
        np.testing.assert_allclose(function(x)[0], ASKING[name](x), err_msg=str(rows))
    assert not function.specialisations.of_patterns


# Code that computes the same whatever the length is.
NOT_ASKING = {
    "a known length": lambda x: x * x.shape[-1],
    "a known length of a slice": lambda x: x * x.shape[1:][0],
    "known lengths": lambda x: x * sum(x.shape[1:]),
    "rank": lambda x: x * len(x.shape) * x.ndim,
    "ops.shape": lambda x: ops.reshape(x, (ops.shape(x)[0], 1, 2)),
    "ops.size": lambda x: x * ops.cast(ops.size(x), "float32"),
    "an axis of -1": lambda x: ops.reshape(x, (-1,)),
    "operations": lambda x: ops.relu(x @ ops.transpose(x)) - ops.mean(x, axis=0)[:1],
    "a shape of all known lengths": lambda x: x * sum(ops.sum(x, axis=0).shape),
    "a layer of Keras": lambda x: ops.sum(layers.Flatten()(ops.expand_dims(x, 1)), 1),
    "a loop": lambda x: ops.scan(lambda s, row: (s + row, s), x[0] * 0, x)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_ASKING)
def test_code_that_does_not_ask_has_one_program_for_all_lengths(name):
    function = Function(lambda x: [NOT_ASKING[name](x)])
    for rows in ROWS:
        x = tensor(rows, 2)
        np.testing.assert_allclose(function(x)[0], NOT_ASKING[name](x), rtol=1e-5)
    assert function.specialisations.of_patterns


class Branching(layers.Layer):
    """Adds the number of its row to each row, where it knows how many there are."""

    def call(self, x):
        n = x.shape[0]
        return x + ops.arange(n, dtype="float32")[:, None] if n else x

    def compute_output_shape(self, shape):
        return shape


def _models():
    x = keras.Input((2,))
    functional = keras.Model(x, Branching()(x))

    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = Branching()

        def call(self, x):
            return self.inner(x)

    return {
        "functional": functional,
        "sequential": keras.Sequential([keras.Input((2,)), Branching()]),
        "nested": keras.Sequential([keras.Input((2,)), functional]),
        "subclass": Subclass(),
        "lambda": keras.Sequential(
            [keras.Input((2,)), layers.Lambda(lambda x: Branching().call(x))]
        ),
        "shared": keras.Model(x, layers.Add()([functional(x), functional(x) * 0.0])),
    }


@pytest.mark.parametrize("entry", ["predict_on_batch", "predict", "evaluate", "call"])
@pytest.mark.parametrize("name", list(_models()))
def test_models_whose_layers_branch_on_a_length(name, entry):
    model = _models()[name]
    model.compile(loss="mse")
    for rows in (4, 3, 2, 1, 7, 9, 8):
        x = np.zeros((rows, 2), "float32")
        if entry == "evaluate":
            wanted = np.mean(np.arange(rows) ** 2)
            assert model.evaluate(x, x, batch_size=rows, verbose=0) == pytest.approx(wanted)
            continue
        run = model if entry == "call" else getattr(model, entry)
        options = {"batch_size": rows, "verbose": 0} if entry == "predict" else {}
        assert np.asarray(run(x, **options))[-1, 0] == rows - 1


def test_a_gradient_whose_rule_branches_on_a_length():
    @ops.custom_gradient
    def scaled(x):
        def grad(*args, upstream=None):
            g = args[0] if upstream is None else upstream
            return g * g.shape[0] if g.shape[0] else g

        return x * 1.0, grad

    import kerasvino

    step = kerasvino.jit(kerasvino.grad(lambda x: ops.sum(scaled(x))))
    for rows in ROWS:
        np.testing.assert_allclose(step(tensor(rows, 2)), np.full((rows, 2), float(rows)))


def test_losses_that_ask_whether_the_last_axis_has_length_1(monkeypatch):
    """Keras takes predictions (3, 1) for labels (3,) for (3,); others are broadcast."""
    monkeypatch.setattr(specialisations, "MAX_SPECIALISATIONS", 1)
    function = Function(lambda *pair: [keras.losses.mean_squared_error(*pair)])
    for steps in (3, 1):
        y_true, y_pred = tensor(3), tensor(3, steps)
        wanted = keras.losses.mean_squared_error(y_true, y_pred)
        np.testing.assert_allclose(function(y_true, y_pred)[0], wanted)
    assert not function.specialisations.of_patterns


def test_functions_of_keras_that_ask_for_a_length_of_1_are_there():
    import importlib

    from kerasvino.backend.layer import _NOT_KNOWING

    of_3_16 = {"sparse_categorical_focal_crossentropy"}
    for module, name in _NOT_KNOWING:
        found = importlib.import_module(module)
        if name in of_3_16 and not hasattr(found, name):
            continue
        for part in name.split("."):
            found = getattr(found, part)
        code = getattr(found, "__wrapped__", found).__code__
        assert code.co_qualname == name
        assert found.__module__ == module


def test_the_lines_that_ask_are_told():
    watch = Watch()

    def function(x):
        return [x if x.shape[0] else x * 2]

    trace(function, [Spec((None, 2), "float32")], watch=watch)
    (place,) = watch.places
    assert place.file == __file__
    assert place.line == function.__code__.co_firstlineno + 1
    assert not watch.refused


def test_a_shape_without_a_watch_is_a_tuple():
    shapes = []
    trace(lambda x: [shapes.append(x.shape) or x], [Spec((None, 2), "float32")])
    assert type(shapes[0]) is tuple


def test_a_length_that_depends_on_values_warns_once():
    def positive(x):
        found = ops.nonzero(x > 0)[0]
        return [found * 2 if found.shape[0] else found]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            Function(positive)(tensor(3, 2))
    (warning,) = [w for w in caught if "length" in str(w.message)]
    assert warning.filename == __file__
    assert "keras.ops.shape(x)[axis]" in str(warning.message)


def test_short_batches_are_padded_only_where_all_lengths_take_one_branch():
    function = Function(lambda x: [x * 2 if x.shape[0] == 5 else x * 3])
    for rows, factor in ((8, 3), (5, 2), (4, 3), (6, 3), (7, 3), (5, 2), (9, 3)):
        x = tensor(rows, 2)
        np.testing.assert_allclose(function(x)[0], x.numpy() * factor)


def test_networks_keep_their_program_of_unknown_lengths():
    image, tokens = keras.Input((None, None, 3)), keras.Input((None,), dtype="int32")
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    y = layers.BatchNormalization()(layers.MaxPooling2D(2)(y))
    convolutions = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))
    z = layers.Embedding(20, 8, mask_zero=True)(tokens)
    z = layers.LayerNormalization()(z + layers.MultiHeadAttention(2, 4)(z, z))
    z = layers.GRU(4, return_sequences=True)(z)
    transformer = keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(z)))
    rng = np.random.default_rng(0)
    for model, draw in (
        (convolutions, lambda n: rng.normal(size=(n % 3 + 1, 4 + n, 9 - n, 3)).astype("float32")),
        (transformer, lambda n: rng.integers(1, 20, (n % 3 + 1, 3 + n)).astype("int32")),
    ):
        for n in range(7):
            x = draw(n)
            np.testing.assert_allclose(model.predict_on_batch(x), model(x), rtol=1e-4, atol=1e-5)
        (function,) = model.predict_function.compiled.functions.values()
        assert function.specialisations.of_patterns, model.name
