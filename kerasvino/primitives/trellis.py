"""Primitives of recurrences between neighbouring states: the trellis of CTC, and its linear form.

The state s of a step comes from the states s, s - 1 and s - 2 of the step before. Graves et al.,
"Connectionist Temporal Classification", ICML 2006, section 4.1, in logarithms. In a graph each is a
Loop over the steps.
"""

from __future__ import annotations

import numpy as np

from kerasvino.graph.trace import current_trace
from kerasvino.nodes.lowering import element
from kerasvino.primitives.arithmetic import maximum
from kerasvino.primitives.compare import where
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.elementwise import exp, log
from kerasvino.primitives.indexing import END, flip, slice_
from kerasvino.primitives.join import concatenate, pad
from kerasvino.primitives.loops import loop
from kerasvino.primitives.shape import dimension, expand_dims, squeeze

__all__ = ["LOWEST", "banded_recurrence", "trellis"]

# Stands for the logarithm of 0: finite, so that differences of two of them are no NaN, and far
# enough from the end of float32 for the sums along a trellis.
LOWEST = -1e30
_REACH = (0, 1, 2)


def _moved(x, count, fill):
    """x with its last axis moved by `count` states (back if negative), `fill` coming in."""
    if not count:
        return x
    pads = ((0, 0),) * (x.ndim - 1) + ((max(count, 0), max(-count, 0)),)
    bounds = (0, -count) if count > 0 else (-count, END)
    x = pad(x, pads=pads, mode="constant", value=fill)
    return slice_(x, axis=(x.ndim - 1,), starts=bounds[:1], stops=bounds[1:], steps=(1,))


def _moved_array(x, count, fill):
    result = np.full_like(x, fill)
    if count >= 0:
        result[..., count:] = x[..., : x.shape[-1] - count]
    else:
        result[..., :count] = x[..., -count:]
    return result


def _sum(terms):
    first, *rest = terms
    for term in rest:
        first = first + term
    return first


def _item(x, axis, index):
    """x[..., index, ...] at `axis`."""
    part = slice_(x, axis=(axis,), starts=(index,), stops=(index + 1,), steps=(1,))
    return squeeze(part, axis=(axis,))


def _scanned(step, initial, sliced):
    """The states after each step, stacked, of `step(state, slices)` -> (state, output)."""
    trace = current_trace()

    def body(index, carried, slices):
        state, output = step(carried[0], slices)
        return None, [state], [output]

    count = sliced[0].shape[0]
    trips = dimension(sliced[0], axis=0) if count is None else count
    _, (stacked,) = loop(body, [initial], sliced=sliced, trips=trips)
    return trace.output(stacked)


def _symbols(*outputs, dtype):
    """The operands of a lowering as tensors, so that it can be written with primitives."""
    trace = current_trace()
    names = [dtype if element(o).is_real() else "bool" for o in outputs]
    return [trace.symbol(o, n) for o, n in zip(outputs, names, strict=True)]


# -- logarithms of sums over all paths


def _impl_trellis(initial, emissions, skips):
    result = np.empty(emissions.shape, emissions.dtype)
    state = initial
    for index, emission in enumerate(emissions):
        two = np.where(skips, _moved_array(state, 2, LOWEST), LOWEST)
        ways = np.stack([state, _moved_array(state, 1, LOWEST), two])
        top = ways.max(0)
        state = result[index] = top + np.log(np.exp(ways - top).sum(0)) + emission
    return result


def _lower_trellis(initial, emissions, skips):
    initial, emissions, skips = _symbols(initial, emissions, skips, dtype="float32")

    def step(state, slices):
        one = _moved(state, 1, LOWEST)
        two = where(skips, _moved(state, 2, LOWEST), LOWEST)
        top = maximum(maximum(state, one), two)
        total = _sum(exp(way - top) for way in (state, one, two))
        state = top + log(total) + slices[0]
        return state, state

    return _scanned(step, initial, [emissions])


