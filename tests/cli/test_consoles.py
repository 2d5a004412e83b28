"""The commands on consoles of other encodings, with files that are none, and interrupted."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import pytest
from keras import layers

import kerasvino
from kerasvino import cli
from kerasvino.cli import export, main


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("KERAS_BACKEND", "openvino")


def run(*arguments, encoding="utf-8", **options):
    environment = {
        **os.environ,
        "PYTHONPATH": kerasvino.__path__[0] + "/..",
        "PYTHONIOENCODING": encoding,
    }
    return subprocess.run(
        [sys.executable, "-m", "kerasvino", *arguments], env=environment, timeout=300, **options
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_a_profile_on_any_console(encoding, monkeypatch):
    layer = layers.Dense(600, name="größe☃")
    model = keras.Sequential([layers.Input((500,)), layer])
    model.save("snow.keras")
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["profile", "snow.keras", "--runs", "2"]) == 0
    out.flush()
    text = out.buffer.getvalue().decode(encoding)
    assert text.count("\n") > 4
    name = {"ascii": r"gr\xf6\xdfe\u2603", "utf-8": "größe☃"}.get(encoding, r"größe\u2603")
    assert name in text
    assert ("█" in text) == (encoding == "utf-8")
    if encoding != "utf-8":
        assert "####" in text
        assert r"\u25" not in text  # no box is shown by its number


def test_the_whole_of_status_on_an_ascii_console():
    done = run("status", encoding="ascii", capture_output=True, check=True)
    assert b"\\u" not in done.stdout
    assert done.stderr == b""


def test_a_reader_that_leaves_early():
    read, write = os.pipe()
    os.close(read)
    done = run("status", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_interrupt(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "run", interrupted)
    assert cli.main(["export", "a.keras", "out"]) == 130
    assert capsys.readouterr().err == "python -m kerasvino: interrupted\n"


def archive(**files):
    with zipfile.ZipFile("bad.keras", "w") as file:
        for name, text in files.items():
            file.writestr(name.replace("_", "."), text)


BAD = {
    "empty": lambda: Path("bad.keras").touch(),
    "text": lambda: Path("bad.keras").write_text("a model"),
    "a folder": lambda: Path("bad.keras").mkdir(),
    "another archive": lambda: archive(readme_txt="a"),
    "no configuration": lambda: archive(config_json="3", metadata_json="{}"),
    "brackets": lambda: archive(config_json="[" * 100_000, metadata_json="{}"),
    "a list": lambda: archive(config_json="[]", metadata_json="{}"),
    "no weights": lambda: archive(
        config_json=keras.saving.serialize_keras_object(keras.Sequential([layers.Dense(2)]))
        and '{"class_name": "Dense", "module": "keras.layers", "config": {"units": 2}}',
        metadata_json="{}",
    ),
    "cut": lambda: (
        keras.Sequential([layers.Input((2,)), layers.Dense(2)]).save("bad.keras"),
        Path("bad.keras").write_bytes(Path("bad.keras").read_bytes()[:-2000]),
    ),
}


@pytest.mark.parametrize("command", [["export", "bad.keras", "out"], ["profile", "bad.keras"]])
@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_files_that_are_no_models(make, command, capsys):
    make()
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("python -m kerasvino: 'bad.keras' ")
    assert said.count("\n") == 1
    assert not Path("out").exists()


def test_what_helps_is_said(capsys):
    keras.Sequential([layers.Input((2,)), layers.Lambda(lambda x: 3 * x)]).save("code.keras")
    with pytest.raises(SystemExit):
        main(["export", "code.keras", "out"])
    assert capsys.readouterr().err.endswith("Give --unsafe if you trust the file.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="rights are of POSIX")
@pytest.mark.parametrize("target", ["no/such/page.html", "folder", "model.keras/page.html"])
def test_a_page_that_cannot_be_written_is_said_before_measuring(target, capsys):
    Path("folder").mkdir()
    keras.Sequential([layers.Input((2,)), layers.Dense(2)]).save("model.keras")
    with pytest.raises(SystemExit):
        main(["profile", "model.keras", "--runs", "1", "--html", target])
    said = capsys.readouterr()
    assert target in said.err
    assert said.out == ""
