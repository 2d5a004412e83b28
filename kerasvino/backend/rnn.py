"""Keras's rnn contract: recurrent loops over any cell, traced as one Loop node."""

from __future__ import annotations

from kerasvino.backend.keras_private import KerasTensor, tree
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.control_flow import scan
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.ops.core.convert import shape as shape_of
from kerasvino.backend.ops.core.spec import compute_output_spec
from kerasvino.primitives.lstm_gru import ACTIVATIONS, gru_sequence, lstm_sequence

__all__ = ["bidirectional_gru", "bidirectional_lstm", "cudnn_ok", "gru", "lstm", "rnn"]


def rnn(
    step_function, inputs, initial_states, go_backwards=False, mask=None, constants=None,
    unroll=False, input_length=None, time_major=False, zero_output_for_mask=False,
    return_all_outputs=True,
):  # fmt: skip
    """Runs `output, states = step_function(input, states + constants)` over the time axis.

    Args:
        inputs: nested tensors of shape (batch, time, ...), or (time, batch, ...) with `time_major`.
        initial_states: nested tensors.
        mask: of shape (batch, time) or (batch, time, 1); where it is False the states stay, and the
            output is that of the step before (zeros before the first), or zeros with
            `zero_output_for_mask`.
        unroll: repeat the step in the graph instead of making a loop; needs a known time axis.

    Returns:
        (last output, outputs in the order of processing, last states). With
        `return_all_outputs=False` the outputs hold the last step only.
    """
    rows = tree.map_structure(
        lambda x: _by_time(convert_to_tensor(x), time_major, go_backwards), inputs
    )
    lead = tree.flatten(rows)[0]
    if unroll and not lead.shape[0]:
        raise ValueError(
            "Unrolling requires a fixed number of timesteps. Give the time axis a length of 1 or "
            f"more, or use unroll=False. Given inputs of shape {lead.shape} (time first)."
        )
    constants = tuple(constants or ())
    states = tree.map_structure(convert_to_tensor, initial_states)
    if mask is not None:
        mask = _by_time(_mask_rows(mask), time_major, go_backwards)

    # The output before is carried where masked steps repeat it, and where there may be no step.
    length = lead.shape[0]
    repeats = mask is not None and not zero_output_for_mask
    carries = repeats or length is None or length == 0

    def advance(carry, pair):
        (held, before), (x, keep) = carry, pair
        output, following = step_function(x, (*held, *constants))
        following = _like(held, following)
        if keep is not None:
            following = tree.map_structure(lambda new, old: _where(keep, new, old), following, held)
            output = _where(keep, output, before if repeats else knp.zeros_like(output))
        return (following, output if carries else ()), output

    first = _zero_output(step_function, rows, states, constants) if carries else ()
    (states, last), outputs = scan(advance, (states, first), (rows, mask), unroll=bool(unroll))
    if not carries:
        last = tree.map_structure(lambda t: t[-1], outputs)
    if not return_all_outputs:
        outputs = tree.map_structure(lambda t: knp.expand_dims(t, 0), last)
    if not time_major:
        outputs = tree.map_structure(lambda t: knp.swapaxes(t, 0, 1), outputs)
    return last, outputs, states


def _by_time(x, time_major, reverse):
    """`x` with time as its first axis, in the order of processing."""
    if not time_major:
        x = knp.swapaxes(x, 0, 1)
    return knp.flip(x, axis=0) if reverse else x


def _mask_rows(mask):
    """The mask as booleans of shape (batch, time) or (time, batch)."""
    mask = to_dtype(convert_to_tensor(mask), "bool")
    return knp.any(mask, axis=tuple(range(2, mask.ndim))) if mask.ndim > 2 else mask


def _where(keep, new, old):
    """Per sample of the batch, `new` where `keep`, else `old`."""
    if new.ndim > 1:
        keep = knp.expand_dims(keep, tuple(range(1, new.ndim)))
    return knp.where(keep, new, old)


def _like(structure, states):
    """States in the containers of `structure`: cells may return a list for a tuple."""
    return tree.pack_sequence_as(structure, [convert_to_tensor(t) for t in tree.flatten(states)])


def _zero_output(step_function, rows, states, constants):
    """Zeros of the shape and dtype of a step's output."""

    def spec(t):
        return KerasTensor(t.shape, t.dtype)

    x = tree.map_structure(lambda t: KerasTensor(t.shape[1:], t.dtype), rows)
    held = tree.map_structure(spec, (*states, *constants))
    output, _ = compute_output_spec(step_function, x, held)
    batch = shape_of(tree.flatten(rows)[0])[1]
    return tree.map_structure(lambda t: knp.zeros((batch, *t.shape[1:]), t.dtype), output)


# -- fused kernels: Keras asks for one first, and takes the generic loop if there is none


def cudnn_ok(*args, **kwargs) -> bool:
    """Whether cuDNN would serve a recurrent layer: never here."""
    return False


