"""What runs within an actor: columns in and out, settings, models. Needs no Ray."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import kerasvino
from kerasvino.ray.data import Predictor
from kerasvino.ray.models import Loaded

X = np.random.default_rng(0).random((10, 4), dtype="float32")


@pytest.fixture(autouse=True)
def settings_as_before():
    before = kerasvino.config.get()
    yield
    kerasvino.config.set(threads=before.threads, precision=before.precision)


def one():
    return keras.Sequential([keras.Input((4,), name="features"), layers.Dense(2)])


def several():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    both = layers.add([a, b])
    outputs = {"sum": layers.Dense(1, name="s")(both), "more": layers.Dense(2, name="m")(both)}
    return keras.Model([a, b], outputs)


@pytest.mark.parametrize("columns", [("features",), ("features", "row"), ("x",)])
def test_the_column_is_found(columns):
    model = one()
    batch = {name: X if name in ("features", "x") else np.arange(10) for name in columns}
    found = Predictor(model)(batch)
    assert list(found) == [*columns, "predictions"]
    np.testing.assert_array_equal(found["predictions"], model.predict_on_batch(X))


@pytest.mark.parametrize("inputs", ["x", ["x"], {"features": "x"}])
def test_the_column_is_named(inputs):
    model = one()
    batch = {"x": X, "y": X + 1}
    found = Predictor(model, inputs=inputs, outputs="score", keep=False)(batch)
    assert list(found) == ["score"]
    np.testing.assert_array_equal(found["score"], model.predict_on_batch(X))


@pytest.mark.parametrize("inputs", [None, ["a", "b"], {"a": "a", "b": "b"}])
def test_several_inputs_and_outputs(inputs):
    model = several()
    expected = model.predict_on_batch([X, 2 * X])
    found = Predictor(model, inputs=inputs, keep=False)({"a": X, "b": 2 * X, "c": X})
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    named = Predictor(model, inputs=inputs, outputs={"sum": "total"})({"a": X, "b": 2 * X})
    assert list(named) == ["a", "b", "total"]


def test_a_list_of_outputs():
    a = keras.Input((4,))
    model = keras.Model(a, [layers.Dense(1)(a), layers.Dense(2)(a)])
    first, second = model.predict_on_batch(X)
    found = Predictor(model, outputs=["p", "q"], keep=False)({"x": X})
    np.testing.assert_array_equal(found["p"], first)
    np.testing.assert_array_equal(found["q"], second)


def test_files(tmp_path):
    model = several()
    model.save(tmp_path / "m.keras")
    model.export(tmp_path / "m.xml", format="openvino", verbose=False)
    expected = model.predict_on_batch([X, 2 * X])
    for path in (tmp_path / "m.keras", str(tmp_path / "m.xml")):
        found = Predictor(path, keep=False)({"a": X, "b": 2 * X})
        assert len(found) == 2
        for value in expected.values():
            assert any(
                v.shape == value.shape and np.allclose(v, value, atol=1e-6) for v in found.values()
            )


def test_rows_that_are_arrays():
    rows = np.empty(10, object)
    rows[:] = list(X)
    model = one()
    found = Predictor(model)({"features": rows})
    np.testing.assert_array_equal(found["predictions"], model.predict_on_batch(X))


def test_warm_up_and_settings():
    predictor = Predictor(
        one(), threads=1, settings={"precision": "f32", "threads": 2}, warm_up=[4, 10]
    )
    assert kerasvino.config.get().threads == 1
    assert kerasvino.config.get().precision == "f32"
    assert len(predictor({"x": X})["predictions"]) == 10


def test_weights_are_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64)])
    Loaded(model)
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("*.weights"))) == 1
    if hasattr(os, "getuid"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_mistakes(tmp_path):
    with pytest.raises(FileNotFoundError, match="a path that all machines of the cluster have"):
        Predictor(tmp_path / "none.keras")
    with pytest.raises(TypeError, match="or a Ray reference to a model; given: int"):
        Predictor(7)
    with pytest.raises(KeyError, match=r"no column 'image'; it has \['x'\]"):
        Predictor(one(), inputs="image")({"x": X})
    with pytest.raises(ValueError, match=r"Which of the columns \['x', 'y'\]"):
        Predictor(one())({"x": X, "y": X})
    ragged = np.empty(2, object)
    ragged[:] = [np.ones(3), np.ones(4)]
    with pytest.raises(ValueError, match="arrays of different shapes"):
        Predictor(one(), inputs="x")({"x": ragged})
    with pytest.raises(TypeError, match="given: list"):
        Predictor(one())([X])


def test_without_ray():
    code = (
        "import sys; sys.modules['ray'] = None; sys.modules['tensorflow'] = None\n"
        "import kerasvino.ray\n"
        "try: kerasvino.ray.arguments('m.keras')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'kerasvino[ray]'" in done.stdout
