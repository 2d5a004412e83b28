"""What the environment says to child processes, so that they run on Kerasvino too.

A child process inherits environment variables and nothing else, unless it is forked. So an active
process sets two:

- `KERAS_BACKEND` is `kerasvino`, a name that only Kerasvino knows. A child that Kerasvino does not
  reach (started with `python -I`, or with a `PYTHONPATH` of its own) is refused it by Keras, and
  does not run another backend unnoticed.
- `PYTHONPATH` begins with the folder `startup`, whose `sitecustomize.py` Python runs at its start.
  It imports Kerasvino when the child imports Keras, if the child was started with `kerasvino` as
  its backend. To name another in the child's environment is to choose that one.

Settings go by their own variables (`kerasvino.runtime.config`).
"""

from __future__ import annotations

import os
import sys

__all__ = ["FOLDER", "NAME", "OVERRULE", "is_prepared", "overruled_by_parent", "prepare"]

VARIABLE = "KERAS_BACKEND"
NAME = "kerasvino"
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")
# Set by `python -m kerasvino`, under which the backend that a program names is overruled.
OVERRULE = "KERASVINO_OVERRULE"


def prepare(*, overrule: bool = False) -> None:
    """Makes processes that are started from now on run on Kerasvino.

    Args:
        overrule: they may name another backend in their main module, as that of this process may.
    """
    os.environ[VARIABLE] = NAME
    if overrule:
        os.environ[OVERRULE] = "1"
    if not is_prepared():
        path = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = FOLDER + os.pathsep + path if path else FOLDER


def is_prepared() -> bool:
    """Whether a Python process that is started now begins with the folder's `sitecustomize.py`."""
    return FOLDER in os.environ.get("PYTHONPATH", "").split(os.pathsep)


def overruled_by_parent() -> bool:
    """Whether this process runs the main module of a parent that overrules its backend.

    Processes of multiprocessing and loky run that module anew, under the name `__mp_main__`: where
    it sets `KERAS_BACKEND`, it does so in the parent as well.
    """
    return "__mp_main__" in sys.modules and bool(os.environ.get(OVERRULE))
