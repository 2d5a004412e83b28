"""Policies of bfloat16 on processors that multiply it: which kernels run, and what they compute."""

import keras
import ml_dtypes
import numpy as np
import openvino
import pytest
from keras import layers, ops

import kerasvino
from kerasvino.backend.training.step_graph import step_graph
from kerasvino.graph import Spec, trace
from kerasvino.graph.graph import Narrow
from kerasvino.runtime import config, devices
from kerasvino.runtime.narrow import has_bf16_kernels, narrow_for

RNG = np.random.default_rng(0)
BF16 = ml_dtypes.bfloat16
FAST = Narrow(bf16_kernels=True)
KINDS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
needs_kernels = pytest.mark.skipif(
    not has_bf16_kernels("CPU"), reason="this processor does not multiply bfloat16"
)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def compiled(graph, narrow):
    model = graph.bind(graph.foldable(), narrow)
    return devices.core().compile_model(model, "CPU", config.get().properties)


def precisions(program):
    """Of the products as the plugin runs them."""
    infos = [node.get_rt_info() for node in program.get_runtime_model().get_ordered_ops()]
    return [
        info["runtimePrecision"].astype(str)
        for info in infos
        if info["layerType"].astype(str) in KINDS
    ]


def product(x, y):
    return ops.cast(ops.matmul(ops.cast(x, "bfloat16"), ops.cast(y, "bfloat16")), "float32")


def graph_of(function, *shapes):
    return trace(lambda *given: [function(*given)], [Spec(shape, "float32") for shape in shapes])


def rounded(array):
    return array.astype(BF16).astype("float64")


def assert_rounded_once(found, wanted):
    """Numbers of bfloat16 that are next to float64 ones: what comes before is exact enough."""
    # half of the distance of neighbours, and what float32 sums lose
    limit = np.abs(wanted) * 2.0**-8 + np.abs(wanted).max() * 1e-6
    assert (np.abs(np.asarray(found, "float64") - wanted) <= limit).all()


@needs_kernels
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("shapes", [((40, 700), (700, 24)), ((3, 40, 64), (64, 24))])
def test_a_product_is_one_kernel_that_rounds_once(shapes, known):
    given = [shape if known else (None, *shape[1:]) for shape in shapes]
    program = compiled(graph_of(product, *given), FAST)
    assert precisions(program) == ["bf16"]
    x, y = (normal(*shape) for shape in shapes)
    assert_rounded_once(program([x, y])[0], rounded(x) @ rounded(y))


@needs_kernels
def test_sums_are_in_float32():
    x = np.where(np.arange(1025) == 0, 16, 1).astype("float32") * np.ones((20, 1), "float32")
    found = compiled(graph_of(product, x.shape, x.T.shape), FAST)([x, x.T])[0]
    assert (found == 1280).all()  # bfloat16 adds nothing to 256


@needs_kernels
@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_a_reduction_of_bfloat16_is_summed_in_float32(axis):
    def total(x):
        return ops.cast(ops.sum(ops.cast(x, "bfloat16"), axis=axis), "float32")

    x = np.abs(normal(600, 500))
    found = compiled(graph_of(total, x.shape), FAST)([x])[0]
    assert_rounded_once(found, rounded(x).sum(axis))


@needs_kernels
@pytest.mark.parametrize("shape", [(64, 33), (None, 33)])
def test_conversions_round_to_the_nearest(shape):
    def converted(x):
        return ops.cast(ops.cast(x, "bfloat16"), "float32")

    bits = RNG.integers(0, 2**32, (64, 33), dtype=np.uint32)
    bits[0] = bits[0] & 0xFFFF0000 | 0x8000  # ties
    x = bits.view("float32")
    x[np.abs(x) < 2e-38] = 1  # those below the smallest normal number are flushed
    x[1, :4] = [np.inf, -np.inf, np.nan, 3.4e38]
    found = compiled(graph_of(converted, shape), FAST)([x])[0]
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(found, x.astype(BF16).astype("float32"))


def test_without_kernels_products_stay_in_float32():
    program = compiled(graph_of(product, (40, 64), (64, 24)), Narrow())
    assert precisions(program) == ["f32"]
    x, y = normal(40, 64), normal(64, 24)
    assert_rounded_once(program([x, y])[0], rounded(x) @ rounded(y))


