"""Reverse mode: cotangents flow back over the records of primitives, concrete or symbolic alike.

Rules are made of primitives, so a pullback of recorded cotangents is recorded in turn, which gives
higher orders.
"""

from __future__ import annotations

from collections.abc import Sequence

from kerasvino import dtypes
from kerasvino.autodiff.recording import ALWAYS, Recording
from kerasvino.errors import NotDifferentiableError
from kerasvino.graph.trace import current_trace
from kerasvino.primitives import (  # noqa: F401 - fill in the gradients
    complex_parts,
    convolution_gradient,
    indexing_gradient,
    pooling_gradient,
)
from kerasvino.primitives.arithmetic import add
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.operation_errors import attributed, attributed_to
from kerasvino.tensor import Record, Tensor

__all__ = ["NotDifferentiableError", "pullback", "release", "watch"]


def watch(tensor: Tensor) -> Tensor:
    """A tensor of the same value whose dependants are recorded, always."""
    return ALWAYS.watch(tensor)


def pullback(
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    recording: Recording | None = None,
) -> list[Tensor | None]:
    """Vector-Jacobian product of `outputs` with respect to watched or recorded `inputs`.

    Args:
        outputs: recorded tensors.
        cotangents: one for each output, of its shape and dtype; None for zero.
        inputs: tensors that the outputs were computed from.
        recording: only what was computed within it counts; None for everything recorded.

    Returns:
        A cotangent for each input, None where no output depends on it.

    Raises:
        NotDifferentiableError: the way to an input leads through a primitive without a gradient.
    """
    order = _order(outputs, recording)
    depending = _depending(order, {id(t) for t in inputs})
    arrived: dict[int, Tensor] = {}
    for tensor, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None:
            _accumulate(arrived, tensor, cotangent)
    for record in reversed(order):
        if id(record) not in depending:
            continue
        grads = [arrived.get(id(t)) for t in record.outputs]
        if all(g is None for g in grads):
            continue
        path = f"{record.path}/gradient" if record.path else "gradient"
        with attributed_to(path):
            for tensor, cotangent in zip(record.inputs, _apply(record, grads), strict=True):
                if cotangent is not None and tensor.record is not None:
                    _accumulate(arrived, tensor, cotangent)
    found = [arrived.get(id(t)) for t in inputs]
    _settle(found)
    return found


def _settle(cotangents) -> None:
    """Ends pending permutations, which an optimizer would pass on to all it keeps of a variable.

    The gradient of a convolution's kernel comes in the order of the graph's convolution.
    """
    trace = current_trace()
    for tensor in cotangents:
        if tensor is not None and tensor.is_symbolic and tensor._trace is trace:
            trace.settle(tensor)


def release(outputs: Sequence[Tensor]) -> None:
    """Frees the records behind `outputs` that no recording needs any more."""
    for record in _order(outputs, None):
        if all(r.done for r in record.recordings):
            for tensor in record.outputs:
                tensor.record = None


def _accumulate(arrived, tensor, cotangent):
    known = arrived.get(id(tensor))
    arrived[id(tensor)] = cotangent if known is None else add(known, cotangent)


def _apply(record, grads):
    primitive = record.primitive
    if not any(dtypes.TABLE[t.dtype].kind in "fc" for t in record.outputs):
        return (None,) * len(record.inputs)
    if primitive.vjp is None:
        why = f": {primitive.nondifferentiable}" if primitive.nondifferentiable else ""
        with attributed_to(record.path):
            raise NotDifferentiableError(
                attributed(
                    primitive.name,
                    f"has no gradient{why}. Use keras.ops.stop_gradient on its input if none is "
                    "meant to flow.",
                )
            )
    filled = grads
    if not primitive.sparse:
        pairs = zip(grads, record.outputs, strict=True)
        filled = [zeros_like(t) if g is None else g for g, t in pairs]
    if primitive.multiple:
        return primitive.vjp(tuple(filled), record.inputs, record.outputs, **record.attrs)
    return primitive.vjp(filled[0], record.inputs, record.outputs[0], **record.attrs)


def _depending(order, wanted) -> set[int]:
    """Ids of the records that depend on a wanted tensor."""
    found: set[int] = set()
    for record in order:
        for tensor in record.inputs:
            if id(tensor) in wanted or (tensor.record is not None and id(tensor.record) in found):
                found.add(id(record))
                break
    return found


def _order(outputs, recording) -> list[Record]:
    """Records from which the outputs were made, each after those of its inputs.

    Depth-first without recursion: chains of records are longer than Python's stack.
    """

    def records(tensors):
        found = [t.record for t in tensors if t.record is not None]
        return [(r, False) for r in found if recording is None or recording in r.recordings]

    done, order = set(), []
    stack = records(outputs)
    while stack:
        record, finished = stack.pop()
        if finished:
            order.append(record)
            continue
        if id(record) in done or record.primitive is None:
            continue
        done.add(id(record))
        stack.append((record, True))
        stack += records(record.inputs)
    return order
