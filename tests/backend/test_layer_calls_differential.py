"""Shortened calls against whole ones: every layer that has them, in what may surround a call."""

import contextlib
import functools
import inspect
import threading

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.distribution import distribution_lib

from kerasvino.backend import keras_private, layer_calls
from kerasvino.backend.keras_private import SCOPES

VECTORS, STEPS = (2, 4), (2, 8, 4)
IMAGES, VOLUMES = (2, 8, 8, 4), (2, 6, 6, 6, 4)

# Each class whose calls may be short: its arguments and the shape of its input. Where it takes
# integers or texts, the shape is what they are made of.
CASES = {
    "Activation": (("relu",), VECTORS),
    "ActivityRegularization": ((), VECTORS),
    "AdaptiveAveragePooling1D": ((2,), STEPS),
    "AdaptiveAveragePooling2D": ((2,), IMAGES),
    "AdaptiveAveragePooling3D": ((2,), VOLUMES),
    "AdaptiveMaxPooling1D": ((2,), STEPS),
    "AdaptiveMaxPooling2D": ((2,), IMAGES),
    "AdaptiveMaxPooling3D": ((2,), VOLUMES),
    "AlphaDropout": ((0.5, None, 7), VECTORS),
    "AveragePooling1D": ((2,), STEPS),
    "AveragePooling2D": ((2,), IMAGES),
    "AveragePooling3D": ((2,), VOLUMES),
    "BatchNormalization": ((), STEPS),
    "Conv1D": ((2, 3), STEPS),
    "Conv1DTranspose": ((2, 3), STEPS),
    "Conv2D": ((2, 3), IMAGES),
    "Conv2DTranspose": ((2, 3), IMAGES),
    "Conv3D": ((2, 3), VOLUMES),
    "Conv3DTranspose": ((2, 3), VOLUMES),
    "Cropping1D": ((1,), STEPS),
    "Cropping2D": ((1,), IMAGES),
    "Cropping3D": ((1,), VOLUMES),
    "Dense": ((3,), VECTORS),
    "DepthwiseConv1D": ((3,), STEPS),
    "DepthwiseConv2D": ((3,), IMAGES),
    "Discretization": (([-1.0, 0.0, 1.0],), VECTORS),
    "Dropout": ((0.5, None, 7), VECTORS),
    "ELU": ((), VECTORS),
    "EinsumDense": (("ab,bc->ac", (3,)), VECTORS),
    "Flatten": ((), STEPS),
    "GaussianDropout": ((0.5, 7), VECTORS),
    "GaussianNoise": ((0.5, 7), VECTORS),
    "GlobalAveragePooling2D": ((), IMAGES),
    "GlobalAveragePooling3D": ((), VOLUMES),
    "GlobalMaxPooling1D": ((), STEPS),
    "GlobalMaxPooling2D": ((), IMAGES),
    "GlobalMaxPooling3D": ((), VOLUMES),
    "GroupNormalization": ((2,), STEPS),
    "Hashing": ((5,), VECTORS),
    "Identity": ((), VECTORS),
    "IntegerLookup": ((None, 1, None, -1, [1, 2, 3]), VECTORS),
    "LayerNormalization": ((), STEPS),
    "LeakyReLU": ((), VECTORS),
    "MaxPooling1D": ((2,), STEPS),
    "MaxPooling2D": ((2,), IMAGES),
    "MaxPooling3D": ((2,), VOLUMES),
    "MelSpectrogram": ((64, 16, 32), (2, 256)),
    "Normalization": ((-1, 0.5, 2.0), VECTORS),
    "PReLU": ((), VECTORS),
    "Permute": (((2, 1),), STEPS),
    "RMSNormalization": ((), STEPS),
    "ReLU": ((), VECTORS),
    "RepeatVector": ((3,), VECTORS),
    "Rescaling": ((0.5, 1.0), VECTORS),
    "Reshape": (((2, 2),), VECTORS),
    "STFTSpectrogram": (("log", 64, 32), (2, 256, 1)),
    "SeparableConv1D": ((2, 3), STEPS),
    "SeparableConv2D": ((2, 3), IMAGES),
    "Softmax": ((), VECTORS),
    "SpatialDropout1D": ((0.5, 7), STEPS),
    "SpatialDropout2D": ((0.5, None, 7), IMAGES),
    "SpatialDropout3D": ((0.5, None, 7), VOLUMES),
    "TernaryDense": ((3,), VECTORS),
    "UnitNormalization": ((), VECTORS),
    "UpSampling1D": ((2,), STEPS),
    "UpSampling2D": ((2,), IMAGES),
    "UpSampling3D": ((2,), VOLUMES),
    "ZeroPadding1D": ((1,), STEPS),
    "ZeroPadding2D": ((1,), IMAGES),
    "ZeroPadding3D": ((1,), VOLUMES),
}  # fmt: skip

