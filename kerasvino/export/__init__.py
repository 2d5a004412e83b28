"""`model.export(path, format="openvino")`: a Keras model as OpenVINO IR.

This package is `keras.src.export.openvino` where Kerasvino is active. Keras's own module reads the
raw graph outputs of the other backend, fixes unknown lengths at 1 while it traces, and drops its
keyword arguments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import openvino
from keras.src.utils import io_utils

from kerasvino.export.convert import convert
from kerasvino.export.preprocessing import Preprocessing, add_preprocessing

__all__ = ["Preprocessing", "convert", "export_openvino", "get_model_for_openvino_export"]


def export_openvino(
    model,
    filepath: str | os.PathLike,
    verbose: bool | None = None,
    input_signature=None,
    *,
    compress_to_fp16: bool = False,
    preprocessing: Preprocessing | Mapping | None = None,
    **unknown,
) -> None:
    """Writes the forward pass of `model` as OpenVINO IR: `filepath` and a `.bin` beside it.

    The files need OpenVINO alone, neither Keras nor Kerasvino. Inputs and outputs have the names
    that the Keras model knows them by. Weights are constants of the graph. State that the call
    assigns (seeds, stateful recurrent layers, counters) becomes state of the inference request: it
    begins with the value it has now, advances with each inference, and `reset_state()` restores it.

    Args:
        model: a `keras.Model` that has been built.
        filepath: ends with `.xml`; missing folders are made.
        verbose: whether to say what was written; True by default.
        input_signature: shapes and dtypes of the inputs: a list with the arguments of `call`, each
            a (nested) `keras.InputSpec`, `KerasTensor` or tensor. None in a shape stays dynamic.
            By default that of the model, with a batch of any size.
        compress_to_fp16: stores float32 weights as float16, at half the size. They are computed
            with in float32 again, so results differ by the rounding of the weights.
        preprocessing: a `Preprocessing`, or a dict of its fields, for a model of one input; or
            {input name: such} for several. It becomes the beginning of the graph.

    Raises:
        TypeError: an argument that there is not, or no Keras model.
        ValueError: a path that does not end with `.xml`, a model that has not been built, a
            signature or preprocessing that does not fit the model.
    """
    if unknown:
        raise TypeError(
            f"export(format='openvino') does not take {', '.join(sorted(unknown))}; it takes "
            "filepath, verbose, input_signature, compress_to_fp16, preprocessing."
        )
    path = os.fspath(filepath)
    if not path.endswith(".xml"):
        raise ValueError(
            f"The OpenVINO export requires the filepath to end with '.xml'. Received: {path!r}"
        )
    converted = convert(model, input_signature)
    if preprocessing is not None:
        converted = add_preprocessing(converted, preprocessing)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    openvino.save_model(converted, path, compress_to_fp16=compress_to_fp16)
    if verbose or verbose is None:
        io_utils.print_msg(f"Saved OpenVINO IR at '{path}'.")


def get_model_for_openvino_export(model, input_signature):
    """The forward pass of `model` as an `ov.Model`, under the name that Keras 3.16 asks for."""
    return convert(model, input_signature)