def _stacked(parts):
    return concatenate(*(expand_dims(part, axis=(1,)) for part in parts), axis=1)


def _before(initial, states):
    """The state before each step."""
    earlier = slice_(states, axis=(0,), starts=(0,), stops=(-1,), steps=(1,))
    return concatenate(expand_dims(initial, axis=(0,)), earlier, axis=0)


def _vjp_trellis(g, inputs, output):
    """Each state passes its cotangent back in the shares that the states before had in its sum."""
    initial, emissions, skips = inputs
    before, total = _before(initial, output), output - emissions
    ways = [_moved(before, k, LOWEST) - total for k in _REACH]
    # before exp, which for a barred way may be infinite
    ways[2] = where(skips, ways[2], LOWEST)
    shares = _stacked([exp(way) for way in ways])
    arrived = banded_recurrence(g, shares, adjoint=True)
    return _passed(_item(shares, 0, 0), _item(arrived, 0, 0)), arrived, None


# initial (batch, states), emissions (steps, batch, states), skips (batch, states) of booleans ->
# (steps, batch, states): a[t, s] = emissions[t, s] + log(exp a[t-1, s] + exp a[t-1, s-1] +
# exp a[t-1, s-2]), the last one where skips[s]. All finite; LOWEST for log 0.
trellis = Primitive("trellis", impl=_impl_trellis, lower=_lower_trellis, vjp=_vjp_trellis,
                    dtype=lambda inputs, attrs: inputs[1])  # fmt: skip

# -- the linear form


def _passed(weights, state):
    """What a state passes back to that before it, by the weights (3, batch, states) of its step."""
    return _sum(_moved(_item(weights, 0, k) * state, -k, 0) for k in _REACH)


def _impl_banded(b, weights, *, adjoint):
    result = np.empty(b.shape, b.dtype)
    state = np.zeros(b.shape[1:], b.dtype)
    for index in range(len(b))[:: -1 if adjoint else 1]:
        if adjoint:
            result[index] = b[index] + state
            state = sum(_moved_array(weights[index, k] * result[index], -k, 0) for k in _REACH)
        else:
            ways = (weights[index, k] * _moved_array(state, k, 0) for k in _REACH)
            state = result[index] = b[index] + sum(ways)
    return result


def _lower_banded(b, weights, *, adjoint):
    b, weights = _symbols(b, weights, dtype="float32")
    initial = zeros_like(_item(b, 0, 0))

    def forwards(state, slices):
        ways = (_item(slices[1], 0, k) * _moved(state, k, 0) for k in _REACH)
        state = slices[0] + _sum(ways)
        return state, state

    def backwards(passed, slices):
        state = slices[0] + passed
        return _passed(slices[1], state), state

    if not adjoint:
        return _scanned(forwards, initial, [b, weights])
    turned = _scanned(backwards, initial, [flip(x, (0,)) for x in (b, weights)])
    (turned,) = _symbols(turned, dtype="float32")
    return current_trace().output(flip(turned, (0,)))


def _vjp_banded(g, inputs, output, *, adjoint):
    _, weights = inputs
    db = banded_recurrence(g, weights, adjoint=not adjoint)
    later, earlier = (output, db) if adjoint else (db, output)
    before = _before(zeros_like(_item(output, 0, 0)), earlier)
    dweights = _stacked([later * _moved(before, k, 0) for k in _REACH])
    return db, dweights


# b (steps, batch, states), weights (steps, 3, batch, states), floats -> (steps, batch, states):
# x[t, s] = b[t, s] + sum over k of weights[t, k, s] * x[t-1, s-k], from zeros; with `adjoint` the
# transposed map, x[t, s] = b[t, s] + sum over k of weights[t+1, k, s+k] * x[t+1, s+k].
banded_recurrence = Primitive(
    "banded_recurrence", impl=_impl_banded, lower=_lower_banded, vjp=_vjp_banded
)
