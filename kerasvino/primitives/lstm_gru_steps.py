"""Recurrences that are differentiated: step by step, keeping the gates, and back in one Loop.

A recorded `lstm_sequence` or `gru_sequence` runs here (the fused kernels give no gates). All that
does not depend on the step before is outside of the loops: the product of the inputs with their
kernel, and the gradients of the weights, one product each. Formulas: Hochreiter and Schmidhuber,
"Long short-term memory", 1997, with the forget gate of Gers et al., 2000; Cho et al., "Learning
phrase representations using RNN encoder-decoder", 2014.

Inside, axes are (time, features, batch): the gates of a step are parts of its memory, which nothing
has to copy. What is saved of each step has cotangents itself only in gradients of gradients.
"""

from __future__ import annotations

from kerasvino.primitives.arithmetic import maximum
from kerasvino.primitives.cast import cast
from kerasvino.primitives.core import defvjp
from kerasvino.primitives.create import zeros_like
from kerasvino.primitives.elementwise import sigmoid, tanh
from kerasvino.primitives.indexing import slice_
from kerasvino.primitives.join import concatenate, split, stack
from kerasvino.primitives.loops import scan
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.reduce import reduce_sum
from kerasvino.primitives.region import Region
from kerasvino.primitives.shape import expand_dims, lengths, reshape, squeeze, transpose
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


def _plus(x, extra):
    """x plus a cotangent that arrives besides, if one does."""
    return x if extra is None else x + extra


def _turned(x):
    return transpose(x, axes=(1, 0))


def _in_time(x):
    """(batch, time, features) with time first."""
    return transpose(x, axes=(1, 0, 2))


