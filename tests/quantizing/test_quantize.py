"""`kerasvino.quantize`: what a calibrated model computes, where, and how it is saved."""

import pickle

import keras
import numpy as np
import openvino
import pytest
from keras import layers

import kerasvino
from kerasvino.backend.calibrated import ranges_of
from kerasvino.export.ov_model import convert, traced
from kerasvino.export.signature import signature_of
from kerasvino.runtime import config, narrow
from kerasvino.runtime.compiling import compile_graph
from tests.quantizing.conftest import convolutional, rows

pytestmark = pytest.mark.skipif(
    narrow.weight_bits("CPU") is None, reason="no right kernels for products of bytes"
)


def kernels(model, batch=4):
    """Of the products that the plugin runs for a model, by the name of their layer."""
    signature = signature_of(model, None)
    shapes = {spec.name: (batch, *spec.shape[1:]) for spec in signature.specs}
    graph = traced(model, signature.reshaped(shapes))
    compiled = compile_graph(graph, config.get(), graph.foldable())
    found = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul"):
            names = info["originalLayersNames"].astype(str)
            found[names.split("/")[0]] = info["primitiveType"].astype(str)
    return found


def distance(found, exact):
    """Relative error, of the mean square."""
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def test_all_products_run_in_int8_kernels(quantized):
    found = kernels(quantized)
    assert len(found) == 5
    assert all(kernel.lower().endswith("i8") for kernel in found.values()), found


def test_results_are_near_the_exact_ones_and_not_equal(model):
    x = rows(8, seed=1)
    exact = model.predict(x, verbose=0)
    kerasvino.quantize(model, rows(), verbose=False)
    found = model.predict(x, verbose=0)
    assert 1e-6 < distance(found, exact) < 0.05
    kerasvino.dequantize(model)
    np.testing.assert_array_equal(model.predict(x, verbose=0), exact)
    assert kerasvino.quantization(model) is None


def test_weights_assigned_later_are_seen(quantized):
    x = rows(8, seed=1)
    quantized.predict(x, verbose=0)
    layer = quantized.get_layer("scores")
    layer.kernel.assign(layer.kernel[::-1])
    found = quantized.predict(x, verbose=0)
    kerasvino.dequantize(quantized)
    assert 1e-6 < distance(found, quantized.predict(x, verbose=0)) < 0.05


def test_one_program_whoever_asks(quantized):
    """`predict` of any batch, `evaluate`, `model(x)` and `jit` round alike."""
    x = rows(8, seed=1)
    whole = quantized.predict(x, verbose=0)
    parts = quantized.predict(x, batch_size=3, verbose=0)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)
    jitted = kerasvino.jit(quantized)(x)
    np.testing.assert_allclose(jitted, whole, rtol=1e-5, atol=1e-5)
    for _ in range(4):  # eager first
        called = quantized(x)
    np.testing.assert_allclose(called, whole, rtol=1e-5, atol=1e-5)
    quantized.compile(loss="mse")
    assert quantized.evaluate(x, whole, verbose=0) < 1e-9


