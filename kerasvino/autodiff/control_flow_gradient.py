"""Gradients of control flow: an If or Loop whose bodies run again and pull cotangents back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kerasvino import dtypes
from kerasvino.autodiff.recording import Recording
from kerasvino.autodiff.reverse import NotDifferentiableError, pullback
from kerasvino.primitives.arithmetic import add, subtract
from kerasvino.primitives.cast import cast
from kerasvino.primitives.conditional import branch, if_
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.indexing import slice_
from kerasvino.primitives.loops import loop, loop_
from kerasvino.primitives.shape import reshape
from kerasvino.tensor import Tensor

__all__ = ["differentiable", "pulled_through"]


def differentiable(tensors: Sequence[Tensor]) -> list[int]:
    """Positions of the recorded tensors that can have a cotangent."""
    return [i for i, t in enumerate(tensors) if t.record is not None and _is_float(t)]


def _is_float(tensor):
    return dtypes.TABLE[tensor.dtype].kind in "fc"


def pulled_through(
    run: Callable,
    operands: Sequence[Tensor],
    wanted: Sequence[int],
    cotangents: Sequence[Tensor | None],
) -> list[Tensor]:
    """Cotangents of the operands at positions `wanted`, zeros where no result depends on one.

    Args:
        run: `run(operands)` -> results, which is computed here.
        cotangents: of the results; None for zero.
    """
    operands = list(operands)
    with Recording() as recording:
        for position in wanted:
            operands[position] = recording.watch(operands[position])
        results = run(operands)
    twins = [operands[position] for position in wanted]
    fitted = [
        None if g is None else _fitted(g, t) for g, t in zip(cotangents, results, strict=True)
    ]
    pulled = pullback(results, fitted, twins, recording)
    recording.close()
    return [
        zeros_like(t) if g is None else _fitted(g, t) for g, t in zip(pulled, twins, strict=True)
    ]


def _fitted(cotangent, tensor):
    """A cotangent in the known shape of its tensor: that of an If may be less well known."""
    if cotangent.shape == tensor.shape or None in tensor.shape:
        return cotangent
    return reshape(cotangent, shape=tensor.shape)


# -- If


def _if_vjp(grads, inputs, outputs, *, bodies):
    pred, *operands = inputs
    wanted = differentiable(operands)

    def backward(body):
        return lambda: pulled_through(lambda values: body((), values), operands, wanted, grads)

    cotangents = branch(pred, *map(backward, bodies))
    result = [None] * len(inputs)
    for position, cotangent in zip(wanted, cotangents, strict=True):
        result[1 + position] = cotangent
    return result


defvjp(if_, _if_vjp)


# -- Loop


def _loop_vjp(
    grads, inputs, outputs, *, body, carries, slices, trips, condition, backwards, saved
):  # fmt: skip
    if trips is None:
        raise NotDifferentiableError(
            "while_loop without a limit has no gradient: reverse mode keeps the values of each "
            "iteration. Give it maximum_iterations, or use keras.ops.scan or fori_loop."
        )
    if not saved:
        raise NotDifferentiableError(
            "A loop has no gradient if its carried values change their shape; carry values of one "
            "shape, padded to the largest."
        )
    stacked = len(outputs) - 2 * carries - (condition is not None)
    count = _int64(trips if condition is None else outputs[-1])
    rows = outputs[carries + stacked : 2 * carries + stacked]
    moving = [i for i in range(carries) if _is_float(inputs[i])]
    wanted = sorted({*moving, *(i for i in differentiable(inputs) if i >= carries)})
    xs = [i for i in wanted if carries <= i < carries + slices]
    closed = [i for i in wanted if i >= carries + slices]
    free = inputs[carries + slices :]
    # cotangents of what was stacked: of the results, and of the carried values that were kept
    given = [i for i in range(carries, 2 * carries + stacked) if grads[i] is not None]

    def backward(index, held, parts):
        operands = [*parts[: carries + slices], *free]
        arrived = dict(zip(given, parts[carries + slices :], strict=True))
        arrived |= dict(zip(moving, held[: len(moving)], strict=True))
        number = subtract(subtract(count, _int64(1)), index)

        def run(values):
            results = body([number, *values[: carries + slices]], values[carries + slices :])
            return results[0 if condition is None else 1 :]

        cotangents = [arrived.get(i) for i in range(carries + stacked)]
        pulled = dict(zip(wanted, pulled_through(run, operands, wanted, cotangents), strict=True))
        for i in moving:
            if carries + stacked + i in arrived:
                pulled[i] = add(pulled[i], arrived[carries + stacked + i])
        sums = [add(s, pulled[i]) for i, s in zip(closed, held[len(moving) :], strict=True)]
        return None, [*(pulled[i] for i in moving), *sums], [pulled[i] for i in xs]

    sliced = inputs[carries : carries + slices]
    if condition is not None:
        sliced = [slice_(t, axis=(0,), starts=(0,), stops=(count,), steps=(1,)) for t in sliced]
    first = [
        zeros_like(inputs[i]) if grads[i] is None else _fitted(grads[i], inputs[i]) for i in moving
    ]
    last, of_xs = loop(
        backward,
        [*first, *(zeros_like(inputs[i]) for i in closed)],
        sliced=[*rows, *sliced, *(grads[i] for i in given)],
        trips=trips if condition is None else count,
        backwards=not backwards,
    )
    cotangents = dict(zip([*moving, *closed], last, strict=True))
    cotangents |= dict(zip(xs, of_xs, strict=True))
    return [cotangents.get(i) for i in range(len(inputs))]


def _int64(value):
    if not isinstance(value, Tensor):
        return Tensor._wrap(np.asarray(value, np.int64))
    return value if value.dtype == "int64" else cast(value, dtype="int64")


defvjp(loop_, _loop_vjp)
