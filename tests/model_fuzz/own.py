"""Layers and models as users write them: code of their own, attributes, state."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

__all__ = ["Counting", "MeanOfSteps", "PerLength", "Scaled", "Stack", "Tabled", "bump", "wave"]

_registered = keras.saving.register_keras_serializable("model_fuzz")


@_registered
def wave(x):
    return ops.sin(x) * 0.5


@_registered
def squash(x):
    return ops.tanh(x)


@_registered
def bump(x):
    return ops.tanh(x) * ops.exp(-ops.abs(x))


@_registered
class Scaled(keras.layers.Layer):
    """Multiplies by a number, by default after a function; both are attributes."""

    def __init__(self, gain=0.7, shape_of=squash, **kwargs):
        super().__init__(**kwargs)
        self.gain = gain
        self.shape_of = shape_of
        self.supports_masking = True

    def call(self, x):
        return self.shape_of(x) * self.gain

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        function = keras.saving.serialize_keras_object(self.shape_of)
        return {**super().get_config(), "gain": self.gain, "shape_of": function}

    @classmethod
    def from_config(cls, config):
        function = keras.saving.deserialize_keras_object(config.pop("shape_of"))
        return cls(shape_of=function, **config)


@_registered
class Tabled(keras.layers.Layer):
    """Adds a row that it holds as an array or a tensor, not as a variable."""

    def __init__(self, row, **kwargs):
        super().__init__(**kwargs)
        self.row = np.asarray(row, "float32")
        self.supports_masking = True

    def call(self, x):
        return x + ops.cast(self.row, x.dtype)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "row": np.asarray(self.row).tolist()}


@_registered
class Counting(keras.layers.Layer):
    """Adds a tenth of the number of its calls so far, which is a variable."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, shape):
        self.calls = self.add_weight(
            shape=(), dtype="float32", initializer="zeros", trainable=False, name="calls"
        )

    def call(self, x):
        self.calls.assign_add(1.0)
        return x + ops.cast(self.calls, x.dtype) * 0.1


@_registered
class PerLength(keras.layers.Layer):
    """Asks in Python for the length of the axis after the batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x):
        return x * (x.shape[1] / 8) if x.shape[1] else x - 1.0

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


@_registered
class MeanOfSteps(keras.layers.Layer):
    """Divides the sum of the steps by their number, which may be known to the data alone."""

    def call(self, x):
        return ops.sum(x, axis=1) / ops.cast(ops.shape(x)[1], x.dtype)

    def compute_output_shape(self, shape):
        return (shape[0], *shape[2:])

    def compute_output_spec(self, x):
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)


@_registered
class Stack(keras.Model):
    """A subclassed model: its layers in turn, the input added where `residual` says so."""

    def __init__(self, parts, residual, gain=1.0, head=None, **kwargs):
        super().__init__(**kwargs)
        self.parts = list(parts)
        self.residual = list(residual)
        self.gain = gain
        self.head = head or keras.layers.Dense(3, name="head", dtype=self.dtype_policy)

    def call(self, x, training=None):
        for index, part in enumerate(self.parts):
            y = part(x, training=training) if part._call_has_training_arg else part(x)
            x = x + y if index in self.residual and x.shape == y.shape else y
        return self.head(x) * self.gain

    def get_config(self):
        layers = keras.saving.serialize_keras_object([*self.parts, self.head])
        own = {"parts": layers[:-1], "head": layers[-1], "residual": self.residual}
        return {**super().get_config(), **own, "gain": self.gain}

    @classmethod
    def from_config(cls, config):
        own = ("parts", "head")
        made = {name: keras.saving.deserialize_keras_object(config.pop(name)) for name in own}
        return cls(**made, **config)
