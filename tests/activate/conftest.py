"""Programs run in processes of their own, on a Keras and a Kerasvino of a few lines each.

The stand-in Keras chooses and imports its backend as Keras does, circularly, in the layout of the
version that STAND_IN_KERAS names; the stand-in Kerasvino is the real `activate.py`, `__main__.py`
and `cli/` around a backend that logs what is executed.
What depends on more than that is tested on the real packages, in `test_real.py`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kerasvino

SOURCE = Path(kerasvino.__path__[0])

KERAS = {
    "__init__": """
        from keras.src import backend
        from keras.src.version import __version__
    """,
    "src/__init__": """
        from keras.src import backend
        from keras.src import layers
    """,
    "src/version": """
        import os
        __version__ = os.environ.get('STAND_IN_KERAS', '3.15.1')
        pluggable = tuple(map(int, __version__.split('.')[:2])) >= (3, 16)
    """,
    "src/api_export": "keras_export = lambda path: lambda function: function",
    "src/layers": """
        import importlib
        from keras.src import backend
        from keras.src.version import pluggable
        if backend.backend() == 'openvino' and pluggable:
            BackendLayer = importlib.import_module('keras_openvino.src.layer').BackendLayer
        elif backend.backend() == 'openvino':
            from keras.src.backend.openvino.layer import OpenvinoLayer
    """,
    "src/backend/__init__": """
        from keras.src.backend.config import backend
        from keras.src.backend.common.variables import KerasVariable
        from keras.src.version import pluggable
        if backend() == 'openvino' and pluggable:
            import importlib
            ops = importlib.import_module('keras_openvino.src').ops
            BackendVariable = ops.core.Variable
            backend_add = ops.numpy.add
        elif backend() == 'openvino':
            from keras.src.backend.openvino import *
            from keras.src.backend.openvino.core import Variable as BackendVariable
            backend_add = add
        elif backend() not in ('jax', 'tensorflow', 'torch'):
            raise ValueError(f'Unable to import backend : {backend()}')
        class Variable(KerasVariable):
            pass
    """,
    "src/backend/config": """
        import os
        chosen = os.environ.get('KERAS_BACKEND') or 'tensorflow'
        def backend():
            return chosen
    """,
    "src/backend/common/__init__": "",
    "src/backend/common/global_state": "set_global_attribute = lambda name, value: None",
    "src/backend/common/variables": "class KerasVariable: pass",
    "src/backend/openvino/__init__": "def add(x, y): pass",
    "src/backend/openvino/core": "class Variable: bundled = True",
    "src/backend/openvino/layer": "class OpenvinoLayer: pass",
    "src/backend/openvino/only_bundled": "",
}

# The package that Keras 3.16 takes its backend from where it is installed.
OFFICIAL = {
    "__init__": "from keras_openvino.src.version import __version__",
    "src/__init__": "from keras_openvino.src import ops",
    "src/version": "__version__ = '0.0.1'",
    "src/ops/__init__": "from keras_openvino.src.ops import core, numpy",
    "src/ops/core": "class Variable: bundled = True",
    "src/ops/numpy": "def add(x, y): pass",
    "src/layer": "class BackendLayer: pass",
    "src/only_bundled": "",
}

LOG = "import kerasvino; kerasvino.executed.append(__name__)\n"

KERASVINO = {
    "__init__": """
        from kerasvino.activate import activate
        executed = []
        activate()
    """,
    "backend/__init__": f"""{LOG}
        from keras.src.backend.common.variables import KerasVariable
        from kerasvino.backend import ops
        from kerasvino.backend.ops import core
        from kerasvino.backend.ops import numpy
        from kerasvino.backend.ops.numpy.elementwise import add
        from kerasvino.backend.rnn import rnn
    """,
    "backend/ops/core": f"""{LOG}
        import time
        from keras.src.backend.common.variables import KerasVariable
        time.sleep(0.05)
        class Variable(KerasVariable):
            pass
    """,
    "backend/ops/numpy/__init__": LOG + "from kerasvino.backend.ops.numpy.elementwise import add",
    "backend/ops/numpy/elementwise": LOG + "def add(x, y): return x + y",
    "backend/ops/__init__": LOG + "from kerasvino.backend.ops import core, numpy",
    "backend/rnn": LOG + "from keras.src.backend.openvino import add\ndef rnn(): pass",
    "backend/layer": LOG + "class OpenvinoLayer: pass\nBackendLayer = OpenvinoLayer",
    "backend/trainer": LOG + "from keras.src.backend.openvino.layer import OpenvinoLayer",
    "backend/broken": LOG + "raise ValueError('on purpose')",
}


def dedent(text: str) -> str:
    return "".join(line.removeprefix("        ") for line in text.splitlines(keepends=True))


def write_package(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH that holds the two stand-ins."""
    root = tmp_path_factory.mktemp("stand-ins")
    write_package(root / "keras", KERAS)
    write_package(root / "kerasvino", KERASVINO)
    for name in ("activate.py", "children.py", "__main__.py", "_version.py"):
        shutil.copy(SOURCE / name, root / "kerasvino")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("cli", "startup"):
        shutil.copytree(SOURCE / name, root / "kerasvino" / name, ignore=ignored)
    return root


@pytest.fixture(scope="session")
def official(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH that holds a stand-in for the package keras-openvino."""
    root = tmp_path_factory.mktemp("official")
    write_package(root / "keras_openvino", OFFICIAL)
    return root


@pytest.fixture
def python(tree, tmp_path):
    """Runs Python on arguments, in a folder of the test's own, without the caller's selection."""

    def run(*arguments, executable=sys.executable, path=tree, stdin=None, **variables):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS", "PYTHON"))}
        environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(path)}
        for name, value in variables.items():
            environment[name] = str(value)
        return subprocess.run(
            [str(executable), *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def program(python, tmp_path):
    """Runs lines of Python as a file; its stdout. It must succeed, without a word on stderr."""

    def run(text: str, **options) -> str:
        path = tmp_path / "program.py"
        path.write_text(dedent(text))
        done = python(path, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.fixture
def failing(python, tmp_path):
    """Runs lines of Python as a file; the last line of its traceback. It must fail."""

    def run(text: str, **options) -> str:
        path = tmp_path / "program.py"
        path.write_text(dedent(text))
        done = python(path, **options)
        assert done.returncode == 1, done.stdout
        return done.stderr.splitlines()[-1]

    return run
