"""The errors that kerasvino raises beside Python's own: what they mean and what to do about them.

Each is also one of Python's kinds, so that code which catches `ValueError`, `TypeError` or
`OverflowError` catches it too. The message names the operation and the path of the Keras layer.
"""

from __future__ import annotations

__all__ = [
    "DistributedError",
    "ForkError",
    "GraphRangeError",
    "IndexRangeError",
    "LoweringError",
    "NotDifferentiableError",
    "NumericsError",
    "TracedValueError",
]


class TracedValueError(TypeError):
    """A Python value was asked of a tensor that is only known when the compiled graph runs.

    `if x > 0`, `int(n)`, `x.numpy()` in a function that is compiled (`predict`, `fit`,
    `kerasvino.jit`). The message names the operation of `keras.ops` to use instead; code that needs
    the value runs eagerly (`compile(run_eagerly=True)`).
    """


class LoweringError(ValueError):
    """An operation has no form in a compiled graph, or OpenVINO refused its operands.

    Most often the shapes do not fit; the message gives them. What OpenVINO itself said is the cause
    of the error (`__cause__`).
    """


class DistributedError(RuntimeError):
    """The processes of a distributed training cannot go on together.

    One of them has ended, or has not come within the time that the setting `collective_timeout`
    gives, or their models differ. The weights are those of the last whole step; start all processes
    again, and `keras.callbacks.BackupAndRestore` goes on from the last checkpoint.
    """


class ForkError(RuntimeError):
    """A forked process cannot run programs, since OpenVINO's threads and locks are not forked.

    The message says which processes to start instead. Most forked processes can: those that were
    forked while no other thread ran a program (docs/serving.md).
    """


class GraphRangeError(OverflowError, ValueError):
    """A 64-bit integer lies outside what a compiled graph can hold, which is 32 bits.

    Compute it eagerly, or reduce it to that range first.
    """


class IndexRangeError(IndexError):
    """An index, as an id given to an Embedding, lies outside the axis that it picks from.

    The message names the layer, the index and what is valid. Negative indices count from the end.
    """


class NumericsError(FloatingPointError):
    """NaN or an infinity, found because the setting `check_numerics` is on.

    The message names the operation that made it and its layer, or the argument or variable that
    held it. A step of `fit` that raises this leaves the weights as they were before it.
    """


class NotDifferentiableError(TypeError):
    """A gradient was asked through an operation that has none.

    Where it is to be taken for constant, `keras.ops.stop_gradient` says so.
    """
