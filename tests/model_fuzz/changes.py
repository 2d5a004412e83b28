"""The table of changes: of a model, its layers and variables, and of what surrounds it.

`make(session, rng)` changes something, or returns False where there is nothing of the kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops, optimizers

from tests.model_fuzz.build import compiled, perturb
from tests.model_fuzz.own import Scaled, Stack, Tabled, bump, wave

__all__ = ["CHANGES", "Change"]


@dataclass(frozen=True)
class Change:
    """A row.

    Attributes:
        make: what is done.
        weight: how often it is drawn.
        needs: a form of models, or a step that is put into the plan of a case that has the change.
    """

    make: Callable
    weight: float = 1.0
    needs: str | None = None


def _values(rng):
    return np.random.default_rng(rng.randrange(2**16))


def _leaves(s):
    """All layers but the model itself, those of inner models, wrappers and cells among them."""
    return [
        layer
        for layer in s.model._flatten_layers(include_self=False)
        if not isinstance(layer, layers.InputLayer)
    ]


def _of(s, rng, *kinds):
    found = [layer for layer in _leaves(s) if isinstance(layer, kinds)]
    return rng.choice(found) if found else None


# -- values of variables


def assign(s, rng):
    floats = [v for v in s.model.weights if str(v.dtype).startswith(("float", "bfloat"))]
    if not floats:
        return False
    perturb([rng.choice(floats)], _values(rng), 0.5)


def set_weights(s, rng):
    kept = [w.copy() for w in s.model.get_weights()]
    perturb(s.model.weights, _values(rng), 0.3)
    changed = s.model.get_weights()
    s.model.set_weights(kept)
    s.model.set_weights(changed)


def load_weights(s, rng):
    path = os.path.join(s.folder, "kept.weights.h5")
    s.model.save_weights(path)
    perturb(s.model.weights, _values(rng), 0.3)
    adapt(s, rng)
    if rng.random() < 0.5:
        s.model.predict(s.batch(rng), verbose=0)
    s.model.load_weights(path)


# -- attributes

# Class: attributes and other values of theirs.
_ATTRIBUTES = {
    layers.Dropout: {"rate": [0.0, 0.9]},
    layers.GaussianNoise: {"stddev": [0.0, 0.9]},
    layers.SpatialDropout1D: {"rate": [0.0, 0.9]},
    layers.SpatialDropout2D: {"rate": [0.0, 0.9]},
    layers.LeakyReLU: {"negative_slope": [0.9, 0.5]},
    layers.ELU: {"alpha": [0.1, 2.0]},
    layers.Rescaling: {"scale": [3.0, -1.0], "offset": [2.0, -1.0]},
    layers.Activation: {"activation": [wave, keras.activations.linear]},
    layers.Dense: {"activation": [wave, keras.activations.softsign]},
    layers.Conv1D: {"activation": [wave, keras.activations.softsign]},
    layers.Conv2D: {"activation": [wave, keras.activations.softsign]},
    layers.EinsumDense: {"activation": [wave, keras.activations.softsign]},
    layers.LSTMCell: {"activation": [wave, keras.activations.linear]},
    layers.GRUCell: {"activation": [wave, keras.activations.linear]},
    layers.BatchNormalization: {"epsilon": [0.5, 2.0], "momentum": [0.1]},
    layers.LayerNormalization: {"epsilon": [0.5, 2.0]},
    layers.Embedding: {"mask_zero": [True, False]},
    layers.Softmax: {"axis": [1, -1]},
    layers.MultiHeadAttention: {"_inverse_sqrt_key_dim": [0.01]},
    layers.Masking: {"mask_value": [9.0]},
    Scaled: {"gain": [3.0, -0.5], "shape_of": [wave, bump]},
    Stack: {"gain": [3.0, -0.5], "residual": [[], [0, 1, 2]]},
}


def attribute(s, rng):
    found = [
        (layer, name, values)
        for layer in [*_leaves(s), s.model]
        for kind, attributes in _ATTRIBUTES.items()
        if type(layer) is kind
        for name, values in attributes.items()
    ]
    if not found:
        return False
    layer, name, values = rng.choice(found)
    setattr(layer, name, rng.choice(values))


def held_tensor(s, rng):
    """What a layer holds as an array or tensor, and not as a variable."""
    layer = _of(s, rng, Tabled)
    if layer is None:
        return False
    row = _values(rng).normal(size=layer.row.shape).astype("float32") * 2
    layer.row = rng.choice([lambda: row, lambda: ops.convert_to_tensor(row)])()


def adapt(s, rng):
    layer = _of(s, rng, layers.Normalization)
    if layer is None:
        return False
    shape = [8, *[n or 5 for n in layer._build_input_shape[1:]]]
    layer.adapt(_values(rng).normal(3.0, 2.0, shape).astype("float32"))


def trainable(s, rng):
    layer = rng.choice([*_leaves(s), s.model])
    layer.trainable = not layer.trainable


def dtype_policy(s, rng):
    layer = _of(s, rng, layers.Dense, layers.Conv2D, layers.Activation, layers.BatchNormalization)
    if layer is None or layer.quantization_mode is not None:
        return False
    name = rng.choice(["mixed_bfloat16", "mixed_float16", "float32"])
    layer.dtype_policy = keras.DTypePolicy(name)
    if name != "float32":
        s.rough.add(name)


# -- structure


def add(s, rng):
    if type(s.model) is not keras.Sequential:
        return False
    name = f"added{rng.randrange(2**16)}"  # Keras's own names begin again after clear_session
    kind = rng.choice([lambda: layers.Dense(3, "tanh", name=name), lambda: Scaled(2.0, name=name)])
    s.model.add(kind())
    perturb(s.model.layers[-1].weights, _values(rng), 0.1)
    if rng.random() < 0.3:
        compile_again(s, rng)


def pop(s, rng):
    if type(s.model) is not keras.Sequential or len(s.model.layers) < 2:
        return False
    s.model.pop()


def add_to_inner(s, rng):
    """A layer more in a Sequential model within the model."""
    layer = _of(s, rng, keras.Sequential)
    if layer is None:
        return False
    layer.add(Scaled(2.0, name=f"added{rng.randrange(2**16)}"))


def replace_head(s, rng):
    if type(s.model) is not Stack:
        return False
    head = layers.Dense(3, "tanh", dtype=s.model.dtype_policy)
    head.build((None, s.model.head.kernel.shape[0]))
    s.model._tracker.unlock()  # Keras refuses new layers of a built model
    s.model.head = head
    s.model._tracker.lock()


def lora(s, rng):
    able = (layers.Dense, layers.Embedding, layers.EinsumDense, layers.Conv2D)
    found = [
        layer
        for layer in _leaves(s)
        if isinstance(layer, able)
        and not layer.lora_enabled
        and getattr(layer, "quantization_mode", None) is None
    ]
    if not found:
        return False
    layer = rng.choice(found)
    layer.enable_lora(2)
    perturb([v for v in layer.weights if "lora" in v.name], _values(rng), 0.5)
    if rng.random() < 0.5:
        compile_again(s, rng)


def quantize(s, rng):
    able = (layers.Dense, layers.Embedding, layers.EinsumDense)
    found = [
        layer
        for layer in _leaves(s)
        if isinstance(layer, able)
        and not layer.quantization_mode
        and layer.compute_dtype != "float16"  # Keras refuses it
    ]
    if not found:
        return False
    rng.choice(found).quantize("int8")
    s.rough.add("int8")
    s.trains = False


def quantize_model(s, rng):
    if any(
        getattr(layer, "quantization_mode", None) or layer.compute_dtype == "float16"
        for layer in _leaves(s)
    ):
        return False
    s.model.quantize("int8")
    s.rough.add("int8")
    s.trains = False


# -- training


def compile_again(s, rng):
    compiled(s.model, rng)


def optimizer(s, rng):
    s.model.optimizer = rng.choice(
        [lambda: optimizers.SGD(0.0), lambda: optimizers.SGD(0.5), lambda: optimizers.SGD(-0.1)]
    )()


def learning_rate(s, rng):
    s.model.optimizer.learning_rate = rng.choice([0.0, 0.3])


def fit_some(s, rng):
    if not s.trains:
        return False
    x = s.batch(rng, 2 * s.usual[0] + 1)
    y = s.targets(x, rng)
    s.model.fit(x, y, batch_size=s.usual[0], verbose=0)


# -- what surrounds the model


def clear_session(s, rng):
    keras.utils.clear_session()


def run_eagerly(s, rng):
    s.model.run_eagerly = not s.model.run_eagerly


def clone(s, rng):
    """Goes on with a clone."""
    made = keras.models.clone_model(s.model)
    if len(made.weights) != len(s.model.weights):
        return False
    made.set_weights(s.model.get_weights())
    compiled(made, rng)
    s.use(made)


CHANGES: dict[str, Change] = {
    "assign": Change(assign, 2),
    "set_weights": Change(set_weights),
    "load_weights": Change(load_weights),
    "attribute": Change(attribute, 4),
    "held_tensor": Change(held_tensor, 2, "tabled"),
    "adapt": Change(adapt, 2, "adapted norm"),
    "trainable": Change(trainable, 2),
    "dtype_policy": Change(dtype_policy),
    "add": Change(add, 4, "sequential"),
    "pop": Change(pop, 4, "sequential"),
    "add_to_inner": Change(add_to_inner, 1, "inner sequence"),
    "replace_head": Change(replace_head, 4, "subclassed"),
    "lora": Change(lora, 2),
    "quantize": Change(quantize),
    "quantize_model": Change(quantize_model, 0.5),
    "compile_again": Change(compile_again),
    "optimizer": Change(optimizer),
    "learning_rate": Change(learning_rate),
    "fit_some": Change(fit_some),
    "clear_session": Change(clear_session),
    "run_eagerly": Change(run_eagerly),
    "clone": Change(clone, 0.5),
}
