"""`python -m kerasvino disable`."""

from __future__ import annotations

import argparse
import os

from kerasvino.cli import sites

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Removes the `.pth` file, wherever `enable` may have put it."""
    own, failed = [path for path in sites.places() if os.path.isfile(path)], False
    for path in own:
        try:
            os.remove(path)
        except OSError as error:
            print(f"Cannot remove {path}: {error.strerror}. Remove it as a user who may.")
            failed = True
        else:
            print(f"Disabled: removed {path}")
    for path in sites.in_effect():
        if path not in own:
            print(f"Still enabled by {path}: run disable with the Python it belongs to.")
            failed = True
    if not own and not failed:
        print("Not enabled; nothing to do.")
    return int(failed)
