"""What is known of each type of node, in one table: analyses and passes read it here.

A type that is not in the table has no facts: of such a node nothing is assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from openvino import Type

__all__ = ["FACTS", "FOLDED", "FRESH", "IN_PLACE", "READS", "VIEW", "Facts", "facts"]

# What the CPU plugin does with the memory of a node's inputs (column `memory`).
FRESH = "fresh"  # reads it; the result is never in the memory of an input
READS = "reads"  # reads it; the result may lie in it
VIEW = "view"  # the result may be that memory, read in another way
IN_PLACE = "in place"  # the result may be written into it, but not into that of a Parameter


class Facts(NamedTuple):
    """What is known of a type of node.

    Attributes:
        rows: the rule of `runtime.rows` by which rows of its inputs become rows of its outputs;
            None: rows are not known to stay apart.
        memory: FRESH, READS, VIEW or IN_PLACE; None: it may write into any input.
        cost: how `runtime.workload` estimates its time: "nothing", "elements", "product",
            "convolution", "steps" or "body"; None: by no rule.
        gates: products by weights in each step of a recurrence.
        groups: how many axes of a kernel come before those of its outputs and inputs.
        backward: whether it is a transposed convolution, whose kernel has the inputs first.
        bodies: how many graphs it holds.
        moves: whether a transposition may be taken from before it to behind it.
        fold: `fold(node, *arrays)` -> what it makes of constants, a tuple with an array for each
            output, or None; a view of them where it can be.
        reshapes: whether its further inputs are a shape or axes alone, which that of the result
            tells.
    """

    rows: str | None = None
    memory: str | None = None
    cost: str | None = "elements"
    gates: int = 0
    groups: int = 0
    backward: bool = False
    bodies: int = 0
    moves: bool = False
    fold: Callable | None = None
    reshapes: bool = False


class _Table(dict[str, Facts]):
    def __missing__(self, kind: str) -> Facts:
        return _UNKNOWN


_UNKNOWN = Facts()


def _reshaped(node, array):
    return (array.reshape(tuple(node.get_output_shape(0))),)


def _broadcast(node, array):
    return (np.broadcast_to(array, tuple(node.get_output_shape(0))),) if array.size == 1 else None


def _transposed(node, array, order):
    return (array.transpose(order if order.size else None),)


def _split(node, array, axis):
    return np.split(array, node.get_output_size(), int(axis))


def _concatenated(node, *arrays):
    return (np.concatenate(arrays, node.get_attributes()["axis"]),)


# Types of constants that NumPy computes with as OpenVINO does.
FOLDED = {
    Type.boolean: np.dtype(np.bool_), Type.i8: np.dtype(np.int8), Type.u8: np.dtype(np.uint8),
    Type.i32: np.dtype(np.int32), Type.i64: np.dtype(np.int64), Type.f32: np.dtype(np.float32),
}  # fmt: skip


def _converted(node, array):
    kind = FOLDED.get(node.get_output_element_type(0))
    if kind is None or (array.dtype.kind == "f" != kind.kind and not (abs(array) < 2**31).all()):
        return None
    return (array.astype(kind),)


def _divided(node, a, b):
    return (a / b,) if a.dtype == np.float32 else None


def _clamped(node, array):
    limits = node.get_attributes()
    return (np.clip(array, limits["min"], limits["max"]).astype(array.dtype),)


_FOLDS = {
    "Abs": lambda node, a: (np.abs(a),),
    "Add": lambda node, a, b: (a + b,),
    "BitwiseAnd": lambda node, a, b: (a & b,),
    "BitwiseOr": lambda node, a, b: (a | b,),
    "BitwiseXor": lambda node, a, b: (a ^ b,),
    "BitwiseRightShift": lambda node, a, b: (a >> b,),
    "Clamp": _clamped,
    "Convert": _converted,
    "Divide": _divided,
    "Equal": lambda node, a, b: (a == b,),
    "Less": lambda node, a, b: (a < b,),
    "LessEqual": lambda node, a, b: (a <= b,),
    "Maximum": lambda node, a, b: (np.maximum(a, b),),
    "Minimum": lambda node, a, b: (np.minimum(a, b),),
    "Multiply": lambda node, a, b: (a * b,),
    "NotEqual": lambda node, a, b: (a != b,),
    "Select": lambda node, c, a, b: (np.where(c, a, b),),
    "Subtract": lambda node, a, b: (a - b,),
}

_TABLE = {
    # -- of the elements of the inputs at one place
    """Abs Add Clamp Cos Divide Equal Erf Exp Greater GreaterEqual Less LessEqual Log LogicalAnd
    LogicalNot LogicalOr Maximum Minimum Negative NotEqual Power Relu Select Sigmoid Sin Sqrt
    Subtract Tanh""": Facts(rows="elementwise", memory=IN_PLACE),
    "Multiply": Facts(rows="elementwise", memory=IN_PLACE, moves=True),
    """BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceiling Cosh Elu Floor FloorMod Gelu HSigmoid
    HSwish HardSigmoid IsFinite IsInf IsNaN LogicalXor Mish Mod PRelu Round Selu Sign Sinh SoftPlus
    SoftSign SquaredDifference Swish Tan""": Facts(rows="elementwise"),
    # some conversions keep the memory, see `passes.loop_memory`
    "Convert": Facts(rows="elementwise", memory=READS, moves=True),
    "Result": Facts(rows="elementwise", memory=READS, cost="nothing"),
    # -- of the same elements in another place or shape
    "Reshape Squeeze Unsqueeze": Facts(
        rows="reshape", memory=VIEW, cost="nothing", moves=True, fold=_reshaped, reshapes=True
    ),
    "Transpose": Facts(rows="transpose", memory=VIEW, fold=_transposed),
    "Broadcast": Facts(rows="broadcast", fold=_broadcast, reshapes=True),
    "Concat": Facts(rows="concat", memory=READS, fold=_concatenated),
    "Gather": Facts(rows="gather", memory=VIEW),
    "Slice": Facts(rows="slice", memory=VIEW),
    "StridedSlice": Facts(memory=VIEW),
    "Split": Facts(rows="axes of input 1", memory=VIEW, fold=_split),
    "VariadicSplit": Facts(rows="axes of input 1", memory=VIEW),
    "Pad": Facts(rows="pad"),
    # -- along axes
    """ReduceL1 ReduceL2 ReduceLogicalAnd ReduceLogicalOr ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum""": Facts(rows="reduce"),
    "CumSum MVN NormalizeL2": Facts(rows="axes of input 1"),
    "Interpolate": Facts(rows="axes of input 2"),
    "LogSoftmax Softmax TopK": Facts(rows="attribute axis"),
    # -- products, and what is of each sample alone
    "MatMul": Facts(rows="matmul", memory=FRESH, cost="product"),
    "Convolution": Facts(rows="first axis", memory=FRESH, cost="convolution"),
    "GroupConvolution": Facts(rows="first axis", memory=FRESH, cost="convolution", groups=1),
    "ConvolutionBackpropData": Facts(rows="first axis", cost="convolution", backward=True),
    "GroupConvolutionBackpropData": Facts(
        rows="first axis", cost="convolution", groups=1, backward=True
    ),
    """AdaptiveAvgPool AdaptiveMaxPool AvgPool BatchNormInference GroupNormalization
    MaxPool""": Facts(rows="first axis"),
    "GRUSequence": Facts(rows="sequence of one state", cost="steps", gates=3),
    "LSTMSequence": Facts(rows="sequence of two states", cost="steps", gates=4),
    "RNNSequence": Facts(cost="steps", gates=1),
    # -- the rest
    "Constant Parameter": Facts(cost="nothing"),
    "ShapeOf": Facts(memory=FRESH, cost="nothing"),
    "If": Facts(memory=FRESH, cost=None, bodies=2),  # its branches may be anything
    "Loop TensorIterator": Facts(memory=FRESH, cost="body", bodies=1),
}

FACTS = _Table({kind: found for kinds, found in _TABLE.items() for kind in kinds.split()})
for _kind, _fold in _FOLDS.items():
    FACTS[_kind] = FACTS[_kind]._replace(fold=_fold)
# `facts(kind)`: of a type of node, `Facts()` of one that is not in the table.
facts = FACTS.__getitem__
