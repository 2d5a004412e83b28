"""The `.pth` file that makes an environment start with `kerasvino.cli.autoload`."""

from __future__ import annotations

import ast
import inspect
import os
import site
import sysconfig

from kerasvino.cli import autoload

__all__ = ["FILE", "content", "in_effect", "places", "read"]

FILE = "kerasvino-autoload.pth"

_COMMENT = "# Written by `python -m kerasvino enable`, removed by `python -m kerasvino disable`."

# All that is compiled at each start; the code in it, when a program imports keras.
_FINDER = """\
class Autoload:
    def find_spec(self, name, path=None, target=None):
        if name == 'keras':
            exec({code!r}, names := {{}})
            return names['find_keras'](self, path, target)
import sys
sys.meta_path.insert(0, Autoload())
"""


def places() -> list[str]:
    """The folders of this environment that may hold the file, the preferred one first."""
    folders = [sysconfig.get_path("purelib")]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [os.path.join(folder, FILE) for folder in folders]


def in_effect() -> list[str]:
    """The files that Python reads at its start here, also those of an environment below this."""
    below = [os.path.join(folder, FILE) for folder in site.getsitepackages()]
    return [path for path in dict.fromkeys(places() + below) if os.path.isfile(path)]


def read(path: str) -> str | None:
    """The text of such a file, None where there is none."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="ascii") as file:
        return file.read()


def content() -> str:
    """The text of the file: one comment, and one line, which `site` executes at each start."""
    tree = ast.parse(inspect.getsource(autoload))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node):
            del node.body[0]
    finder = _FINDER.format(code=ast.unparse(tree))
    return f"{_COMMENT}\nimport sys; exec({finder!r}, {{'__name__': 'kerasvino_autoload'}})\n"
