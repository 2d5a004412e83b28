"""The setting `check_numerics`: the first NaN or infinity raises, in programs and eagerly.

Of a program the whole run is looked at (see `graph.finite`), so that what a `where` leaves out does
not count. Eagerly each operation is looked at by itself, when it has run: one that makes NaN or an
infinity raises, and so does one that computes with a NaN which came from outside.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from kerasvino.errors import NumericsError
from kerasvino.graph import Graph
from kerasvino.graph.calls import Call, observe, register_observer
from kerasvino.graph.finite import FINITE, NAN, WORDS, code_of, said
from kerasvino.primitives.operation_errors import attributed
from kerasvino.runtime import config

__all__ = ["check_run"]


def check_run(graph: Graph, codes: np.ndarray, value: Callable[[int], np.ndarray]) -> None:
    """Raises NumericsError if a run of `graph` met NaN or an infinity that counts.

    Args:
        graph: with `steps`.
        codes: that the run computed.
        value: `value(index)`, of an argument, or of a variable behind the arguments.
    """
    if not (codes > FINITE).any():
        return
    count = len(graph.inputs)
    inputs = {i: code_of(value(i)) for i in range(count + len(graph.reads))}
    inputs = {index: code for index, code in inputs.items() if code}

    def name(index):
        if index >= count:
            return f"variable {graph.reads[index - count].path}"
        spec, array = graph.inputs[index], value(index)
        place = [int(n) for n in np.argwhere(~np.isfinite(array.astype(np.float32)))[0]]
        kind = f"{spec.dtype}{list(array.shape)}"
        what = graph.argument(index) if graph.argument else f"argument {spec.name or index}"
        return f"{what} of the call ({kind}) at {place}"

    fault = graph.steps.fault(codes, inputs, name)
    if fault is not None:
        raise NumericsError(f"check_numerics: {fault}")


# -- eager operations

# Operations that hand NaN on without computing with it: what follows may ask for it.
_MOVING = frozenset(
    (
        "broadcast_to", "cast", "concatenate", "dynamic_slice", "dynamic_update_slice",
        "expand_dims", "flip", "gather", "gather_nd", "pad", "reshape", "roll", "scatter_nd",
        "select", "slice", "split", "squeeze", "stop_gradient", "take_along_axis", "tile",
        "transpose",
    )
)  # fmt: skip


def _observed(call: Call) -> None:
    if not config.get().check_numerics:
        return
    code = _greatest(call.outputs)
    if code == FINITE:
        return
    given = [code_of(tensor._array) for tensor in call.inputs if tensor._array is not None]
    operation = said(attributed(call.primitive.name))
    if code > max(given, default=FINITE):
        raise NumericsError(
            f"check_numerics: {WORDS[code]} made by {operation}"
            + (f", of {WORDS[max(given)]}." if any(given) else ", whose inputs are finite.")
        )
    if code == NAN and call.primitive.name not in _MOVING:
        raise NumericsError(
            f"check_numerics: {operation} gives NaN: its input {given.index(NAN)} holds NaN."
        )


def _greatest(tensors: Sequence) -> int:
    return max((code_of(t._array) for t in tensors if t._array is not None), default=FINITE)


register_observer(_observed)
if os.environ.get("KERASVINO_CHECK_NUMERICS", "").strip():
    observe()  # each call asks what the variable says
