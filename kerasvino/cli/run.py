"""Runs an untouched script or module on Kerasvino, as `python` itself would run it.

What the program sees is what it sees under `python`: `sys.argv`, `sys.path[0]`, its `__main__`
(which stays in `sys.modules` while threads and exit handlers still run, unlike under `runpy`), its
exit code, and tracebacks that begin in its own file.
"""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

from kerasvino.activate import SelectionError, activate
from kerasvino.cli.commands import COMMANDS, PROGRAM

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Runs `SCRIPT ARGUMENT...`, `-m MODULE ARGUMENT...` or `- ARGUMENT...` (from stdin).

    Returns:
        The exit code: 0, or 1 or 2 where the program could not be started, with the reason on
        stderr. An exit code of the program's own comes as the `SystemExit` that it raised.
    """
    first, *arguments = argv
    if first.startswith("-m"):
        named = [first[2:]] if first[2:] else arguments[:1]
        if not named:
            return _refuse(2, "-m needs the name of a module")
        module, arguments = named[0], arguments if first[2:] else arguments[1:]
    try:
        activate(overrule=True)
    except SelectionError as error:
        return _refuse(2, str(error))
    if first.startswith("-m"):
        return _run_module(module, arguments)
    if first == "-":
        return _run_stdin(arguments)
    return _run_path(first, arguments)


def _refuse(code: int, reason: str) -> int:
    print(f"{PROGRAM}: {reason}", file=sys.stderr)
    return code


def _run_path(path: str, arguments: list[str]) -> int:
    """A source or compiled file, or a folder or zip archive that has a `__main__`."""
    sys.argv[:] = [path, *arguments]
    full = os.path.abspath(path)
    importer = pkgutil.get_importer(full)
    if importer is not None:
        _put_first_on_path(full)
        spec = importer.find_spec("__main__")
        if spec is None:
            return _refuse(1, f"can't find '__main__' module in {path!r}")
        return _run_spec(spec)
    try:
        with io.open_code(full) as file:
            code = pkgutil.read_code(file)
            file.seek(0)
            source = file.read()
    except OSError as error:
        commands = ", ".join(COMMANDS)
        return _refuse(
            2, f"can't open file {full!r}: {error.strerror} (and the commands are: {commands})"
        )
    _put_first_on_path(os.path.dirname(os.path.realpath(full)))
    return _execute(code or source, full, loader=SourceFileLoader("__main__", full))


def _run_stdin(arguments: list[str]) -> int:
    sys.argv[:] = ["-", *arguments]
    _put_first_on_path("")
    return _execute(sys.stdin.read(), "<stdin>")


def _run_module(name: str, arguments: list[str]) -> int:
    """A module, or a package's `__main__`; `sys.path[0]` is the working directory already."""
    sys.argv[:] = ["-m", *arguments]  # as Python has it while it imports the parent packages
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += ".__main__"
            spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # not the module that was asked for, but one that a parent package imports
        spec = None
    if spec is None:
        return _refuse(1, f"No module named {name}")
    sys.argv[0] = spec.origin or name
    return _run_spec(spec)


def _run_spec(spec: ModuleSpec) -> int:
    loader: Any = spec.loader
    if not hasattr(loader, "get_code"):
        return _refuse(1, f"No code object available for {spec.name}")
    with _tracebacks_from(None):
        code = loader.get_code(spec.name)
    return _execute(code, spec.origin, spec=spec, loader=loader)


def _put_first_on_path(entry: str) -> None:
    if not sys.flags.safe_path:  # else Python has put no entry of its own there
        sys.path[:1] = [entry]


def _execute(
    code: CodeType | bytes | str,
    file: str | None,
    *,
    spec: ModuleSpec | None = None,
    loader: object = None,
) -> int:
    """Runs code as `__main__`; the module stays, whatever happens."""
    main = ModuleType("__main__")
    attributes = dict(__builtins__=builtins, __spec__=spec, __loader__=loader)
    attributes["__package__"] = spec.parent if spec else None
    if file != "<stdin>":
        attributes.update(__file__=file, __cached__=spec.cached if spec else None)
    vars(main).update(attributes)
    sys.modules["__main__"] = main
    if not isinstance(code, CodeType):
        with _tracebacks_from(None):
            code = compile(code, file or "<string>", "exec", dont_inherit=True)
    with _tracebacks_from(code):
        exec(code, vars(main))
    return 0


@contextmanager
def _tracebacks_from(code: CodeType | None) -> Iterator[None]:
    """Has an uncaught exception's traceback shown from `code`'s frame on, or without one."""
    try:
        yield
    except BaseException:
        show = sys.excepthook  # the program's own, if it has set one

        def excepthook(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            while trace is not None and trace.tb_frame.f_code is not code:
                trace = trace.tb_next
            show(kind, error.with_traceback(trace), trace)

        sys.excepthook = excepthook
        raise
