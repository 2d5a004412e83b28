"""`python -m kerasvino export`: the files, the server's layout, and what is said of mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import openvino
import pytest
from keras import layers

import kerasvino
from kerasvino.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("KERAS_BACKEND", "openvino")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model file, and what its model makes of ones."""
    x = image = layers.Input((6, 6, 3), name="image")
    x = layers.Conv2D(64, 3)(x)
    model = keras.Model(image, layers.Dense(5, name="scores")(layers.Flatten()(x)))
    path = tmp_path_factory.mktemp("models") / "tiny.keras"
    model.save(path)
    return str(path), model.predict(np.ones((1, 6, 6, 3)), verbose=0)


def result_of(path, x):
    core = openvino.Core()
    return core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]


def test_into_a_folder(saved, capsys):
    path, expected = saved
    assert main(["export", path, "out"]) == 0
    np.testing.assert_allclose(
        result_of("out/tiny.xml", np.ones((1, 6, 6, 3), "f")), expected, 1e-5
    )
    said = capsys.readouterr().out
    assert "Wrote out/tiny.xml and its .bin" in said
    assert "input  image  f32 [?,6,6,3]" in said
    assert "output scores  f32 [?,5]" in said


def test_to_a_path_with_options(saved):
    path, expected = saved
    steps = json.dumps({"scale": 2})
    assert main(["export", path, "half.xml", "--fp16", "--input-shape", "2,6,6,3",
                 "--preprocessing", steps]) == 0  # fmt: skip
    model = openvino.Core().read_model("half.xml")
    assert str(model.input(0).get_partial_shape()) == "[2,6,6,3]"
    assert model.input(0).get_element_type() == openvino.Type.u8
    result = result_of("half.xml", np.full((2, 6, 6, 3), 2, "uint8"))
    np.testing.assert_allclose(result, expected.repeat(2, 0), atol=5e-3)
    assert Path("half.bin").stat().st_size < 0.6 * 4 * 6917  # weights


