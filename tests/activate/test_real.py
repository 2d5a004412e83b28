"""Selection on the real Keras, with the real backend."""

import importlib
import pickle
import pkgutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from textwrap import dedent

import keras
import pytest

import kerasvino
from kerasvino.activate import EARLIER, REPLACED, VERSIONS
from kerasvino.backend.keras_private import PLUGGABLE
from kerasvino.cli import sites

ROOT = Path(kerasvino.__path__[0]).parent
VERSION = tuple(map(int, keras.__version__.split(".")[:2]))
PREDICT = """
        import numpy as np
        import keras
        layers = [keras.Input((3,)), keras.layers.Dense(2, kernel_initializer='ones')]
        model = keras.Sequential(layers)
        print(keras.backend.backend(), model.predict(np.ones((2, 3)), verbose=0).tolist())
        print(type(keras.ops.ones(1)).__module__)
"""
WHOLE = """
        import sys
        sys.modules["tensorflow"] = None  # importing it, which Keras tries, takes seconds
        import numpy as np
        import keras
        import openvino

        x = np.linspace(-1, 1, 48, dtype="float32").reshape(16, 3)
        y = x.sum(axis=1, keepdims=True)
        hidden = keras.layers.Dense(4, activation="tanh", kernel_initializer="ones")
        model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(1)])
        model.compile("adam", "mse", metrics=["mae"])
        losses = model.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"]
        assert losses[2] < losses[0], losses
        predicted = model.predict(x, verbose=0)

        model.export("model.xml", format="openvino", verbose=False)
        exported = openvino.compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        np.testing.assert_allclose(exported(x)[0], predicted, rtol=1e-4, atol=1e-5)

        model.save("model.keras")
        loaded = keras.saving.load_model("model.keras")
        np.testing.assert_allclose(loaded.predict(x, verbose=0), predicted, rtol=1e-5, atol=1e-6)

        if hasattr(keras.ops, "grad"):  # new in Keras 3.16
            by_x, by_y = keras.ops.grad(keras.ops.multiply, argnums=(0, 1))(x, x + 1)
            np.testing.assert_array_equal(by_x, x + 1)
            np.testing.assert_array_equal(by_y, x)

        files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
        others = [f for f in files if "/keras_openvino/" in f or "/backend/openvino/" in f]
        print(keras.backend.backend(), type(keras.ops.ones(1)).__module__, others)
"""
PREDICTED = "openvino [[3.0, 3.0], [3.0, 3.0]]\nkerasvino.tensor\n"


def skip_without(row):
    if row.name.startswith("keras_hub."):
        pytest.importorskip("keras_hub")


@pytest.mark.parametrize("row", REPLACED, ids=lambda row: row.name)
def test_each_replaced_name_is_ours(row):
    skip_without(row)
    module = importlib.import_module(row.name)
    assert module is importlib.import_module(row.ours)
    assert module.__name__ == module.__spec__.name == row.ours
    parent, _, child = row.name.rpartition(".")
    assert getattr(importlib.import_module(parent), child) is module
    assert row.reason


# Keras 3.16 composes the name of the package from that of the backend.
ASKED = {
    "keras_openvino.src": 'f"keras_{backend}.{module_name}"',
    "keras_openvino.src.openvino_export": "from keras_openvino.src.openvino_export import",
}


@pytest.mark.parametrize("row", REPLACED, ids=lambda row: row.name)
def test_the_installed_keras_asks_for_the_name(row):
    if not row.since <= VERSION < row.before:
        pytest.skip(f"a name of {row.versions}")
    file = Path(keras.__path__[0], *row.name.split(".")[1:])
    skip_without(row)
    if row.name.startswith("keras_hub."):
        models = importlib.import_module("keras_hub.src.models.causal_lm")
        asked = f"from {row.name} import ov_infer"
        assert asked in Path(models.__file__).read_text(), "a stale row"
    elif row.name in ASKED:
        sources = Path(keras.__path__[0], "src").rglob("*.py")
        assert any(ASKED[row.name] in path.read_text() for path in sources), "a stale row"
    else:
        assert (file / "__init__.py").is_file() or file.with_suffix(".py").is_file(), "a stale row"


