"""Selection on the real Keras, with the real backend."""

import importlib
import pkgutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import kerasvino
from kerasvino.activate import REPLACED
from kerasvino.cli import sites

ROOT = Path(kerasvino.__path__[0]).parent
PREDICT = """
        import numpy as np
        import keras
        layers = [keras.Input((3,)), keras.layers.Dense(2, kernel_initializer='ones')]
        model = keras.Sequential(layers)
        print(keras.backend.backend(), model.predict(np.ones((2, 3)), verbose=0).tolist())
        print(type(keras.ops.ones(1)).__module__)
"""
PREDICTED = "openvino [[3.0, 3.0], [3.0, 3.0]]\nkerasvino.tensor\n"


@pytest.mark.parametrize("row", REPLACED, ids=lambda row: row.name)
def test_each_replaced_name_exists_in_keras_and_is_ours(row):
    import keras

    assert row.since <= tuple(map(int, keras.__version__.split(".")[:2])) < row.before
    file = Path(keras.__path__[0], *row.name.split(".")[1:])
    assert (file / "__init__.py").is_file() or file.with_suffix(".py").is_file(), "a stale row"
    module = importlib.import_module(row.name)
    assert module is importlib.import_module(row.ours)
    assert module.__name__ == module.__spec__.name == row.ours
    parent, _, child = row.name.rpartition(".")
    assert getattr(importlib.import_module(parent), child) is module
    assert row.reason


def test_the_versions_are_those_that_the_package_requires():
    tomllib = importlib.import_module("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {row.versions.replace(" ", "") for row in REPLACED} <= set(project["dependencies"])


def test_every_module_of_the_backend_is_the_one_under_keras_name():
    import keras

    import kerasvino.backend

    root = "keras.src.backend.openvino"
    assert keras.src.backend.openvino is kerasvino.backend
    walked = pkgutil.walk_packages(kerasvino.backend.__path__, "kerasvino.backend.")
    names = [found.name for found in walked]
    assert {f"kerasvino.backend.{n}" for n in ("core", "numpy", "rnn", "trainer")} <= set(names)
    for name in names:
        module = importlib.import_module(name)
        assert importlib.import_module(root + name.removeprefix("kerasvino.backend")) is module
        assert module.__spec__.name == module.__name__ == name
    assert callable(kerasvino.backend.rnn), "rebound to the submodule"
    assert callable(keras.src.backend.rnn)


def test_nothing_of_the_bundled_backend_is_loaded_and_nothing_twice(python):
    code = "import kerasvino, keras, keras.src.backend.openvino.trainer"
    done = python("-v", "-c", code, path=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    executed = [line for line in done.stderr.splitlines() if line.startswith("# code object from")]
    assert not [line for line in executed if "backend/openvino" in line]
    ours = [line for line in executed if "kerasvino/" in line]
    assert len(ours) == len(set(ours)) > 20


def test_dynamic_backend_gives_ours():
    from keras.src.utils.backend_utils import DynamicBackend

    import kerasvino.backend

    dynamic = DynamicBackend("openvino")
    assert dynamic.numpy is kerasvino.backend.numpy
    assert dynamic.convert_to_tensor is kerasvino.backend.convert_to_tensor


def test_importing_kerasvino_loads_neither_keras_nor_scipy(python):
    heavy = ("keras", "scipy", "jax", "torch", "tensorflow")
    code = f"import kerasvino, sys; print([n for n in {heavy!r} if n in sys.modules])"
    assert python("-c", code, path=ROOT).stdout == "[]\n"


def test_set_backend_goes_and_comes_back(program):
    text = """
        import warnings, kerasvino, keras
        warnings.simplefilter('ignore')
        keras.config.set_backend('numpy')
        import keras
        print(keras.backend.backend(), type(keras.ops.ones(1)).__name__)
        keras.config.set_backend('openvino')
        import keras, kerasvino.backend
        print(keras.backend.backend(), type(keras.ops.ones(1)).__module__)
        print(keras.src.backend.openvino is kerasvino.backend)
    """
    assert program(text, path=ROOT) == "numpy ndarray\nopenvino kerasvino.tensor\nTrue\n"


@pytest.mark.parametrize(
    "first", ["import kerasvino.backend.numpy", "import kerasvino.backend.rnn"]
)
def test_our_names_can_come_first(program, first):
    assert program(f"{first}\n{PREDICT}", path=ROOT) == PREDICTED


def test_command_line_runs_an_untouched_script(python, tmp_path):
    (tmp_path / "script.py").write_text("\n".join(line.strip() for line in PREDICT.splitlines()))
    done = python("-m", "kerasvino", "script.py", path=ROOT)
    assert done.stdout == PREDICTED, done.stderr


def test_enabled_environment_runs_an_untouched_script(python, tmp_path):
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    executable = folder / "bin" / "python"
    path = f"{ROOT}:{sysconfig.get_path('purelib')}"
    done = python("-m", "kerasvino", "enable", executable=executable, path=path)
    assert done.returncode == 0, done.stderr
    assert [found.name for found in folder.rglob("*.pth")] == [sites.FILE]
    (tmp_path / "script.py").write_text("\n".join(line.strip() for line in PREDICT.splitlines()))
    options = {"executable": executable, "path": path, "KERAS_BACKEND": "openvino"}
    done = python("script.py", **options)
    assert done.stdout == PREDICTED, done.stderr
