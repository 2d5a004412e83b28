"""Runs at the start of each Python process whose parent runs on Kerasvino (`kerasvino.children`).

It imports nothing that a start has not imported. It may be run by a Python without Kerasvino, of
any version, so it is written in the syntax of all of them.
"""

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))


class _Children:
    """Has Kerasvino imported before Keras is."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        names = {}
        with open(os.path.join(os.path.dirname(_FOLDER), "cli", "autoload.py")) as file:
            exec(compile(file.read(), file.name, "exec"), names)
        return names["find_keras"](self, path, target, names["import_kerasvino_of_parent"])


def _run_next():
    """Runs the `sitecustomize` that this one hides, under that name."""
    ours = sys.modules.pop("sitecustomize", None)
    sys.path[:] = [p for p in sys.path if not p or os.path.abspath(p) != _FOLDER]
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if getattr(error, "name", None) != "sitecustomize":
            raise
    finally:
        if ours is not None:  # the import of this one expects a module there
            sys.modules.setdefault("sitecustomize", ours)


if os.environ.get("KERAS_BACKEND") == "kerasvino":
    sys.meta_path.insert(0, _Children())
_run_next()
