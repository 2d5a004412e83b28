"""kerasvino: an OpenVINO backend for Keras 3.

Import it before keras, or run `python -m kerasvino script.py`, or `python -m kerasvino enable` once
per environment; model code does not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasvino import errors
from kerasvino._version import __version__
from kerasvino.activate import activate, is_active
from kerasvino.errors import NotDifferentiableError

if TYPE_CHECKING:  # for editors and type checkers; see _LAZY
    from kerasvino.backend import array_api as array_api
    from kerasvino.backend.jit import jit as jit
    from kerasvino.backend.shared_weights import share_weights as share_weights
    from kerasvino.backend.tape import GradientTape as GradientTape
    from kerasvino.backend.transforms import grad as grad
    from kerasvino.backend.transforms import jvp as jvp
    from kerasvino.backend.transforms import value_and_grad as value_and_grad
    from kerasvino.backend.transforms import vjp as vjp
    from kerasvino.generate.streaming import Conversation as Conversation
    from kerasvino.generate.streaming import stream as stream
    from kerasvino.profiling import profile as profile
    from kerasvino.quantizing import dequantize as dequantize
    from kerasvino.quantizing import quantization as quantization
    from kerasvino.quantizing import quantize as quantize
    from kerasvino.runtime import config as config
    from kerasvino.runtime.devices import devices as devices
    from kerasvino.tensor import Tensor as Tensor
    from kerasvino.traced import is_traced as is_traced

__all__ = [
    "Conversation",
    "GradientTape",
    "NotDifferentiableError",
    "Tensor",
    "__version__",
    "activate",
    "array_api",
    "config",
    "dequantize",
    "devices",
    "errors",
    "grad",
    "is_active",
    "is_traced",
    "jit",
    "jvp",
    "profile",
    "quantization",
    "quantize",
    "share_weights",
    "stream",
    "value_and_grad",
    "vjp",
]

# Public names by the module that defines them, imported when first used: importing kerasvino alone
# loads neither keras nor a graph compiler.
_LAZY = {
    "Conversation": "kerasvino.generate.streaming",
    "GradientTape": "kerasvino.backend.tape",
    "Tensor": "kerasvino.tensor",
    "array_api": "kerasvino.backend.array_api",
    "config": "kerasvino.runtime",
    "dequantize": "kerasvino.quantizing",
    "devices": "kerasvino.runtime.devices",
    "grad": "kerasvino.backend.transforms",
    "is_traced": "kerasvino.traced",
    "jit": "kerasvino.backend.jit",
    "jvp": "kerasvino.backend.transforms",
    "profile": "kerasvino.profiling",
    "quantization": "kerasvino.quantizing",
    "quantize": "kerasvino.quantizing",
    "share_weights": "kerasvino.backend.shared_weights",
    "stream": "kerasvino.generate.streaming",
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
