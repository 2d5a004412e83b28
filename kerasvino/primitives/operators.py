"""Python's operators on tensors of floats, so that rules read as formulas: `g * (1 - out * out)`.

Two tensors of one dtype, or a tensor and a Python number, go to the primitive. What needs a
promotion (integers, other dtypes, arrays, variables) goes to the functions that the backend
registers; without them Python refuses it.
"""

from __future__ import annotations

from collections.abc import Callable

from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor, register_method, register_operators

__all__ = ["define", "register_promoting"]

_DTYPES = frozenset(("bfloat16", "float16", "float32", "float64", "complex64", "complex128"))
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

_defined: dict[str, Callable] = {}
# By the name of an operator; filled by the backend.
_promoting: dict[str, Callable] = {}


def define(unary: dict[str, Callable], binary: dict[str, Callable]) -> None:
    """Defines operators on floats: `unary={"neg": f}`, `binary={"add": f}` and its reflection."""
    for name, primitive in unary.items():
        _defined[name] = primitive
        register_method(f"__{name}__", _unary(name, primitive))
    for name, primitive in binary.items():
        _defined[name] = primitive
        register_method(f"__{name}__", _binary(name, primitive))
        if name not in _COMPARISONS:
            register_method(f"__r{name}__", _binary(name, primitive, reflected=True))


def _unary(name, primitive):
    def operator(x):
        function = primitive if x.dtype in _DTYPES else _promoting.get(name)
        if function is None:
            raise TypeError(f"__{name}__ of {x.dtype} needs a promotion, which a backend defines.")
        return function(x)

    return operator


def _binary(name, primitive, reflected=False):
    def operator(x, other):
        dtype = x.dtype
        if dtype in _DTYPES:
            kind = type(other)
            if kind is Tensor:
                if other.dtype == dtype:
                    return primitive(x, other)
            elif kind is float or kind is int:
                number = constant_like(other, x)
                return primitive(number, x) if reflected else primitive(x, number)
        function = _promoting.get(name)
        if function is None:
            return NotImplemented
        return function(other, x) if reflected else function(x, other)

    return operator


def register_promoting(unary: dict[str, Callable], binary: dict[str, Callable]) -> None:
    """Registers operators on whatever operands: `unary={"neg": f}`, `binary={"add": f}`."""
    _promoting.update({name: f for name, f in (unary | binary).items() if name in _defined})
    unary, binary = (
        {name: f for name, f in table.items() if name not in _defined} for table in (unary, binary)
    )
    register_operators(unary, binary)
