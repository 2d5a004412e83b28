"""Functions of the standard that make tensors."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import standardize_dtype
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor, result_type
from kerasvino.backend.ops.numpy.methods import to_device
from kerasvino.tensor import Tensor

__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like",
    "linspace", "meshgrid", "ones", "ones_like", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip


def _on_host(function):
    """`function` with the keyword `device`, which is "cpu" or None."""

    def creating(*args, device=None, **kwargs):
        return to_device(function(*args, **kwargs), device)

    creating.__name__ = creating.__qualname__ = function.__name__
    creating.__wrapped__ = function  # its signature is what `inspect` shows
    creating.__doc__ = function.__doc__
    return creating


def _shaped(name):
    """`zeros`, `ones` and `empty`."""
    make = getattr(knp, name)

    def function(shape, *, dtype=None, device=None):
        return make(shape, dtype)

    function.__name__ = name
    return _on_host(function)


def _like(name):
    make = getattr(knp, name)

    def function(x, /, *, dtype=None, device=None):
        return make(x, dtype)

    function.__name__ = name
    return _on_host(function)


zeros, ones, empty = map(_shaped, ("zeros", "ones", "empty"))
zeros_like, ones_like, empty_like = map(_like, ("zeros_like", "ones_like", "empty_like"))


@_on_host
def full(shape, fill_value, *, dtype=None, device=None):
    """All of one number, by default of the dtype that it has."""
    kind = getattr(fill_value, "dtype", None) or result_type(type(fill_value))
    return knp.full(shape, fill_value, kind if dtype is None else dtype)


@_on_host
def full_like(x, /, fill_value, *, dtype=None, device=None):
    return knp.full_like(x, fill_value, dtype)


@_on_host
def arange(start, /, stop=None, step=1, *, dtype=None, device=None):
    return knp.arange(start, stop, step, dtype)


@_on_host
def linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True):
    if dtype is None and (isinstance(start, complex) or isinstance(stop, complex)):
        dtype = "complex64"
    if dtype is not None and dtypes.TABLE[standardize_dtype(dtype)].kind == "c":
        name = standardize_dtype(dtype)
        return convert_to_tensor(np.linspace(start, stop, num, endpoint=endpoint), name)
    return knp.linspace(start, stop, num, endpoint=endpoint, dtype=dtype)


@_on_host
def eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None):
    return knp.eye(n_rows, n_cols, k, dtype)


@_on_host
def asarray(obj, /, *, dtype=None, device=None, copy=None):
    """`obj` (a number, nested lists, an array of any library) as a tensor."""
    found = convert_to_tensor(obj, dtype)
    if copy is False and found is not obj:
        raise ValueError("Only a tensor of the dtype asked for is not copied; leave `copy` away.")
    return found


@_on_host
def from_dlpack(x, /, *, device=None, copy=None):
    """A tensor with the values of an array of another library that lies in the host's memory."""
    if isinstance(x, Tensor):
        return x
    if copy is False:
        raise BufferError("Tensors never share memory that others can write; leave `copy` away.")
    return convert_to_tensor(np.from_dlpack(x))


def meshgrid(*arrays, indexing="xy"):
    return knp.meshgrid(*arrays, indexing=indexing)


def tril(x, /, *, k=0):
    return knp.tril(x, k)


def triu(x, /, *, k=0):
    return knp.triu(x, k)
