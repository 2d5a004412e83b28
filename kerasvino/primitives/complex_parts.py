"""Primitives `real`, `imag` and `conjugate`, on the host only: graphs have no complex numbers."""

from __future__ import annotations

import numpy as np

from kerasvino.primitives.arithmetic import absolute, multiply, sign
from kerasvino.primitives.cast import cast
from kerasvino.primitives.core import Primitive, defvjp
from kerasvino.primitives.unbroadcast import constant_like

__all__ = ["conjugate", "imag", "real"]

_PART = {"complex64": "float32", "complex128": "float64"}


def _complex(name, dtype, vjp):
    return Primitive(
        name, impl=getattr(np, name), dtype=dtype, layout=None,
        vjp=lambda g, inputs, output: (vjp(g, inputs[0].dtype),),
    )  # fmt: skip


def _part(inputs, attrs):
    return _PART[inputs[0]]


# Of complex numbers.
conjugate = _complex("conjugate", None, lambda g, dtype: conjugate(g))
real = _complex("real", _part, lambda g, dtype: cast(g, dtype=dtype))


def _imag_vjp(g, dtype):
    g = cast(g, dtype=dtype)
    return multiply(g, constant_like(-1j, g))


imag = _complex("imag", _part, _imag_vjp)


def _absolute_vjp(g, x):
    if x.dtype.startswith("complex"):
        return cast(g, dtype=x.dtype) * conjugate(sign(x))
    return g * sign(x)


defvjp(absolute, lambda g, inputs, output: (_absolute_vjp(g, inputs[0]),))
