"""The base class that Keras gives its layers under this backend."""

from __future__ import annotations

import functools

from kerasvino.backend import distribution_lib
from kerasvino.backend.assignments import assigned, is_same
from kerasvino.backend.generated_images import compiled_images
from kerasvino.backend.keras_private import (
    MISREADING_LENGTHS,
    PATCHES,
    STAMP,
    in_symbolic_scope,
)
from kerasvino.backend.layer_calls import shortened
from kerasvino.backend.pickling import importing_kerasvino
from kerasvino.graph.lengths import register_reader
from kerasvino.tensor import Tensor, TracedValueError

__all__ = ["BackendLayer", "OpenvinoLayer"]

# Packages whose code knows that an unknown length is None, since on TensorFlow it meets them too,
_KNOWING = ("keras", "keras_hub")
# but for these functions.
_NOT_KNOWING = {tuple(row.where.split(":")) for row in MISREADING_LENGTHS}


def _knows_unknown_lengths(module: str, function: str) -> bool:
    return module.partition(".")[0] in _KNOWING and (module, function) not in _NOT_KNOWING


register_reader(_knows_unknown_lengths)


class OpenvinoLayer:
    """Counts assignments to a layer's public attributes, which a compiled call may depend on.

    Variables tell the trace what they do; `layer.rate = 0.5` or `layer.trainable = False` do not.
    """

    _assignments = 0

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for patch in PATCHES:
            kind, _, name = patch.where.rpartition(".")
            if kind == f"{cls.__module__}:{cls.__qualname__}":
                setattr(cls, name, _REPLACED[f"{cls.__name__}.{name}"](getattr(cls, name)))
        if cls.__module__ == "keras.src.layers.layer":  # which has just imported it
            distribution_lib.install()

    def __setattr__(self, name, value):
        known = self.__dict__
        if is_same(value, known.get(name, self)):
            return super().__setattr__(name, value)
        if name[0] != "_" or name == "_trainable":
            known["_assignments"] = self._assignments + 1
        super().__setattr__(name, value)
        if name in known:  # a property is not, and assigns what is
            assigned(self, name)

    def __delattr__(self, name):
        super().__delattr__(name)
        assigned(self, name)


# Layers that have been compiled into a program have the names of those that have not.
setattr(OpenvinoLayer, STAMP, None)


BackendLayer = OpenvinoLayer  # as Keras 3.16 names it


def _of_known_lengths(method, axes, why):
    """`method`, which refuses a traced tensor with an unknown length on one of `axes`.

    Axes are those of the first argument, counted from the end where negative.
    """

    @functools.wraps(method)
    def checked(self, inputs, *args, **kwargs):
        if isinstance(inputs, Tensor) and inputs.is_symbolic and not in_symbolic_scope():
            shape = inputs.shape
            if any(shape[axis] is None for axis in axes if -len(shape) <= axis < len(shape)):
                raise TracedValueError(
                    f"{type(self).__name__} {self.name!r} needs the number of {why}. Its input has "
                    f"shape {shape}: give the model's input, or the export, known lengths."
                )
        return method(self, inputs, *args, **kwargs)

    return checked


# What makes the replacement of each method that `PATCHES` lists.
_REPLACED = {
    "Layer.__call__": shortened,
    "Layer.__reduce__": importing_kerasvino,
    "TimeDistributed.call": functools.partial(
        _of_known_lengths,
        axes=(1,),
        why="steps: it would take as many as there are rows in the batch",
    ),
    "CenterCrop.transform_images": functools.partial(
        _of_known_lengths,
        axes=(-3, -2, -1),
        why="pixels: it would crop where it has to resize",
    ),
    "TextToImage.make_generate_function": compiled_images,
    "ImageToImage.make_generate_function": compiled_images,
    "Inpaint.make_generate_function": compiled_images,
}
