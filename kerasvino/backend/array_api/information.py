"""What the namespace says of itself: `__array_namespace_info__`."""

from __future__ import annotations

from kerasvino.backend.array_api.types import isdtype
from kerasvino.backend.keras_private import config
from kerasvino.backend.ops.numpy.methods import to_device

__all__ = ["__array_namespace_info__"]

# The standard's dtypes; the namespace has Keras's narrow floats beside them.
_STANDARD = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
    "float64", "complex64", "complex128",
)  # fmt: skip


class __array_namespace_info__:
    """Capabilities, devices and dtypes."""

    def capabilities(self):
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self):
        return "cpu"

    def devices(self):
        return ["cpu"]

    def default_dtypes(self, *, device=None):
        to_device(None, device)
        return {
            "real floating": config.floatx(),
            "complex floating": "complex64",
            "integral": "int32",
            "indexing": "int32",
        }

    def dtypes(self, *, device=None, kind=None):
        to_device(None, device)
        return {name: name for name in _STANDARD if kind is None or isdtype(name, kind)}
