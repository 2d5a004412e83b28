"""Recurrences that are differentiated: step by step, keeping the gates, and back in one Loop.

A recorded `lstm_sequence` or `gru_sequence` runs here (the fused kernels give no gates). All that
does not depend on the step before is outside of the loops: the product of the inputs with their
kernel, and the gradients of the weights, one product each. Formulas: Hochreiter and Schmidhuber,
"Long short-term memory", 1997, with the forget gate of Gers et al., 2000; Cho et al., "Learning
phrase representations using RNN encoder-decoder", 2014.

Inside, time is the first axis, in the order of processing. `saved` are the values of the gates side
by side; their cotangents come from gradients of gradients.
"""

from __future__ import annotations

from kerasvino.primitives.arithmetic import maximum
from kerasvino.primitives.cast import cast
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.elementwise import sigmoid, tanh
from kerasvino.primitives.indexing import flip, slice_
from kerasvino.primitives.join import concatenate, split
from kerasvino.primitives.loops import scan
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.reduce import reduce_sum
from kerasvino.primitives.region import Region
from kerasvino.primitives.shape import expand_dims, reshape, squeeze, transpose
from kerasvino.primitives.unbroadcast import constant_like

__all__ = ["gru_steps", "lstm_steps"]


# An activation, and its derivative as a function of its value.
_ACTIVATIONS = {
    "sigmoid": (sigmoid, lambda y: y * (1 - y)),
    "tanh": (tanh, lambda y: 1 - y * y),
    "relu": (
        lambda x: maximum(x, constant_like(0, x)),
        lambda y: cast(y > 0, dtype=y.dtype),
    ),
}


def _joined(*parts):
    return concatenate(*parts, axis=parts[0].ndim - 1)


