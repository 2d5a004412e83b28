"""kerasvino.profile: nodes of the plugin charged to the layers of the Keras model."""

import json
import re

import keras
import numpy as np
import pytest
from keras import layers

import kerasvino
from kerasvino.profiling.table import table


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.up, self.down = layers.Dense(64, activation="relu", name="up"), layers.Dense(8)
        self.down.name = "down"

    def call(self, x):
        return x + self.down(self.up(x))


def network():
    """A functional model in a model, whose layers hold layers."""
    x = inputs = layers.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    backbone = keras.Model(inputs, Block(name="block")(x), name="backbone")
    image = layers.Input((16, 16, 3), name="image")
    return keras.Model(image, layers.Dense(4, name="scores")(backbone(image)), name="network")


@pytest.fixture(scope="module")
def found():
    return kerasvino.profile(network(), np.ones((4, 16, 16, 3)), runs=3)


def test_time_is_charged_to_layers(found):
    paths = {layer.path: layer for layer in found.layers}
    assert {"conv", "mean"} <= set(paths) <= {"conv", "mean", "block/up", "block/down", "scores"}
    conv = paths["conv"]
    assert conv.kinds == ["Convolution"]
    assert set(conv.fused) == {"bn", "relu"}, "the layers that OpenVINO fuses into the convolution"
    assert "f32" in conv.kernels[0]
    assert all(layer.seconds >= 0 for layer in found.layers)


def test_layers_are_sorted_and_sum_up(found):
    times = [layer.seconds for layer in found.layers]
    assert times == sorted(times, reverse=True)
    assert sum(times) == pytest.approx(found.node_seconds)
    executed = [placed for placed in found.nodes if placed.node.executed]
    assert sum(len(layer.nodes) for layer in found.layers) == len(executed)
    assert found.seconds > 0
    assert len(found.measurement.run_seconds) == 3


def test_every_node_has_a_layer_of_the_model(found):
    known = {"conv", "bn", "relu", "mean", "block", "block/up", "block/down", "scores"}
    assert set(found.places) >= known | {"backbone"}
    known |= {"(outside layers)"}
    for placed in found.nodes:
        if placed.node.kind not in ("Const", "Input", "Output"):
            assert placed.layer in known, placed
            assert set(placed.fused) <= known, placed


def test_reorders_belong_to_who_asks_for_them():
    x = inputs = layers.Input((8, 6))
    model = keras.Model(inputs, layers.LSTM(5, return_sequences=True, name="memory")(x))
    profile = kerasvino.profile(model, np.ones((2, 8, 6)), runs=1)
    reorders = [p for p in profile.nodes if p.node.kind == "Reorder" and not p.node.covers]
    assert {placed.layer for placed in reorders} <= {"memory"}
    assert [layer.path for layer in profile.layers] == ["memory"]


def test_nested_inputs_integers_and_state():
    words = layers.Input((None,), dtype="int32", name="words")
    scale = layers.Input((1,), name="scale")
    x = layers.Embedding(10, 256, name="embed")(words)  # of 1 µs at least, else no time at all
    x = layers.GlobalAveragePooling1D(name="mean")(x) * scale
    model = keras.Model({"words": words, "scale": scale}, x, name="weighted")
    x = {"words": np.ones((2, 700), "int32"), "scale": np.ones((2, 1))}
    profile = kerasvino.profile(model, x, runs=2)
    assert [(spec.name, spec.shape, spec.dtype) for spec in profile.inputs] == [
        ("scale", (2, 1), "float32"),
        ("words", (2, 700), "int32"),
    ]
    assert {"embed", "mean"} <= {layer.path for layer in profile.layers}


def test_a_subclassed_model_that_was_never_called():
    class Twice(keras.Model):
        def __init__(self):
            super().__init__(name="twice")
            self.dense = layers.Dense(3, name="dense")

        def call(self, x):
            return 2 * self.dense(x)

    profile = kerasvino.profile(Twice(), np.ones((2, 4)), runs=1)
    assert [layer.path for layer in profile.layers] == ["twice/dense"]


