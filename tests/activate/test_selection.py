"""Which backend Keras gets, and what is refused."""

import importlib.util
import json

import pytest

from kerasvino.cli import autoload

PRINT = "import keras; print(keras.backend.backend(), 'kerasvino.backend' in sys.modules)"


@pytest.mark.parametrize("variables", [{}, {"KERAS_BACKEND": ""}, {"KERAS_BACKEND": "openvino"}])
def test_import_selects_kerasvino(program, variables):
    assert program(f"import sys, kerasvino; {PRINT}", **variables) == "openvino True\n"


def test_without_the_import_keras_is_left_alone(program):
    text = f"import sys; {PRINT}; print(keras.backend.BackendVariable.bundled)"
    assert program(text, KERAS_BACKEND="openvino") == "openvino False\nTrue\n"


def test_import_sets_the_variable_and_loads_nothing_of_keras(program):
    text = """
        import os, sys, kerasvino
        print(os.environ['KERAS_BACKEND'], [n for n in sys.modules if n.startswith('keras.')])
        print(kerasvino.executed)
    """
    assert program(text) == "kerasvino []\n[]\n"


def test_activating_again_does_no_harm(program):
    text = """
        import sys, kerasvino
        from kerasvino.activate import activate
        activate()
        import keras
        activate()
        print([type(f).__name__ for f in sys.meta_path].count('_Finder'))
        print(keras.src.backend.openvino is kerasvino.backend)
    """
    assert program(text) == "1\nTrue\n"


def test_refuses_another_backend_in_the_variable(failing):
    assert failing("import kerasvino", KERAS_BACKEND="jax") == (
        "kerasvino.activate.SelectionError: KERAS_BACKEND is 'jax', so Keras would not run on "
        "kerasvino. Unset KERAS_BACKEND, or set it to 'openvino'; or run without kerasvino."
    )


def test_refuses_the_variable_set_between_the_imports(failing):
    text = """
        import kerasvino, os
        os.environ['KERAS_BACKEND'] = 'torch'
        import keras
    """
    message = failing(text)
    assert "KERAS_BACKEND was set to 'torch' after kerasvino was imported." in message


def test_the_variable_may_be_deleted_between_the_imports(program):
    text = f"""
        import kerasvino, os, sys
        del os.environ['KERAS_BACKEND']
        {PRINT}
    """
    assert program(text) == "openvino True\n"


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_refuses_keras_loaded_with_another_backend(failing, tmp_path, backend):
    text = """
        import os
        import keras
        import kerasvino
    """
    message = failing(text, KERAS_BACKEND=backend)
    assert f"already runs on the {backend!r} backend" in message
    lines = (tmp_path / "program.py").read_text().splitlines()
    keras, ours = lines.index("import keras") + 1, lines.index("import kerasvino") + 1
    assert message.endswith(
        f"Move line {ours} of {tmp_path}/program.py above line {keras}: `import keras`."
    )


def test_a_notebook_is_told_to_restart_the_kernel(failing):
    text = """
        import sys, types
        IPython = sys.modules["IPython"] = types.ModuleType("IPython")
        IPython.get_ipython = object
        import keras
        import kerasvino
    """
    message = failing(text, KERAS_BACKEND="jax")
    assert message.endswith(
        "Restart the kernel, and run `import kerasvino` before any cell that imports keras."
    )


def test_an_interactive_python_is_told_to_start_anew(failing):
    text = """
        import sys
        sys.ps1 = ">>> "
        import keras
        import kerasvino
    """
    message = failing(text, KERAS_BACKEND="jax")
    assert message.endswith(
        "Start Python anew, and type `import kerasvino` before keras is imported."
    )


def test_refuses_the_bundled_backend_once_loaded(failing):
    text = """
        from keras.src import layers
        import kerasvino
    """
    message = failing(text, KERAS_BACKEND="openvino")
    assert "already runs on the OpenVINO backend of Keras itself" in message
    assert "`from keras.src import layers`" in message


def test_refuses_the_package_of_keras_316_once_loaded(failing, tree, official):
    text = """
        import keras
        import kerasvino
    """
    options = {"KERAS_BACKEND": "openvino", "STAND_IN_KERAS": "3.16.0"}
    message = failing(text, path=f"{tree}:{official}", **options)
    assert "already runs on the OpenVINO backend of the package keras_openvino" in message


