"""Selecting the backend: the Keras modules that Kerasvino replaces, and the import hook for it.

`REPLACED` lists every replaced name. Keras's names and ours are the same module object, executed
once, whichever is imported first, with the `__spec__` of its own name (`kerasvino.…`): a class
defined there is pickled by that name, `importlib.reload` and `inspect` work. Nothing of Keras is
imported here: our backend is loaded when Keras asks for it.

Keras 3.15 asks for `keras.src.backend.openvino`, which is bundled with it; Keras 3.16 asks for
`keras_openvino.src`, of the package keras-openvino, which need not be installed. Every name works
under either version, so that an import written for one runs on the other. `EARLIER` lists names
that modules of ours had before; they work in the same way.

How a module is loaded, in the three orders that occur:

- `import keras`, which imports its name of the backend (`_AliasLoader`), which imports
  `kerasvino.backend` (`_OwnLoader`);
- `import kerasvino.backend.ops.numpy` first: its root package needs Keras's common modules, and
  these need the backend. So `_OwnLoader` first imports Keras's name, and thereby Keras; the order
  is then the one above, and the body runs inside it;
- a submodule: whoever comes first, by any name, places it under all, before its body runs.

All loading happens in loaders, never in `find_spec`: there Python holds its global import lock.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, NamedTuple

from kerasvino import children
from kerasvino._version import __version__

__all__ = [
    "NAMES", "PACKAGE", "REPLACED", "VERSIONS", "Replacement", "SelectionError", "activate",
    "is_active",
]  # fmt: skip

BACKEND = "openvino"
VARIABLE = children.VARIABLE
# What may be named in the variable: Keras's word, and the one that child processes inherit.
NAMES = (BACKEND, children.NAME)


class SelectionError(RuntimeError):
    """Keras cannot run on Kerasvino in this process; the message says what to change."""


class Replacement(NamedTuple):
    """A module that Keras asks for and that is ours once Kerasvino is active, with its submodules.

    Keras from version `since` up to, not including, `before` asks for it.
    """

    name: str
    ours: str
    since: tuple[int, int]
    before: tuple[int, int]
    reason: str

    @property
    def versions(self) -> str:
        """The Keras versions that ask for it, as a requirement."""
        return _requirement(self.since, self.before)


def _requirement(since: tuple[int, int], before: tuple[int, int]) -> str:
    return "keras >={}.{},<{}.{}".format(*since, *before)


_OPERATIONS = ("core", "image", "linalg", "math", "nn", "numpy")

# Of several names for one module of ours, the first is what Keras itself imports.
REPLACED = (
    Replacement(
        "keras.src.backend.openvino",
        "kerasvino.backend",
        since=(3, 15),
        before=(3, 16),
        reason="the backend that KERAS_BACKEND=openvino selects",
    ),
    Replacement(
        "keras_openvino.src",
        "kerasvino.backend",
        since=(3, 16),
        before=(3, 17),
        reason="the backend that KERAS_BACKEND=openvino selects",
    ),
    *(
        Replacement(
            f"keras.src.backend.openvino.{module}",
            f"kerasvino.backend.ops.{module}",
            since=(3, 15),
            before=(3, 16),
            reason="Keras 3.15 keeps the modules of its operations at the top, 3.16 in `ops`",
        )
        for module in _OPERATIONS
    ),
    Replacement(
        "keras.src.export.openvino",
        "kerasvino.export",
        since=(3, 15),
        before=(3, 17),
        reason="reads raw graph outputs of the other backend, and drops its keyword arguments",
    ),
    Replacement(
        "keras_openvino.src.openvino_export",
        "kerasvino.export",
        since=(3, 16),
        before=(3, 17),
        reason="what Keras 3.16's own keras.src.export.openvino would call",
    ),
    Replacement(
        "keras_hub.src.utils.openvino_utils",
        "kerasvino.generate.hub",
        since=(3, 15),
        before=(3, 17),
        reason="KerasHub's generate: makes graphs by private methods of the bundled trainer",
    ),
)

# Modules of ours by the name that they had before: pickles hold it, programs import it.
EARLIER = {
    **{f"kerasvino.backend.{name}": f"kerasvino.backend.ops.{name}" for name in _OPERATIONS},
    "kerasvino.backend.core.attribution": "kerasvino.backend.ops.core.error_messages",
    "kerasvino.backend.core.control": "kerasvino.backend.ops.core.control_flow",
    "kerasvino.backend.core.indexing": "kerasvino.backend.ops.core.getitem",
    "kerasvino.backend.direct": "kerasvino.backend.model_calls",
    "kerasvino.backend.image.weights": "kerasvino.backend.ops.image.resampling",
    "kerasvino.backend.leaf": "kerasvino.backend.layer_calls",
    "kerasvino.backend.math.selection": "kerasvino.backend.ops.math.top_k",
    "kerasvino.backend.nn.spatial": "kerasvino.backend.ops.nn.window_arguments",
    "kerasvino.backend.numpy.sequences": "kerasvino.backend.ops.numpy.spaced_numbers",
    "kerasvino.backend.random.selection": "kerasvino.backend.random.choices",
}

# All names of modules of ours that are not their own, and the module that each stands for.
_NAMES = {**{row.name: row.ours for row in REPLACED}, **EARLIER}

# The package that holds the names of Keras 3.16; ours is empty but for them.
PACKAGE = "keras_openvino"

SINCE = min(row.since for row in REPLACED)
BEFORE = max(row.before for row in REPLACED)
VERSIONS = _requirement(SINCE, BEFORE)

# Our packages that need Keras first, and that Keras needs.
_ROOTS = {row.ours for row in REPLACED if row.ours.count(".") == 1}

# What the names begin with that the import hook looks at, among all that a program imports.
_WATCHED = (PACKAGE, *{row.ours for row in REPLACED}, *(row.name for row in REPLACED))


def activate(*, overrule: bool = False) -> None:
    """Makes the next `import keras` run on Kerasvino. Called when `kerasvino` is imported.

    `KERAS_BACKEND` is set, which also overrides `keras.json`: to `kerasvino`, so that processes
    which this one starts run on Kerasvino too (`kerasvino.children`), and to `openvino` only while
    Keras reads it. Repeating the call does no harm. While `python -m kerasvino` starts, nothing
    happens unless `overrule` is given: its commands must work under any selection, and decide for
    themselves.

    Args:
        overrule: a backend that the program names in `os.environ` between now and its
            `import keras` is overruled, with a line on stderr, instead of being an error.

    Raises:
        SelectionError: `KERAS_BACKEND` names another backend, or Keras is already imported
            without Kerasvino.
    """
    if _command_line_is_starting() and not overrule:
        return
    if "keras" in sys.modules:
        _check_loaded_keras()
    named = os.environ.get(VARIABLE)
    overruled = children.overruled_by_parent()
    if named and named not in NAMES:
        if not overruled:
            raise SelectionError(
                f"{VARIABLE} is {named!r}, so Keras would not run on kerasvino. Unset {VARIABLE}, "
                f"or set it to {BACKEND!r}; or run without kerasvino."
            )
        _say_overruled(named)
    children.prepare(overrule=overrule)
    _install(_Finder(overrule=overrule or overruled))


def is_active() -> bool:
    """Whether Keras runs on Kerasvino in this process, or will when it is imported.

    Imports nothing. Importing `kerasvino` selects it, so a library that only wants to know asks

        kerasvino = sys.modules.get("kerasvino")
        ours = kerasvino is not None and kerasvino.is_active()

    once Keras is imported. `keras.backend.backend()` is "openvino" under this backend as well as
    under those that only infer.
    """
    chosen = _chosen()
    loaded = [sys.modules[row.name] for row in REPLACED if row.name in sys.modules]
    if chosen is not None and loaded:
        return chosen == BACKEND and all(map(_is_ours, loaded))
    finder = next((f for f in sys.meta_path if type(f).__module__ == __name__), None)
    if finder is None:
        return False
    named = chosen or os.environ.get(VARIABLE) or BACKEND
    return named in NAMES or (chosen is None and getattr(finder, "overrule", False))


def _command_line_is_starting() -> bool:
    """Whether this is the import of our package on behalf of `python -m kerasvino`.

    While it imports the packages of the module to run, Python leaves "-m" as `sys.argv[0]`.
    """
    argv, original = getattr(sys, "argv", []), sys.orig_argv
    if argv[:1] != ["-m"] or len(original) < len(argv):
        return False
    module = original[len(original) - len(argv)]  # "kerasvino", or glued: "-mkerasvino"
    if module.startswith("-"):
        module = module.partition("m")[2]
    return module in ("kerasvino", "kerasvino.__main__")


# --- Refusing a process in which Keras has already been decided -----------------------------------


def _check_loaded_keras() -> None:
    chosen = _chosen()
    if chosen is None:
        return
    if chosen != BACKEND:
        raise SelectionError(
            f"Keras was imported before kerasvino and already runs on the {chosen!r} backend, "
            f"which cannot be changed afterwards. {_line_to_move()}"
        )
    for row in REPLACED:
        module = sys.modules.get(row.name)
        if module is not None and not _is_ours(module):
            whose = f"the package {PACKAGE}" if _same(row.name, PACKAGE) else "Keras itself"
            raise SelectionError(
                "Keras was imported before kerasvino and already runs on the OpenVINO backend of "
                f"{whose}. {_line_to_move()}"
            )


def _chosen() -> str | None:
    """The backend that Keras runs on; None while it is only being imported and has not chosen."""
    config = sys.modules.get("keras.src.backend.config")
    return None if config is None else str(config.backend())


def _is_ours(module: ModuleType) -> bool:
    # By name, since `keras.config.set_backend` drops every module named "keras*", us included.
    return type(_loader(module)).__module__ == __name__


def _loader(module: ModuleType) -> Any:
    return getattr(module.__spec__, "loader", None)


def _line_to_move() -> str:
    """What to move where, in the words of the file that imports us as far as it can be read."""
    import linecache
    import re

    if _in_notebook():  # where the cells ran in another order than they are in, perhaps
        return "Restart the kernel, and run `import kerasvino` before any cell that imports keras."
    if hasattr(sys, "ps1"):
        return "Start Python anew, and type `import kerasvino` before keras is imported."
    frame: FrameType | None = sys._getframe()
    hidden = ("kerasvino", "importlib", "runpy")
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in hidden:
        frame = frame.f_back
    advice = "Move `import kerasvino` above the first line that imports keras"
    if frame is None:
        return advice + "."
    path, ours = frame.f_code.co_filename, frame.f_lineno
    line = linecache.getline(path, ours)
    if line and "kerasvino" not in line:
        return (
            f"Line {ours} of {path} (`{line.strip()}`) imports it, as unpickling a model or a "
            "tensor of a process on kerasvino does. In this process, import kerasvino before keras "
            "or set KERAS_BACKEND=kerasvino; or hand over a file of model.save, or NumPy arrays."
        )
    imports_keras = re.compile(r"\s*(import|from)\s+keras(?!vino)")
    for number, line in enumerate(linecache.getlines(path)[: ours - 1], start=1):
        if imports_keras.match(line):
            return f"Move line {ours} of {path} above line {number}: `{line.strip()}`."
    return f"{advice}; it is in line {ours} of {path}, and keras was imported before that."


def _in_notebook() -> bool:
    """Whether a kernel of IPython, or its shell, runs this process."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


