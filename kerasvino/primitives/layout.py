"""Layout rules: how a pending permutation passes through an operation.

A symbolic tensor may hold its data in another order than its axes are read in: logical axis i is
physical axis permutation[i]. `transpose` only composes permutations; an operation with a layout
rule works on the physical data, any other one gets it transposed first. So a chain of channels-last
convolutions, each written as transpose - convolve - transpose back, runs without one Transpose.

A rule is `rule(trace, inputs, attrs)` -> (physical operands, attrs, permutation of the result), or
None to decline. It is called only if some input has a pending permutation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasvino.nodes.lowering import ints, ov, rank, transposed

__all__ = ["arranged", "axis_rule", "compose", "elementwise", "inverse", "per_axis"]


def inverse(permutation) -> tuple[int, ...]:
    """The permutation that undoes `permutation`."""
    return tuple(int(i) for i in np.argsort(permutation))


def compose(permutation, axes) -> tuple[int, ...] | None:
    """Pending permutation of `transpose(x, axes)` where x has `permutation`; None for identity."""
    result = tuple(axes) if permutation is None else tuple(permutation[axis] for axis in axes)
    return None if result == tuple(range(len(result))) else result


def arranged(trace, tensor, permutation):
    """An operand that broadcasts to the rank of `permutation`, in the physical order of that."""
    output, own = trace.physical(tensor)
    if own == permutation or tensor.ndim == 0:
        return output
    order = inverse(permutation)
    missing = len(permutation) - tensor.ndim
    if tensor._array is not None:
        array = tensor._array.reshape((1,) * missing + tensor.shape)
        return trace.constant(np.ascontiguousarray(array.transpose(order)))
    output = trace.output(tensor)
    if missing:
        output = ov.unsqueeze(output, ints(list(range(missing)))).output(0)
    return transposed(output, order)


def elementwise(trace, inputs, attrs):
    """Broadcasting operands of an elementwise operation take the order of the permuted one."""
    width = max(tensor.ndim for tensor in inputs)
    for tensor in inputs:
        output, permutation = trace.physical(tensor)
        if permutation is not None and rank(output) == width:
            break
    else:
        return None
    return [arranged(trace, t, permutation) for t in inputs], attrs, permutation


def per_axis(*names: str) -> Callable:
    """A rule for operations whose attributes `names` have an entry for each axis of input 0.

    The other inputs broadcast to its rank.
    """

    def rule(trace, inputs, attrs):
        output, permutation = trace.physical(inputs[0])
        if permutation is None:
            return None
        order = inverse(permutation)
        attrs = {k: tuple(v[a] for a in order) if k in names else v for k, v in attrs.items()}
        rest = [arranged(trace, tensor, permutation) for tensor in inputs[1:]]
        return [output, *rest], attrs, permutation

    return rule


def axis_rule(name: str, keeps: bool | Callable = True) -> Callable:
    """A rule for operations along the axes of attribute `name` (an int, a tuple, or None for all).

    All inputs are brought to the order of the first one that has a permutation. With `keeps` the
    result has the same axes; `keeps(attrs)` may say that they are dropped (a reduction).
    """

    def rule(trace, inputs, attrs):
        permutation = next(p for p in (trace.physical(t)[1] for t in inputs) if p is not None)
        if any(tensor.ndim != len(permutation) for tensor in inputs):
            return None
        operands = [arranged(trace, t, permutation) for t in inputs]
        axis, width = attrs[name], len(permutation)
        logical = range(width) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        logical = [a % width for a in logical]
        physical = tuple(permutation[a] for a in logical)
        if axis is not None:
            attrs = {**attrs, name: physical if isinstance(axis, tuple) else physical[0]}
        if keeps is True or keeps(attrs):
            return operands, attrs, permutation
        left = [permutation[a] for a in range(width) if a not in logical]
        dropped = tuple(sorted(left).index(p) for p in left)
        return operands, attrs, compose(None, dropped)

    return rule