def _fused_names(activation, recurrent_activation, mask, unroll, tensors):
    """Names of both activations, if a fused kernel means the same as the loop.

    Raises:
        NotImplementedError: it does not; Keras then takes the loop.
    """
    from kerasvino.backend.keras_private import activations

    names = tuple(getattr(f, "__name__", "") for f in (activation, recurrent_activation))
    known = all(
        name in ACTIVATIONS and f is activations.get(name)
        for name, f in zip(names, (activation, recurrent_activation), strict=True)
    )
    plain = all(t.dtype == "float32" for t in tensors)
    if mask is not None or unroll or not known or not plain or not tensors[0].shape[1]:
        raise NotImplementedError("The fused kernel is for float32 without mask and unrolling.")
    return {"activation": names[0], "recurrent_activation": names[1]}


def _bias_or_zeros(bias, kernel, doubled=False):
    if bias is not None:
        return convert_to_tensor(bias)
    width = kernel.shape[-1]
    return knp.zeros((2, width) if doubled else (width,), kernel.dtype)


def _sequence_result(outputs, states, return_sequences):
    last = states[0]
    return last, outputs if return_sequences else knp.expand_dims(last, 1), list(states)


def lstm(
    inputs, initial_state_h, initial_state_c, mask, kernel, recurrent_kernel, bias, activation,
    recurrent_activation, return_sequences=False, go_backwards=False, unroll=False,
):  # fmt: skip
    """An LSTM layer as one kernel; see `rnn` for the result."""
    x, h, c, kernel, recurrent = (
        convert_to_tensor(t)
        for t in (inputs, initial_state_h, initial_state_c, kernel, recurrent_kernel)
    )
    bias = _bias_or_zeros(bias, kernel)
    tensors = (x, h, c, kernel, recurrent, bias)
    names = _fused_names(activation, recurrent_activation, mask, unroll, tensors)
    outputs, *states = lstm_sequence(*tensors, reverse=go_backwards, **names)
    return _sequence_result(_processed(outputs, go_backwards), states, return_sequences)


def gru(
    inputs, initial_state, mask, kernel, recurrent_kernel, bias, activation, recurrent_activation,
    return_sequences=False, go_backwards=False, unroll=False, reset_after=True,
):  # fmt: skip
    """A GRU layer as one kernel; see `rnn` for the result."""
    x, h, kernel, recurrent = (
        convert_to_tensor(t) for t in (inputs, initial_state, kernel, recurrent_kernel)
    )
    bias = _bias_or_zeros(bias, kernel, doubled=reset_after)
    tensors = (x, h, kernel, recurrent, bias)
    names = _fused_names(activation, recurrent_activation, mask, unroll, tensors)
    outputs, *states = gru_sequence(
        *tensors, reverse=go_backwards, reset_after=reset_after, **names
    )
    return _sequence_result(_processed(outputs, go_backwards), states, return_sequences)


def _processed(outputs, reverse):
    """Outputs in the order of processing."""
    return knp.flip(outputs, axis=1) if reverse else outputs


def bidirectional_lstm(
    inputs, fwd_initial_state_h, fwd_initial_state_c, bwd_initial_state_h, bwd_initial_state_c,
    mask, fwd_kernel, fwd_recurrent_kernel, fwd_bias, bwd_kernel, bwd_recurrent_kernel, bwd_bias,
    activation, recurrent_activation, return_sequences=False, unroll=False,
):  # fmt: skip
    """Two LSTM kernels over one sequence; both outputs are in the order of the input."""
    forward = lstm(
        inputs, fwd_initial_state_h, fwd_initial_state_c, mask, fwd_kernel, fwd_recurrent_kernel,
        fwd_bias, activation, recurrent_activation, return_sequences, False, unroll,
    )  # fmt: skip
    last, outputs, states = lstm(
        inputs, bwd_initial_state_h, bwd_initial_state_c, mask, bwd_kernel, bwd_recurrent_kernel,
        bwd_bias, activation, recurrent_activation, return_sequences, True, unroll,
    )  # fmt: skip
    return forward, (last, knp.flip(outputs, axis=1), states)


def bidirectional_gru(
    inputs, fwd_initial_state, bwd_initial_state, mask, fwd_kernel, fwd_recurrent_kernel, fwd_bias,
    bwd_kernel, bwd_recurrent_kernel, bwd_bias, activation, recurrent_activation,
    return_sequences=False, unroll=False, reset_after=True,
):  # fmt: skip
    """Two GRU kernels over one sequence; both outputs are in the order of the input."""
    forward = gru(
        inputs, fwd_initial_state, mask, fwd_kernel, fwd_recurrent_kernel, fwd_bias, activation,
        recurrent_activation, return_sequences, False, unroll, reset_after,
    )  # fmt: skip
    last, outputs, states = gru(
        inputs, bwd_initial_state, mask, bwd_kernel, bwd_recurrent_kernel, bwd_bias, activation,
        recurrent_activation, return_sequences, True, unroll, reset_after,
    )  # fmt: skip
    return forward, (last, knp.flip(outputs, axis=1), states)
