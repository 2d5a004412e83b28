"""`python -m kerasvino profile`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from kerasvino.cli import models

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    models.add_arguments(parser)
    parser.add_argument(
        "--batch", type=_positive, default=1, metavar="N", help="size of the batch (default 1)"
    )
    parser.add_argument(
        "--runs", type=_positive, default=20, metavar="N", help="how many are counted (default 20)"
    )
    parser.add_argument(
        "--rows", type=_positive, default=30, metavar="N", help="of the table (default 30)"
    )
    parser.add_argument(
        "--against", type=_setting, metavar="SETTING=VALUE",
        help="measure it with another setting too, and compare: --against precision=bf16",
    )  # fmt: skip
    parser.add_argument("--html", metavar="FILE", help="write a page with pictures as well")


def _positive(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 or more")
    return number


def _setting(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is no SETTING=VALUE, such as precision=bf16")
    return {name: value}


def run(arguments: argparse.Namespace) -> int:
    """Measures the model with random inputs, and prints its layers by time."""
    with models.failures_as_messages():
        if arguments.html:
            _check_page(arguments.html)
        model = models.load(arguments)
        signature = models.signature(model, arguments)
        signature = signature.reshaped(_with_batch(signature.specs, arguments.batch))
        from kerasvino.profiling import profiled
        from kerasvino.profiling.table import table
        from kerasvino.runtime import config

        arrays = _random(signature.specs)
        other = config.using(**arguments.against) if arguments.against else None
        measured = profiled(model, signature, arrays, arguments.runs)
        found: Any = measured
        if other is None:
            print(table(measured, arguments.rows))
        else:
            with other:
                found = measured.compared_with(profiled(model, signature, arrays, arguments.runs))
            print(found)
        if arguments.html:
            found.save_html(arguments.html)
            print(f"\nWrote {arguments.html}.")
    return 0


def _check_page(path: str) -> None:
    """A place that no page can be written to is said before anything is measured."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder):
        raise models.Failure(f"--html {path}: give a file in a folder that there is.")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise models.Failure(f"--html {path}: it may not be written by this user.")


def _with_batch(specs: Sequence[Any], batch: int) -> dict[str, tuple[int | None, ...]]:
    """The shapes with the batch where it is open; no other length may be."""
    shapes = {}
    for spec in specs:
        shape = spec.shape
        if shape and shape[0] is None:
            shape = (batch, *shape[1:])
        if None in shape:
            text = ",".join("?" if length is None else str(length) for length in shape)
            raise models.Failure(
                f"The input {spec.name} has an open length, {text}; say what to measure: "
                f"--input-shape {spec.name}={text.replace('?', '128')}."
            )
        shapes[spec.name] = shape
    return shapes


def _random(specs: Sequence[Any]) -> list[Any]:
    """Values for the inputs: normal ones; of integers 0 and 1, which any vocabulary has."""
    import numpy as np

    from kerasvino import dtypes

    generator = np.random.default_rng(0)
    arrays = []
    for spec in specs:
        if dtypes.is_float(spec.dtype):
            values = generator.standard_normal(spec.shape)
        else:
            values = generator.integers(0, 2, spec.shape)
        arrays.append(values.astype(dtypes.numpy_dtype(spec.dtype)))
    return arrays
