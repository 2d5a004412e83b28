"""kerasvino: an OpenVINO backend for Keras 3.

Import it before keras, or run `python -m kerasvino script.py`, or `python -m kerasvino enable` once
per environment; model code does not change.
"""

from __future__ import annotations

from kerasvino import errors
from kerasvino._version import __version__
from kerasvino.activate import activate, is_active
from kerasvino.errors import NotDifferentiableError

__all__ = [
    "GradientTape",
    "NotDifferentiableError",
    "Tensor",
    "__version__",
    "activate",
    "array_api",
    "config",
    "devices",
    "errors",
    "grad",
    "is_active",
    "is_traced",
    "jit",
    "jvp",
    "profile",
    "value_and_grad",
    "vjp",
]

# Public names by the module that defines them, imported when first used: importing kerasvino alone
# loads neither keras nor a graph compiler.
_LAZY = {
    "GradientTape": "kerasvino.backend.tape",
    "Tensor": "kerasvino.tensor",
    "array_api": "kerasvino.backend.array_api",
    "config": "kerasvino.runtime",
    "devices": "kerasvino.runtime.devices",
    "grad": "kerasvino.backend.transforms",
    "is_traced": "kerasvino.traced",
    "jit": "kerasvino.backend.jit",
    "jvp": "kerasvino.backend.transforms",
    "profile": "kerasvino.profiling",
    "value_and_grad": "kerasvino.backend.transforms",
    "vjp": "kerasvino.backend.transforms",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        import importlib

        module = importlib.import_module(_LAZY[name])
        return getattr(module, name, module)  # array_api is the module itself
    raise AttributeError(f"module 'kerasvino' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


activate()