def _parts(x, count):
    return split(x, sizes=(x.shape[-1] // count,) * count, axis=x.ndim - 1)


def _plus(x, extra):
    """x plus the cotangent that a saved value has itself, if it has one."""
    return x if extra is None else x + extra


def _extras(extra, count):
    return _parts(extra[0], count) if extra else (None,) * count


def _by_time(x, reverse):
    """(batch, time, features) to (time, batch, features) in the order of processing."""
    x = transpose(x, axes=(1, 0, 2))
    return flip(x, (0,)) if reverse else x


def _by_batch(x, reverse):
    return transpose(flip(x, (0,)) if reverse else x, axes=(1, 0, 2))


def _before(first, states):
    """The state that each step began with."""
    earlier = slice_(states, axis=(0,), starts=(0,), stops=(-1,), steps=(1,))
    return concatenate(expand_dims(first, axis=(0,)), earlier, axis=0)


def _last(states):
    row = slice_(states, axis=(0,), starts=(-1,), stops=(2**31 - 1,), steps=(1,))
    return squeeze(row, axis=(0,))


def _backwards(step, grads, initial, rows, extra, reverse):
    """`scan` from the last step to the first.

    Args:
        step: `step(carried, rows, dy, extra)`, `dy` and `extra` lists of at most one tensor.
        grads: cotangents of the outputs (batch, time, units) and of each last state, or None.
        initial: the states before the first step.
    """
    start = [zeros_like(s) if g is None else g for g, s in zip(grads[1:], initial, strict=True)]
    dy = [] if grads[0] is None else [_by_time(grads[0], reverse)]
    extra = [] if extra is None else [extra]
    counts = len(rows), len(rows) + len(dy)

    def split_step(carried, slices):
        return step(
            carried, slices[: counts[0]], slices[counts[0] : counts[1]], slices[counts[1] :]
        )

    last, (found,) = scan(split_step, start, [flip(t, (0,)) for t in (*rows, *dy, *extra)])
    return last, flip(found, (0,))


def _weights(rows, cotangents):
    """Gradient of the weights that take `rows` to what has `cotangents`."""
    rows, cotangents = (reshape(x, shape=(-1, x.shape[-1])) for x in (rows, cotangents))
    return matmul(rows, cotangents, transpose_x=True)


def _summed(cotangents):
    return reduce_sum(cotangents, axis=(0, 1), keepdims=False)


def _of_inputs(cotangents, x, kernel, reverse):
    """Cotangents of the inputs and of their kernel."""
    dx = _by_batch(matmul(cotangents, kernel, transpose_y=True), reverse)
    return dx, _weights(_by_time(x, reverse), cotangents)


# -- LSTM


def _lstm(x, h, c, kernel, recurrent, bias, *, activation, recurrent_activation, reverse):
    act, gate = _ACTIVATIONS[activation][0], _ACTIVATIONS[recurrent_activation][0]
    sums = matmul(_by_time(x, reverse), kernel) + bias

    def step(carried, rows):
        h, c = carried
        i, f, g, o = _parts(rows[0] + matmul(h, recurrent), 4)
        i, f, g, o = gate(i), gate(f), act(g), gate(o)
        c = f * c + i * g
        h = o * act(c)
        return [h, c], [h, _joined(i, f, g, o, c)]

    (h, c), (states, saved) = scan(step, [h, c], [sums])
    return _by_batch(states, reverse), h, c, saved


def _lstm_vjp(grads, inputs, outputs, *, activation, recurrent_activation, reverse):
    x, h, c, kernel, recurrent, _ = inputs
    act, act_slope = _ACTIVATIONS[activation]
    gate_slope = _ACTIVATIONS[recurrent_activation][1]
    saved = outputs[3]
    units = h.shape[-1]
    cells = split(saved, sizes=(4 * units, units), axis=2)[1]

    def step(carried, rows, dy, extra):
        dh, dc = carried
        i, f, g, o, c = _parts(rows[0], 5)
        of_i, of_f, of_g, of_o, of_c = _extras(extra, 5)
        dh = dh + dy[0] if dy else dh
        squashed = act(c)
        dc = _plus(dc + dh * o * act_slope(squashed), of_c)
        dsums = _joined(
            _plus(dc * g, of_i) * gate_slope(i),
            _plus(dc * rows[1], of_f) * gate_slope(f),
            _plus(dc * i, of_g) * act_slope(g),
            _plus(dh * squashed, of_o) * gate_slope(o),
        )
        return [matmul(dsums, recurrent, transpose_y=True), dc * f], [dsums]

    (dh, dc), dsums = _backwards(
        step, grads[:3], [h, c], [saved, _before(c, cells)], grads[3], reverse
    )
    dx, dkernel = _of_inputs(dsums, x, kernel, reverse)
    before = _before(h, _by_time(outputs[0], reverse))
    return dx, dh, dc, dkernel, _weights(before, dsums), _summed(dsums)


# Inputs and attributes of lstm_sequence -> its outputs, and saved: i, f, g, o and c of each step.
lstm_steps = Region.of_one_rule("lstm_steps", _lstm)
defvjp(lstm_steps, _lstm_vjp)


# -- GRU


def _gru(x, h, kernel, recurrent, bias, *, activation, recurrent_activation, reverse, reset_after):
    act, gate = _ACTIVATIONS[activation][0], _ACTIVATIONS[recurrent_activation][0]
    bias, recurrent_bias = _biases(bias, reset_after)
    of_gates, of_new = _kernels(recurrent)
    sums = matmul(_by_time(x, reverse), kernel) + bias

    def step(carried, rows):
        h, kept = carried[0], []
        xz, xr, xn = _parts(rows[0], 3)
        if reset_after:
            hz, hr, hn = _parts(matmul(h, recurrent) + recurrent_bias, 3)
        else:
            hz, hr = _parts(matmul(h, of_gates), 2)
        z, r = gate(xz + hz), gate(xr + hr)
        if reset_after:
            new, kept = r * hn, [hn]
        else:
            new = matmul(r * h, of_new)
        new = act(xn + new)
        h = z * h + (1 - z) * new
        return [h], [h, _joined(z, r, new, *kept)]

    (h,), (states, saved) = scan(step, [h], [sums])
    return _by_batch(states, reverse), h, saved


def _biases(bias, reset_after):
    if not reset_after:
        return bias, None
    return [squeeze(part, axis=(0,)) for part in split(bias, sizes=(1, 1), axis=0)]


def _kernels(recurrent):
    units = recurrent.shape[0]
    return split(recurrent, sizes=(2 * units, units), axis=1)


def _gru_vjp(
    grads, inputs, outputs, *, activation, recurrent_activation, reverse, reset_after
):  # fmt: skip
    x, h, kernel, recurrent, _ = inputs
    act_slope = _ACTIVATIONS[activation][1]
    gate_slope = _ACTIVATIONS[recurrent_activation][1]
    of_gates, of_new = _kernels(recurrent)
    before, saved = _before(h, _by_time(outputs[0], reverse)), outputs[2]
    width = 4 if reset_after else 3

    def step(carried, rows, dy, extra):
        dh, before = carried[0], rows[1]
        z, r, new, *hn = _parts(rows[0], width)
        of_z, of_r, of_n, *of_hn = _extras(extra, width)
        dh = dh + dy[0] if dy else dh
        dz = _plus(dh * (before - new), of_z) * gate_slope(z)
        dn = _plus(dh * (1 - z), of_n) * act_slope(new)
        passed = dh * z
        if reset_after:
            dr = _plus(dn * hn[0], of_r) * gate_slope(r)
            dhn = _plus(dn * r, of_hn[0])
            back = matmul(_joined(dz, dr, dhn), recurrent, transpose_y=True)
            return [passed + back], [_joined(dz, dr, dn, dhn)]
        dreset = matmul(dn, of_new, transpose_y=True)
        dr = _plus(dreset * before, of_r) * gate_slope(r)
        back = matmul(_joined(dz, dr), of_gates, transpose_y=True)
        return [passed + dreset * r + back], [_joined(dz, dr, dn)]

    (dh,), found = _backwards(step, grads[:2], [h], [saved, before], grads[2], reverse)
    dz, dr, dn, *dhn = _parts(found, width)
    dsums = _joined(dz, dr, dn)
    dx, dkernel = _of_inputs(dsums, x, kernel, reverse)
    if reset_after:
        dstates = _joined(dz, dr, *dhn)
        dbias = concatenate(*(expand_dims(_summed(d), axis=(0,)) for d in (dsums, dstates)), axis=0)
        return dx, dh, dkernel, _weights(before, dstates), dbias
    reset = _parts(saved, width)[1] * before
    drecurrent = _joined(_weights(before, _joined(dz, dr)), _weights(reset, dn))
    return dx, dh, dkernel, drecurrent, _summed(dsums)


# Inputs and attributes of gru_sequence -> its outputs, and saved: z, r, the new state, and with
# reset_after its part from the state before, of each step.
gru_steps = Region.of_one_rule("gru_steps", _gru)
defvjp(gru_steps, _gru_vjp)