# --- The import hook ------------------------------------------------------------------------------


def _install(finder: _Finder) -> None:
    others = [f for f in sys.meta_path if type(f).__module__ != __name__]
    sys.meta_path[:] = [finder, *others]


def _same(name: str, root: str) -> bool:
    return name == root or name.startswith(root + ".")


def _own_name(name: str) -> str | None:
    """The own name of a module of ours, by the longest name of `_NAMES` that fits; else None."""
    alias = max((alias for alias in _NAMES if _same(name, alias)), key=len, default=None)
    return None if alias is None else _NAMES[alias] + name[len(alias) :]


def _aliases(name: str) -> list[str]:
    """The other names of a module of ours."""
    return [alias + name[len(ours) :] for alias, ours in _NAMES.items() if _same(name, ours)]


class _Finder:
    """Finds the replaced modules, ours, and `keras` itself (to check the selection in time)."""

    def __init__(self, *, overrule: bool):
        self.overrule = overrule
        self.keras_is_due = "keras" not in sys.modules

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "keras" and not name.startswith(_WATCHED):
            return None
        own = _own_name(name)
        if own is not None or name == PACKAGE:
            if not _same(name, "kerasvino") and _chosen() not in (None, BACKEND):
                return None  # since keras.config.set_backend
            return self._alias(name, own, path) if own else _package()
        watched = name == "keras"
        if not watched and not _aliases(name):
            return None
        spec = self._find_after_us(name, path, target)
        if spec is not None and spec.loader is not None:
            inner: Any = spec.loader
            loader: Any = _KerasLoader(inner, self) if watched else _OwnLoader(inner)
            spec.loader = loader
        return spec

    def _alias(self, name: str, own: str, path: Sequence[str] | None) -> ModuleSpec | None:
        if name not in _NAMES and self._find_after_us(own, path, None) is None:
            return None
        loader: Any = _AliasLoader(name, own)  # Python 3.11's importlib.abc is slow to import
        return ModuleSpec(name, loader, origin=f"alias of {own}")

    def _find_after_us(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        finders = sys.meta_path[sys.meta_path.index(self) + 1 :] if self in sys.meta_path else []
        specs = (finder.find_spec(name, path, target) for finder in finders)
        return next((spec for spec in specs if spec is not None), None)

    def check_selection(self) -> None:
        """The last moment before Keras reads `KERAS_BACKEND`: the program may have set it."""
        named = os.environ.get(VARIABLE)
        if named and named not in NAMES:
            if not self.overrule:
                raise SelectionError(
                    f"{VARIABLE} was set to {named!r} after kerasvino was imported. Remove the "
                    f"line that sets it, or set it to {BACKEND!r}; or run without kerasvino."
                )
            _say_overruled(named)
        children.prepare()


def _say_overruled(named: str) -> None:
    note = f"the program sets {VARIABLE} to {named!r}; it runs on {BACKEND!r} all the same"
    print(f"python -m kerasvino: {note}", file=sys.stderr)


def _package() -> ModuleSpec:
    """The spec of the package of Keras 3.16's names, in place of the one that may be installed."""
    loader: Any = _PackageLoader()
    return ModuleSpec(PACKAGE, loader, origin="kerasvino", is_package=True)


class _PackageLoader:
    """Makes a package without files. Keras comes first, which imports the backend in it."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__version__"] = __version__
        importlib.import_module("keras")
        if (backend := sys.modules.get(f"{PACKAGE}.src")) is not None:  # loaded by another name
            vars(module).setdefault("src", backend)


class _AliasLoader:
    """Loads a module of ours under another name.

    The module that it is given is a stopgap, on which other threads wait; ours takes its place in
    `sys.modules`.
    """

    def __init__(self, name: str, own: str):
        self.name = name
        self.own = own

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, stopgap: ModuleType) -> None:
        module = importlib.import_module(self.own)
        if _is_ours(module):  # and waits for this import of Keras's name to run it
            _loader(module).exec_module(module)
        sys.modules[self.name] = module


class _Wrapper:
    """A loader that adds to another's `exec_module`, and is that other in all else."""

    def __init__(self, inner: Any):
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not yet set, while being copied or unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.inner.create_module(spec)
        return module


class _OwnLoader(_Wrapper):
    """Runs a module of ours once, present under all its names from the start."""

    module: ModuleType | None = None  # once its body has begun to run

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        # Python itself asks again where a thread imports Keras's name just as another runs ours.
        return self.module or super().create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        root = _root(module.__name__)
        if root is not None and root.name not in sys.modules:  # the second order at the top
            importlib.import_module(root.name)
        if self.module is not None:
            importlib.import_module(module.__name__)  # waits, where another thread is running it
            return
        in_root = any(_same(module.__name__, name) for name in _ROOTS)
        with ExitStack() as undo:
            self.module = module
            undo.callback(setattr, self, "module", None)
            for alias in _aliases(module.__name__):
                if not in_root and alias.rpartition(".")[0] not in sys.modules:
                    continue  # an import of that name will bind it in its package
                sys.modules[alias] = module
                undo.callback(sys.modules.pop, alias, None)
            self.inner.exec_module(module)
            undo.pop_all()
        if root is not None or not in_root:
            _bind_in_parents(module)


def _bind_in_parents(module: ModuleType) -> None:
    """Makes the names that nobody imported attributes, as an import would have made them."""
    for alias in _aliases(module.__name__):
        parent, _, child = alias.rpartition(".")
        if parent in sys.modules and not hasattr(sys.modules[parent], child):
            setattr(sys.modules[parent], child, module)


class _KerasLoader(_Wrapper):
    """Checks the selection just before Keras runs, the first time."""

    def __init__(self, inner: Any, finder: _Finder):
        super().__init__(inner)
        self.finder = finder

    def exec_module(self, module: ModuleType) -> None:
        if self.finder.keras_is_due:
            self.finder.check_selection()
        if "keras.src" not in sys.modules:
            _drop_ours()
        with _named_for_keras():
            self.inner.exec_module(module)
        self.finder.keras_is_due = False


@contextmanager
def _named_for_keras() -> Iterator[None]:
    """Has the variable say what Keras understands while Keras reads it."""
    if os.environ.get(VARIABLE) in NAMES:
        os.environ[VARIABLE] = BACKEND
    try:
        yield
    finally:
        if os.environ.get(VARIABLE) == BACKEND:
            children.prepare()


def _drop_ours() -> None:
    """Keras is imported, perhaps anew after it was dropped: ours would keep its old classes.

    Modules of ours that wait for this import of Keras stay.
    """
    loaded = [sys.modules[root] for root in _ROOTS if root in sys.modules]
    if not any(_is_ours(module) and _loader(module).module for module in loaded):
        return
    for name in [name for name in sys.modules if any(_same(name, root) for root in _WATCHED)]:
        del sys.modules[name]


def _root(name: str) -> Replacement | None:
    """The row for a module of ours by which the installed Keras imports it, or None."""
    if name not in _ROOTS:
        return None
    version = importlib.import_module("keras.src.version").__version__
    major, minor = (int(part) for part in version.split(".")[:2])
    if not SINCE <= (major, minor) < BEFORE:
        raise SelectionError(
            f"kerasvino {__version__} runs on {VERSIONS}, and keras {version} is installed. "
            f"Run: pip install '{VERSIONS.replace(' ', '')}'"
        )
    rows = (row for row in REPLACED if row.ours == name)
    return next((row for row in rows if row.since <= (major, minor) < row.before), None)
