"""Products with quantized operands: which kernels they reach, and that results stay."""

import keras
import numpy as np
import pytest
from keras import layers, ops, quantizers

import kerasvino
from kerasvino.backend.keras_private import PLUGGABLE
from kerasvino.graph import Spec, trace
from kerasvino.graph.graph import Narrow
from kerasvino.passes import int8_probe
from kerasvino.passes.compressed import Compressed, compressed, rounded
from kerasvino.passes.stored import stored
from kerasvino.passes.walk import Scope
from kerasvino.runtime import config, devices
from kerasvino.runtime.narrow import has_int8_kernels, narrow_for

RNG = np.random.default_rng(0)
MODES = {
    "int8": {"mode": "int8"},
    "int8 weights": {"config": quantizers.Int8QuantizationConfig(activation_quantizer=None)},
    "int4": {"mode": "int4"},
    "int4 groups": {"config": quantizers.Int4QuantizationConfig(block_size=32)},
    "int4 channels": {"config": quantizers.Int4QuantizationConfig(block_size=-1)},
    "int4 activations": {
        "config": quantizers.Int4QuantizationConfig(
            block_size=-1, activation_quantizer=quantizers.AbsMaxQuantizer()
        )
    },
}


@pytest.fixture(autouse=True)
def numbers_of_each_test():
    """Each test draws the same numbers, whichever others ran before it in its process."""
    global RNG
    RNG = np.random.default_rng(0)


HELD = {mode: ("i8",) if mode.startswith("int8") else ("i4", "u4") for mode in MODES}


def dense(terms, outputs):
    return keras.Sequential([keras.Input((terms,)), layers.Dense(outputs)])


