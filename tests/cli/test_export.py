"""`python -m kerasvino export`: the files, the server's layout, and what is said of mistakes."""

import json
import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import keras
import numpy as np
import openvino
import pytest
from keras import layers

import kerasvino
from kerasvino import files
from kerasvino.cli import main
from tests.runtime.faults import largest_file


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
        (["MODEL", "out", "--server", "--model-version", "two"], "--model-version is 1 or more"),
        (["MODEL", "out", "--server", "--model-version", "-3"], "--model-version is 1 or more"),
        (["MODEL", "out", "--server", "--model-version", "1" + "0" * 19], "is 1 or more"),
        (["MODEL", "out", "--model-version", "2"], "give --server as well"),
        (["MODEL", "out.xml", "--model-version", "1"], "give --server as well"),
        (["MODEL", "out.xml", "--name", "other"], "out.xml has a name"),
        (["MODEL", "MODEL"], "is no folder; nothing can be written into it"),
        (["MODEL", "MODEL", "--server"], "is no folder; nothing can be written into it"),
        ([".", "out"], "'.' cannot name files here"),
        (["/", "out", "--name", "x"], "'/' is no file; give one that model.save() wrote"),
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


@pytest.mark.parametrize(
    "name",
    [
        "../../x", "..", ".", "", " ", "/etc/x", "a/b", "a\\b", "C:x", "C:\\x", "\\\\host\\x",
        "a\0b", "a\nb", "nul", "CON.old", "com1", "Lpt9.x", "a.", "a ", ".hidden", "-v", "a*",
        "a?b", "a|b", "x" * 201, "é" * 101, "\udc80",
    ],
)  # fmt: skip
@pytest.mark.parametrize("server", [[], ["--server"]], ids=["files", "server"])
def test_names_that_leave_the_folder_or_are_none(saved, capsys, name, server):
    with pytest.raises(SystemExit) as end:
        main(["export", saved[0], "out", f"--name={name}", *server])
    assert end.value.code == 1
    assert "cannot name files here, since" in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", ["ResNet-50 v1.5", "modèle", "nullable", "console", "a..b", "1"])
def test_names_that_are_as_good_as_any(saved, capsys, name):
    assert main(["export", saved[0], "out", "--name", name, "--server"]) == 0
    assert Path("out", name, "1", f"{name}.xml").is_file()
    said = capsys.readouterr().out
    assert f"curl http://localhost:8000/v2/models/{urllib.parse.quote(name)}" in said


CONFIGURATIONS = {
    "another": '{"mine": 1}',
    "a list": "[]",
    "entries of another kind": '{"model_config_list": [3]}',
    "entries without configuration": '{"model_config_list": [{"name": "tiny"}]}',
    "no JSON": "model: tiny",
    "empty": "",
    "brackets": "[" * 100_000,
}


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_configuration_of_something_else_is_not_overwritten(saved, capsys, text):
    Path("config.json").write_text(text)
    with pytest.raises(SystemExit):
        main(["export", saved[0], ".", "--server"])
    said = capsys.readouterr().err
    assert "config.json is no JSON" in said or "no configuration of OpenVINO Model Server" in said
    assert Path("config.json").read_text() == text
    assert os.listdir() == ["config.json"]


# -- what is there, and failures


def everything(folder="."):
    return {str(p): p.read_bytes() if p.is_file() else None for p in Path(folder).rglob("*")}


def test_a_version_that_is_there_is_replaced_file_by_file(saved):
    path, _ = saved
    assert main(["export", path, "served", "--server"]) == 0
    mapping = Path("served/tiny/1/mapping_config.json")  # of the server, beside the model
    mapping.write_text("{}")
    run = openvino.Core().compile_model("served/tiny/1/tiny.xml", "CPU")
    x = np.ones((1, 6, 6, 3), "f")
    before = run(x)[0].copy()
    assert main(["export", path, "served", "--server", "--preprocessing", '{"scale": 2}']) == 0
    np.testing.assert_array_equal(run(x)[0], before)
    model = openvino.Core().read_model("served/tiny/1/tiny.xml")
    assert model.input(0).get_element_type() == openvino.Type.u8
    assert mapping.exists()
    assert not [name for name in everything() if "kerasvino" in name]


