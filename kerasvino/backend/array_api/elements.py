"""Functions of the standard that pick, search, order and count elements."""

from __future__ import annotations

from typing import NamedTuple

from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.ops.numpy import methods
from kerasvino.primitives.shape import lengths
from kerasvino.tensor import Tensor

__all__ = [
    "argmax", "argmin", "argsort", "count_nonzero", "isin", "nonzero", "searchsorted", "sort",
    "take", "take_along_axis", "unique_all", "unique_counts", "unique_inverse", "unique_values",
    "where",
]  # fmt: skip


def take(x, indices, /, *, axis=None):
    x = convert_to_tensor(x)
    if axis is None and x.ndim != 1:
        raise ValueError(f"`take` needs an `axis` of a tensor of rank {x.ndim}.")
    return knp.take(x, indices, 0 if axis is None else axis)


def take_along_axis(x, indices, /, *, axis=-1):
    return knp.take_along_axis(x, indices, axis)


def argmax(x, /, *, axis=None, keepdims=False):
    return knp.argmax(x, axis, keepdims)


def argmin(x, /, *, axis=None, keepdims=False):
    return knp.argmin(x, axis, keepdims)


def count_nonzero(x, /, *, axis=None, keepdims=False):
    return knp.sum(knp.not_equal(x, 0), axis, keepdims)


def nonzero(x, /):
    x = convert_to_tensor(x)
    if not x.ndim:
        raise ValueError("`nonzero` is of tensors of rank 1 or more; given: rank 0.")
    return knp.nonzero(x)


def searchsorted(x1, x2, /, *, side="left", sorter=None):
    return convert_to_tensor(x1).searchsorted(x2, side, sorter)


def where(condition, x1, x2, /):
    return knp.where(condition, x1, x2)


def sort(x, /, *, axis=-1, descending=False, stable=True):
    return convert_to_tensor(x).sort(axis, descending=descending)


def argsort(x, /, *, axis=-1, descending=False, stable=True):
    return methods.argsort(convert_to_tensor(x), axis, descending=descending)


# -- sets


class _All(NamedTuple):
    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class _Counts(NamedTuple):
    values: Tensor
    counts: Tensor


class _Inverse(NamedTuple):
    values: Tensor
    inverse_indices: Tensor


def unique_all(x, /):
    x = convert_to_tensor(x)
    values, index, inverse, counts = knp.unique(
        x, return_index=True, return_inverse=True, return_counts=True
    )
    return _All(values, index, knp.reshape(inverse, lengths(x)), counts)


def unique_counts(x, /):
    return _Counts(*knp.unique(x, return_counts=True))


def unique_inverse(x, /):
    found = unique_all(x)
    return _Inverse(found.values, found.inverse_indices)


def unique_values(x, /):
    return knp.unique(x)


def isin(x1, x2, /, *, invert=False):
    return knp.isin(x1, x2, invert=invert)
