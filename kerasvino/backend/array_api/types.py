"""Dtypes of the standard: their names, limits, kinds and promotion."""

from __future__ import annotations

import builtins
from typing import NamedTuple

import ml_dtypes
import numpy as np

from kerasvino import dtypes
from kerasvino.backend.keras_private import standardize_dtype
from kerasvino.backend.ops.core import convert
from kerasvino.backend.ops.numpy import methods
from kerasvino.tensor import Tensor

__all__ = [
    "astype",
    "bfloat16",
    "bool",
    "can_cast",
    "complex64",
    "complex128",
    "finfo",
    "float8_e4m3fn",
    "float8_e5m2",
    "float16",
    "float32",
    "float64",
    "iinfo",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "result_type",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]  # fmt: skip

bool = "bool"
int8 = "int8"
int16 = "int16"
int32 = "int32"
int64 = "int64"
uint8 = "uint8"
uint16 = "uint16"
uint32 = "uint32"
uint64 = "uint64"
float8_e4m3fn = "float8_e4m3fn"
float8_e5m2 = "float8_e5m2"
bfloat16 = "bfloat16"
float16 = "float16"
float32 = "float32"
float64 = "float64"
complex64 = "complex64"
complex128 = "complex128"

_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


class _FloatLimits(NamedTuple):
    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: str


class _IntegerLimits(NamedTuple):
    bits: int
    max: int
    min: int
    dtype: str


def astype(x, dtype, /, *, copy=True, device=None):
    return methods.astype(convert.convert_to_tensor(x), dtype, device=device)


def _name(kind) -> str:
    return kind.dtype if isinstance(kind, Tensor) else standardize_dtype(kind)


def finfo(type, /):
    """Limits of a float dtype, or of the parts of a complex one."""
    name = _name(type)
    if dtypes.TABLE[name].kind not in "fc":
        raise ValueError(f"`finfo` is of floats; {name} is none.")
    real = {"complex64": "float32", "complex128": "float64"}.get(name, name)
    found = ml_dtypes.finfo(dtypes.numpy_dtype(real))
    return _FloatLimits(
        found.bits, float(found.eps), float(found.max), float(found.min),
        float(found.smallest_normal), real,
    )  # fmt: skip


def iinfo(type, /):
    """Limits of an integer dtype."""
    name = _name(type)
    if not dtypes.is_integer(name):
        raise ValueError(f"`iinfo` is of integers; {name} is none.")
    found = np.iinfo(dtypes.numpy_dtype(name))
    return _IntegerLimits(found.bits, int(found.max), int(found.min), name)


def isdtype(dtype, kind):
    """Whether a dtype is of a kind (a name of the standard's, a dtype, or a tuple of these)."""
    if isinstance(kind, tuple):
        return any([isdtype(dtype, each) for each in kind])
    name = _name(dtype)
    if kind in _KINDS:
        return dtypes.TABLE[name].kind in _KINDS[kind]
    if isinstance(kind, str) and kind not in dtypes.TABLE:
        raise ValueError(f"Unknown kind {kind!r}; accepted: {', '.join(_KINDS)}, or a dtype.")
    return name == _name(kind)


def can_cast(from_, to, /):
    """Whether promotion with `to` gives `to`."""
    return result_type(_name(from_), to) == _name(to)


def result_type(*arrays_and_dtypes):
    """The dtype that operands promote to; Python numbers promote weakly."""
    kinds = [
        type(value) if isinstance(value, (builtins.bool, int, float, complex)) else _name(value)
        for value in arrays_and_dtypes
    ]
    if not any([isinstance(kind, str) for kind in kinds]):
        raise ValueError("`result_type` needs at least one array or dtype.")
    return convert.result_type(*kinds)
