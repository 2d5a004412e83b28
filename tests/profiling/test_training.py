"""Profiles of a step of training, and two profiles side by side."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import kerasvino

X = np.random.default_rng(0).random((16, 8), dtype="float32")
Y = np.arange(16) % 3


def network():
    parts = [
        layers.Dense(64, "relu", name="hidden"),
        layers.Dropout(0.5),
        layers.Dense(3, name="out"),
    ]
    model = keras.Sequential([keras.Input((8,)), *parts], name="net")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def found():
    keras.backend.clear_session()  # whatever other tests have named adam
    return kerasvino.profile(network(), X, runs=2, y=Y)


def test_nodes_have_phases_and_layers(found):
    phases = {(placed.layer, placed.phase) for placed in found.nodes if placed.node.executed}
    expected = {
        ("net/hidden", "forward"), ("net/hidden", "backward"), ("net/out", "forward"),
        ("net/out", "backward"), ("adam", "update"),
    }  # fmt: skip
    assert expected <= phases
    assert not [path for path, _ in phases if "gradient" in path]
    assert not {phase for path, phase in phases if path == "adam"} - {"update"}


def test_phases_sum_up(found):
    assert list(found.phases) == ["forward", "backward", "update"]
    assert sum(found.phases.values()) == pytest.approx(found.node_seconds)
    for layer in found.layers:
        assert sum(layer.phases.values()) == pytest.approx(layer.seconds)
    assert re.search(r"^a step of training: forward .+, backward .+, update ", str(found), re.M)
    assert re.search(r"^layer +ms +% +forward +backward +update +MiB", str(found), re.M)


def test_weights_are_those_of_layers(found):
    assert found.weights["net/hidden"] == (8 * 64 + 64) * 4
    assert found.weights["net/out"] == (64 * 3 + 3) * 4


def test_nothing_is_assigned():
    model = network()
    model.train_on_batch(X, Y)
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(variable) for variable in variables]
    kerasvino.profile(model, X, runs=1, y=Y, sample_weight=np.ones(16))
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value, variable.path)


def test_nested_data_and_own_steps():
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")

    class Own(keras.Model):
        def train_step(self, data):
            x, y = data
            with kerasvino.GradientTape() as tape:
                loss = keras.ops.mean((self(x, training=True) - y) ** 2)
            self.optimizer.apply(
                tape.gradient(loss, self.trainable_weights), self.trainable_weights
            )
            return {"loss": loss}

    model = Own([a, b], layers.Dense(1, name="sum")(layers.add([a, b])))
    model.compile("adam")
    x = {"a": np.ones((2, 4)), "b": np.ones((2, 4))}
    found = kerasvino.profile(model, x, runs=1, y=np.ones((2, 1)))
    assert {"forward", "backward", "update"} == set(found.phases)
    assert [spec.name for spec in found.inputs] == ["x/a", "x/b", "y"]


def test_a_model_that_is_not_compiled():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3)])
    with pytest.raises(ValueError, match="compile"):
        kerasvino.profile(model, X, y=Y)
    with pytest.raises(ValueError, match="runs=0"):
        kerasvino.profile(network(), X, runs=0, y=Y)


def test_comparison(tmp_path):
    model = network()
    before = kerasvino.profile(model, X, runs=2)
    after = kerasvino.profile(model, X[:4], runs=2, y=Y[:4])
    both = before.compared_with(after)
    assert both.speedup == pytest.approx(before.seconds / after.seconds)
    rows = {row.path: row for row in both.rows}
    assert set(rows) == {layer.path for layer in [*before.layers, *after.layers]}
    assert rows[model.optimizer.name].before == 0 < rows[model.optimizer.name].after
    changes = [abs(row.before - row.after) for row in both.rows]
    assert changes == sorted(changes, reverse=True)
    text = str(both)
    assert "before / after" in text
    assert "[4, 8]" in text
    assert "<pre" in both._repr_html_()
    both.save_html(tmp_path / "two.html")
    page = (tmp_path / "two.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == len(both.rows) + 1
    assert "<!--" not in page


def test_names_cannot_break_a_page(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3)], name="<!--<script><b>name")
    found = kerasvino.profile(model, X, runs=1)
    found.compared_with(found).save_html(tmp_path / "two.html")
    page = (tmp_path / "two.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;&lt;b&gt;name" in page
