"""The base class that Keras gives its layers under this backend."""

from __future__ import annotations

import functools

from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from kerasvino.backend.leaf import shortened
from kerasvino.graph.lengths import register_reader
from kerasvino.tensor import Tensor, TracedValueError

__all__ = ["BackendLayer", "OpenvinoLayer"]

# Methods of Keras's layers that compute something else where a length is unknown: the axes of the
# first argument of which it has to be known, counted from the end where negative, and why.
_MISTAKEN = {
    "keras.src.layers.rnn.time_distributed.TimeDistributed": (
        "call", (1,), "steps: it would take as many as there are rows in the batch",
    ),
    "keras.src.layers.preprocessing.image_preprocessing.center_crop.CenterCrop": (
        "transform_images", (-3, -2, -1), "pixels: it would crop where it has to resize",
    ),
}  # fmt: skip

# Packages whose code knows that an unknown length is None, since on TensorFlow it meets them too,
_KNOWING = ("keras", "keras_hub")
# but for these functions: they ask whether a length is 1, and take None for another one.
_NOT_KNOWING = {
    ("keras.src.losses.loss", "squeeze_or_expand_to_same_rank"),
    ("keras.src.losses.losses", "sparse_categorical_crossentropy"),
    ("keras.src.losses.losses", "sparse_categorical_focal_crossentropy"),  # of Keras 3.16
    ("keras.src.metrics.accuracy_metrics", "sparse_categorical_accuracy"),
    ("keras.src.models.functional", "Functional._adjust_input_rank"),
}


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
        if f"{cls.__module__}.{cls.__qualname__}" == "keras.src.layers.layer.Layer":
            cls.__call__ = shortened(cls.__call__)
        mistaken = _MISTAKEN.get(f"{cls.__module__}.{cls.__qualname__}")
        if mistaken is not None:
            name, *rest = mistaken
            setattr(cls, name, _of_known_lengths(getattr(cls, name), *rest))

    def __setattr__(self, name, value):
        known = self.__dict__
        if (name[0] != "_" or name == "_trainable") and known.get(name, self) is not value:
            known["_assignments"] = self._assignments + 1
        super().__setattr__(name, value)


BackendLayer = OpenvinoLayer  # as Keras 3.16 names it


def _of_known_lengths(method, axes, why):
    """`method`, which refuses a traced tensor with an unknown length on one of `axes`."""

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