def test_the_versions_are_those_that_the_package_requires():
    tomllib = importlib.import_module("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert VERSIONS.replace(" ", "") in project["dependencies"]


@pytest.mark.parametrize("root", ["keras.src.backend.openvino", "keras_openvino.src"])
def test_every_module_of_the_backend_is_the_one_under_keras_name(root):
    import kerasvino.backend

    assert importlib.import_module(root) is kerasvino.backend
    assert keras.src.backend.openvino is kerasvino.backend
    walked = pkgutil.walk_packages(kerasvino.backend.__path__, "kerasvino.backend.")
    names = [found.name for found in walked]
    assert {f"kerasvino.backend.{n}" for n in ("ops.core", "ops.numpy", "rnn", "trainer")} <= set(
        names
    )
    for name in names:
        module = importlib.import_module(name)
        assert importlib.import_module(root + name.removeprefix("kerasvino.backend")) is module
        assert module.__spec__.name == module.__name__ == name
    module = importlib.import_module("kerasvino.backend.rnn")
    expected = module if PLUGGABLE else module.rnn  # not rebound by the imports above
    assert kerasvino.backend.rnn is keras.src.backend.rnn is expected


def test_nothing_of_the_bundled_backend_is_loaded_and_nothing_twice(python):
    code = "import kerasvino, keras, kerasvino.backend.trainer, keras_openvino"
    done = python("-v", "-c", code, path=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    executed = [line for line in done.stderr.splitlines() if line.startswith("# code object from")]
    assert not [line for line in executed if "backend/openvino" in line or "/keras_openv" in line]
    ours = [line for line in executed if "kerasvino/" in line]
    assert len(ours) == len(set(ours)) > 20


@pytest.mark.parametrize(("earlier", "ours"), EARLIER.items())
def test_modules_have_their_earlier_names(earlier, ours):
    module = importlib.import_module(ours)
    assert importlib.import_module(earlier) is module
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), ours + "."):
        inner = importlib.import_module(found.name)
        assert importlib.import_module(earlier + found.name.removeprefix(ours)) is inner


def test_pickles_with_earlier_names_are_read():
    from keras.src.backend.openvino.core import Variable

    assert pickle.loads(b"ckerasvino.backend.core.variable\nVariable\n.") is Variable
    assert pickle.loads(b"ckerasvino.backend.numpy.shaping\nravel\n.") is (
        kerasvino.backend.ops.numpy.ravel
    )


@pytest.mark.skipif(not PLUGGABLE, reason="Keras 3.15 has its operations at the top")
def test_keras_takes_the_modules_of_its_operations_from_ours():
    for module in ("core", "image", "linalg", "math", "nn", "numpy"):
        ours = importlib.import_module(f"kerasvino.backend.ops.{module}")
        assert getattr(keras.src.backend.ops, module) is ours


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
    "first",
    [
        "import kerasvino.backend.ops.numpy",
        "import kerasvino.backend.numpy",
        "import kerasvino.backend.rnn",
    ],
)
def test_our_names_can_come_first(program, first):
    assert program(f"{first}\n{PREDICT}", path=ROOT) == PREDICTED


def test_a_whole_program(program):
    done = program(f"import kerasvino\n{WHOLE}", path=ROOT)
    assert done == "openvino kerasvino.tensor []\n"


def test_a_whole_program_beside_the_package_of_keras_316(program, official):
    done = program(f"import kerasvino\n{WHOLE}", path=f"{ROOT}:{official}")
    assert done == "openvino kerasvino.tensor []\n"


def test_command_line_runs_an_untouched_script(python, tmp_path, official):
    (tmp_path / "script.py").write_text(dedent(WHOLE))
    done = python("-m", "kerasvino", "script.py", path=f"{ROOT}:{official}")
    assert done.stdout == "openvino kerasvino.tensor []\n", done.stderr


def test_enabled_environment_runs_an_untouched_script(python, tmp_path, official):
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    executable = folder / "bin" / "python"
    path = f"{ROOT}:{official}:{sysconfig.get_path('purelib')}"
    done = python("-m", "kerasvino", "enable", executable=executable, path=path)
    assert done.returncode == 0, done.stderr
    assert [found.name for found in folder.rglob("*.pth")] == [sites.FILE]
    (tmp_path / "script.py").write_text(dedent(WHOLE))
    options = {"executable": executable, "path": path, "KERAS_BACKEND": "openvino"}
    done = python("script.py", **options)
    assert done.stdout == "openvino kerasvino.tensor []\n", done.stderr
