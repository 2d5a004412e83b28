"""model.export(format="openvino"): the files run in OpenVINO alone, with the same numbers."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import openvino
import pytest
from keras import layers, ops

import kerasvino

# Keras warns of dicts of inputs whose keys are not the layers' names, which is what they test here.
pytestmark = pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")

# Xeons with bf16 compute in it unless told otherwise.
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.fixture
def export(tmp_path):
    """Exports a model and returns what OpenVINO reads."""

    def run(model, *, folder="", **options):
        path = tmp_path / folder / "model.xml"
        model.export(path, format="openvino", verbose=False, **options)
        return openvino.Core().read_model(path)

    return run


def compiled(model):
    return openvino.Core().compile_model(model, "CPU", EXACT)


def names(ports):
    return [port.get_any_name() for port in ports]


def shape(port):
    return tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape())


# -- numbers, in a process without Keras


def convolutional():
    x = image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(max_value=6)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="scores")(x))


def recurrent():
    x = words = layers.Input((None,), dtype="int32", name="words")
    x = layers.Embedding(20, 6, mask_zero=True)(x)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    y = layers.Bidirectional(layers.SimpleRNN(2))(x)
    return keras.Model(words, layers.Concatenate(name="last")([layers.GRU(3)(x), y]))


def images_in_time():
    frames = layers.Input((5, 6, 1), name="frames")
    return keras.Model(frames, layers.ConvLSTM1D(3, 3, padding="same", name="memory")(frames))


def nested():
    left, right = layers.Input((3,), name="left"), layers.Input((3,), name="right")
    scale = layers.Input((1,), name="scale_of_sum")
    total = layers.Multiply(name="scaled")([layers.Add()([left, right]), scale])
    outputs = {"sum": total, "more": [layers.Dense(2, name="two")(total), left]}
    return keras.Model({"sides": [left, right], "scale": scale}, outputs)


CASES = {
    "convolutional": (convolutional, normal(2, 12, 12, 3)),
    "recurrent": (recurrent, np.array([[3, 4, 0, 0], [1, 2, 3, 19]], "int32")),
    "images in time": (images_in_time, normal(2, 5, 6, 1)),
    "nested": (nested, {"sides": [normal(2, 3), normal(2, 3, seed=1)], "scale": normal(2, 1)}),
}

ALONE = """
import json, pathlib, sys
import numpy as np, openvino
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
for folder in map(pathlib.Path, sys.argv[1:]):
    model = openvino.Core().compile_model(folder / "model.xml", "CPU", EXACT)
    stored = np.load(folder / "values.npz")
    inputs = json.loads((folder / "in").read_text())
    results = model({name: stored["in " + name] for name in inputs})
    for name in json.loads((folder / "out").read_text()):
        np.testing.assert_allclose(results[name], stored["out " + name], rtol=1e-5, atol=1e-6)
