"""Python's operators on tensors."""

from __future__ import annotations

import numpy as np

from kerasvino.backend.keras_private import KerasTensor, Variable
from kerasvino.backend.ops.numpy import arithmetic, bitwise, comparison, elementwise, linear
from kerasvino.primitives.operators import register_promoting
from kerasvino.tensor import Tensor

_OPERANDS = (Tensor, bool, int, float, complex, np.ndarray, np.generic, Variable, list, tuple)


def _guarded(function):
    """`function` of two operands; NotImplemented for one that has its own operators, or no value.

    A KerasTensor then takes over with its reflected operator; comparing with None or a string is
    the comparison of objects, and adding one is Python's TypeError.
    """

    def operator(x, y):
        other = y if type(x) is Tensor else x
        if not isinstance(other, _OPERANDS) and (
            isinstance(other, KerasTensor) or not hasattr(other, "__array__")
        ):
            return NotImplemented
        return function(x, y)

    return operator


def _divmod(x1, x2):
    return arithmetic.floor_divide(x1, x2), arithmetic.mod(x1, x2)


def _round(x, ndigits=None):
    return elementwise.round(x, ndigits or 0)


_UNARY = {
    "abs": elementwise.absolute,
    "invert": bitwise.bitwise_invert,
    "neg": elementwise.negative,
    "pos": lambda x: x,
    "round": _round,
}

_BINARY = {
    "add": arithmetic.add,
    "and": bitwise.bitwise_and,
    "divmod": _divmod,
    "eq": comparison.equal,
    "floordiv": arithmetic.floor_divide,
    "ge": comparison.greater_equal,
    "gt": comparison.greater,
    "le": comparison.less_equal,
    "lshift": bitwise.bitwise_left_shift,
    "lt": comparison.less,
    "matmul": linear.matmul,
    "mod": arithmetic.mod,
    "mul": arithmetic.multiply,
    "ne": comparison.not_equal,
    "or": bitwise.bitwise_or,
    "pow": arithmetic.power,
    "rshift": bitwise.bitwise_right_shift,
    "sub": arithmetic.subtract,
    "truediv": arithmetic.true_divide,
    "xor": bitwise.bitwise_xor,
}

register_promoting(_UNARY, {name: _guarded(function) for name, function in _BINARY.items()})
