"""Conversion to and from tensors, and Keras's dtype promotion."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import KerasTensor, config, standardize_dtype, tree
from kerasvino.backend.keras_private import Variable as KerasVariable
from kerasvino.backend.keras_private import result_type as keras_result_type
from kerasvino.backend.ops.core.foreign import from_objects, host_array, is_foreign
from kerasvino.primitives.cast import cast as cast_p
from kerasvino.primitives.join import stack
from kerasvino.primitives.memory import Kept
from kerasvino.tensor import Tensor

__all__ = [
    "cast",
    "convert_to_numpy",
    "convert_to_tensor",
    "is_tensor",
    "promote",
    "result_type",
    "shape",
    "to_dtype",
]

_SCALARS = (bool, int, float, complex)
_PLAIN = (*_SCALARS, str, bytes, np.ndarray, np.generic)


def is_tensor(x):
    return isinstance(x, (Tensor, Kept))


def convert_to_tensor(x, dtype=None, sparse=None, ragged=None):
    """`x` (tensor, variable, array, scalar or nested list of these) as a tensor.

    Arrays may be those of other libraries (PyTorch, JAX, TensorFlow, pandas, Pillow …: `foreign`).
    Without `dtype` an array keeps its own and Python numbers take Keras's defaults. The data of an
    array is copied: a tensor never shares memory that a caller can write.
    """
    if sparse:
        raise ValueError("`sparse=True`: the OpenVINO backend has dense tensors only.")
    if ragged:
        raise ValueError("`ragged=True`: the OpenVINO backend has dense tensors only.")
    if type(x) is Tensor:
        return x if dtype is None else to_dtype(x, standardize_dtype(dtype))
    if isinstance(x, KerasVariable):
        return convert_to_tensor(x.value, dtype)
    if isinstance(x, KerasTensor):
        raise ValueError(
            "A KerasTensor is symbolic: it only describes shape and dtype. Use it as input of a "
            "layer or of a keras.ops function, not where a value is needed."
        )
    return _convert_value(x, None if dtype is None else standardize_dtype(dtype))


def _convert_value(x, dtype):
    if isinstance(x, (np.ndarray, np.generic)):
        return _convert_array(np.asarray(x), dtype)
    if isinstance(x, (list, tuple)):
        if any([_is_array(leaf) for leaf in tree.flatten(x)]):
            return _convert_nested(x, dtype)
    elif type(x) not in _SCALARS and (array := host_array(x)) is not None:
        return _convert_array(array, dtype)
    if dtype is None:
        kinds = [getattr(leaf, "dtype", type(leaf)) for leaf in tree.flatten(x)]
        dtype = result_type(*kinds) if kinds else config.floatx()
    if dtype == "string":
        return Tensor._wrap(np.array(x))
    # ml_dtypes and float8 do not parse nested lists: through float64, exact for them.
    wanted = dtypes.numpy_dtype(dtype)
    direct = wanted.kind in "biufc" and wanted.isbuiltin
    return Tensor._wrap(np.array(x, dtype=wanted) if direct else np.array(x).astype(wanted))


def _is_array(leaf) -> bool:
    """Whether a leaf of a nested list is a tensor, or an array of another library than NumPy."""
    if isinstance(leaf, _PLAIN):
        return False
    return isinstance(leaf, (Tensor, KerasVariable)) or is_foreign(leaf)


def _convert_array(array, dtype):
    if array.dtype == object and dtype != "string":
        array = from_objects(array)
    name = dtypes.name_of(array.dtype) if dtype is None else dtype
    if name == "string":
        return Tensor._wrap(np.array(array))
    return Tensor._wrap(np.array(array, dtype=dtypes.numpy_dtype(name), order="C"))


def _convert_nested(x, dtype):
    """A nested list with tensors in it: stacked level by level, so that tensors may be traced."""
    x = tree.map_structure(lambda leaf: convert_to_tensor(leaf) if _is_array(leaf) else leaf, x)
    if dtype is None:
        dtype = result_type(*[getattr(leaf, "dtype", type(leaf)) for leaf in tree.flatten(x)])
    return stack([convert_to_tensor(item, dtype) for item in x], axis=0)


def convert_to_numpy(x):
    """The values of `x` as a NumPy array of the caller's own (writable)."""
    if isinstance(x, KerasVariable):
        x = x.value
    if isinstance(x, Tensor):
        return np.array(Tensor.numpy(x))  # whatever `x.numpy` may have been set to
    if isinstance(x, (list, tuple)):
        return convert_to_numpy(convert_to_tensor(x))
    if isinstance(x, np.ndarray):
        return np.array(x)
    found = host_array(x)
    return np.array(x if found is None else found)


