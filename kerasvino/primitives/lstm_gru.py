"""Primitives of whole recurrences: LSTM and GRU over a sequence in one fused kernel.

Shapes: x (batch, time, features), states (batch, units), kernel (features, gates * units),
recurrent kernel (units, gates * units), in Keras's order of gates. Results: the outputs (batch,
time, units) in the order of x, and the last states. With `reverse` the sequence is read from its
end.
"""

from __future__ import annotations

import numpy as np
from openvino import Type
from scipy.special import expit

from kerasvino.nodes.lowering import const, convert, dims, ints, ov, scalar_dim
from kerasvino.primitives.cast import cast
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.lstm_gru_steps import gru_steps, lstm_steps

__all__ = ["ACTIVATIONS", "gru_sequence", "lstm_sequence"]

# Keras's names of the activations that the fused kernels know.
ACTIVATIONS = {"sigmoid": expit, "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}


def _steps(x, reverse):
    order = range(x.shape[1])
    return reversed(order) if reverse else order


# -- on the host


def _lstm_impl(x, h, c, kernel, recurrent, bias, *, activation, recurrent_activation, reverse):
    act, gate = ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation]
    projected = x @ kernel + bias
    outputs = np.empty((*x.shape[:2], h.shape[-1]), x.dtype)
    for t in _steps(x, reverse):
        i, f, g, o = np.split(projected[:, t] + h @ recurrent, 4, axis=-1)
        c = gate(f) * c + gate(i) * act(g)
        h = outputs[:, t] = gate(o) * act(c)
    return outputs, h.copy(), c


def _gru_impl(
    x, h, kernel, recurrent, bias, *, activation, recurrent_activation, reverse, reset_after
):
    act, gate = ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation]
    bias, recurrent_bias = bias if reset_after else (bias, np.zeros_like(bias))
    projected = x @ kernel + bias
    units = h.shape[-1]
    outputs = np.empty((*x.shape[:2], units), x.dtype)
    for t in _steps(x, reverse):
        xz, xr, xh = np.split(projected[:, t], 3, axis=-1)
        if reset_after:
            hz, hr, hh = np.split(h @ recurrent + recurrent_bias, 3, axis=-1)
        else:
            hz, hr = np.split(h @ recurrent[:, : 2 * units], 2, axis=-1)
        z, r = gate(xz + hz), gate(xr + hr)
        new = xh + r * hh if reset_after else xh + (r * h) @ recurrent[:, 2 * units :]
        h = outputs[:, t] = z * h + (1 - z) * act(new)
    return outputs, h.copy()


# -- in a graph


def _lstm_gates(weight):
    """As `_turned`; Keras's order: input, forget, cell, output; OpenVINO's: forget, input, …"""
    i, f, g, o = ov.split(weight, ints(-1), 4).outputs()
    return _turned(ov.concat([f, i, g, o], -1).output(0))


def _turned(weight):
    """(rows, columns) as (1, columns, rows); a bias (columns,) as (1, columns)."""
    if len(dims(weight)) == 2:
        weight = ov.transpose(weight, ints([1, 0])).output(0)
    return ov.unsqueeze(weight, ints(0)).output(0)


def _lengths(x):
    """The time length, once for each sample."""
    batch, length = dims(x)[:2]
    if batch is not None and length is not None:
        return const(np.full(batch, length), Type.i32)
    length = convert(scalar_dim(x, 1), Type.i32)
    return ov.broadcast(length, ov.unsqueeze(scalar_dim(x, 0), ints(0))).output(0)


def _direction(reverse):
    return "reverse" if reverse else "forward"


def _state(h):
    return ov.unsqueeze(h, ints(1)).output(0)


def _dropped(output):
    """`output` without its axis of directions."""
    return ov.squeeze(output, ints(1)).output(0)


def _lstm_lower(x, h, c, kernel, recurrent, bias, *, activation, recurrent_activation, reverse):
    node = ov.lstm_sequence(
        x, _state(h), _state(c), _lengths(x), _lstm_gates(kernel), _lstm_gates(recurrent),
        _lstm_gates(bias), h.get_partial_shape()[1].get_length(), _direction(reverse),
        [recurrent_activation, activation, activation],
    )  # fmt: skip
    return [_dropped(output) for output in node.outputs()]


def _gru_bias(bias, reset_after):
    """OpenVINO adds the biases of the update and reset gates; the candidate keeps both."""
    if not reset_after:
        return _turned(bias)
    rows = ov.split(bias, ints(0), 2).outputs()
    inputs, recurrent = (ov.split(row, ints(1), 3).outputs() for row in rows)
    sums = [ov.add(a, b).output(0) for a, b in zip(inputs[:2], recurrent[:2], strict=True)]
    return ov.concat([*sums, inputs[2], recurrent[2]], 1).output(0)


def _gru_lower(
    x, h, kernel, recurrent, bias, *, activation, recurrent_activation, reverse, reset_after
):
    node = ov.gru_sequence(
        x, _state(h), _lengths(x), _turned(kernel), _turned(recurrent),
        _gru_bias(bias, reset_after), h.get_partial_shape()[1].get_length(), _direction(reverse),
        [recurrent_activation, activation], linear_before_reset=reset_after,
    )  # fmt: skip
    return [_dropped(output) for output in node.outputs()]


class _Sequence(Primitive):
    """A recurrence; a recorded one keeps values of each step, for its gradient.

    A recorded one of narrow floats is computed in float32, and its results are rounded.
    """

    __slots__ = ("_count", "_steps")

    def __init__(self, name, steps, outputs, **columns):
        super().__init__(
            name, multiple=True, dtype=lambda inputs, attrs: (inputs[0],) * outputs,
            nondifferentiable=f"a recorded one runs as {steps.name}", **columns,
        )  # fmt: skip
        self._steps, self._count = steps, outputs

    def __call__(self, *inputs, **attrs):
        if not self._steps.recorded(inputs):
            return super().__call__(*inputs, **attrs)
        kind = inputs[0].dtype
        if kind not in ("bfloat16", "float16"):
            return self._steps(*inputs, **attrs)[: self._count]
        # a rounding after each operation of each step takes longer than the products
        inputs = [cast(tensor, dtype="float32") for tensor in inputs]
        outputs = self._steps(*inputs, **attrs)[: self._count]
        return tuple(cast(tensor, dtype=kind) for tensor in outputs)


# x, h, c, kernel, recurrent kernel, bias (4 * units) -> outputs, last h, last c.
lstm_sequence = _Sequence("lstm_sequence", lstm_steps, 3, impl=_lstm_impl, lower=_lstm_lower)
# x, h, kernel, recurrent kernel, bias ((2, 3 * units) with reset_after, else (3 * units)) ->
# outputs, last h.
gru_sequence = _Sequence("gru_sequence", gru_steps, 2, impl=_gru_impl, lower=_gru_lower)
