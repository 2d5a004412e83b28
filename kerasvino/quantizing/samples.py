"""What a model is calibrated with: rows of a dataset, as the arrays that its graph takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import EpochIterator, tree, unpack_x_y_sample_weight
from kerasvino.backend.training.data import as_array
from kerasvino.export.signature import Signature
from kerasvino.graph import Spec

__all__ = ["joined", "samples"]


def samples(dataset, signature: Signature, most: int) -> list[list[np.ndarray]]:
    """Up to `most` samples, each with an array for each input, of a batch of one.

    Those of a model of batches of one length are such batches.

    Args:
        dataset: what `predict` and `fit` take as x; of (x, y) in it, y is not used.
        signature: of the model's call.
        most: how many.

    Raises:
        ValueError: there is none, or they do not fit the model.
    """
    fixed = {spec.shape[0] for spec in signature.specs if spec.shape} - {None}
    step = fixed.pop() if len(fixed) == 1 else 1
    if _is_empty(dataset):
        raise _no_data()
    try:
        iterator = EpochIterator(x=dataset, batch_size=step, shuffle=False)
    except ValueError as error:
        raise ValueError(f"quantize cannot read its dataset: {error}") from error
    found: list[list[np.ndarray]] = []
    for _, _, batches in iterator:
        for batch in batches:
            arrays = _leaves(unpack_x_y_sample_weight(batch)[0], signature.specs)
            rows = len(arrays[0]) if arrays[0].ndim else 0
            for first in range(0, rows - step + 1, step):
                found.append([array[first : first + step] for array in arrays])
        if len(found) >= most:
            break
    if not found:
        raise _no_data()
    return found[:most]


def _is_empty(dataset) -> bool:
    leaves = tree.flatten(dataset)
    return not leaves or any(tuple(getattr(leaf, "shape", (1,)))[:1] == (0,) for leaf in leaves)


def _no_data() -> ValueError:
    return ValueError(
        "quantize was given no data. It needs samples as the model will get them, some hundred: "
        "kerasvino.quantize(model, x), with arrays, a keras.utils.PyDataset, a tf.data.Dataset or "
        "a generator of batches."
    )


def _leaves(x, specs: Sequence[Spec]) -> list[np.ndarray]:
    """The arrays of a batch in the order of the model's inputs."""
    names = [spec.name for spec in specs]
    if isinstance(x, Mapping) and set(names) <= set(x):
        leaves = [x[name] for name in names]
    else:
        leaves = tree.flatten(x)
    if len(leaves) != len(specs):
        raise ValueError(
            f"The dataset has {len(leaves)} arrays in a batch, and the model takes {len(specs)}: "
            f"{', '.join(map(str, names))}. Targets go beside them, in a pair: (x, y)."
        )
    return [_fitting(leaf, spec) for leaf, spec in zip(leaves, specs, strict=True)]


def _fitting(leaf, spec: Spec) -> np.ndarray:
    array = np.asarray(as_array(leaf))
    if array.dtype.kind not in "biuf" and array.dtype.kind != "V":
        raise ValueError(
            f"The dataset has an array of {array.dtype}; the model takes {spec.dtype}."
        )
    wanted = spec.shape
    if wanted is not None and len(wanted) == array.ndim + 1 and wanted[-1] == 1:
        array = array[..., None]  # as Keras takes them
    fits = wanted is None or (
        len(wanted) == array.ndim
        and all(n in (None, m) for n, m in zip(wanted[1:], array.shape[1:], strict=True))
    )
    if not fits:
        raise ValueError(
            f"The dataset has an array of shape {array.shape}; the input {spec.name} of the model "
            f"has shape {wanted}."
        )
    return array.astype(dtypes.numpy_dtype(spec.dtype))


def joined(rows: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """One batch of several samples."""
    return [np.concatenate(arrays) for arrays in zip(*rows, strict=True)]
