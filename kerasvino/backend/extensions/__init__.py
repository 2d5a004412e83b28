"""What is told to other libraries, once they are imported.

`EXTENSIONS` names a module of theirs, and ours that runs after it. A finder watches for it: a look
into a table for each module that a process imports from then on. Nothing is imported for a library
that the process does not use.
"""

from __future__ import annotations

import importlib
import sys

from kerasvino.backend.extensions import array_namespace

__all__ = ["EXTENSIONS", "install"]

EXTENSIONS = {
    # einops finds the functions for a tensor among the subclasses of its AbstractBackend.
    "einops._backends": "kerasvino.backend.extensions.einops",
}


def install() -> None:
    """Runs the extensions for libraries that are there, and sees to those that come later."""
    for name, ours in EXTENSIONS.items():
        if name in sys.modules:
            importlib.import_module(ours)
    # `keras.config.set_backend` drops our modules, and this one is then run again
    others = [finder for finder in sys.meta_path if type(finder).__module__ != __name__]
    sys.meta_path[:] = [_Finder(), *others]


class _Finder:
    """Finds the modules of the table as the other finders do, with our loader around theirs."""

    def find_spec(self, name, path, target=None):
        if name not in EXTENSIONS:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader:
    """A loader that runs the extension after the module, and is the module's own in all else."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        if name == "inner":  # not yet set, while being copied or unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    def exec_module(self, module):
        self.inner.exec_module(module)
        module.__spec__.loader = module.__loader__ = self.inner
        importlib.import_module(EXTENSIONS[module.__name__])
