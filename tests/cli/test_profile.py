"""`python -m kerasvino profile`."""

import re
import sys
from pathlib import Path

import keras
import pytest
from keras import layers

from kerasvino.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    words, image = layers.Input((None,), dtype="int32", name="words"), layers.Input((4, 4, 3))
    x = layers.GlobalAveragePooling1D(name="mean")(layers.Embedding(9, 3, name="embed")(words))
    x = layers.Dense(2, name="scores")(x + layers.GlobalMaxPooling2D(name="most")(image))
    keras.Model([words, image], x, name="two").save("two.keras")
    keras.Sequential([layers.Input((600,)), layers.Dense(900, name="dense")]).save("one.keras")


def test_table_and_page(capsys):
    assert main(["profile", "one.keras", "--batch", "5", "--runs", "2", "--html", "one.html"]) == 0
    said = capsys.readouterr().out
    assert " [5, 600] float32" in said
    assert "median of 2" in said
    assert re.search(r"^(\w+/)?dense +[\d.]+ +100\.0 +█", said, re.MULTILINE)
    assert said.endswith("Wrote one.html.\n")
    assert Path("one.html").read_text().startswith("<!doctype html>")


def test_shapes_and_rows(capsys):
    options = ["--input-shape", "words=2,7", "--runs", "1", "--rows", "1"]
    assert main(["profile", "two.keras", *options]) == 0
    said = capsys.readouterr().out
    assert "words [2, 7] int32" in said
    assert " more layers, " in said


def test_against_another_setting(capsys):
    options = ["--against", "precision=bf16", "--runs", "1", "--html", "both.html"]
    assert main(["profile", "one.keras", *options]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^before: .+ f32; .+\nafter: .+ bf16; ", said, re.MULTILINE)
    assert "Two profiles" in Path("both.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["one.keras", "--against", "bf16"], "'bf16' is no SETTING=VALUE"),
        (["one.keras", "--against", "precision=bf8"], "precision='bf8'; accepted"),
        (["two.keras"], "The input words has an open length, 1,?; say what to measure: "
         "--input-shape words=1,128."),
        (["two.keras", "--input-shape", "1,7"], "write --input-shape words=1,7"),
        (["one.keras", "--batch", "0"], "'0' is not 1 or more"),
        (["one.keras", "--runs", "few"], "'few' is not 1 or more"),
        (["none.keras"], "There is no 'none.keras'."),
        (["one.keras", "--html", "no/such/folder.html"], "no/such/folder.html"),
    ],
)  # fmt: skip
def test_mistakes(capsys, options, message):
    with pytest.raises(SystemExit) as end:
        main(["profile", *options, *([] if "--runs" in options else ["--runs", "1"])])
    assert end.value.code in (1, 2)
    assert message in capsys.readouterr().err