def test_a_product_that_is_read_in_float32_as_well_keeps_its_digits():
    def both(x, y):
        x, y = (ops.cast(ops.cast(v, "bfloat16"), "float32") for v in (x, y))
        exact = ops.matmul(x, y)
        return exact - ops.cast(ops.cast(exact, "bfloat16"), "float32")

    x, y = normal(40, 64), normal(64, 24)
    lost = compiled(graph_of(both, x.shape, y.shape), FAST)([x, y])[0]
    exact = rounded(x) @ rounded(y)
    np.testing.assert_allclose(lost, exact - rounded(exact.astype("float32")), atol=2e-5)


# -- models


def dense():
    return [keras.Input((48,)), layers.Dense(64, "relu"), layers.Dense(10)]


def convolutional():
    return [
        keras.Input((12, 12, 3)), layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(16, 3, strides=2), layers.BatchNormalization(), layers.ReLU(),
        layers.Conv2D(8, 1), layers.Flatten(), layers.Dense(10),
    ]  # fmt: skip


def attentive():
    x = keras.Input((8, 32))
    y = layers.MultiHeadAttention(2, 16)(layers.LayerNormalization()(x), x)
    y = layers.Dense(32, "gelu")(x + y)
    return [x, layers.Dense(10)(layers.GlobalAveragePooling1D()(y))]


BUILDS = (dense, convolutional, attentive)


def network(build, policy):
    """A compiled model of a policy, with the same weights for each policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        parts = build()
    finally:
        keras.config.set_dtype_policy(before)
    model = keras.Model(*parts) if build is attentive else keras.Sequential(parts)
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        scale = 1 / np.sqrt(max(np.prod(weight.shape[:-1]), 1))
        if "gamma" not in weight.path:
            weight.assign(random.normal(0, scale, weight.shape))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def batches(model, count):
    random = np.random.default_rng(2)
    centres = random.normal(size=(10, *model.input_shape[1:]))
    for _ in range(count):
        y = random.integers(0, 10, 32)
        yield (centres[y] + random.normal(size=centres[y].shape)).astype("float32"), y


@needs_kernels
@pytest.mark.parametrize("build", BUILDS)
def test_products_of_a_step_run_in_bfloat16(build):
    model = network(build, "mixed_bfloat16")
    graph, _ = step_graph(model, *next(batches(model, 1)))
    narrow = narrow_for(graph, config.get(), {})
    assert narrow.bf16_kernels
    found = precisions(devices.core().compile_model(graph.bind({}, narrow), "CPU",
                                                    config.get().properties))  # fmt: skip
    # attention itself is computed in float32, as on other backends
    scores = 6 if build is attentive else 0
    assert found.count("f32") <= scores and found.count("bf16") >= 5


@pytest.mark.parametrize("build", BUILDS)
def test_training_follows_that_in_float32(build):
    curves = {}
    for policy in ("float32", "mixed_bfloat16"):
        model = network(build, policy)
        curves[policy] = [float(model.train_on_batch(x, y)) for x, y in batches(model, 30)]
        kinds = {variable.dtype for variable in (*model.weights, *model.optimizer.variables)}
        assert kinds <= {"float32", "int32", "int64"}
    wide, narrow = (np.array(curves[policy]) for policy in curves)
    assert wide[-1] < 0.6 * wide[0]
    np.testing.assert_allclose(narrow, wide, rtol=0.03, atol=0.02)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("build", BUILDS)
def test_predictions_are_near_those_in_float32(build, policy):
    wide = network(build, "float32")
    x, _ = next(batches(wide, 1))
    wanted = wide.predict_on_batch(x)
    found = np.asarray(network(build, policy).predict_on_batch(x), "float32")
    assert np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()


@needs_kernels
def test_a_profile_says_so():
    model = network(dense, "mixed_bfloat16")
    x, y = next(batches(model, 1))
    assert "products: 2 in bf16" in str(kerasvino.profile(model, x, runs=1))
    assert "in bf16" in str(kerasvino.profile(model, x, runs=1, y=y))
    wide = network(dense, "float32")
    assert "products: 2 in f32" in str(kerasvino.profile(wide, x, runs=1))


def test_another_device_has_no_such_kernels():
    assert not has_bf16_kernels("HETERO:CPU")
    assert "BF16" in devices.core().get_property(
        "CPU", openvino.properties.device.capabilities
    ) or not has_bf16_kernels("CPU")
