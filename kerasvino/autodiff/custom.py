"""A gradient given by the user in place of that of the operations: `custom_gradient`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kerasvino.graph.calls import Body, Log, logging
from kerasvino.graph.trace import current_trace
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.region import Region, unrecorded
from kerasvino.tensor import Tensor

__all__ = ["with_rule"]


def with_rule(
    name: str, arguments: Sequence[Tensor], values: Sequence[Tensor], rule: Callable
) -> list[Tensor]:
    """`values`, whose cotangents go by `rule` and nowhere else.

    Args:
        name: of the function, for errors.
        arguments: what the values were computed from.
        rule: `rule(*cotangents of values)` -> a flat list of the cotangents of `arguments`.
    """
    count, used = len(arguments), []
    attrs = {"name": name, "arguments": count, "values": len(values)}
    if logging():
        # the rule closes over tensors of this body: it is kept as a function of them, too
        rule = _as_body(name, values, rule, count, used)
    return _run(*arguments, *values, *used, rule=rule, **attrs)


def _run(*inputs, name, arguments, values, rule):
    outputs = [_twin(t) for t in inputs[arguments : arguments + values]]
    attrs = {"name": name, "arguments": arguments, "values": values, "rule": rule}
    custom_.note(inputs, attrs, outputs)
    return outputs


def _twin(tensor):
    return tensor._restate(dict(tensor.__dict__))


def _as_body(name, values, rule, count, used) -> Body:
    """The rule as the calls that it makes for any cotangents; `used` is filled with the others."""
    with Log(concrete=True) as log:
        given = [_any_like(t) for t in values]
        cotangents = _checked(name, rule(*given), count)
    return Body(given, log.calls, cotangents, used)


def _any_like(tensor):
    if tensor.is_symbolic:
        return current_trace()._parameter(tensor.shape, tensor.dtype)[0]
    return unrecorded(zeros_like(tensor))


def _checked(name, cotangents, count):
    if len(cotangents) != count:
        raise ValueError(
            f"The gradient of custom_gradient({name}) returned {len(cotangents)} values for its "
            f"{count} tensor arguments."
        )
    return cotangents


def _vjp(grads, inputs, outputs, *, name, arguments, values, rule):
    grads = [zeros_like(t) if g is None else g for g, t in zip(grads, outputs, strict=True)]
    if isinstance(rule, Body):
        cotangents = rule(grads, inputs[arguments + values :])
    else:
        cotangents = _checked(name, rule(*grads), arguments)
    return [*cotangents, *[None] * (len(inputs) - arguments)]


# Arguments, values, and what a rule in a body closes over -> the values.
custom_ = Region("custom_gradient", _run)
defvjp(custom_, _vjp)
