"""Arrays into and out of OpenVINO tensors, by the dtype table."""

from __future__ import annotations

import numpy as np
from openvino import Shape, Type
from openvino import Tensor as OVTensor

from kerasvino import dtypes

__all__ = ["from_ov", "to_ov"]

# Types that pybind knows no NumPy dtype for travel as integers of the same width.
_CARRIED = {
    Type.bf16: np.dtype(np.uint16),
    Type.f8e4m3: np.dtype(np.uint8),
    Type.f8e5m2: np.dtype(np.uint8),
}


def to_ov(array: np.ndarray, dtype: str, what: str = "An input") -> OVTensor:
    """An OpenVINO tensor over `array`, sharing its memory when layout and dtype allow.

    Raises GraphRangeError for 64-bit integers that a graph would change.
    """
    element = dtypes.graph_type(dtype)
    dtypes.check_graph_values(array, dtype, what)
    if dtype == "float64":
        array = array.astype(np.float32)
    if not array.flags.c_contiguous or not array.flags.writeable:
        array = np.array(array, order="C")
    carried = _CARRIED.get(element)
    if carried is not None:
        return OVTensor(array.view(carried), array.shape, element)
    if array.ndim == 0 or array.size == 0:
        tensor = OVTensor(element, Shape(array.shape))
        if array.size:
            tensor.data[...] = array
        return tensor
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
