"""What `enable` adds to the start of every Python process of an environment.

`enable` writes this file's code into a `.pth` file (`kerasvino.cli.sites`), as a string that runs
when `keras` is looked up. So it must stand alone, and say nothing where Kerasvino has been
uninstalled since.
"""

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
    """Called in the import of Keras, before any of its code runs."""
    if selected()[0] == "openvino":
        try:
            import kerasvino  # noqa: F401
        except ModuleNotFoundError as error:
            if error.name != "kerasvino":
                raise


def find_keras(after, path, target):  # type: ignore[no-untyped-def]
    """Finds `keras` as the finders behind `after` do, and asks for the selection at its load.

    Python holds its global import lock here: to import anything now, typing say, could deadlock.
    """
    for finder in sys.meta_path[sys.meta_path.index(after) + 1 :]:
        spec = finder.find_spec("keras", path, target)
        if spec is not None:
            if hasattr(spec.loader, "exec_module"):
                _ask_before(spec.loader)
            return spec
    return None


def _ask_before(loader):  # type: ignore[no-untyped-def]
    run = loader.exec_module

    def exec_module(module):  # type: ignore[no-untyped-def]
        import_kerasvino_if_selected()
        run(module)

    loader.exec_module = exec_module
