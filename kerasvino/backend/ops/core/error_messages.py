"""Errors of operations name the operation, the layer and the operands, at no cost until one comes.

A primitive's error does so itself (`primitives.operation_errors`). What our functions refuse
before, axes and shapes that do not fit, is told of when the error leaves the scope of the layer's
name: which operation it was, and on what, is read off the frames that the error came through.
"""

from __future__ import annotations

import inspect
import re
from types import FrameType, TracebackType

import numpy as np

from kerasvino.backend.keras_private import Variable
from kerasvino.errors import TracedValueError
from kerasvino.primitives.operation_errors import described
from kerasvino.tensor import Tensor

__all__ = ["attribute"]

# Where operations are, and code that they call: what that raises is theirs all the same.
_OPERATIONS = re.compile(
    r"keras\.src\.ops\."
    r"|kerasvino\.backend\.(ops(?!\.numpy\.operators)|random|rnn)\b"
)
_HELPERS = re.compile(r"keras\.src\.backend\.common\.|(kerasvino|numpy|openvino|scipy)\b")
_NAMED = re.compile(r"[Ii]n layer \S")
# Keras puts its own words around a message; ours belong inside.
_BOLD = "\x1b[1m"


def attribute(error: BaseException, path: str) -> None:
    """Completes the message of an error that an operation raised in the layer `path`.

    An error that names a layer already, or that other code raised, stays as it is.
    """
    message = error.args[0] if error.args else None
    if not isinstance(message, str) or _NAMED.search(message):
        return
    frame = _operation(error.__traceback__)
    if frame is not None:
        said = f"{_name(frame)} in layer {path} on ({', '.join(_arguments(frame))}): "
    elif isinstance(error, TracedValueError):
        said = f"In layer {path}: "
    else:
        return
    before, bold, after = message.partition(_BOLD)
    message = f"{before}{bold}{said}{after}" if bold else said + message
    error.args = (message, *error.args[1:])


def _operation(traceback: TracebackType | None) -> FrameType | None:
    """The frame of the operation that raised: that of `keras.ops`, or ours if it was called so."""
    found = None
    while traceback is not None:
        frame = traceback.tb_frame
        if _OPERATIONS.match(_module(frame)):
            found = found or frame
        elif not _HELPERS.match(_module(frame)):
            found = None  # code of others, which an operation may have called
        traceback = traceback.tb_next
    # Keras takes its own frames out of a traceback, but they are still linked
    while found is not None and found.f_back and _OPERATIONS.match(_module(found.f_back)):
        found = found.f_back
    return found


def _module(frame):
    return frame.f_globals.get("__name__") or ""


def _name(frame):
    """`softmax` for `keras.ops.softmax`, for the method `Softmax.call` and for what makes one."""
    name = frame.f_code.co_qualname.partition(".")[0]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _arguments(frame):
    names, rest, _, values = inspect.getargvalues(frame)
    for name in names:
        value = values.get(name)
        if isinstance(value, Variable):
            value = getattr(value, "_value", None)  # there is none while it is being made
        if isinstance(value, (Tensor, np.ndarray)):
            yield described(value)
        elif value is not None and name != "self":
            yield f"{name}={described(value)}"
    if rest is not None:
        yield from map(described, values.get(rest, ()))