def _rows_of(x, count, axis=0):
    """Equal parts of the features, which come first, or behind time."""
    return split(x, sizes=(x.shape[axis] // count,) * count, axis=axis)


def _before(first, states, reverse):
    """The state that each step began with."""
    first = expand_dims(first, axis=(0,))
    if reverse:
        return concatenate(_part(states, 1, 2**31 - 1), first, axis=0)
    return concatenate(first, _part(states, 0, -1), axis=0)


def _flat(x):
    """(time, features, batch) as (time * batch, features)."""
    return reshape(transpose(x, axes=(0, 2, 1)), shape=(-1, x.shape[1]))


def _weights(rows, cotangents):
    """Gradient of the weights that take `rows` to what has `cotangents`."""
    return matmul(_flat(rows), _flat(cotangents), transpose_x=True)


def _summed(cotangents):
    return reduce_sum(_flat(cotangents), axis=(0,), keepdims=False)


def _of_inputs(cotangents, x, kernel):
    """Cotangents of the inputs, of their kernel and of their bias."""
    flat = _flat(cotangents)
    dx = matmul(cotangents, kernel, transpose_x=True, transpose_y=True)
    rows = reshape(_in_time(x), shape=(-1, x.shape[-1]))
    dkernel = matmul(rows, flat, transpose_x=True)
    return transpose(dx, axes=(1, 0, 2)), dkernel, reduce_sum(flat, axis=(0,), keepdims=False)


# Steps that are unrolled within the body of a loop: an iteration costs as much as several products.
_BLOCK = 10


def in_blocks(step, carried, rows, backwards=False):
    """`scan`, a block of steps in each iteration of a graph's loop."""
    count = rows[0].shape[0]
    if count is None or not any(t.is_symbolic for t in (*carried, *rows)):
        return scan(step, carried, rows, backwards)
    blocks, rest = divmod(count, _BLOCK)
    whole = blocks * _BLOCK
    if blocks < 2:
        return _unrolled(step, carried, rows, backwards)

    def of_block(carried, slices):
        return _unrolled(step, carried, slices, backwards)

    def main(carried):
        first = [_blocks(_part(t, 0, whole) if rest else t, blocks) for t in rows]
        carried, found = scan(of_block, carried, first, backwards)
        return carried, [reshape(t, shape=(whole, *lengths(t)[2:])) for t in found]

    def end(carried):
        return _unrolled(step, carried, [_part(t, whole, count) for t in rows], backwards)

    if not rest:
        return main(carried)
    parts = []
    for run in (end, main) if backwards else (main, end):
        carried, found = run(carried)
        parts.append(found)
    ordered = parts[::-1] if backwards else parts
    return carried, [concatenate(*both, axis=0) for both in zip(*ordered, strict=True)]


def _blocks(x, count):
    return reshape(x, shape=(count, _BLOCK, *lengths(x)[1:]))


def _part(x, start, stop):
    return slice_(x, axis=(0,), starts=(start,), stops=(stop,), steps=(1,))


def _unrolled(step, carried, rows, backwards):
    """`scan` without a loop."""
    order = -1 if backwards else 1
    each = zip(*(split(t, sizes=(1,) * t.shape[0], axis=0) for t in rows), strict=True)
    results = []
    for parts in list(each)[::order]:
        carried, made = step(carried, [squeeze(t, axis=(0,)) for t in parts])
        results.append([expand_dims(t, axis=(0,)) for t in made])
    return list(carried), [concatenate(*p, axis=0) for p in zip(*results[::order], strict=True)]


# -- LSTM


def _lstm(x, h, c, kernel, recurrent, bias, *, activation, recurrent_activation, reverse):
    act, gate = _ACTIVATIONS[activation][0], _ACTIVATIONS[recurrent_activation][0]
    bias, turned = expand_dims(bias, axis=(1,)), transpose(recurrent, axes=(1, 0))
    sums = matmul(kernel, _in_time(x), transpose_x=True, transpose_y=True)

    def step(carried, rows):
        h, c = carried
        summed = rows[0] + matmul(turned, h) + bias
        i, f, g, o = _rows_of(summed, 4)
        c = gate(f) * c + gate(i) * act(g)
        h = gate(o) * act(c)
        return [h, c], [summed, h, c]

    (h, c), (sums, states, cells) = in_blocks(step, [_turned(h), _turned(c)], [sums], reverse)
    outputs = transpose(states, axes=(2, 0, 1))
    return outputs, _turned(h), _turned(c), sums, states, cells


def _lstm_vjp(grads, inputs, outputs, *, activation, recurrent_activation, reverse):
    """All that does not depend on the step behind is computed for all steps at once."""
    x, h, c, kernel, recurrent, _ = inputs
    act, act_slope = _ACTIVATIONS[activation]
    gate, gate_slope = _ACTIVATIONS[recurrent_activation]
    sums, states, cells = outputs[3:]
    i, f, g, o = _rows_of(sums, 4, axis=1)
    i, f, g, o, squashed = gate(i), gate(f), act(g), gate(o), act(cells)
    earlier = _before(_turned(h), states, reverse)
    by_h = o * act_slope(squashed)
    slopes = concatenate(
        g * gate_slope(i), _before(_turned(c), cells, reverse) * gate_slope(f), i * act_slope(g),
        squashed * gate_slope(o), axis=1,
    )  # fmt: skip
    given = [None if grads[0] is None else transpose(grads[0], axes=(1, 2, 0)), *grads[3:]]
    rows = [slopes, by_h, f, *(g for g in given if g is not None)]

    def step(carried, rows):
        (dh, dc), (slopes, by_h, f, *rest) = carried, rows
        dy, of_sums, of_h, of_c = (None if g is None else rest.pop(0) for g in given)
        dh = _plus(_plus(dh, dy), of_h)
        dc = _plus(dc + dh * by_h, of_c)
        dsums = _plus(concatenate(dc, dc, dc, dh, axis=0) * slopes, of_sums)
        return [matmul(recurrent, dsums), dc * f], [dsums]

    start = [
        _turned(zeros_like(s) if g is None else g) for g, s in zip(grads[1:3], (h, c), strict=True)
    ]
    (dh, dc), (dsums,) = in_blocks(step, start, rows, not reverse)
    dx, dkernel, dbias = _of_inputs(dsums, x, kernel)
    return dx, _turned(dh), _turned(dc), dkernel, _weights(earlier, dsums), dbias


# Inputs and attributes of lstm_sequence -> its outputs, and saved: what the gates are computed
# from, the states and the cells of each step.
lstm_steps = Region.of_one_rule("lstm_steps", _lstm)
defvjp(lstm_steps, _lstm_vjp)


# -- GRU


def _gru(x, h, kernel, recurrent, bias, *, activation, recurrent_activation, reverse, reset_after):
    act, gate = _ACTIVATIONS[activation][0], _ACTIVATIONS[recurrent_activation][0]
    bias, recurrent_bias = _biases(bias, reset_after)
    turned = transpose(recurrent, axes=(1, 0))
    of_gates, of_new = _gates_and_new(turned)
    sums = matmul(kernel, _in_time(x), transpose_x=True, transpose_y=True)

    def step(carried, rows):
        (h,) = carried
        xz, xr, xn = _rows_of(rows[0] + bias, 3)
        if reset_after:
            of_h = matmul(turned, h) + recurrent_bias
            hz, hr, hn = _rows_of(of_h, 3)
            z, r = gate(xz + hz), gate(xr + hr)
            new = r * hn
        else:
            gates = matmul(of_gates, h)
            hz, hr = _rows_of(gates, 2)
            z, r = gate(xz + hz), gate(xr + hr)
            hn = new = matmul(of_new, r * h)
            of_h = concatenate(gates, hn, axis=0)
        h = z * h + (1 - z) * act(xn + new)
        return [h], [of_h, h]

    (h,), (saved, states) = in_blocks(step, [_turned(h)], [sums], reverse)
    return transpose(states, axes=(2, 0, 1)), _turned(h), sums, saved, states


def _biases(bias, reset_after):
    """Of the inputs and of the states, as columns."""
    if not reset_after:
        return expand_dims(bias, axis=(1,)), None
    return [transpose(part, axes=(1, 0)) for part in split(bias, sizes=(1, 1), axis=0)]


def _gates_and_new(x, axis=0):
    """The parts of both gates and of the new state."""
    units = x.shape[axis] // 3
    return split(x, sizes=(2 * units, units), axis=axis)


def _gru_vjp(
    grads, inputs, outputs, *, activation, recurrent_activation, reverse, reset_after
):  # fmt: skip
    """As `_lstm_vjp`."""
    x, h, kernel, recurrent, bias = inputs
    act, act_slope = _ACTIVATIONS[activation]
    gate, gate_slope = _ACTIVATIONS[recurrent_activation]
    sums, saved, states = outputs[2:]
    xz, xr, xn = _rows_of(sums + _biases(bias, reset_after)[0], 3, axis=1)
    hz, hr, hn = _rows_of(saved, 3, axis=1)
    z, r = gate(xz + hz), gate(xr + hr)
    new = act(xn + (r * hn if reset_after else hn))
    before = _before(_turned(h), states, reverse)
    by_z, by_new = (before - new) * gate_slope(z), (1 - z) * act_slope(new)
    by_r = (hn if reset_after else before) * gate_slope(r)
    given = [None if grads[0] is None else transpose(grads[0], axes=(1, 2, 0)), *grads[3:]]
    rows = [by_z, by_new, by_r, r, z, *(g for g in given if g is not None)]
    if reset_after:
        rows[:4] = [concatenate(by_z, by_new * by_r, by_new * r, axis=1)]

    def step(carried, rows):
        rest = list(rows[len(rows) - sum(g is not None for g in given) :])
        dy, of_saved, of_h = (None if g is None else rest.pop(0) for g in given)
        dh = _plus(_plus(carried[0], dy), of_h)
        if reset_after:
            slopes, z = rows[:2]
            dstates = _plus(concatenate(dh, dh, dh, axis=0) * slopes, of_saved)
            return [matmul(recurrent, dstates) + dh * z], [dstates, dh]
        by_z, by_new, by_r, r, z = rows[:5]
        of_gates, of_new = (None, None) if of_saved is None else _gates_and_new(of_saved)
        dn = _plus(dh * by_new, of_new)
        dreset = matmul(new_kernel, dn)
        dr = dreset * by_r
        dgates = _plus(concatenate(dh * by_z, dr, axis=0), of_gates)
        back = matmul(gates_kernel, dgates) + dreset * r + dh * z
        return [back], [concatenate(dgates, dn, axis=0), dh, dr]

    gates_kernel, new_kernel = _gates_and_new(recurrent, axis=1)
    first = zeros_like(h) if grads[1] is None else grads[1]
    (dh,), (dstates, dhs, *drs) = in_blocks(step, [_turned(first)], rows, not reverse)
    dr = drs[0] if drs else dhs * by_new * by_r
    dsums = _plus(concatenate(dhs * by_z, dr, dhs * by_new, axis=1), grads[2])
    dx, dkernel, dbias = _of_inputs(dsums, x, kernel)
    if reset_after:
        dbias = stack([dbias, _summed(dstates)], axis=0)
        return dx, _turned(dh), dkernel, _weights(before, dstates), dbias
    of_gates, of_new = _gates_and_new(dstates, axis=1)
    drecurrent = concatenate(_weights(before, of_gates), _weights(r * before, of_new), axis=1)
    return dx, _turned(dh), dkernel, drecurrent, dbias


# Inputs and attributes of gru_sequence -> its outputs, and saved: products of the inputs, those of
# the states, and the states of each step.
gru_steps = Region.of_one_rule("gru_steps", _gru)
defvjp(gru_steps, _gru_vjp)