# Accepted by their signatures, never called short: they hold a layer, or take several inputs.
NEVER = {"HashedCrossing", "SpectralNormalization", "TimeDistributed"}
# Texts come as strings of NumPy and not as tensors.
NEVER |= {"StringLookup", "TextVectorization"}


def accepted():
    """The classes of Keras whose calls may be short, by name."""
    found = {}
    for name in dir(layers):
        kind = getattr(layers, name)
        if (
            inspect.isclass(kind)
            and issubclass(kind, layers.Layer)
            and kind.__name__ == name
            and layer_calls._arguments(kind) is not None
        ):
            found[name] = kind
    return found


def test_every_class_that_may_be_short_is_compared():
    found = set(accepted()) - NEVER
    assert found == {name for name in CASES if hasattr(layers, name)}


# -- what surrounds a call


@contextlib.contextmanager
def cleared(layer):
    keras.utils.clear_session(free_memory=False)
    yield


def other_weights(layer):
    return keras.StatelessScope([(v, ops.full(v.shape, 2, v.dtype)) for v in layer.variables])


class Distribution:
    """A distribution that keeps outputs as they are; notes of which layers they are."""

    def __init__(self, layer):
        self.notes = layer.__dict__["notes"]

    def __enter__(self):
        distribution_lib.set_distribution(self)

    def __exit__(self, *exc):
        distribution_lib.set_distribution(None)

    def get_tensor_layout(self, path):
        self.notes.append(path)


AROUND = {
    "nothing": lambda layer: contextlib.nullcontext(),
    "clear_session": cleared,
    "other weights": other_weights,
    **{
        scope.key: lambda layer, scope=scope: scope.opened(keras_private.at(scope.where))
        for scope in SCOPES
    },
    "distribution": Distribution,
}


class After(layers.Layer):
    """Notes what `training` is for a layer that is called after another."""

    told = "not called"

    def call(self, x, training=None):
        self.told = training
        return x


class Outer(layers.Layer):
    """Calls a layer, with a value of `training` of its own or without, and another one after it."""

    def __init__(self, inner, **kwargs):
        super().__init__(name="outer")
        self.inner, self.after, self.kwargs = inner, After(name="after"), kwargs
        self.around = AROUND["nothing"]

    def call(self, x):
        with self.around(self.inner):
            y = self.inner(x, **self.kwargs)
        self.after(x)
        return y


def noting(layer, notes, within):
    """`layer`, whose class's `call` notes its arguments, and where it was called."""
    method = type(layer).call
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(self, x, *args, **kwargs):
        bound = signature.bind(self, x, *args, **kwargs)
        bound.apply_defaults()
        notes.append((x.dtype, list(bound.arguments.items())[2:]))
        if within:
            notes.append(keras_private.at("keras.src.backend.common.name_scope:current_path")())
        return method(self, x, *args, **kwargs)

    return call


def input_of(layer, shape):
    values = np.random.default_rng(0).normal(size=shape)
    return ops.convert_to_tensor((3 * values).astype(layer.input_dtype))


def observed(name, around, within, training, monkeypatch):
    """All that can be seen of three calls of a layer, of which the last is surrounded."""
    arguments, shape = CASES[name]
    keras.utils.set_random_seed(1)
    layer, notes = getattr(layers, name)(*arguments, name="inner"), []
    layer.__dict__["notes"] = notes
    x = input_of(layer, shape)
    kwargs = {} if training == "not given" else {"training": training}
    if within == "told":
        called, kwargs = Outer(layer, **kwargs), {}
    else:
        called = Outer(layer) if within else layer
    with monkeypatch.context() as patched:
        patched.setattr(type(layer), "call", noting(layer, notes, within))
        for _ in range(2):
            called(x, **kwargs)
        if within:
            called.around, around = around, AROUND["nothing"]
        with around(layer):
            y = called(x, **kwargs)
            seen = [v.numpy() for v in layer.variables]
            seen += [ops.convert_to_numpy(part) for part in keras.tree.flatten(y)]
            losses = [float(loss) for loss in called.losses]
    told = called.after.told if within else None
    masks = [getattr(part, "_keras_mask", None) is None for part in keras.tree.flatten(y)]
    rest = [str(y.dtype), losses, told, masks, len(layer._losses), len(layer._loss_ids)]
    return seen + [v.numpy() for v in layer.variables], [rest, notes]


# Whether a layer is called alone, within another or told by that one; what it or that one is told.
PLACES = [(within, t) for within in (False, True) for t in ("not given", True, False)]
PLACES += [("told", training) for training in (None, True, False)]
FEWER = [(False, "not given"), (True, "not given"), ("told", True)]


# One of each kind in everything that may surround it; the others there where tests may be slow.
KINDS = ["BatchNormalization", "Conv2D", "Dense", "Dropout", "IntegerLookup", "Normalization"]
FEW = {key: AROUND[key] for key in ("nothing", "other weights")}


def _rows():
    for name in CASES:
        if hasattr(layers, name):
            yield pytest.param(name, AROUND if name in KINDS else FEW, id=name)
            if name not in KINDS:
                yield pytest.param(name, AROUND, id=f"{name}-all", marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "around"), list(_rows()))
