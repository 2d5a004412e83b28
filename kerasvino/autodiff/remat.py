"""Rematerialisation: a computation whose intermediate values are computed again for its gradient.

Chen et al., "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kerasvino.autodiff.control_flow_gradient import differentiable, pulled_through
from kerasvino.autodiff.recording import leave
from kerasvino.graph.calls import Body, Log, logging, unlogged
from kerasvino.primitives.compare import always, select
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.region import Region, unrecorded
from kerasvino.tensor import Tensor

__all__ = ["remat"]


def remat(function: Callable, arguments: Sequence[Tensor]) -> list[Tensor]:
    """The flat results of `function(*arguments)`, of whose gradient only the inputs are kept.

    What the function closes over counts as an input. The calls that it makes are made again for
    the gradient; its Python code is not run again.
    """
    given = [leave(t) for t in arguments]
    with Log(concrete=not any(t.is_symbolic for t in arguments)) as log:
        results = list(function(*given))
    free: list[Tensor] = []
    body = Body(given, log.calls, results, free)
    inputs = (*arguments, *free)
    if logging() or remat_.recorded(inputs):
        results = [t._restate(dict(t.__dict__)) for t in results]
        remat_.note(inputs, {"body": body, "arguments": len(arguments)}, results)
    return results


def _again(*inputs, body, arguments):
    given = [unrecorded(t) for t in inputs]
    with unlogged():
        results = body(given[:arguments], given[arguments:])
    results = [t._restate(dict(t.__dict__)) for t in results]
    remat_.note(inputs, {"body": body, "arguments": arguments}, results)
    return results


def _vjp(grads, inputs, outputs, *, body, arguments):
    token = next(g for g in grads if g is not None)
    traced = [i for i, t in enumerate(inputs) if t.is_symbolic]
    # weights, which are free, stay as they are if something else keeps the computations apart
    held = {i for i in traced if i < arguments} or set(traced)
    operands = list(inputs)
    if token.is_symbolic:
        for i in held:
            operands[i] = select(always(token), inputs[i], inputs[i])
    wanted = differentiable(inputs)
    found = pulled_through(
        lambda values: body(values[:arguments], values[arguments:]), operands, wanted, grads
    )
    cotangents = dict(zip(wanted, found, strict=True))
    return [cotangents.get(i) for i in range(len(inputs))]


# Arguments, then what the function closes over; body: the calls that it makes.
remat_ = Region("remat", _again)
defvjp(remat_, _vjp)
