"""What the commands that take a saved model share: its arguments, loading it, its input shapes."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from kerasvino.cli.commands import PROGRAM

__all__ = ["Failure", "add_arguments", "failures_as_messages", "load", "signature"]


class Failure(Exception):
    """What was asked cannot be done; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which model, and of which input shapes."""
    parser.add_argument("model", help="a file that model.save() wrote (.keras, .h5)")
    parser.add_argument(
        "--input-shape",
        action="append",
        default=[],
        metavar="[NAME=]N,N,...",
        help="shape of an input with its batch, as in 1,224,224,3; ? for any length. With the "
        "input's name where there are several (repeat the option)",
    )
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module first, which registers the model's own layers",
    )
    parser.add_argument(
        "--unsafe",
        action="store_true",
        help="run the Python code that a Lambda layer in the file holds; only for a file you trust",
    )


@contextlib.contextmanager
def failures_as_messages() -> Iterator[None]:
    """Ends the process with status 1 and the message where a model cannot be used."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (Failure, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        raise SystemExit(1) from error


def load(arguments: argparse.Namespace) -> Any:
    """The Keras model, running on Kerasvino whatever `KERAS_BACKEND` says."""
    from kerasvino.activate import VARIABLE, activate

    if not os.path.exists(arguments.model):
        raise Failure(f"There is no {arguments.model!r}.")
    if not os.path.isfile(arguments.model):
        raise Failure(f"{arguments.model!r} is no file; give one that model.save() wrote.")
    with open(arguments.model, "rb"):
        pass  # may it be read? Keras says that there is none
    if arguments.model.endswith(".keras") and not zipfile.is_zipfile(arguments.model):
        raise Failure(f"{arguments.model!r} is no .keras file, or a damaged one.")
    os.environ.pop(VARIABLE, None)
    activate(overrule=True)
    import keras

    sys.path.insert(0, "")
    for name in arguments.imports:
        importlib.import_module(name)
    try:
        return keras.saving.load_model(
            arguments.model, compile=False, safe_mode=not arguments.unsafe
        )
    except _OF_LOADING as error:
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise Failure(f"{arguments.model!r} cannot be loaded: {said}{_hint(error)}") from error


# What Keras raises for a file that is damaged or no model, and layers for a wrong configuration.
_OF_LOADING = (
    AttributeError, EOFError, LookupError, NotImplementedError, OSError, RecursionError,
    RuntimeError, TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _hint(error: Exception) -> str:
    """Which option helps, if one does."""
    text = str(error)
    if "Could not locate" in text or "Unknown layer" in text:
        return "\nGive --import MODULE for the module that registers it."
    if "unsafe" in text or "safe_mode" in text:
        return "\nGive --unsafe if you trust the file."
    return ""


def signature(model: Any, arguments: argparse.Namespace) -> Any:
    """The signature of the model's call with the shapes of `--input-shape`."""
    from kerasvino.export.signature import signature_of

    found = signature_of(model)
    names = [str(spec.name) for spec in found.specs]
    shapes = {}
    for text in arguments.input_shape:
        name, equals, lengths = text.rpartition("=")
        if not equals:
            if len(names) != 1:
                raise Failure(
                    f"The model has the inputs {', '.join(names)}; write --input-shape "
                    f"{names[0]}={text}."
                )
            name = names[0]
        shapes[name] = tuple(_length(one, text) for one in lengths.split(","))
    return found.reshaped(shapes)


def _length(text: str, whole: str) -> int | None:
    text = text.strip()
    if text in ("?", "-1", "None"):
        return None
    if not text.isdigit():
        raise Failure(f"--input-shape {whole}: {text!r} is no length; write a number or ?.")
    return int(text)
