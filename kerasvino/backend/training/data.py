"""Batches: the first one of an iterator, their specs, results joined."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.keras_private import KerasTensor, standardize_dtype, tree
from kerasvino.backend.ops.core.convert import convert_to_numpy, convert_to_tensor
from kerasvino.backend.ops.core.foreign import host_array
from kerasvino.tensor import Tensor

__all__ = [
    "as_array", "concatenated", "first_batch", "holds_strings", "hosted", "owned", "plain", "specs",
]  # fmt: skip


def first_batch(iterator):
    """The first batch, which the iterator will give again."""
    _, _, (batch, *_) = next(iter(iterator))
    iterator.reset()
    return batch


def specs(data):
    """A batch as KerasTensors."""
    return tree.map_structure(
        lambda v: v if v is None else KerasTensor(v.shape, standardize_dtype(v.dtype)), data
    )


def holds_strings(data) -> bool:
    """Whether a batch holds strings, which no graph computes."""
    for leaf in tree.flatten(data):
        array = leaf._array if type(leaf) is Tensor else leaf
        if isinstance(array, np.ndarray) and array.dtype.kind in "OSUT":
            return True
    return False


def owned(data):
    """A batch as tensors of their own."""
    return tree.map_structure(lambda v: v if v is None else convert_to_tensor(v), data)


def hosted(leaf):
    """An argument of `predict_on_batch` with arrays of other libraries as NumPy's.

    SciPy's sparse matrices become dense, as in `predict`.
    """
    if leaf is None or isinstance(leaf, (Tensor, np.ndarray)):
        return leaf
    found = leaf.toarray() if hasattr(leaf, "toarray") else host_array(leaf)
    return leaf if found is None else found


def plain(leaf):
    """An argument of `train_on_batch` or `test_on_batch` as an array or tensor."""
    leaf = hosted(leaf)
    return leaf if leaf is None or isinstance(leaf, (Tensor, np.ndarray)) else np.asarray(leaf)


def as_array(output):
    return convert_to_numpy(output) if isinstance(output, Tensor) else output


def concatenated(batches):
    """Outputs of several batches joined along the first axis."""
    if len(batches) == 1:
        return batches[0]
    return tree.map_structure(lambda *parts: np.concatenate([as_array(p) for p in parts]), *batches)