def test_a_short_call_is_a_whole_one(name, around, monkeypatch, wholes):
    for key, scope in around.items():
        for within, training in PLACES if key == "nothing" else FEWER:
            found = []
            for short in (True, False):
                wholes.clear()
                with monkeypatch.context() as patched:
                    if not short:
                        patched.setattr(layers.Layer, "__call__", layers.Layer.__call__.__wrapped__)
                    found.append(_or_error(observed, name, scope, within, training, monkeypatch))
                if key == "nothing":
                    assert found[-1][0], found[-1]
                    if within and name != "ActivityRegularization":  # four with that which builds
                        assert wholes.count("inner") == (1 if short else 4), (within, training)
            (values, rest), (expected, expected_rest) = found
            assert rest == expected_rest, (key, within, training)
            for mine, theirs in zip(values, expected, strict=True):
                np.testing.assert_array_equal(mine, theirs, err_msg=f"{key} {within} {training}")


def _or_error(function, *args):
    """What a function returns, or its error: the two ways to call are to fail alike."""
    try:
        return function(*args)
    except Exception as error:  # noqa: BLE001 - compared
        return [], [type(error), str(error)]


# -- what happens between calls


def _assign(name, value):
    return lambda layer, random: setattr(layer, name, value)


def _weights(layer, random):
    for variable in layer.variables:
        variable.assign(random.normal(size=variable.shape))


def _losses(layer, random):
    layer.add_loss(ops.ones(()))


def _stateless_losses(layer, random):
    with keras.StatelessScope(collect_losses=True):
        layer.add_loss(ops.ones(()))


def _clear(layer, random):
    keras.utils.clear_session(free_memory=False)


def _mask(layer, random):
    layer.compute_mask = lambda x, mask: ops.ones(x.shape[:1], "bool")


ACTIONS = [
    _weights, _losses, _stateless_losses, _clear, _mask,
    _assign("activation", keras.activations.relu), _assign("activation", keras.activations.linear),
    _assign("activation", lambda x: x + 1),
    _assign("activity_regularizer", keras.regularizers.L2(1.0)),
    _assign("activity_regularizer", None),
    _assign("dtype_policy", keras.DTypePolicy("mixed_bfloat16")),
    _assign("dtype_policy", keras.DTypePolicy("float32")),
    _assign("input_spec", layers.InputSpec(ndim=3)),
    _assign("input_spec", layers.InputSpec(ndim=2)),
    _assign("trainable", False), _assign("trainable", True), _assign("built", True),
    _assign("supports_masking", False), _assign("autocast", False),
    lambda layer, random: layer.__dict__.pop("compute_mask", None),
]  # fmt: skip


def _history(seed):
    """All that can be seen of a layer over a random sequence of calls and changes."""
    random = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    layer = layers.Dense(4, activation="relu", name="inner")
    outer = Outer(layer)
    layer.build((None, 3))
    x = ops.convert_to_tensor(random.normal(size=(2, 3)).astype("float32"))
    seen = []
    for _ in range(40):
        called = (layer, layer, outer)[random.integers(3)]
        act = ACTIONS[random.integers(len(ACTIONS))] if random.random() < 0.4 else None
        kwargs = {"training": True} if random.random() < 0.2 else {}
        dtype = "bfloat16" if random.random() < 0.2 else "float32"
        try:
            if act is not None:
                act(layer, random)
            y = called(ops.cast(x[: random.integers(1, 3)], dtype), **kwargs)
        except Exception as error:  # noqa: BLE001 - compared
            seen.append([type(error).__name__, str(error)])
            continue
        mask = getattr(y, "_keras_mask", None)
        seen.append([y.dtype, np.asarray(y, "float32").tolist(), mask is None, outer.after.told])
        seen.append([[float(loss) for loss in layer.losses], len(layer._loss_ids)])
    return seen


@pytest.mark.parametrize("seed", range(10))
def test_histories_are_those_of_whole_calls(seed, monkeypatch):
    short = _history(seed)
    monkeypatch.setattr(layers.Layer, "__call__", layers.Layer.__call__.__wrapped__)
    assert short == _history(seed)


def test_threads_have_surroundings_of_their_own():
    layer = layers.Dense(3)
    x = ops.ones((2, 4))
    inside = threading.Barrier(2)
    layer(x)
    outputs = {}

    def call(key, scope):
        with scope:
            inside.wait()
            outputs[key] = [np.asarray(layer(x)) for _ in range(50)]
            inside.wait()

    zeros = keras.StatelessScope([(v, ops.zeros(v.shape)) for v in layer.variables])
    threads = [
        threading.Thread(target=call, args=("zeros", zeros)),
        threading.Thread(target=call, args=("weights", contextlib.nullcontext())),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not np.any(outputs["zeros"])
    np.testing.assert_allclose(
        outputs["weights"], [np.asarray(x) @ layer.kernel.numpy()] * 50, 1e-6
    )
