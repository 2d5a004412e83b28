"""`model.export(path, format="openvino")`: a Keras model as OpenVINO IR.

This package is `keras.src.export.openvino` where Kerasvino is active. Keras's own module reads the
raw graph outputs of the other backend, fixes unknown lengths at 1 while it traces, and drops its
keyword arguments.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence

import openvino

from kerasvino import files
from kerasvino.backend.keras_private import io_utils
from kerasvino.export.ov_model import convert
from kerasvino.export.preprocessing import Preprocessing, add_preprocessing
from kerasvino.generate.tasks import CAUSAL, SEQUENCES, task_of

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

    A `keras_hub.models.CausalLM` may be given a folder instead. Then its step with a cache is
    written as `openvino_genai` and OpenVINO Model Server read it, with its tokenizer and sampler.

    Args:
        model: a `keras.Model` that has been built.
        filepath: ends with `.xml`, or is the folder of a language model; missing folders are made.
            Files that are there are replaced: who has them open, or has compiled them, keeps them
            as they were.
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
        OSError: the files cannot be written, or in Windows are in use; the old ones are as before,
            and nothing else is left behind.
    """
    if unknown:
        raise TypeError(
            f"export(format='openvino') does not take {', '.join(sorted(unknown))}; it takes "
            "filepath, verbose, input_signature, compress_to_fp16, preprocessing."
        )
    path = os.fspath(filepath)
    task = None if path.endswith(".xml") else task_of(model)
    if task == SEQUENCES:
        raise ValueError(
            f"{type(model).__name__} has an encoder, and engines for language models run decoders. "
            "Its forward pass can be exported, to a path that ends with '.xml'."
        )
    if task == CAUSAL:
        if input_signature is not None or preprocessing is not None:
            raise ValueError(
                "A language model is exported to a folder with the inputs that engines give it: "
                "leave out input_signature and preprocessing, or end the path with '.xml'."
            )
        written = _export_language_model(model, path, compress_to_fp16)
    else:
        path = _checked(path)
        converted = convert(model, input_signature)
        if preprocessing is not None:
            converted = add_preprocessing(converted, preprocessing)
        folder, name = os.path.split(os.path.abspath(path))
        _write(folder, {name: converted}, {}, compress_to_fp16)
        written = f"OpenVINO IR at '{path}'"
    if verbose or verbose is None:
        io_utils.print_msg(f"Saved {written}.")


def _export_language_model(model, path: str, compress_to_fp16: bool) -> str:
    """Writes the folder of a `CausalLM`; returns what a message says of it."""
    # not above: `kerasvino.generate` may be what imports Keras, and Keras this
    from kerasvino.export.language_model.folder import FILES, contents

    if "\0" in path or not path or (os.path.lexists(path) and not os.path.isdir(path)):
        raise ValueError(f"The export of a language model writes a folder; given: {path!r}")
    models, texts = contents(model)
    _write(os.path.abspath(path), models, texts, compress_to_fp16, FILES)
    tokenizer = "" if "openvino_tokenizer.xml" in models else ", without a tokenizer,"
    return f"language model{tokenizer} as OpenVINO IR in '{path}'"


def get_model_for_openvino_export(model, input_signature):
    """The forward pass of `model` as an `ov.Model`, under the name that Keras 3.16 asks for."""
    return convert(model, input_signature)


def _checked(path: str) -> str:
    """A path that files can be written to, as far as that can be told before."""
    if not path.endswith(".xml"):
        raise ValueError(
            f"The OpenVINO export requires the filepath to end with '.xml'. Received: {path!r}"
        )
    name = os.path.basename(path).removesuffix(".xml")
    if "\0" in path or not name or (os.name == "nt" and files.refusal(name)):
        raise ValueError(f"The OpenVINO export cannot write a file of that name: {path!r}")
    for file in (path, _weights_of(path)):
        if os.path.exists(file) and not os.path.isfile(file):
            raise ValueError(f"The OpenVINO export replaces files, and this is none: {file!r}")
    return path


def _weights_of(path: str) -> str:
    """Where OpenVINO looks for the weights of an IR."""
    return path.removesuffix(".xml") + ".bin"


def _write(
    folder: str,
    models: Mapping[str, openvino.Model],
    texts: Mapping[str, str],
    compress_to_fp16: bool,
    known: Sequence[str] = (),
) -> None:
    """Writes files beside their places, and then puts all there.

    Args:
        folder: of the files.
        models: by the names of their `.xml`.
        texts: other files by name.
        compress_to_fp16: as of `export_openvino`.
        known: names of files that belong together: those that are not written are removed.
    """
    with files.folders(folder), files.draft(os.path.join(folder, "x"), folder=True) as drafts:
        files.remove_dead_drafts(folder)
        names = []
        for name, text in texts.items():
            files.fill(os.path.join(drafts, name), [text.encode()])
            names.append(name)
        for name, model in models.items():
            _save(model, os.path.join(drafts, name), folder, compress_to_fp16)
            names += [_weights_of(name), name]
        moves = [(os.path.join(drafts, name), os.path.join(folder, name)) for name in names]
        gone = [name for each in known for name in {each, _weights_of(each)} if name not in names]
        with files.locked(folder):
            files.replace_all(moves, aside=drafts)
            for name in gone:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(os.path.join(folder, name))
            files.sync(folder)


def _save(model: openvino.Model, draft: str, folder: str, compress_to_fp16: bool) -> None:
    try:
        openvino.save_model(model, draft, compress_to_fp16=compress_to_fp16)
    except RuntimeError as error:
        where = f"{folder!r}, where {shutil.disk_usage(folder).free / 1e6:.1f} MB are free"
        raise OSError(f"OpenVINO could not write the model to {where}: {error}") from error
    files.sync(_weights_of(draft), draft)