def test_another_model_in_the_folder_of_the_version(saved, capsys):
    folder = Path("served/tiny/1")
    folder.mkdir(parents=True)
    (folder / "mine.xml").touch()
    Path("served/tiny/2").touch()
    before = everything()
    for version, message in (("1", "holds another model, mine.xml"), ("2", "is no folder")):
        with pytest.raises(SystemExit):
            main(["export", saved[0], "served", "--server", "--model-version", version])
        assert message in capsys.readouterr().err
    assert everything() == before


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("number", range(6))
def test_an_interrupt_leaves_a_served_folder_as_it_was_or_whole(saved, monkeypatch, number, old):
    """`os.replace` is interrupted the n-th time: in the draft, at the version, at the config."""
    path, _ = saved
    if old:
        assert main(["export", path, "served", "--server"]) == 0
    before = everything()
    original, calls = os.replace, []

    def replace(*arguments):
        calls.append(arguments)
        if len(calls) == number + 1:
            raise KeyboardInterrupt
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        assert main(["export", path, "served", "--server"]) == (130 if len(calls) > number else 0)
    found = everything()
    assert not [name for name in found if "kerasvino" in name]
    if len(calls) <= number:
        assert "served/config.json" in found
    elif old:
        assert found.keys() == before.keys()
    else:
        # the configuration comes last: what it does not name yet is whole
        assert "served/config.json" not in found
        assert len([n for n in found if n.endswith((".xml", ".bin"))]) in (0, 2)
        assert found == {} or len(found) == 5
    assert main(["export", path, "served", "--server"]) == 0
    assert set(entries("served")) == {"tiny"}


def test_models_that_are_exported_at_once_are_all_in_the_configuration(saved):
    environment = {**os.environ, "PYTHONPATH": kerasvino.__path__[0] + "/.."}
    command = [sys.executable, "-m", "kerasvino", "export", saved[0], "served", "--server"]
    # a name of its own each, and a version of the same model each
    ends = [["--name", "one"], ["--name", "two"], ["--model-version", "2"]]
    processes = [subprocess.Popen(command + end, env=environment) for end in ends]
    assert [process.wait(timeout=300) for process in processes] == [0] * 3
    assert set(entries("served")) == {"one", "two", "tiny"}
    found = {p for p in everything("served") if p.endswith(".xml")}
    assert found == {"served/one/1/one.xml", "served/two/1/two.xml", "served/tiny/2/tiny.xml"}
    assert not [name for name in everything() if "kerasvino" in name]


@pytest.mark.parametrize("limit", [0, 2000, 20_000, 27_000])
@pytest.mark.parametrize("server", [[], ["--server"]], ids=["files", "server"])
@pytest.mark.parametrize("old", [True, False])
def test_a_full_disk(saved, capsys, limit, server, old):
    """It is said where, in one line; what was there is there, and nothing else."""
    if old:
        assert main(["export", saved[0], "out", *server]) == 0
    before = everything()
    capsys.readouterr()
    with largest_file(limit), pytest.raises(SystemExit) as end:
        main(["export", saved[0], "out", *server])
    said = capsys.readouterr().err
    assert end.value.code == 1
    folder = re.search("could not write the model to '(.*)', where .* MB are free", said)[1]
    assert Path(folder).resolve() == Path("out/tiny/1" if server else "out").resolve()
    assert ".kerasvino" not in said
    assert said.count("\n") == 1
    assert everything() == before


def test_a_disk_that_is_full_at_the_configuration(saved, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(files, "sync", lambda *paths: None)
        patch.setattr(os, "fsync", full)
        main(["export", saved[0], "out", "--server"])
    assert capsys.readouterr().err == (
        f"python -m kerasvino: [Errno 28] No space left on device: '{Path('out').resolve()}'\n"
    )
    assert not everything()


@pytest.mark.skipif(sys.platform == "win32", reason="rights are of POSIX")
def test_a_folder_that_may_not_be_written(saved, capsys, monkeypatch):
    Path("closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("closed"))
    for output in ("closed", "closed/x.xml", "closed/further"):
        with pytest.raises(SystemExit):
            main(["export", saved[0], output])
        assert "closed may not be written by this user" in capsys.readouterr().err
