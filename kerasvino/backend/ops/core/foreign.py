"""Arrays of other libraries, read as NumPy arrays.

PyTorch's tensors are read here, since theirs that need gradients or hold bfloat16 refuse NumPy; all
others by the protocol they have: `__array__` (JAX, TensorFlow, pandas, polars, PyArrow),
`__array_interface__` (Pillow), Python's buffers, DLPack. No library is imported for it: an array of
one that is not loaded cannot exist.
"""

from __future__ import annotations

import array
import sys

import ml_dtypes
import numpy as np

__all__ = ["from_objects", "host_array", "is_foreign"]

_BUFFERS = (array.array, memoryview, bytearray)
_PROTOCOLS = ("__array__", "__array_interface__", "__dlpack__")

# PyTorch's dtypes that NumPy lacks: the integer of their width, and the dtype of ml_dtypes.
_CARRIED = {
    "torch.bfloat16": ("int16", ml_dtypes.bfloat16),
    "torch.float8_e4m3fn": ("uint8", ml_dtypes.float8_e4m3fn),
    "torch.float8_e5m2": ("uint8", ml_dtypes.float8_e5m2),
}


def is_foreign(x) -> bool:
    """Whether `x`, which is neither ours nor NumPy's, is an array of another library."""
    return isinstance(x, _BUFFERS) or any([hasattr(x, name) for name in _PROTOCOLS])


def host_array(x) -> np.ndarray | None:
    """The values of another library's array, in memory that may be its own; None if it is none.

    Raises:
        TypeError: it is sparse, quantized, or of a dtype that Keras does not have.
        BufferError: it lies on another device, and its library does not copy it to the host.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, getattr(torch, "Tensor", ())):
        return _of_torch(x, torch)
    if hasattr(x, "__array__"):
        return np.asarray(x.__array__())
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise TypeError(
            f"A sparse {type(x).__name__} is given, and the OpenVINO backend has dense tensors "
            "only: give `x.toarray()`."
        )
    if hasattr(x, "__array_interface__") or isinstance(x, _BUFFERS):
        return np.asarray(x)
    if hasattr(x, "__dlpack__"):
        return np.from_dlpack(x)
    return None


def _of_torch(x, torch) -> np.ndarray:
    """A PyTorch tensor, detached from its gradient."""
    if x.layout is not torch.strided:
        raise TypeError(
            f"A sparse tensor of PyTorch is given ({x.layout}), and the OpenVINO backend has dense "
            "tensors only: give `x.to_dense()`."
        )
    if x.is_quantized:
        raise TypeError("A quantized tensor of PyTorch is given: give `x.dequantize()`.")
    x = x.detach().cpu().resolve_conj().resolve_neg()
    carrier, dtype = _CARRIED.get(str(x.dtype), (None, None))
    if carrier is not None:
        return x.contiguous().view(getattr(torch, carrier)).numpy().view(dtype)
    try:
        return x.numpy()
    except TypeError:
        raise TypeError(
            f"Keras has no dtype for a PyTorch tensor of {x.dtype}; convert it first, for example "
            "by `x.float()`."
        ) from None


def from_objects(values: np.ndarray) -> np.ndarray:
    """An array of Python objects as one of numbers; itself where it holds a string, or nothing.

    Raises:
        TypeError: it holds neither strings nor numbers alone.
    """
    flat = values.ravel().tolist()
    if not flat or any([isinstance(item, (str, bytes)) for item in flat]):
        return values
    numbers = all([isinstance(item, (bool, int, float, complex, np.generic)) for item in flat])
    found = np.array(flat) if numbers else values
    if found.dtype.kind in "OUST":
        odd = next((i for i in flat if not isinstance(i, (bool, int, float, complex))), flat[0])
        raise TypeError(
            "An array of Python objects becomes a tensor if they are all numbers, or strings; "
            f"this one holds {odd!r} of type {type(odd).__name__}. Fill in what is missing, or "
            "convert it first: `x.astype('float32')`."
        )
    return found.reshape(values.shape)