def test_fit_is_exact():
    x, y = rows(8), np.ones((8, 16), "float32")
    losses = []
    for quantize in (False, True):
        model = convolutional()
        if quantize:
            kerasvino.quantize(model, rows(), verbose=False)
        model.compile("sgd", "mse")
        losses.append(model.fit(x, y, epochs=3, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == losses[1]


def test_saved_and_loaded(quantized, tmp_path):
    x = rows(8, seed=1)
    exact = kerasvino.quantization(quantized)
    expected = quantized.predict(x, verbose=0)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert ranges_of(loaded) == ranges_of(quantized)
    assert kerasvino.quantization(loaded).layers == exact.layers
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    again = pickle.loads(pickle.dumps(quantized))
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)


def test_a_model_that_is_not_quantized_is_saved_without(model, tmp_path):
    import zipfile

    model.save(tmp_path / "model.keras")
    assert not [n for n in zipfile.ZipFile(tmp_path / "model.keras").namelist() if "range" in n]
    assert kerasvino.quantization(keras.saving.load_model(tmp_path / "model.keras")) is None


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(64, activation="relu")
        self.last = layers.Dense(8)

    def call(self, x):
        return self.last(self.hidden(x))


def test_a_class_whose_layers_have_other_names_when_they_are_loaded(tmp_path):
    keras.saving.register_keras_serializable("tests")(Subclassed)
    model, x = Subclassed(), rows(8, (32,))
    model(x)
    kerasvino.quantize(model, x, verbose=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.hidden.name != model.hidden.name
    found = kernels_by_call(loaded, x)
    assert len(found) == 2 and all(kernel.lower().endswith("i8") for kernel in found), found
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)


def kernels_by_call(model, x):
    graph = traced(model, signature_of(model, [keras.InputSpec(shape=x.shape, dtype="float32")]))
    compiled = compile_graph(graph, config.get(), graph.foldable())
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    return [
        info["primitiveType"].astype(str)
        for info in infos
        if info["layerType"].astype(str) in ("FullyConnected", "MatMul")
    ]


def test_within_another_model(quantized):
    x = rows(8, seed=1)
    outer = keras.Sequential([keras.Input((16, 16, 8)), quantized, layers.Dense(4)])
    exact_outer = outer.predict(x, verbose=0)
    kerasvino.dequantize(quantized)
    assert distance(exact_outer, outer.predict(x, verbose=0)) > 1e-6


def test_where_other_layers_have_the_same_names_nothing_is_rounded(quantized):
    """Ranges go by names: they must never be those of another layer."""
    x = rows(8, seed=1)
    other = convolutional()
    for variable in other.weights:
        variable.assign(variable * 3)
    both = kerasvino.jit(lambda x: (quantized(x), other(x)))
    first, second = both(x)
    kerasvino.dequantize(quantized)
    np.testing.assert_allclose(first, quantized.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second, other.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_file_is_as_the_model_and_a_quarter_as_large(model, tmp_path):
    model.export(tmp_path / "exact.xml", format="openvino", verbose=False)
    kerasvino.quantize(model, rows(), verbose=False)
    model.export(tmp_path / "int8.xml", format="openvino", verbose=False)
    sizes = [(tmp_path / f"{name}.bin").stat().st_size for name in ("exact", "int8")]
    assert sizes[0] / sizes[1] > 3.4
    x = rows(8, seed=1)
    core = openvino.Core()
    properties = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(tmp_path / "int8.xml", "CPU", properties)
    expected = model.predict(x, verbose=0)
    assert distance(compiled([x])[0], expected) < 0.05
    types = [
        node.get_rt_info()["primitiveType"].astype(str)
        for node in compiled.get_runtime_model().get_ordered_ops()
        if node.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert types and all(kernel.lower().endswith("i8") for kernel in types)


def test_weights_of_a_file_are_right_where_bytes_are_added_in_16_bits(quantized):
    integers = [
        node.get_data()
        for node in convert(quantized).get_ordered_ops()
        if node.get_type_name() == "Constant"
        and node.get_output_element_type(0) == openvino.Type.i8
    ]
    assert len(integers) == 5
    assert all(63 == np.abs(array).max() for array in integers)


def test_where_no_kernel_is_right_nothing_is_rounded(quantized, monkeypatch):
    x = rows(8, seed=1)
    monkeypatch.setattr(narrow, "weight_bits", lambda device: None)
    fresh = convolutional()
    expected = fresh.predict(x, verbose=0)
    np.testing.assert_array_equal(quantized.predict(x, verbose=0), expected)


def test_seven_bits_where_eight_overflow(quantized, monkeypatch):
    x = rows(8, seed=1)
    eight = quantized.predict(x, verbose=0)
    monkeypatch.setattr(narrow, "weight_bits", lambda device: 7)
    quantized.predict_function = None
    seven = quantized.predict(x, verbose=0)
    assert 1e-6 < distance(seven, eight) < 0.05


@pytest.mark.parametrize("preset", ["performance", "mixed"])
def test_presets(model, preset):
    x = rows(8, seed=1)
    exact = model.predict(x, verbose=0)
    kerasvino.quantize(model, rows(), preset=preset, verbose=False)
    assert 1e-6 < distance(model.predict(x, verbose=0), exact) < 0.05
    symmetric = all(
        np.allclose(np.negative(a.low), a.high, rtol=0.02) or not any(a.low)
        for a in ranges_of(model).activations
    )
    assert symmetric == (preset == "performance")


def test_ignored_layers_stay_exact(model):
    kerasvino.quantize(model, rows(), ignored=["third", model.get_layer("scores")], verbose=False)
    found = kernels(model)
    assert not any(found[name].lower().endswith("i8") for name in ("third", "scores")), found
    assert found["first"].lower().endswith("i8")


def test_a_transformer():
    keras.utils.set_random_seed(0)
    x = tokens = keras.Input((12, 32))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
    x = layers.LayerNormalization()(x + layers.Dense(32)(layers.Dense(64, "gelu")(x)))
    model, x = keras.Model(tokens, x), rows(16, (12, 32))
    exact = model.predict(x, verbose=0)
    kerasvino.quantize(model, x, model_type="transformer", verbose=False)
    assert 1e-6 < distance(model.predict(x, verbose=0), exact) < 0.1
    assert ranges_of(model).activations


def test_several_inputs_by_name():
    keras.utils.set_random_seed(0)
    inputs = {name: keras.Input((32,), name=name) for name in ("left", "right")}
    x = layers.Concatenate()([layers.Dense(32)(inputs["left"]), inputs["right"]])
    model = keras.Model(inputs, layers.Dense(8)(x))
    x = {name: rows(16, (32,), seed) for seed, name in enumerate(inputs)}
    exact = model.predict(x, verbose=0)
    kerasvino.quantize(model, x, verbose=False)
    assert 1e-6 < distance(model.predict(x, verbose=0), exact) < 0.1


def batches():
    while True:  # nobody says how many
        yield rows(5), np.zeros((5, 16))


def test_datasets_of_batches(model):
    kerasvino.quantize(model, batches(), samples=12, verbose=False)
    assert kerasvino.quantization(model).layers["first"] == "int8"


def test_a_model_of_one_length_of_the_batch():
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(4, 32))
    model = keras.Model(x, layers.Dense(64)(x))
    kerasvino.quantize(model, rows(16, (32,)), verbose=False)
    assert model.predict(rows(8, (32,)), batch_size=4, verbose=0).shape == (8, 64)


def test_a_metric_takes_layers_out_of_int8(model, capsys):
    """The one whose weights are worst to round is left in float, the others are not."""
    layer = model.get_layer("third")
    kernel = layer.kernel.numpy()
    kernel[:, :, 0] = np.sign(kernel[:, :, 0]) * 300  # so large that the others round to 0
    layer.kernel.assign(kernel)
    x = rows(16, seed=1)
    exact = model.predict(x, verbose=0)
    asked = []

    def closeness(model):
        asked.append(kerasvino.quantization(model))
        return -distance(model.predict(x, verbose=0), exact)

    kerasvino.quantize(model, rows(), metric=closeness, max_drop=0.02, verbose=True)
    kinds = kerasvino.quantization(model).layers
    assert asked[0] is None and len(asked) > 2
    assert -closeness(model) <= 0.02
    assert "int8" in kinds.values()
    assert "looking for the layers" in capsys.readouterr().out


def test_a_metric_that_holds_takes_nothing_out(model):
    values = iter([0.5, 0.49])
    kerasvino.quantize(
        model, rows(), metric=lambda model: next(values), max_drop=0.011, verbose=False
    )
    assert set(kerasvino.quantization(model).layers.values()) == {"int8"}


def test_a_metric_that_fails_leaves_the_model_as_it_was(model):
    def fails(model):
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        kerasvino.quantize(model, rows(), metric=fails, max_drop=0.1, verbose=False)
    assert kerasvino.quantization(model) is None


@pytest.mark.measured
def test_what_is_faster_is_measured(model, capsys):
    kerasvino.quantize(model, rows())
    found = kerasvino.quantization(model)
    assert set(found.layers) == {"first", "depthwise", "second", "third", "scores"}
    assert set(found.layers.values()) <= {"int8", "bf16", "f32"}
    assert found.seconds["chosen"] > 0 and found.seconds["f32"] > 0
    text = capsys.readouterr().out
    assert str(found) in text and "small: of 5 layers" in text
    x = rows(8, seed=1)
    assert distance(model.predict(x, verbose=0), convolutional().predict(x, verbose=0)) < 0.05


# -- what is refused


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"preset": "fast"}, ValueError, "preset='fast'; accepted: performance, mixed, None"),
        ({"model_type": "cnn"}, ValueError, "model_type='cnn'; accepted: transformer, None"),
        ({"ignored": ["thrid"]}, ValueError, "has no layer 'thrid'; there are: third"),
        ({"ignored": "thrid"}, ValueError, "has no layer 'thrid'"),
        ({"ignored": [3]}, ValueError, "takes layers and names of layers; given: 3"),
        ({"metric": lambda model: 1.0}, ValueError, "only metric is given"),
        ({"max_drop": 0.1}, ValueError, "only max_drop is given"),
        ({"metric": "accuracy", "max_drop": 0.1}, TypeError, "metric is a function of the"),
        ({"metric": lambda model: "x", "max_drop": 0.1}, TypeError, "'x', which is no number"),
        ({"metric": lambda model: 1.0, "max_drop": -1}, ValueError, "0 or more; given: -1"),
        ({"samples": 0}, ValueError, "samples is a whole number, 1 or more; given: 0"),
    ],
)  # fmt: skip
def test_arguments(model, arguments, kind, message):
    with pytest.raises(kind, match=message):
        kerasvino.quantize(model, rows(), verbose=False, **arguments)
    assert kerasvino.quantization(model) is None


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (rows(0), "was given no data"),
        ([], "was given no data"),
        ((x for x in ()), "cannot read its dataset: .*Received an empty generator"),
        (iter([]), "cannot read its dataset: Unrecognized data type"),
        (rows(4, (16, 16, 3)), r"shape \(\d, 16, 16, 3\); the input image"),
        ([rows(4), rows(4)], "2 arrays in a batch, and the model takes 1: image"),
    ],
)
def test_datasets_that_do_not_fit(model, dataset, message):
    with pytest.raises(ValueError, match=message):
        kerasvino.quantize(model, dataset, verbose=False)


def test_other_things_than_models():
    with pytest.raises(TypeError, match=r"takes a keras\.Model; given: <Dense"):
        kerasvino.quantize(layers.Dense(3), rows())
    with pytest.raises(ValueError, match="has not been built"):
        kerasvino.quantize(keras.Sequential([layers.Dense(3)]), rows())


def test_a_model_quantized_by_keras(model):
    model.quantize("int8")
    with pytest.raises(ValueError, match=r"quantized already, by model\.quantize"):
        kerasvino.quantize(model, rows())


def test_a_model_with_nothing_to_round():
    x = keras.Input((4,))
    with pytest.raises(ValueError, match="nothing to round"):
        kerasvino.quantize(keras.Model(x, layers.ReLU()(x)), rows(4, (4,)), verbose=False)


def test_without_nncf(model, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ImportError, match=r"pip install 'kerasvino\[quantize\]'"):
        kerasvino.quantize(model, rows())


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', "[]"])
def test_files_that_hold_no_ranges(text):
    from kerasvino.graph.ranges import Ranges

    with pytest.raises(ValueError):
        Ranges.from_json(text)
