"""`python -m kerasvino enable`."""

from __future__ import annotations

import argparse
import os
import tempfile

from kerasvino.cli import sites

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Writes the `.pth` file into the environment's site-packages, or the user's."""
    text, reasons = sites.content(), []
    for path in sites.places():
        try:
            repeated = sites.read(path) == text
            if not repeated:
                _write(path, text)
        except OSError as error:
            reasons.append(f"  {path}: {error.strerror}")
            continue
        print(f"{'Already enabled' if repeated else 'Enabled'} by {path}")
        print("KERAS_BACKEND=openvino python train.py now runs on kerasvino.")
        return 0
    print("Cannot enable kerasvino; none of these can be written:", *reasons, sep="\n")
    print("Run this as a user who may write there, or in an environment of your own (venv).")
    return 1


def _write(path: str, text: str) -> None:
    """Appears whole or not at all: a Python process may start at any moment."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".kerasvino-") as scratch:
        draft = os.path.join(scratch, sites.FILE)
        with open(draft, "w", encoding="ascii") as file:
            file.write(text)
        os.replace(draft, path)