def shape(x):
    """The shape; an axis that a traced graph does not know is an int32 tensor of rank 0.

    Tensors of other frameworks are asked for theirs: Keras does so inside tf.data pipelines.
    """
    if type(x) is not Tensor and not isinstance(x, KerasVariable) and hasattr(x, "shape"):
        return tuple(x.shape)
    x = convert_to_tensor(x)
    if None not in x.shape:
        return x.shape
    from kerasvino.primitives.shape import dimension

    return tuple(
        dimension(x, axis=axis) if length is None else length for axis, length in enumerate(x.shape)
    )


def to_dtype(x: Tensor, dtype: str) -> Tensor:
    """`x` as a tensor of Keras dtype `dtype`; itself if it has it."""
    return x if x.dtype == dtype else cast_p(x, dtype=dtype)


def cast(x, dtype):
    return to_dtype(convert_to_tensor(x), standardize_dtype(dtype))


_result_types: dict[tuple, str] = {}


def result_type(*kinds) -> str:
    """Keras's promoted dtype of dtype names and Python types (int, float … promote weakly)."""
    key = (config.floatx(), *kinds)
    found = _result_types.get(key)
    if found is None:
        found = _result_types[key] = _not_narrowed(keras_result_type(*kinds), kinds)
    return found


_DOUBLED = {
    "int32": ("int64", ("int64",)),
    "uint32": ("uint64", ("uint64",)),
    "float32": ("float64", ("float64",)),
    "complex64": ("complex128", ("complex128", "float64")),
}


def _not_narrowed(dtype, kinds):
    """The 64-bit form of `dtype` where an operand has one: Keras's rule halves those of 64 bits."""
    wide, reasons = _DOUBLED.get(dtype, (dtype, ()))
    return wide if any(kind in reasons for kind in kinds) else dtype


def promote(*values, least=None, into=None) -> list[Tensor]:
    """Operands as tensors of their common Keras dtype; Python numbers promote weakly.

    Args:
        values: tensors, variables, arrays, Python numbers, lists.
        least: a further dtype or Python type that takes part (`float`: an integer result becomes
            Keras's default float).
        into: from the common dtype to the one that is wanted, to which each operand is cast at
            once: an integer dtype in between would hold no uint32 of 2**31 or more.
    """
    values = [
        v if type(v) is Tensor or not isinstance(v, KerasVariable) else v.value for v in values
    ]
    if least is None and into is None and _alike(values):
        return values
    operands = [
        v if type(v) is Tensor or isinstance(v, _SCALARS) else convert_to_tensor(v) for v in values
    ]
    kinds = [v.dtype if type(v) is Tensor else type(v) for v in operands]
    dtype = result_type(*kinds) if least is None else result_type(*kinds, least)
    if into is not None:
        dtype = into(dtype)
    return [to_dtype(v, dtype) if type(v) is Tensor else _number(v, dtype) for v in operands]


def _alike(values) -> bool:
    """Whether these are tensors of one dtype."""
    first = values[0]
    if type(first) is not Tensor:
        return False
    array = first._array
    if array is not None:  # most calls of small layers come by here: no property is asked
        kind = array.dtype
        for value in values:
            if type(value) is not Tensor or value._array is None or value._array.dtype != kind:
                return False
        return True
    return all(type(value) is Tensor and value.dtype == first.dtype for value in values)


def _number(value, dtype):
    """A Python number as a tensor of rank 0."""
    return Tensor._wrap(np.array(value, dtype=dtypes.numpy_dtype(dtype)))
