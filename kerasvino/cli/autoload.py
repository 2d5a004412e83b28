"""What makes a Python process run on Kerasvino when it imports Keras, without being told in code.

`enable` writes this file's code into a `.pth` file (`kerasvino.cli.sites`), as a string that runs
when `keras` is looked up; in children of a process that runs on Kerasvino
`kerasvino/startup/sitecustomize.py` does so. So it must stand alone.
"""

from __future__ import annotations

import os
import sys


def selected() -> tuple[str, str]:
    """The backend that `import keras` would choose, by Keras's own rules, and what names it."""
    name = os.environ.get("KERAS_BACKEND")
    if name:
        return name, "KERAS_BACKEND"
    import json

    user = os.path.expanduser("~")
    user = user if os.access(user, os.W_OK) else "/tmp"
    home = os.environ.get("KERAS_HOME", os.path.join(user, ".keras"))
    path = os.path.expanduser(os.path.join(home, "keras.json"))
    try:
        with open(path) as file:
            config = json.load(file)
    except (OSError, ValueError):
        config = {}
    if isinstance(config, dict) and "backend" in config:
        return str(config["backend"]), path
    return "tensorflow", "Keras's default"


def import_kerasvino_if_selected() -> None:
    """In the import of Keras, before any of its code runs, where Kerasvino is enabled.

    Says nothing where Kerasvino has been uninstalled since, unless it is named itself.
    """
    name = selected()[0]
    if name in ("openvino", "kerasvino"):
        _import_kerasvino(required=name == "kerasvino")


def import_kerasvino_of_parent() -> None:
    """In the import of Keras, before any of its code runs, in a child of an active process."""
    again = "__mp_main__" in sys.modules and os.environ.get("KERASVINO_OVERRULE")
    if again or os.environ.get("KERAS_BACKEND") in ("openvino", "kerasvino"):
        _import_kerasvino(required=True)


def _import_kerasvino(required: bool) -> None:
    try:
        import kerasvino  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "kerasvino":
            raise
        if required:
            raise ImportError(_ABSENT.format(sys.executable)) from None


_ABSENT = (
    "KERAS_BACKEND is 'kerasvino', set by a process that runs Keras on kerasvino and started this "
    "one, and {} has no kerasvino. Install it there, or start this process with another backend in "
    "the environment variable KERAS_BACKEND."
)


def find_keras(after, path, target, ask=import_kerasvino_if_selected):  # type: ignore[no-untyped-def]
    """Finds `keras` as the finders behind `after` do, and calls `ask` when it is loaded.

    Python holds its global import lock here: to import anything now, typing say, could deadlock.
    """
    for finder in sys.meta_path[sys.meta_path.index(after) + 1 :]:
        spec = finder.find_spec("keras", path, target)
        if spec is not None:
            if hasattr(spec.loader, "exec_module"):
                _ask_before(spec.loader, ask)
            return spec
    return None


def _ask_before(loader, ask):  # type: ignore[no-untyped-def]
    run = loader.exec_module

    def exec_module(module):  # type: ignore[no-untyped-def]
        ask()
        # Keras was found before Kerasvino was there to see to what it reads
        named = os.environ.get("KERAS_BACKEND")
        if named == "kerasvino":
            os.environ["KERAS_BACKEND"] = "openvino"
        try:
            run(module)
        finally:
            if named == "kerasvino" and os.environ.get("KERAS_BACKEND") == "openvino":
                os.environ["KERAS_BACKEND"] = named

    loader.exec_module = exec_module
