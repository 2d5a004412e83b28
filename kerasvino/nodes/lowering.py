"""Small helpers for writing `lower` functions: constants, shape vectors, known dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openvino.opset16 as ov
from openvino import Output, Type

from kerasvino import dtypes
from kerasvino.graph.trace import constant_node, lengths_of, register_transpose

__all__ = [
    "const",
    "convert",
    "dims",
    "element",
    "identity",
    "ints",
    "is_float",
    "is_integer",
    "ov",
    "rank",
    "scalar_dim",
    "shape_of",
    "transposed",
    "vector",
]

_FLOATS = (Type.f64, Type.f32, Type.f16, Type.bf16, Type.f8e4m3, Type.f8e5m2)
_INTEGERS = (Type.i8, Type.i16, Type.i32, Type.i64, Type.u8, Type.u16, Type.u32, Type.u64)

_DTYPES = {row.graph: name for name, row in dtypes.TABLE.items() if name != "float64"}


def const(value, like: Output | Type) -> Output:
    """A Constant of `value` (scalar or array) with the element type of `like`."""
    kind = like if isinstance(like, Type) else like.get_element_type()
    name = _DTYPES[kind]
    return constant_node(np.asarray(value).astype(dtypes.numpy_dtype(name)), name).output(0)


def ints(values: int | Sequence[int]) -> Output:
    """An i64 Constant: of rank 0 for an int, of rank 1 for a sequence."""
    return constant_node(np.array(values, dtype=np.int64), "int64").output(0)


def vector(values: Sequence) -> Output:
    """An i64 vector of a dynamic attribute: ints, and `ov.Output`s of rank 0 among them."""
    if all(not isinstance(value, Output) for value in values):
        return ints(list(values))
    pieces = [
        ov.unsqueeze(convert(v, Type.i64), ints(0)).output(0)
        if isinstance(v, Output)
        else ints([v])
        for v in values
    ]
    return ov.concat(pieces, 0).output(0)


def convert(output: Output, kind: Type) -> Output:
    """`output` with element type `kind`; no node when it has it."""
    if output.get_element_type() == kind:
        return output
    return ov.convert(output, kind.get_type_name()).output(0)


def identity(output: Output) -> Output:
    """`output` as the result of a node of its own."""
    return ov.identity(output).output(0)


def element(output: Output) -> Type:
    return output.get_element_type()


def is_float(output: Output) -> bool:
    return output.get_element_type() in _FLOATS


def is_integer(output: Output) -> bool:
    return output.get_element_type() in _INTEGERS


def rank(output: Output) -> int:
    """Rank of an output; ValueError if the graph does not know it."""
    length = output.get_partial_shape().rank
    if length.is_dynamic:
        raise ValueError("The rank of an operand is not known until the graph runs.")
    return length.get_length()


def dims(output: Output) -> list[int | None]:
    """Length of each axis, None where unknown; RuntimeError if the rank is."""
    found = lengths_of(output.get_partial_shape())
    if found is None:
        raise RuntimeError("The rank of an operand is not known until the graph runs.")
    return list(found)


def shape_of(output: Output) -> Output:
    """The shape as an i64 vector, known at run time."""
    return ov.shape_of(output, "i64").output(0)


def scalar_dim(output: Output, axis: int) -> Output:
    """Length of one axis as an i64 scalar; a Constant where it is known."""
    shape = output.get_partial_shape()
    if shape.rank.is_static and shape[axis].is_static:
        return ints(shape[axis].get_length())
    return ov.gather(shape_of(output), ints(axis), ints(0)).output(0)


def transposed(output: Output, permutation: Sequence[int]) -> Output:
    """Axis i of the result is axis permutation[i] of `output`."""
    if list(permutation) == list(range(len(permutation))):
        return output
    return ov.transpose(output, ints(list(permutation))).output(0)


register_transpose(transposed)
