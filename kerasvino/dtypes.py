"""The one table of dtypes: Keras name, NumPy dtype, OpenVINO element type, what a graph holds.

Every conversion between the three worlds goes through `TABLE`. A graph holds each dtype under the
element type of the same name, except float64, which no OpenVINO plugin computes: it is held as f32
(the first such use warns). int64 and uint64 keep their label but the CPU plugin computes them in 32
bits, so values that enter a graph are checked against `DType.graph_range`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from openvino import Type

from kerasvino.errors import GraphRangeError

__all__ = [
    "TABLE",
    "DType",
    "GraphRangeError",
    "check_graph_values",
    "graph_type",
    "is_float",
    "is_integer",
    "name_of",
    "numpy_dtype",
]

_INT32 = (-(2**31), 2**31 - 1)


@dataclass(frozen=True)
class DType:
    """A row of the table.

    Attributes:
        name: the Keras name.
        numpy: the NumPy dtype (ml_dtypes for bfloat16 and float8).
        graph: the OpenVINO element type that holds it in a graph, None where there is none.
        kind: "b" boolean, "i" signed, "u" unsigned, "f" float, "c" complex, "s" string.
        bits: width of one element.
        graph_range: smallest and largest value that a graph holds, None if the dtype's own.
    """

    name: str
    numpy: np.dtype
    graph: Type | None
    kind: str
    bits: int
    graph_range: tuple[int, int] | None = None


def _row(name, numpy, graph, kind, bits, graph_range=None):
    return name, DType(name, np.dtype(numpy), graph, kind, bits, graph_range)


TABLE: dict[str, DType] = dict(
    [
        _row("bool", np.bool_, Type.boolean, "b", 8),
        _row("int8", np.int8, Type.i8, "i", 8),
        _row("int16", np.int16, Type.i16, "i", 16),
        _row("int32", np.int32, Type.i32, "i", 32),
        _row("int64", np.int64, Type.i64, "i", 64, _INT32),
        _row("uint8", np.uint8, Type.u8, "u", 8),
        _row("uint16", np.uint16, Type.u16, "u", 16),
        _row("uint32", np.uint32, Type.u32, "u", 32),
        _row("uint64", np.uint64, Type.u64, "u", 64, (0, 2**31 - 1)),
        _row("float8_e4m3fn", ml_dtypes.float8_e4m3fn, Type.f8e4m3, "f", 8),
        _row("float8_e5m2", ml_dtypes.float8_e5m2, Type.f8e5m2, "f", 8),
        _row("bfloat16", ml_dtypes.bfloat16, Type.bf16, "f", 16),
        _row("float16", np.float16, Type.f16, "f", 16),
        _row("float32", np.float32, Type.f32, "f", 32),
        _row("float64", np.float64, Type.f32, "f", 64),
        _row("complex64", np.complex64, None, "c", 64),
        _row("complex128", np.complex128, None, "c", 128),
        _row("string", np.str_, None, "s", 0),
    ]
)

_NAME = {row.numpy: name for name, row in TABLE.items()}
_NUMPY = {name: row.numpy for name, row in TABLE.items()}


def name_of(dtype: np.dtype) -> str:
    """The Keras name of a NumPy dtype. Raises TypeError for one that Keras does not have."""
    try:
        return _NAME[dtype]
    except KeyError:
        if dtype.kind in "USTO":
            return "string"
        if dtype.newbyteorder("=") in _NAME:
            return _NAME[dtype.newbyteorder("=")]
        raise TypeError(
            f"kerasvino has no dtype for a NumPy array of dtype {dtype}; "
            f"convert it first to one of {', '.join(TABLE)}."
        ) from None


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of a Keras dtype name."""
    return _NUMPY[name]


def is_float(name: str) -> bool:
    """Whether a dtype is a real floating point one."""
    return TABLE[name].kind == "f"


def is_integer(name: str) -> bool:
    """Whether a dtype is an integer, signed or not."""
    return TABLE[name].kind in "iu"


_warned_float64 = False


def graph_type(name: str) -> Type:
    """The element type that holds dtype `name` in a graph; TypeError where there is none.

    float64 warns once per process: OpenVINO's plugins compute it in float32.
    """
    global _warned_float64
    row = TABLE[name]
    if row.graph is None:
        instead = ", or on its real and imaginary parts" if row.kind == "c" else ""
        raise TypeError(
            f"dtype {name} cannot enter a compiled OpenVINO graph; compute it eagerly{instead}."
        )
    if name == "float64" and not _warned_float64:
        _warned_float64 = True
        warnings.warn(
            "float64 in a compiled OpenVINO graph is computed in float32. Eager operations on "
            "the host keep float64. (This is said once.)",
            UserWarning,
            stacklevel=3,
        )
    return row.graph


def check_graph_values(array: np.ndarray, name: str, what: str) -> None:
    """Raises GraphRangeError if `array` holds 64-bit integers that a graph would change."""
    limits = TABLE[name].graph_range
    if limits is None or array.size == 0:
        return
    low, high = array.min(), array.max()
    if low < limits[0] or high > limits[1]:
        raise GraphRangeError(
            f"{what} of dtype {name} holds {low if low < limits[0] else high}, but a compiled "
            f"OpenVINO graph computes it in 32 bits, {limits[0]} to {limits[1]}. Compute it "
            "eagerly, or reduce it to that range first."
        )
