"""Reverse mode: cotangents flow back over the records of primitives, concrete or symbolic alike.

A watched tensor starts a recording: whatever is computed from it is recorded (see
`kerasvino.tensor.Record`), without a tape and without a global flag. Rules are made of primitives,
so a pullback of recorded cotangents is recorded in turn, which gives higher orders.
"""

from __future__ import annotations

from collections.abc import Sequence

from kerasvino import dtypes
from kerasvino.primitives.arithmetic import add
from kerasvino.primitives.create import zeros_like
from kerasvino.tensor import Record, Tensor

__all__ = ["NotDifferentiableError", "pullback", "watch"]


class NotDifferentiableError(TypeError):
    """A gradient was asked through an operation that has none."""


def watch(tensor: Tensor) -> Tensor:
    """A tensor of the same value whose dependants are recorded."""
    twin = tensor._restate(dict(tensor.__dict__))
    twin.record = Record(None, (), {})
    twin.record.outputs = (twin,)
    return twin


def pullback(
    outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None], inputs: Sequence[Tensor]
) -> list[Tensor | None]:
    """Vector-Jacobian product of `outputs` with respect to watched or recorded `inputs`.

    Args:
        outputs: recorded tensors.
        cotangents: one for each output, of its shape and dtype; None for zero.
        inputs: tensors that the outputs were computed from.

    Returns:
        A cotangent for each input, None where no output depends on it.

    Raises:
        NotDifferentiableError: the way to an input leads through a primitive without a gradient.
    """
    wanted = {id(t) for t in inputs}
    arrived: dict[int, Tensor] = {}
    for tensor, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None:
            _accumulate(arrived, tensor, cotangent)
    for record in _order(outputs, wanted):
        grads = [arrived.get(id(t)) for t in record.outputs]
        if all(g is None for g in grads):
            continue
        for tensor, cotangent in zip(record.inputs, _apply(record, grads), strict=True):
            if cotangent is not None and tensor.record is not None:
                _accumulate(arrived, tensor, cotangent)
    return [arrived.get(id(t)) for t in inputs]


def _accumulate(arrived, tensor, cotangent):
    known = arrived.get(id(tensor))
    arrived[id(tensor)] = cotangent if known is None else add(known, cotangent)


def _apply(record, grads):
    primitive = record.primitive
    if not any(dtypes.TABLE[t.dtype].kind in "fc" for t in record.outputs):
        return (None,) * len(record.inputs)
    if primitive.vjp is None:
        raise NotDifferentiableError(
            f"{primitive.name} has no gradient"
            + (f": {primitive.nondifferentiable}" if primitive.nondifferentiable else "")
            + ". Use keras.ops.stop_gradient on its input if none is meant to flow."
        )
    filled = [zeros_like(t) if g is None else g for g, t in zip(grads, record.outputs, strict=True)]
    if primitive.multiple:
        return primitive.vjp(tuple(filled), record.inputs, record.outputs, **record.attrs)
    return primitive.vjp(filled[0], record.inputs, record.outputs[0], **record.attrs)


def _order(outputs, wanted) -> list[Record]:
    """Records from which the outputs were made, each before those of its inputs.

    Depth-first without recursion: chains of records are longer than Python's stack.
    """
    done, order = set(), []
    stack = [(t.record, False) for t in outputs if t.record is not None]
    while stack:
        record, finished = stack.pop()
        if finished:
            order.append(record)
            continue
        if id(record) in done or record.primitive is None:
            continue
        done.add(id(record))
        stack.append((record, True))
        stack += [(t.record, False) for t in record.inputs if t.record is not None]
    return order[::-1]
