"""Settings of compiled programs, from environment variables `KERASVINO_<NAME>`.

KERASVINO_DEVICE     where programs run when no keras.device(...) says so; default cpu
KERASVINO_PRECISION  f32 (default on CPU), bf16, f16 or auto (the plugin's own choice)
KERASVINO_EAGER      host (default): concrete operations run in NumPy; compiled: in OpenVINO
"""

from __future__ import annotations

import functools
import os

from kerasvino.runtime import devices

__all__ = ["device", "eager_compiled", "properties"]

_PRECISIONS = ("f32", "bf16", "f16", "auto")


def _choice(variable: str, accepted: tuple[str, ...], default: str) -> str:
    value = os.environ.get(variable, default).strip().lower()
    if value not in accepted:
        raise ValueError(f"{variable}={value!r}; accepted: {', '.join(accepted)}.")
    return value


@functools.cache
def device() -> str:
    """The OpenVINO device string that `KERASVINO_DEVICE` names."""
    return devices.resolve(os.environ.get("KERASVINO_DEVICE", "cpu"))


def eager_compiled() -> bool:
    """Whether concrete operations are forced through compiled programs."""
    return _choice("KERASVINO_EAGER", ("host", "compiled"), "host") == "compiled"


def properties(device_name: str) -> dict[str, str]:
    """Properties that a model is compiled with for an OpenVINO device string."""
    found = {"PERFORMANCE_HINT": "LATENCY"}
    default = "f32" if device_name.startswith("CPU") else "auto"
    precision = _choice("KERASVINO_PRECISION", _PRECISIONS, default)
    if precision != "auto":
        found["INFERENCE_PRECISION_HINT"] = precision
    return found