@pytest.mark.parametrize("selected", ["openvino", "jax"])
def test_without_kerasvino_the_package_of_keras_316_is_left_alone(
    program, tree, official, selected
):
    text = """
        import keras, keras_openvino.src
        print(keras_openvino.__version__, keras_openvino.src.ops.core.Variable.bundled)
    """
    options = {"KERAS_BACKEND": selected, "STAND_IN_KERAS": "3.16.0"}
    assert program(text, path=f"{tree}:{official}", **options) == "0.0.1 True\n"


def test_the_package_of_keras_316_can_be_had_after_set_backend(program, tree, official):
    text = """
        import os, sys, kerasvino, keras
        os.environ['KERAS_BACKEND'] = 'jax'
        for key in [key for key in sys.modules if key.startswith('keras')]:
            del sys.modules[key]
        import keras, keras_openvino.src
        print(keras_openvino.src.ops.core.Variable.bundled)
    """
    assert program(text, path=f"{tree}:{official}", STAND_IN_KERAS="3.16.0") == "True\n"


def test_where_keras_came_from_elsewhere_the_advice_is_general(failing, tmp_path):
    (tmp_path / "elsewhere.py").write_text("import keras")
    message = failing("import elsewhere, kerasvino")
    assert "Move `import kerasvino` above the first line that imports keras" in message


def test_refused_keras_can_be_imported_after_correction(program):
    text = f"""
        import kerasvino, os, sys
        os.environ['KERAS_BACKEND'] = 'torch'
        try:
            import keras
        except RuntimeError:
            os.environ['KERAS_BACKEND'] = 'openvino'
        {PRINT}
    """
    assert program(text) == "openvino True\n"


@pytest.mark.parametrize("version", ["3.12.0", "3.17.0.dev20270101", "4.0.0"])
def test_refuses_other_versions_of_keras(failing, version):
    message = failing("import kerasvino, keras", STAND_IN_KERAS=version)
    assert f"runs on keras >=3.15,<3.17, and keras {version} is installed" in message
    assert message.endswith("pip install 'keras>=3.15,<3.17'")


def test_later_versions_in_the_range_are_taken(program):
    assert program(f"import kerasvino, sys; {PRINT}", STAND_IN_KERAS="3.16.0.dev1")


def test_set_backend_of_keras_goes_and_comes_back(program):
    # keras.config.set_backend drops every module named "keras*", so kerasvino too.
    text = """
        import os, sys, kerasvino, keras
        def set_backend(name):
            os.environ['KERAS_BACKEND'] = name
            for key in [key for key in sys.modules if key.startswith('keras')]:
                del sys.modules[key]
            import keras
            return keras
        print(set_backend('jax').backend.backend(), 'kerasvino' in sys.modules)
        keras = set_backend('openvino')
        import kerasvino.backend
        print(keras.backend.backend(), keras.src.backend.openvino is kerasvino.backend)
        print([type(f).__name__ for f in sys.meta_path].count('_Finder'))
    """
    assert program(text) == "jax False\nopenvino True\n1\n"


CONFIGS = {
    "env": ({"KERAS_BACKEND": "jax"}, {"backend": "torch"}, "jax"),
    "env-empty": ({"KERAS_BACKEND": ""}, {"backend": "torch"}, "torch"),
    "file": ({}, {"backend": "openvino"}, "openvino"),
    "file-without-backend": ({}, {"floatx": "float16"}, "tensorflow"),
    "file-malformed": ({}, None, "tensorflow"),
    "neither": ({}, ..., "tensorflow"),
}


@pytest.mark.parametrize("home", ["HOME", "KERAS_HOME"])
@pytest.mark.parametrize(("variables", "config", "backend"), CONFIGS.values(), ids=CONFIGS)
def test_selected_follows_keras(python, monkeypatch, tmp_path, variables, config, backend, home):
    """Against the real Keras's config module, alone, on the stand-in's `api_export`."""
    folder = tmp_path / ".keras" if home == "HOME" else tmp_path / "other"
    folder.mkdir()
    if config is not ...:
        (folder / "keras.json").write_text("{" if config is None else json.dumps(config))
    if home == "KERAS_HOME":
        variables = variables | {"KERAS_HOME": str(folder)}
    for name in ("KERAS_BACKEND", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    name, reason = autoload.selected()
    assert name == backend
    if "KERAS_BACKEND" in reason:
        assert variables["KERAS_BACKEND"] == name
    elif reason != "Keras's default":
        assert reason == str(folder / "keras.json")
    keras = importlib.util.find_spec("keras").submodule_search_locations[0]
    # The default is written back to the file, as Keras does; so Keras comes second.
    text = f"import runpy; print(runpy.run_path({keras + '/src/backend/config.py'!r})['backend']())"
    done = python("-c", text, **variables)
    assert done.stdout == f"{backend}\n", done.stderr
