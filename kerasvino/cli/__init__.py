"""The command line, `python -m kerasvino`: runs a command of the table `commands`, or a script.

A command's module has `add_arguments(parser)` and `run(arguments) -> int`, the exit code; it is
imported when the command is given. Whatever is no command is a script to run (`kerasvino.cli.run`).
Kerasvino is not active in a command until it calls `kerasvino.activate.activate(overrule=True)`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from kerasvino._version import __version__
from kerasvino.cli import run
from kerasvino.cli.commands import COMMANDS, PROGRAM

__all__ = ["main"]

USAGE = f"""{PROGRAM} COMMAND [OPTION ...]
       {PROGRAM} SCRIPT.py [ARGUMENT ...]
       {PROGRAM} -m MODULE [ARGUMENT ...]"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command or a script.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code: 0, 1 where something failed, 2 for wrong arguments, 130 for an interrupt.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    first = argv[0] if argv else "--help"
    if first.startswith("-m") or first == "-" or not (first in COMMANDS or first.startswith("-")):
        return run.run(argv)
    _show_any_character()
    parser = _parser(first)
    arguments = parser.parse_args(argv or [first])
    if arguments.command is None:
        parser.error("give a command, a script or -m MODULE")
    command = importlib.import_module(f"{__name__}.{arguments.command}")
    try:
        code = int(command.run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # as under `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    return code


def _show_any_character() -> None:
    """Has what the console's encoding lacks (cp1252, ASCII) shown by its code, not raised."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser(chosen: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=USAGE,
        description="Runs Keras programs on OpenVINO, unchanged.",
        epilog="A script that is named like a command is run by its path: ./status. Processes that "
        "the script starts run on kerasvino too.",
    )
    parser.add_argument("--version", action="version", version=f"kerasvino {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, prog=f"{PROGRAM} {name}", help=summary, description=f"{name}: {summary}."
        )
        if name == chosen:
            importlib.import_module(f"{__name__}.{name}").add_arguments(command)
    return parser