def einsum(terms, outputs):
    layer = layers.EinsumDense(
        "abc,cde->abde", output_shape=(None, outputs // 4, 4), bias_axes="de"
    )
    return keras.Sequential([keras.Input((3, terms)), layer])


def einsum_of_two(terms, outputs):
    layer = layers.EinsumDense("abcd,cde->abe", output_shape=(None, outputs), bias_axes="e")
    return keras.Sequential([keras.Input((3, terms // 8, 8)), layer])


def attention(terms, outputs):
    x = keras.Input((3, terms))
    return keras.Model(x, layers.MultiHeadAttention(4, outputs // 4)(x, x))


def quantized(build, mode, terms=256, outputs=64):
    model = build(terms, outputs)
    for weight in model.weights:
        weight.assign(RNG.normal(size=weight.shape).astype("float32") * 0.1)
    model.quantize(**MODES[mode])
    x = RNG.normal(size=(5, *model.input_shape[1:])).astype("float32")
    return model, x


def graph_of(model, x):
    specs = [Spec(x.shape, str(x.dtype))]
    return trace(lambda x: [ops.convert_to_tensor(model(x, training=False))], specs)


def products(compiled):
    """(kernel, type of weights) of each product as the plugin runs it."""
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    found = [{k: i[k].astype(str) for k in ("layerType", "primitiveType", "runtimePrecision")}
             for i in infos]  # fmt: skip
    return [
        (f["primitiveType"], f["runtimePrecision"])
        for f in found
        if f["layerType"] in ("FullyConnected", "MatMul")
    ]


def compiled(graph, narrow=Narrow(), **properties):  # noqa: B008
    model = graph.bind(graph.foldable(), narrow)
    return devices.core().compile_model(model, "CPU", {**config.get().properties, **properties})


def relative(found, wanted):
    return np.abs(np.asarray(found) - np.asarray(wanted)).max() / np.abs(np.asarray(wanted)).max()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("build", [dense, einsum, einsum_of_two])
def test_weights_stay_in_bytes_and_results_are_those_of_numpy(build, mode):
    model, x = quantized(build, mode)
    wanted = np.asarray(model(x))
    program = compiled(graph_of(model, x))
    assert all(kind in HELD[mode] for _, kind in products(program)), products(program)
    assert relative(program(x)[0], wanted) < 1e-5
    assert relative(model.predict(x, verbose=0), wanted) < 1e-5


@pytest.mark.parametrize("mode", MODES)
def test_attention(mode):
    model, x = quantized(attention, mode)
    program = compiled(graph_of(model, x))
    narrow = [kind for _, kind in products(program) if kind in HELD[mode]]
    assert len(narrow) == 4  # query, key, value, output
    # integers that are rounded in a layer may be others than in NumPy, of what is almost between
    assert relative(program(x)[0], np.asarray(model(x))) < 5e-3


@pytest.mark.parametrize("build", [dense, einsum, einsum_of_two])
@pytest.mark.parametrize("terms", [256, 1200])  # one exact product of float32, and two
def test_int8_activations_reach_the_int8_kernels_and_mean_the_same(build, terms):
    model, x = quantized(build, "int8", terms)
    graph = graph_of(model, x)
    fast = Narrow(int8_kernels=True)
    assert [kernel[-2:] for kernel, _ in products(compiled(graph, fast))] == ["i8"]
    # the same nodes by kernels of float32, which no processor gets wrong
    program = compiled(graph, fast, LP_TRANSFORMS_MODE="NO")
    assert [kernel[-3:] for kernel, _ in products(program)] == ["f32"]
    wanted = np.asarray(model(x))
    assert relative(program(x)[0], wanted) < 1e-5
    if has_int8_kernels("CPU"):
        assert relative(compiled(graph, fast)(x)[0], wanted) < 1e-5


def test_the_probe_is_what_the_plugin_computes():
    program = devices.core().compile_model(
        int8_probe.model(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    exact = np.array_equal(program(int8_probe.INPUT)[0], int8_probe.EXPECTED)
    assert exact or not has_int8_kernels("CPU")
    assert not has_int8_kernels("HETERO:CPU")


@pytest.mark.parametrize("mode", MODES)
def test_rows_with_nan_infinity_and_zeros(mode):
    model, x = quantized(dense, mode)
    x[0, 3], x[1, 5], x[2] = np.nan, np.inf, 0
    model.run_eagerly = True
    wanted = model.predict(x, verbose=0)
    model.run_eagerly = False
    found = model.predict(x, verbose=0)
    assert np.isnan(wanted[0]).all() and np.isnan(found[0]).all()
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
    np.testing.assert_allclose(found[2:], wanted[2:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("terms", [255, 254, 200, 33])
@pytest.mark.parametrize("mode", ["int4", "int4 groups", "int4 channels", "int8"])
def test_lengths_that_groups_and_pairs_do_not_divide(mode, terms):
    model, x = quantized(dense, mode, terms, 130)
    assert relative(model.predict(x, verbose=0), np.asarray(model(x))) < 1e-5


@pytest.mark.parametrize("mode", ["int8", "int4", "int4 channels"])
def test_square_weights_used_both_ways(mode):
    """The plugin keeps one packed copy of a constant matrix, see `transposed_weights`."""

    class Tied(keras.Model):
        def __init__(self):
            super().__init__()
            self.table = layers.ReversibleEmbedding(64, 64)
            self.project = layers.Dense(64)

        def call(self, x):
            return self.table(self.project(self.table(x)), reverse=True)

    model = Tied()
    tokens = np.arange(12).reshape(3, 4)
    model(tokens)
    model.quantize(**MODES[mode])
    assert relative(model.predict(tokens, verbose=0), np.asarray(model(tokens))) < 1e-2
    weights = RNG.integers(-127, 128, (64, 64)).astype("int8")
    x = RNG.normal(size=(3, 64)).astype("float32")

    def forth_and_back(x):
        w = ops.cast(variable, "float32")
        return ops.matmul(ops.sin(ops.matmul(x, w)), ops.transpose(w))

    variable = keras.Variable(weights, dtype="int8", trainable=False)
    wanted = np.sin(x @ weights.astype("float32")) @ weights.T
    found = kerasvino.jit(forth_and_back)(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=0.5)


def test_lora_on_quantized_weights_trains_and_predicts():
    model, x = quantized(dense, "int8")
    layer = model.layers[0]
    layer.enable_lora(4)
    model.compile("sgd", "mse")
    before = layer.lora_kernel_b.numpy()
    losses = model.fit(x, np.ones((5, 64)), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.abs(layer.lora_kernel_b.numpy() - before).max() > 0
    assert relative(model.predict(x, verbose=0), np.asarray(model(x))) < 1e-5


@pytest.mark.parametrize("dtypes", [("int8", "int8"), ("uint8", "uint8"), ("int8", "uint8")])
@pytest.mark.parametrize("terms", [7, 1024, 1025, 3000])
def test_products_of_bytes_are_exact_in_integers(dtypes, terms):
    x, y = (RNG.choice([np.iinfo(d).min, np.iinfo(d).max], s).astype(d)
            for d, s in zip(dtypes, ((3, terms), (terms, 5)), strict=True))  # fmt: skip
    x[0], y[:, 0] = np.iinfo(x.dtype).min, np.iinfo(y.dtype).min
    wanted = x.astype("int64") @ y.astype("int64")
    for run in (ops.matmul, kerasvino.jit(ops.matmul)):
        found = run(x, y)
        np.testing.assert_array_equal(found, wanted.astype(str(found.dtype)))


@pytest.mark.parametrize("mode", ["int8", "int4", "int4 channels"])
@pytest.mark.parametrize("width", [48, 33])
def test_tables_of_embeddings_stay_in_bytes(mode, width):
    model = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(100, width)])
    model.quantize(**MODES[mode])
    tokens = RNG.integers(0, 100, (3, 4)).astype("int32")
    graph = graph_of(model, tokens)
    large = [
        node.get_output_element_type(0).get_type_name()
        for node in graph.bind(graph.foldable()).get_ordered_ops()
        if node.get_type_name() == "Constant" and node.get_output_size() == 1
        if np.prod(node.get_output_shape(0)) >= 100 * width
    ]
    if mode == "int8":
        assert large == ["i8"]
    elif PLUGGABLE:  # Keras 3.16 takes rows of the packed table, and unpacks those
        assert large == []
    else:
        assert large == ["i4" if width % 2 == 0 else "i8"]
    np.testing.assert_allclose(model.predict(tokens, verbose=0), model(tokens), rtol=1e-6)


@pytest.mark.parametrize("config", ["GPTQConfig", "AWQConfig"])
def test_calibrated_weights_stay_in_bytes(config):
    keras.utils.set_random_seed(0)
    block = keras.Sequential([layers.Dense(64, activation="relu"), layers.Dense(64)])
    tokens = keras.Input((4,), dtype="int32")
    embedding = layers.Embedding(11, 64)
    model = keras.Model(tokens, block(embedding(tokens)))
    data = [np.random.default_rng(i).integers(0, 11, (1, 4)) for i in range(8)]
    model.quantize(
        config=getattr(quantizers, config)(
            dataset=data, tokenizer=list, num_samples=8, sequence_length=4, group_size=32,
            quantization_layer_structure={
                "pre_block_layers": [embedding], "sequential_blocks": [block],
            },
        )
    )  # fmt: skip
    x = np.concatenate(data).astype("int32")
    program = compiled(graph_of(model, x))
    assert [kind for _, kind in products(program)] == ["u4", "u4"]
    assert relative(model.predict(x, verbose=0), np.asarray(model(x))) < 1e-5


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_an_exported_model_is_as_small_and_exact(mode, tmp_path):
    model, x = quantized(dense, mode)
    path = tmp_path / "model.xml"
    model.export(path, format="openvino", verbose=False)
    assert path.with_suffix(".bin").stat().st_size < 256 * 64 * (1.1 if mode == "int8" else 0.7)
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    found = devices.core().compile_model(path, "CPU", exact)(x)[0]
    assert relative(found, np.asarray(model(x))) < 1e-5


# -- what is known of constants


def test_zeros_scales_and_factors_of_terms_are_kept_apart():
    values = RNG.integers(-8, 8, (64, 16)).astype("int8")
    zero, scale = RNG.integers(-8, 8, (2, 16)).astype("float32"), RNG.normal(size=(2, 16)) + 3
    of_terms = RNG.uniform(1, 2, (64, 1)).astype("float32")
    index = np.arange(64) // 32

    def function(x):
        held = ops.cast(variable, "float32") - ops.take(zero, index, axis=0)
        weights = held * ops.take(scale.astype("float32"), index, axis=0) / of_terms
        return [ops.matmul(x, weights)]

    variable = keras.Variable(values, dtype="int8", trainable=False)
    graph = trace(function, [Spec((3, 64), "float32")])
    model = graph.bound(graph.foldable())
    product = next(n for n in model.get_ordered_ops() if n.get_type_name() == "MatMul")
    found = compressed(stored(product.input_value(1), Scope(model)), False)
    np.testing.assert_array_equal(found.values, values.T)
    np.testing.assert_array_equal(found.zero, zero.T)
    np.testing.assert_allclose(found.scale, scale.T, rtol=1e-6)
    np.testing.assert_allclose(found.terms, 1 / of_terms[:, 0], rtol=1e-6)


@pytest.mark.parametrize(("bits", "error"), [(8, 1 / 250), (4, 1 / 14)])
def test_rounded_weights_are_near(bits, error):
    weights = RNG.normal(size=(32, 256)).astype("float32")
    weights[3] = 0
    found = rounded(weights, bits)
    groups = found.groups
    parts = found.values.reshape(32, groups, -1).astype("float32")
    zero = 0 if found.zero is None else found.zero[:, :, None]
    back = ((parts - zero) * found.scale[:, :, None]).reshape(weights.shape)
    assert np.abs(back - weights).max() < error * np.ptp(weights)
    np.testing.assert_array_equal(back[3], 0)
    weights[0, 0] = np.inf
    assert rounded(weights, bits) is None


@pytest.mark.parametrize("values", [(-8, 7), (0, 15), (-127, 127), (0, 255)])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("centred", [False, True])
def test_the_forms_of_compressed_weights(values, groups, centred):
    import openvino.opset16 as ov
    from openvino import Model, PartialShape, Type

    low, high = values
    kind = "int8" if low < 0 else "uint8"
    held = RNG.integers(low, high + 1, (24, 64)).astype(kind)
    zero = RNG.integers(low // 2, high // 2, (24, groups)).astype("int16") if centred else None
    scale = RNG.uniform(0.5, 1, (24, groups)).astype("float32")
    weights, transposed = Compressed(held, zero, scale).node()
    x = RNG.normal(size=(8, 64)).astype("float32")
    given = ov.parameter(PartialShape([-1, 64]), Type.f32)
    model = Model([ov.matmul(given, weights, False, transposed)], [given])
    program = devices.core().compile_model(model, "CPU", config.get().properties)
    parts = held.astype("float32").reshape(24, groups, -1) - (zero[:, :, None] if centred else 0)
    wanted = x @ (parts * scale[:, :, None]).reshape(24, 64).T
    assert relative(program(x)[0], wanted) < 1e-5


# -- the settings


@pytest.mark.parametrize(("weights", "error"), [("int8", 0.02), ("int4", 0.2)])
def test_weights_are_rounded_where_asked_and_not_in_fit(weights, error):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((256,)), layers.Dense(256, "relu"), layers.Dense(128)])
    x, y = (RNG.normal(size=(8, n)).astype("float32") for n in (256, 128))
    exact = model.predict(x, verbose=0)
    with config.using(weights=weights):
        found = model.predict(x, verbose=0)
        assert 0 < relative(found, exact) < error
        graph = graph_of(model, x)
        narrow = narrow_for(graph, config.get(), graph.foldable())
        assert narrow == Narrow(weights=weights)
        kinds = {kind for _, kind in products(compiled(graph, narrow))}
        assert kinds <= ({"i8"} if weights == "int8" else {"u4", "i4"})
    np.testing.assert_array_equal(model.predict(x, verbose=0), exact)
    initial = model.get_weights()
    losses = []
    for setting in (None, weights):
        model.set_weights(initial)
        model.compile("sgd", "mse")
        with config.using(weights=setting):
            losses.append(model.fit(x, y, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_dynamic_activations_are_a_property_of_the_plugin():
    groups = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
    assert config.get().properties[groups] == "0"
    with config.using(activations="dynamic") as inner:
        assert inner.properties[groups] != "0"
        assert inner.key != config.Settings().key
    with config.using(weights="int8") as inner:
        assert inner.key != config.Settings().key
    with pytest.raises(ValueError, match="int4"):
        kerasvino.config.set(weights="int3")
