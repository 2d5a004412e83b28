"""Encodings of categories: one_hot, multi_hot."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import canonicalize_axis, config
from kerasvino.backend.ops.core.convert import cast, convert_to_tensor, to_dtype
from kerasvino.primitives.compare import equal
from kerasvino.primitives.reduce import reduce_any
from kerasvino.primitives.shape import expand_dims
from kerasvino.tensor import Tensor

__all__ = ["multi_hot", "one_hot"]


def _matches(x, num_classes, axis, sparse):
    """Booleans with a new axis: whether x is the class of each place along it."""
    if sparse:
        raise ValueError("`sparse=True`: the OpenVINO backend has dense tensors only.")
    x = convert_to_tensor(x)
    if x.dtype not in ("uint32", "int64", "uint64"):
        x = to_dtype(x, "int32")
    axis = canonicalize_axis(axis, x.ndim + 1)
    classes = np.arange(num_classes, dtype=dtypes.numpy_dtype(x.dtype))
    classes = classes.reshape((num_classes,) + (1,) * (x.ndim - axis))
    return equal(expand_dims(x, axis=(axis,)), Tensor._wrap(classes))


def one_hot(x, num_classes, axis=-1, dtype=None, sparse=False):
    """1 at the place of each class of x along a new axis, 0 elsewhere; all 0 for no valid class."""
    return cast(_matches(x, num_classes, axis, sparse), dtype or config.floatx())


def multi_hot(x, num_classes, axis=-1, dtype=None, sparse=False):
    """1 at the places of all classes along axis 1 of x (0 of a vector), on a new axis."""
    x = convert_to_tensor(x)
    found = _matches(x, num_classes, axis, sparse)
    merged = reduce_any(found, axis=(1 if x.ndim > 1 else 0,), keepdims=False)
    return cast(merged, dtype or config.floatx())