def test_runs_are_counted():
    with pytest.raises(ValueError, match="runs=0"):
        kerasvino.profile(network(), np.ones((1, 16, 16, 3)), runs=0)


# -- averages


def test_the_first_runs_do_not_count():
    from kerasvino.export.ov_model import traced
    from kerasvino.export.signature import signature_of
    from kerasvino.runtime import profile as runtime

    dense = layers.Dense(512, name="dense")
    model = keras.Sequential([layers.Input((512,)), dense])
    spec = keras.InputSpec(shape=(64, 512), dtype="float32")
    graph = traced(model, signature_of(model, [spec]))
    found = runtime.measure(graph, [np.ones((64, 512), "f")], runs=4, warmup=2)
    (node,) = [n for n in found.nodes if n.kind == "FullyConnected"]
    # what the plugin counts lies within what the clock measures of the same runs
    assert 0 < node.seconds * 4 <= sum(found.run_seconds) + 4 * 2e-6
    assert found.properties["PERF_COUNT"] == "YES"


def test_the_settings_in_force_are_measured():
    with kerasvino.config.using(precision="bf16"):
        found = kerasvino.profile(network(), np.ones((1, 16, 16, 3)), runs=1)
    assert found.measurement.properties["INFERENCE_PRECISION_HINT"] == "bf16"


# -- as text


def test_table(found):
    lines = str(found).splitlines()
    assert lines[0].startswith("network on ")
    assert lines[0].endswith("image [4, 16, 16, 3] float32")
    assert re.search(r"^[\d.]+ ms a run \(median of 3; fastest [\d.]+\), of which ", lines[1])
    assert re.fullmatch(r"products: \d+ in \w+", lines[2])
    rows = lines[6:]
    assert len(rows) == len(found.layers)
    top = found.layers[0]
    assert rows[0].startswith(top.path)
    share = 100 * top.seconds / found.node_seconds
    assert f"{1000 * top.seconds:.3f}  {share:.1f}" in rows[0]
    assert "█" * 12 in rows[0]


def test_a_short_table_sums_up_the_rest(found):
    lines = table(found, rows=2).splitlines()
    rest = sum(layer.seconds for layer in found.layers[2:])
    assert lines[-1] == f"… and {len(found.layers) - 2} more layers, {1000 * rest:.3f} ms together"
    assert len(lines) == 9


# -- the hierarchy


def test_the_tree_has_the_models_that_paths_leave_out(found):
    from kerasvino.profiling.branches import tree_of

    tree = tree_of(found.model, found.layers, found.places)
    assert tree.seconds == pytest.approx(found.node_seconds)
    top = {part.name: part for part in tree.parts}
    assert {"backbone"} <= set(top) <= {"backbone", "scores"}
    inner = {part.name: part for part in top["backbone"].parts}
    assert {"conv", "mean"} <= set(inner)
    assert found.places["block/up"] == ("backbone", "block", "up")


def test_json_of_the_page_can_be_read_back(found, tmp_path):
    found.save_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    data = json.loads(re.search(r'application/json">(.*?)</script>', text)[1])
    assert data["model"] == "network"
    assert [layer["path"] for layer in data["layers"]] == [layer.path for layer in found.layers]
    assert len([n for n in data["graph"]["nodes"] if n["executed"]]) == sum(
        placed.node.executed for placed in found.nodes
    )
    assert text.count("://") == text.count("http://www.w3.org/2000/svg") == 1, "no other address"


def test_a_notebook_shows_the_table(found, monkeypatch):
    class Ascii:
        encoding = "ascii"

    monkeypatch.setattr("sys.stdout", Ascii())  # whatever the server's console can show
    shown = found._repr_html_()
    assert shown.startswith("<pre style=")
    assert shown.endswith("</pre>")
    assert "█" in shown
    assert "block/up" in shown
    assert "<" not in shown[1:-6].partition(">")[2]
