"""Tensors and Keras variables in einops: its functions and layers work on them.

einops makes an instance of each subclass of `AbstractBackend` whose `framework_name` is a loaded
module, when it first meets a type that it does not know.
"""

from __future__ import annotations

from einops import _backends
from einops._backends import AbstractBackend

from kerasvino.backend.keras_private import Variable
from kerasvino.backend.ops import core, numpy
from kerasvino.dtypes import is_float
from kerasvino.tensor import Tensor

__all__ = ["KerasvinoBackend"]

_NAME = "kerasvino.tensor"

# `keras.config.set_backend` has us imported anew: what einops knows of our former classes goes
for _former in AbstractBackend.__subclasses__():
    if _former.framework_name == _NAME:
        _former.framework_name = "no longer imported"
_backends._loaded_backends.pop(_NAME, None)


class _Lengths(tuple):
    """A shape with symbolic lengths. einops caches by shape, and must not keep tensors of graphs.

    Without a hash it computes anew.
    """

    __slots__ = ()
    __hash__ = None


class KerasvinoBackend(AbstractBackend):
    """What einops asks of a library."""

    framework_name = _NAME

    def is_appropriate_type(self, tensor):
        return isinstance(tensor, (Tensor, Variable))

    def from_numpy(self, x):
        return core.convert_to_tensor(x)

    def to_numpy(self, x):
        return core.convert_to_numpy(x)

    def arange(self, start, stop):
        return numpy.arange(start, stop)

    def shape(self, x):
        shape = core.shape(x)
        return _Lengths(shape) if any(isinstance(n, Tensor) for n in shape) else shape

    def reshape(self, x, shape):
        return numpy.reshape(x, tuple(shape))

    def transpose(self, x, axes):
        return numpy.transpose(x, axes)

    def reduce(self, x, operation, axes):
        return getattr(numpy, operation)(x, axis=tuple(axes))

    def stack_on_zeroth_dimension(self, tensors):
        return numpy.stack(tensors)

    def add_axis(self, x, new_position):
        return numpy.expand_dims(x, new_position)

    def tile(self, x, repeats):
        return numpy.tile(x, tuple(repeats))

    def concat(self, tensors, axis):
        return numpy.concatenate(tensors, axis=axis)

    def is_float_type(self, x):
        return is_float(core.convert_to_tensor(x).dtype)

    def einsum(self, pattern, *x):
        return numpy.einsum(pattern, *x)