def test_under_another_selection(saved):
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": kerasvino.__path__[0] + "/..",
    }
    done = subprocess.run(
        [sys.executable, "-m", "kerasvino", "export", saved[0], "."],
        capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("tiny.xml").exists()


# -- OpenVINO Model Server


def entries(folder):
    config = json.loads((Path(folder) / "config.json").read_text())
    return {entry["config"]["name"]: entry["config"] for entry in config["model_config_list"]}


def test_layout_of_the_server(saved, capsys):
    path, expected = saved
    assert main(["export", path, "served", "--server"]) == 0
    files = {str(p.relative_to("served")) for p in Path("served").rglob("*") if p.is_file()}
    assert files == {"config.json", "tiny/1/tiny.xml", "tiny/1/tiny.bin"}
    entry = entries("served")["tiny"]
    # what the server does with the entry: a path relative to config.json, and the plugin's settings
    xml = Path("served") / entry["base_path"] / "1" / "tiny.xml"
    run = openvino.Core().compile_model(str(xml), "CPU", entry["plugin_config"])
    np.testing.assert_allclose(run(np.ones((1, 6, 6, 3), "f"))[0], expected, rtol=1e-5)
    assert "stateful" not in entry
    assert f"-v {Path('served').resolve()}:/models:ro" in capsys.readouterr().out


def test_further_models_and_versions_join_the_configuration(saved):
    path, _ = saved
    assert main(["export", path, "served", "--server"]) == 0
    config = json.loads(Path("served/config.json").read_text())
    config["model_config_list"][0]["config"]["target_device"] = "GPU"
    config["monitoring"] = {"metrics": {"enable": True}}
    Path("served/config.json").write_text(json.dumps(config))
    assert main(["export", path, "served", "--server", "--name", "other"]) == 0
    assert main(["export", path, "served", "--server", "--model-version", "2"]) == 0
    found = entries("served")
    assert set(found) == {"tiny", "other"}
    assert found["tiny"]["target_device"] == "GPU"
    assert json.loads(Path("served/config.json").read_text())["monitoring"]
    assert Path("served/tiny/2/tiny.xml").exists()
    assert Path("served/tiny/1/tiny.xml").exists()


def test_a_stateful_model_is_marked():
    model = keras.Sequential([layers.Input(batch_shape=(1, 3, 2)), layers.LSTM(2, stateful=True)])
    model.save("memory.keras")
    options = ["--server", "--input-shape", "1,3,2"]
    assert main(["export", "memory.keras", "served", *options]) == 0
    assert entries("served")["memory"]["stateful"] is True


# -- models with several inputs, and with layers of their own


def test_shapes_of_several_inputs(capsys):
    left, right = layers.Input((None,), name="left"), layers.Input((None,), name="right")
    keras.Model([left, right], layers.Add()([left, right])).save("two.keras")
    shapes = ["--input-shape", "left=1,4", "--input-shape", "right=1,?"]
    assert main(["export", "two.keras", "two.xml", *shapes]) == 0
    model = openvino.Core().read_model("two.xml")
    assert [str(i.get_partial_shape()) for i in model.inputs] == ["[1,4]", "[1,?]"]
    with pytest.raises(SystemExit):
        main(["export", "two.keras", "two.xml", "--input-shape", "1,4"])
    assert "inputs left, right; write --input-shape left=1,4" in capsys.readouterr().err


OWN_LAYER = """
import keras

@keras.saving.register_keras_serializable("export_test")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def test_layers_of_ones_own_are_imported(capsys, monkeypatch):
    Path("twice_layer.py").write_text(OWN_LAYER)
    monkeypatch.syspath_prepend(".")
    import twice_layer

    keras.Sequential([layers.Input((2,)), twice_layer.Twice()]).save("own.keras")
    monkeypatch.delitem(sys.modules, "twice_layer")
    monkeypatch.setattr(keras.src.saving.object_registration, "GLOBAL_CUSTOM_OBJECTS", {})
    with pytest.raises(SystemExit):
        main(["export", "own.keras", "own.xml"])
    assert "Twice" in capsys.readouterr().err
    assert main(["export", "own.keras", "own.xml", "--import", "twice_layer"]) == 0
    assert result_of("own.xml", np.ones((1, 2), "f")).tolist() == [[2, 2]]


def test_lambda_layers_are_run_only_when_asked(capsys):
    keras.Sequential([layers.Input((2,)), layers.Lambda(lambda x: 3 * x)]).save("code.keras")
    with pytest.raises(SystemExit):
        main(["export", "code.keras", "code.xml"])
    assert "Lambda" in capsys.readouterr().err
    assert main(["export", "code.keras", "code.xml", "--unsafe"]) == 0
    assert result_of("code.xml", np.ones((1, 2), "f")).tolist() == [[3, 3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nothing.keras", "out"], "There is no 'nothing.keras'."),
        (["MODEL", "out", "--input-shape", "x=1,2"], "no input 'x'; there are image"),
        (["MODEL", "out", "--input-shape", "1,6,6"], "has 3 axes (the batch is one)"),
        (["MODEL", "out", "--input-shape", "1,6,a,3"], "'a' is no length; write a number or ?"),
        (["MODEL", "out.xml", "--server"], "--server writes a folder"),
        (["MODEL", "out", "--server", "--model-version", "0"], "--model-version is 1 or more"),
        (["MODEL", "out", "--preprocessing", "{"], "not JSON"),
        (["MODEL", "out", "--preprocessing", '{"mean": [1, 2]}'], "mean has 2 numbers"),
        (["MODEL", "out", "--import", "no_such_module"], "No module named 'no_such_module'"),
    ],
)
def test_mistakes(saved, capsys, options, message):
    with pytest.raises(SystemExit) as end:
        main(["export", *(saved[0] if o == "MODEL" else o for o in options)])
    assert end.value.code in (1, 2)
    assert message in capsys.readouterr().err
    assert not list(Path().rglob("*.xml"))


def test_a_configuration_of_something_else_is_not_overwritten(saved, capsys):
    Path("config.json").write_text('{"mine": 1}')
    with pytest.raises(SystemExit):
        main(["export", saved[0], ".", "--server"])
    assert "no configuration of OpenVINO Model Server" in capsys.readouterr().err
    assert Path("config.json").read_text() == '{"mine": 1}'
