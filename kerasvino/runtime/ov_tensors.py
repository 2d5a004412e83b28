"""Arrays into and out of OpenVINO tensors, by the dtype table."""

from __future__ import annotations

import numpy as np
from openvino import Shape, Type
from openvino import Tensor as OVTensor

from kerasvino import dtypes

__all__ = ["from_ov", "receiver", "to_ov"]

# Types that pybind knows no NumPy dtype for travel as integers of the same width.
_CARRIED = {
    Type.bf16: np.dtype(np.uint16),
    Type.f8e4m3: np.dtype(np.uint8),
    Type.f8e5m2: np.dtype(np.uint8),
}


class _Memory:
    """The memory of a read-only array, for OpenVINO, which reads it but wants it writable."""

    def __init__(self, array: np.ndarray):
        self.array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def to_ov(array: np.ndarray, dtype: str, what: str = "An input") -> OVTensor:
    """An OpenVINO tensor over `array`, sharing its memory when layout and dtype allow.

    Raises GraphRangeError for 64-bit integers that a graph would change.
    """
    element = dtypes.graph_type(dtype)
    dtypes.check_graph_values(array, dtype, what)
    if dtype == "float64":
        array = array.astype(np.float32)
    if not array.flags.c_contiguous:
        array = np.array(array, order="C")
    carried = _CARRIED.get(element)
    if carried is not None:
        array = array.view(carried)
    if array.ndim == 0 or array.size == 0:
        tensor = OVTensor(element, Shape(array.shape))
        if array.size:
            tensor.data.view(array.dtype)[...] = array
        return tensor
    if not array.flags.writeable:
        array = np.asarray(_Memory(array))
    if carried is not None:
        return OVTensor(array, array.shape, element)
    return OVTensor(array, shared_memory=True)


def receiver(
    shape: tuple[int, ...], dtype: str, array: np.ndarray | None = None
) -> tuple[np.ndarray, OVTensor] | None:
    """An array, `array` if it is of that dtype, and a tensor over it for a result, or None.

    There is none for results without elements or of rank 0, and for dtypes that a graph holds as
    another: these are copied by `from_ov`.
    """
    if not shape or 0 in shape or dtype == "float64":
        return None
    kind = dtypes.numpy_dtype(dtype)
    if array is None or array.dtype != kind:
        array = np.empty(shape, kind)
    return array, over(array, dtype)


def over(array: np.ndarray, dtype: str) -> OVTensor:
    """A tensor over the memory of a writable contiguous array, which must outlive it."""
    element = dtypes.graph_type(dtype)
    carried = _CARRIED.get(element)
    if carried is not None:
        return OVTensor(array.view(carried), array.shape, element)
    return OVTensor(array, shared_memory=True)


def from_ov(tensor: OVTensor, dtype: str) -> np.ndarray:
    """A fresh array of `dtype` with the values of an OpenVINO tensor."""
    data = tensor.data
    wanted = dtypes.numpy_dtype(dtype)
    if data.dtype != wanted:
        if tensor.get_element_type() in _CARRIED:
            return np.array(data).view(wanted)
        return data.astype(wanted)
    return np.array(data)