assert not [name for name in sys.modules if name.startswith("keras")]
print("same")
"""


def test_the_files_run_without_keras(export, tmp_path):
    for name, (make, x) in CASES.items():
        keras.utils.set_random_seed(1)
        model = make()
        for variable in model.variables:  # not the zeros and ones of a new model
            variable.assign(ops.abs(normal(*variable.shape, seed=2)) * 0.3 + 0.1)
        expected = keras.tree.flatten(model.predict(x, verbose=0))
        read = export(model, folder=name)
        inputs, outputs = names(read.inputs), names(read.outputs)
        values = {f"in {n}": v for n, v in zip(inputs, keras.tree.flatten(x), strict=True)}
        values |= {f"out {n}": v for n, v in zip(outputs, expected, strict=True)}
        np.savez(tmp_path / name / "values.npz", **values)
        (tmp_path / name / "in").write_text(json.dumps(inputs))
        (tmp_path / name / "out").write_text(json.dumps(outputs))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *(str(tmp_path / name) for name in CASES)],
        capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr


def test_weights_are_constants(export):
    read = export(convolutional())
    assert len(read.inputs) == 1
    assert any(n.get_friendly_name().endswith("scores/kernel") for n in read.get_ordered_ops())


# -- names


def test_names_of_a_functional_model(export):
    read = export(convolutional())
    assert (names(read.inputs), names(read.outputs)) == (["image"], ["scores"])
    assert read.get_friendly_name().startswith("functional")


def test_names_of_nested_inputs_and_outputs(export):
    read = export(nested())
    assert names(read.inputs) == ["scale", "sides/0", "sides/1"]
    assert names(read.outputs) == ["more/0", "more/1", "sum"]


def test_an_input_that_is_an_output_keeps_both_names(export):
    read = compiled(export(nested()))
    values = {"scale": normal(1, 1), "sides/0": normal(1, 3), "sides/1": normal(1, 3)}
    assert np.array_equal(read(values)["more/1"], values["sides/0"])


def test_outputs_of_one_layer_are_told_apart(export):
    x = layers.Input((4, 3))
    model = keras.Model(x, layers.LSTM(2, return_state=True, name="memory")(x))
    assert names(export(model).outputs) == ["memory", "memory_1", "memory_2"]


class Difference(keras.Model):
    def build(self, y_shape, x_shape):
        self.built = True

    def call(self, x, mask=None, y=None):
        difference = x - y
        return difference, {"twice": 2 * x, "same": difference}


def test_names_of_arguments_of_call(export):
    model = Difference()
    x, y = normal(2, 3), normal(2, 3, seed=1)
    model(x, y=y)
    read = export(model)
    assert names(read.inputs) == ["x", "y"]
    assert names(read.outputs) == ["output_0", "1/same", "1/twice"]
    results = compiled(read)({"y": y, "x": x})
    assert np.allclose(results["output_0"], x - y)
    assert np.allclose(results["1/twice"], 2 * x)


def test_names_that_the_signature_gives(export):
    signature = [keras.InputSpec(shape=(None, 12, 12, 3), dtype="float32", name="pixels")]
    assert names(export(convolutional(), input_signature=signature).inputs) == ["pixels"]


# -- shapes


def test_unknown_lengths_stay_dynamic(export):
    assert shape(export(convolutional()).input(0)) == (None, 12, 12, 3)
    read = export(recurrent())
    assert shape(read.input(0)) == (None, None)
    assert read.input(0).get_element_type() == openvino.Type.i32
    run = compiled(read)
    assert run(np.ones((3, 7), "int32"))[0].shape == (3, 7)


def test_a_given_signature_is_kept(export):
    signature = [keras.InputSpec(shape=(4, 9), dtype="int64")]
    read = export(recurrent(), input_signature=signature)
    assert shape(read.input(0)) == (4, 9)
    assert read.input(0).get_element_type() == openvino.Type.i64
    assert shape(read.output(0)) == (4, 7)


@pytest.mark.parametrize("batch", [None, 2])
def test_signature_of_several_inputs(export, batch):
    left, right = layers.Input((3,), name="left"), layers.Input((3,), name="right")
    model = keras.Model([left, right], layers.Subtract()([left, right]))
    spec = keras.InputSpec(shape=(batch, 3), dtype="float32")
    for signature in ([spec, spec], [[spec, spec]]):
        read = export(model, input_signature=signature)
        assert [shape(i) for i in read.inputs] == [(batch, 3)] * 2
        results = compiled(read)({"left": normal(2, 3), "right": np.ones((2, 3), "f")})
        assert np.allclose(results[0], normal(2, 3) - 1)


def test_examples_as_signature_give_their_shape_but_not_their_batch(export):
    read = export(recurrent(), input_signature=[ops.zeros((4, 9), "int32")])
    assert shape(read.input(0)) == (None, 9)


# -- half the size


def test_compressed_weights(tmp_path):
    model = keras.Sequential([layers.Input((64,)), layers.Dense(64), layers.Dense(64)])
    sizes, x = {}, normal(3, 64)
    for half in (False, True):
        path = tmp_path / str(half) / "model.xml"
        model.export(path, format="openvino", verbose=False, compress_to_fp16=half)
        sizes[half] = path.with_suffix(".bin").stat().st_size
        result = compiled(openvino.Core().read_model(path))(x)[0]
        np.testing.assert_allclose(result, model.predict(x, verbose=0), atol=1e-2 if half else 1e-6)
    assert sizes[False] > 64 * 64 * 2 * 4
    assert sizes[True] < 0.52 * sizes[False]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_narrow_outputs(export, policy):
    x = layers.Input((8,))
    model = keras.Model(x, layers.Dense(3, dtype=policy)(layers.Dense(8, dtype=policy)(x)))
    read = export(model)
    # NumPy has no bfloat16, so such results are written as float32
    kind = openvino.Type.f32 if policy == "mixed_bfloat16" else openvino.Type.f16
    assert read.output(0).get_element_type() == kind
    expected = model.predict(normal(2, 8), verbose=0).astype("float32")
    assert np.array_equal(compiled(read)(normal(2, 8))[0], expected)


# -- preprocessing


PIXELS = np.random.default_rng(3).integers(0, 256, (2, 12, 12, 3), dtype="uint8")


@pytest.mark.parametrize(
    "preprocessing",
    [
        {},
        {"scale": 255.0},
        {"mean": [100.0, 110.0, 120.0], "scale": [50.0, 60.0, 70.0]},
        {"mean": 127.5, "scale": 127.5, "color": "bgr"},
        {"mean": 10, "layout": "NCHW"},
    ],
)
def test_preprocessing_against_the_same_by_hand(export, preprocessing):
    model = convolutional()
    read = export(model, preprocessing=preprocessing)
    assert read.input(0).get_element_type() == openvino.Type.u8
    x = PIXELS.astype("float32")
    if preprocessing.get("color") == "bgr":
        x = x[..., ::-1]
    x = (x - np.array(preprocessing.get("mean", 0), "f")) / np.array(
        preprocessing.get("scale", 1), "f"
    )
    given = PIXELS.transpose(0, 3, 1, 2) if preprocessing.get("layout") == "NCHW" else PIXELS
    results = compiled(read)({"image": np.ascontiguousarray(given)})
    np.testing.assert_allclose(results["scores"], model.predict(x, verbose=0), rtol=1e-4, atol=1e-6)


SIZES = [(24, 24), (18, 7), (6, 6)]


def resized(export, resize, size, low=0, high=256):
    """Random pixels from `low` to below `high`, and what a model of 12 x 12 sees of them."""
    model = keras.Sequential([layers.Input((12, 12, 3)), layers.Identity()])
    read = export(model, preprocessing=kerasvino.export.Preprocessing(resize=resize))
    assert shape(read.input(0)) == (None, None, None, 3)
    pixels = np.random.default_rng(4).integers(low, high, (1, *size, 3), dtype="uint8")
    return pixels, compiled(read)(pixels)[0]


@pytest.mark.parametrize("size", SIZES)
def test_resizing_against_keras(export, size):
    pixels, result = resized(export, "linear", size)
    expected = ops.image.resize(pixels.astype("float32"), (12, 12), interpolation="bilinear")
    np.testing.assert_allclose(result, expected, atol=1e-2)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_resizing_against_pillow(export, kind, size):
    from PIL import Image

    # Pillow rounds to 8 bits after each of the two axes, which cuts off what a cubic overshoots.
    pixels, result = resized(export, f"{kind}_pillow", size, low=96, high=160)
    method = getattr(Image.Resampling, kind.upper())
    expected = np.asarray(Image.fromarray(pixels[0]).resize((12, 12), method), "float32")
    assert np.abs(result[0] - expected).max() <= 1.1


def test_preprocessing_of_one_input_of_several(export):
    image, bias = layers.Input((4, 4, 3), name="image"), layers.Input((3,), name="bias")
    model = keras.Model([image, bias], layers.GlobalMaxPooling2D()(image) + bias)
    read = export(model, preprocessing={"image": {"scale": 2.0}})
    types = {i.get_any_name(): i.get_element_type() for i in read.inputs}
    assert types == {"image": openvino.Type.u8, "bias": openvino.Type.f32}
    values = {"image": PIXELS[:, :4, :4], "bias": normal(2, 3)}
    expected = PIXELS[:, :4, :4].max((1, 2)) / 2.0 + values["bias"]
    np.testing.assert_allclose(compiled(read)(values)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ({"resise": "linear"}, "names 'resise', which is neither an input"),
        ({"image": {"resise": "linear"}}, "no field resise; there are color, dtype"),
        ({"resize": "lanczos"}, "resize='lanczos'; accepted: None, 'linear'"),
        ({"dtype": "string"}, "dtype='string'; accepted: 'int8'"),
        ({"mean": [1.0, 2.0]}, "mean has 2 numbers, and the input 3 channels"),
    ],
)
def test_wrong_preprocessing(export, preprocessing, message):
    with pytest.raises(ValueError, match=message):
        export(convolutional(), preprocessing=preprocessing)


def test_preprocessing_is_for_images_of_known_size(export):
    with pytest.raises(ValueError, match="for images, of shape NHWC"):
        export(recurrent(), preprocessing={"scale": 2})
    any_size = keras.Sequential([layers.Input((None, None, 3)), layers.Identity()])
    with pytest.raises(ValueError, match="give input_signature with a height and a width"):
        export(any_size, preprocessing={"resize": "linear"})


# -- metadata


def test_metadata(export):
    read = export(convolutional())
    assert read.get_rt_info(["kerasvino", "version"]).astype(str) == kerasvino.__version__
    assert read.get_rt_info(["kerasvino", "keras_version"]).astype(str) == keras.__version__


# -- state


class Counter(layers.Layer):
    def __init__(self, dtype, **kwargs):
        super().__init__(**kwargs)
        self.count = self.add_weight(shape=(), initializer="ones", dtype=dtype, trainable=False)

    def call(self, x):
        self.count.assign_add(ops.ones_like(self.count))
        return x * ops.cast(self.count, x.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64", "uint8", "uint32"])
def test_assigned_variables_are_state(export, dtype):
    x = layers.Input((1,))
    model = keras.Model(x, Counter(dtype)(x))
    model.predict(np.ones((1, 1)), verbose=0)
    request = compiled(export(model)).create_infer_request()
    seen = [float(request.infer(np.ones((1, 1), "f"))[0].item()) for _ in range(3)]
    assert seen == [3, 4, 5]
    request.reset_state()
    assert request.infer(np.ones((1, 1), "f"))[0].item() == 3
    assert int(model.layers[1].count) == 2, "the exported model has its own state"


def test_a_stateful_recurrent_model(export):
    model = keras.Sequential(
        [layers.Input(batch_shape=(2, 3, 4)), layers.LSTM(5, stateful=True), layers.Dense(2)]
    )
    spec = [keras.InputSpec(shape=(2, 3, 4), dtype="float32")]
    request = compiled(export(model, input_signature=spec)).create_infer_request()
    for seed in range(3):
        x = normal(2, 3, 4, seed=seed)
        expected = model.predict(x, verbose=0, batch_size=2)
        np.testing.assert_allclose(request.infer(x)[0], expected, rtol=1e-5, atol=1e-6)


class Noise(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(7)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seeds)


def test_random_numbers_are_those_of_keras(export):
    x = layers.Input((5,))
    model = keras.Model(x, Noise()(x))
    request = compiled(export(model)).create_infer_request()
    for _ in range(3):
        expected = model.predict(np.zeros((2, 5)), verbose=0)
        np.testing.assert_allclose(request.infer(np.zeros((2, 5), "f"))[0], expected, atol=1e-6)


class Hashed(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        large = np.array([3_500_000_000, 7], "uint32")
        self.mask = self.add_weight(shape=(2,), initializer=lambda s, dtype: large, dtype="uint32")

    def call(self, x):
        return ops.bitwise_xor(x, self.mask)


def test_large_unsigned_weights_keep_their_bits(export):
    x = layers.Input((2,), dtype="uint32")
    read = compiled(export(keras.Model(x, Hashed(dtype="uint32")(x))))
    given = np.array([[1, 2], [4_000_000_000, 5]], "uint32")
    assert np.array_equal(read(given)[0], given ^ np.array([3_500_000_000, 7], "uint32"))


# -- what is refused


def test_wrong_arguments(tmp_path):
    model = convolutional()
    with pytest.raises(ValueError, match=r"to end with '\.xml'"):
        model.export(tmp_path / "model.onnx", format="openvino")
    with pytest.raises(TypeError, match="does not take opset_version; it takes filepath, verbose"):
        model.export(tmp_path / "model.xml", format="openvino", opset_version=18)
    with pytest.raises(TypeError, match=r"made of keras\.InputSpec.*given: 3"):
        model.export(tmp_path / "model.xml", format="openvino", input_signature=[3])
    assert not list(tmp_path.iterdir())


def test_signature_with_too_many_arguments(export):
    model = Difference()
    model(normal(2, 3), y=normal(2, 3))
    spec = keras.InputSpec(shape=(None, 3), dtype="float32")
    with pytest.raises(ValueError, match=r"has 3 arguments, and call\(\) .* takes x, y"):
        export(model, input_signature=[spec] * 3)


def test_models_that_cannot_be_exported(export):
    with pytest.raises(TypeError, match=r"A keras\.Model can be exported"):
        kerasvino.export.export_openvino(layers.Dense(2), "model.xml")
    with pytest.raises(ValueError, match="has not yet been built"):
        export(keras.Sequential([layers.Dense(2)]))
    words = layers.TextVectorization(vocabulary=["a", "b"])
    with pytest.raises(ValueError, match="The input text is of strings"):
        export(keras.Sequential([layers.Input((1,), dtype="string", name="text"), words]))


@pytest.mark.parametrize(
    ("given_format", "error", "message"),
    [
        ("tf_saved_model", ValueError, r"cannot be written under the openvino backend.*model\.xml"),
        ("onnx", NotImplementedError, "only compatible with TensorFlow, JAX and"),
        ("litert", ValueError, "requires TensorFlow or PyTorch"),
        ("torch", ValueError, "requires PyTorch"),
    ],
)
def test_other_formats_say_what_they_need(tmp_path, given_format, error, message):
    model = convolutional()
    model(normal(1, 12, 12, 3))
    with pytest.raises(error, match=message):
        model.export(str(tmp_path / "model"), format=given_format)
    assert not list(tmp_path.iterdir())


def test_export_archive_says_that_it_writes_savedmodels():
    with pytest.raises(ValueError, match="SavedModels"):
        keras.export.ExportArchive()


def test_keras_exports_through_ours():
    import keras.src.export.openvino as theirs

    assert theirs is kerasvino.export
    assert keras.src.export.export_openvino is kerasvino.export.export_openvino


def test_what_was_written_is_said(tmp_path, capsys):
    convolutional().export(tmp_path / "model.xml", format="openvino")
    assert f"Saved OpenVINO IR at '{tmp_path / 'model.xml'}'" in capsys.readouterr().out
