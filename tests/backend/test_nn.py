"""Activations, encodings, losses, normalization and attention, by their definitions."""

import math

import numpy as np
import pytest
from keras import ops
from scipy import special

from kerasvino.backend.jit import jit
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program

both = pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])

X = np.concatenate([np.linspace(-6, 6, 97), [-40.0, 40.0, -0.5, 0.5, -3.0, 3.0, 0.0]])

DEFINITIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": special.expit,
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "tanh": np.tanh,
    "tanh_shrink": lambda x: x - np.tanh(x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + abs(x)),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "silu": lambda x: x * special.expit(x),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "log_sigmoid": lambda x: -np.logaddexp(-x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x: np.where(abs(x) > 0.5, x, 0),
}


@both
@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_activations_follow_their_definitions(name, dtype, run):
    x = ops.cast(X, dtype)
    found = run(getattr(ops, name))(x)
    assert found.dtype == dtype
    exact = DEFINITIONS[name](np.array(x).astype("float64"))
    tolerance = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    np.testing.assert_allclose(np.array(found).astype("float64"), exact, tolerance, tolerance / 3)


@both
def test_activations_with_parameters(run):
    x = ops.cast(X, "float32")
    for compute, exact in (
        (lambda x: ops.gelu(x, approximate=False), X * special.ndtr(X)),
        (lambda x: ops.elu(x, 0.3), np.where(X > 0, X, 0.3 * np.expm1(X))),
        (lambda x: ops.celu(x, 2.0), np.where(X > 0, X, 2 * np.expm1(X / 2))),
        (lambda x: ops.leaky_relu(x, 0.0), np.maximum(X, 0)),
        (lambda x: ops.hard_shrink(x, 1.0), np.where(abs(X) > 1, X, 0)),
        (lambda x: ops.threshold(x, 1.0, -7.0), np.where(X > 1, X, -7)),
        (lambda x: ops.squareplus(x, 1.0), (X + np.sqrt(X * X + 1)) / 2),
        (lambda x: ops.glu(x[:104], axis=0), X[:52] * special.expit(X[52:104])),
    ):
        np.testing.assert_allclose(run(compute)(x), exact, rtol=1e-6, atol=1e-6)


def test_the_tail_of_softplus_stays_positive_in_a_graph():
    # the logarithm of OpenVINO's own SoftPlus is NaN there
    found = np.array(jit(ops.softplus)(ops.convert_to_tensor([-20.0, -30.0, -80.0])))
    np.testing.assert_allclose(found, np.exp([-20.0, -30.0, -80.0]), rtol=1e-5)


def test_activations_of_integers():
    x = np.array([-3, 0, 7, 2**31 - 1], np.int32)
    assert ops.relu(x).tolist() == [0, 0, 7, 2**31 - 1]
    assert ops.relu6(x).tolist() == [0, 0, 6, 6]
    assert ops.sigmoid(x).dtype == "float32"


def test_glu_of_an_odd_axis():
    with pytest.raises(ValueError, match="must be even"):
        ops.glu(np.ones((2, 3), "float32"))


# -- encodings


@both
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64"])
def test_one_hot_ignores_what_is_no_class(run, dtype):
    x = np.array([[0, 2], [1, 127]], dtype)
    found = run(lambda x: ops.one_hot(x, 300))(ops.convert_to_tensor(x))
    np.testing.assert_array_equal(found, np.eye(300)[x.astype(int)])
    negative = ops.one_hot(np.array([-1, 300, 299]), 300)
    assert np.array(negative).sum(1).tolist() == [0, 0, 1]


@both
def test_one_hot_on_another_axis(run):
    x = np.array([[0, 2], [1, 1]])
    found = run(lambda x: ops.one_hot(x, 3, axis=1, dtype="bool"))(ops.convert_to_tensor(x))
    np.testing.assert_array_equal(found, np.moveaxis(np.eye(3, dtype=bool)[x], -1, 1))
    found = run(lambda x: ops.multi_hot(x, 3))(ops.convert_to_tensor(x))
    assert found.tolist() == [[1, 0, 1], [0, 1, 0]]


# -- normalization


@both
def test_softmax_of_every_axis(run):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    for axis in (0, -2, None, (0, 2)):
        found = run(lambda x, axis=axis: ops.softmax(x, axis))(ops.convert_to_tensor(x))
        np.testing.assert_allclose(found, special.softmax(x, axis), rtol=1e-6)
        found = run(lambda x, axis=axis: ops.log_softmax(x, axis))(ops.convert_to_tensor(x))
        np.testing.assert_allclose(found, special.log_softmax(x, axis), rtol=1e-5)


@both
def test_sparsemax_is_the_nearest_distribution(run):
    x = np.random.default_rng(0).normal(size=(20, 5)).astype("float32")
    found = np.array(run(ops.sparsemax)(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    # what is taken off is the same for all that are left, and at least the others' values
    for row, p in zip(x, found, strict=True):
        taken = (row - p)[p > 0]
        np.testing.assert_allclose(taken, taken[0], atol=1e-6)
        assert (row[p == 0] <= taken[0] + 1e-6).all()


@both
def test_sparsemax_keeps_its_digits_far_from_zero(run):
    x = np.random.default_rng(0).integers(-64, 64, (8, 100)).astype("float32") / 64
    near, far = (run(ops.sparsemax)(ops.convert_to_tensor(x + n)) for n in (0, 4096))
    np.testing.assert_allclose(far, near, atol=1e-6)


@both
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats_are_rounded_once(run, dtype):
    rng = np.random.default_rng(0)
    x, y, z = (ops.cast(rng.normal(40, 1, (4, 5)), dtype) for _ in range(3))
    for compute in (
        lambda x, y, z: ops.batch_normalization(x, y[0], z[0], -1, y[1], z[1]),
        lambda x, y, z: ops.psnr(x, y, 255),
        lambda x, y, z: ops.sparsemax(x),
    ):
        found, exact = run(compute)(x, y, z), compute(*(ops.cast(t, "float64") for t in (x, y, z)))
        assert found.dtype == dtype
        exact = np.array(ops.cast(exact, dtype)).astype("float32")
        ulp = 2.0 ** (-10 if dtype == "float16" else -7)
        np.testing.assert_allclose(np.array(found).astype("float32"), exact, rtol=ulp, atol=ulp / 8)


@both
def test_moments_keep_large_half_precision_numbers(run):
    x = np.array([[6e4, 6e4], [-6e4, 6e4]], "float16")
    mean, variance = run(lambda x: ops.moments(x, axes=[0]))(ops.convert_to_tensor(x))
    assert mean.dtype == variance.dtype == "float16"
    assert mean.tolist() == [0, 6e4]
    assert variance.tolist() == [65504, 0]


# -- losses


@both
def test_a_label_that_is_no_class_costs_nothing(run):
    logits = np.array([[1.0, 2.0], [3.0, -np.inf]], "float32")
    for labels, wanted in (([1, 0], [0.313262, 0]), ([-1, 5], [0, 0])):
        found = run(lambda t, x: ops.sparse_categorical_crossentropy(t, x, from_logits=True))(
            ops.convert_to_tensor(labels), ops.convert_to_tensor(logits)
        )
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@both
def test_cross_entropies_agree(run):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)).astype("float32"), rng.integers(0, 4, 6)
    exact = -special.log_softmax(logits.astype("float64"), 1)[np.arange(6), labels]
    probabilities = special.softmax(logits, 1)
    one_hot = np.eye(4, dtype="float32")[labels]
    for found in (
        run(lambda t, x: ops.categorical_crossentropy(t, x, from_logits=True))(one_hot, logits),
        run(lambda t, x: ops.categorical_crossentropy(t, x * 3))(one_hot, probabilities),
        run(lambda t, x: ops.sparse_categorical_crossentropy(t, x))(labels, probabilities),
        run(lambda t, x: ops.sparse_categorical_crossentropy(t, x, axis=0))(
            labels, probabilities.T.copy()
        ),
    ):
        np.testing.assert_allclose(found, exact, rtol=1e-5)


@both
def test_binary_crossentropy_of_extreme_logits(run):
    x = np.array([100.0, -100.0, 0.0, 2.0], "float32")
    t = np.array([0.0, 1.0, 1.0, 0.25], "float32")
    found = run(lambda t, x: ops.binary_crossentropy(t, x, from_logits=True))(t, x)
    np.testing.assert_allclose(found, np.logaddexp(x, 0) - t * x, rtol=1e-6)


@both
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_losses_of_certain_predictions(run, dtype):
    """Probabilities of 0 and 1, which narrow floats cannot keep a distance from."""
    target = ops.cast([[0, 1, 0], [1, 0, 0]], dtype)
    output = ops.cast([[0, 1, 0], [0, 1, 0]], dtype)
    for compute, exact in (
        (ops.binary_crossentropy, [[0, 0, 0], [-math.log(1e-7)] * 2 + [0]]),
        (ops.categorical_crossentropy, [0, -math.log(1e-7)]),
        (lambda t, x: ops.sparse_categorical_crossentropy(ops.argmax(t, -1), x),
         [0, -math.log(1e-7)]),
    ):  # fmt: skip
        found = run(compute)(target, output)
        assert found.dtype == dtype
        # 1 less the epsilon of 1e-7 is rounded to 1 less 1.2e-7
        np.testing.assert_allclose(np.array(found).astype("float32"), exact, 0.02, 1e-6)


def test_losses_of_mismatched_shapes():
    with pytest.raises(ValueError, match="same shape"):
        ops.categorical_crossentropy(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="without its axis of classes"):
        ops.sparse_categorical_crossentropy(np.ones((3,), int), np.ones((2, 4)))


# -- attention


def _attention(q, k, v, mask=None, bias=None, scale=None):
    q, k, v = (np.moveaxis(x, 2, 1).astype("float64") for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
    logits = q @ np.swapaxes(k, -1, -2) * (scale or q.shape[-1] ** -0.5)
    logits = logits if bias is None else logits + bias
    logits = logits if mask is None else np.where(mask, logits, -1e30)
    return np.moveaxis(special.softmax(logits, -1) @ v, 1, 2)


def _inputs(heads, shared, queries=3, keys=5):
    rng = np.random.default_rng(0)
    shapes = (2, queries, heads, 8), (2, keys, shared, 8), (2, keys, shared, 6)
    return [rng.normal(size=s).astype("float32") for s in shapes]


@both
@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_attention(run, heads, shared, masked, causal, biased):
    q, k, v = _inputs(heads, shared)
    rng = np.random.default_rng(1)
    mask = rng.random((2, 1, 3, 5)) < 0.6 if masked else None
    bias = rng.normal(size=(1, heads, 3, 5)).astype("float32") if biased else None
    found = run(
        lambda q, k, v, bias, mask: ops.dot_product_attention(
            q, k, v, bias=bias, mask=mask, is_causal=causal
        )
    )(q, k, v, bias, mask)
    allowed = np.ones((1, 1, 3, 5), bool) if mask is None else mask
    allowed = allowed & np.tri(3, 5, dtype=bool) if causal else allowed
    np.testing.assert_allclose(found, _attention(q, k, v, allowed, bias), rtol=1e-5, atol=1e-5)


@both
def test_a_query_without_keys_takes_their_mean(run):
    q, k, v = _inputs(2, 2)
    mask = np.zeros((1, 1, 3, 5), bool)
    found = run(lambda q, k, v, m: ops.dot_product_attention(q, k, v, mask=m))(q, k, v, mask)
    np.testing.assert_allclose(found, np.broadcast_to(v.mean(1, keepdims=True), found.shape), 1e-5)


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2)])
def test_attention_of_unknown_lengths(heads, shared):
    q, k, v = _inputs(heads, shared)
    specs = [Spec((None, None, *x.shape[2:]), "float32") for x in (q, k, v)]
    graph = trace(lambda q, k, v: [ops.dot_product_attention(q, k, v, is_causal=True)], specs)
    program = Program(graph, "CPU", {})
    (found,) = program([q, k, v])
    expected = _attention(q, k, v, np.tri(3, 5, dtype=bool))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_attention_of_unknown_size():
    rng = np.random.default_rng(1)
    q, k, v = (rng.normal(size=(2, 3, 2, 5)).astype("float32") for _ in range(3))
    specs = [Spec((None, None, 2, None), "float32")] * 3
    graph = trace(lambda q, k, v: [ops.dot_product_attention(q, k, v)], specs)
    found = Program(graph, "CPU", {})([q, k, v])[0]
    np.testing.assert_allclose(found, _attention(q, k, v), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="number of heads"):
        trace(lambda q: [ops.dot_product_attention(q, q, q)], [Spec((None,) * 4, "float32")])


def test_attention_of_wrong_heads():
    q, k, v = _inputs(4, 3)
    with pytest.raises(ValueError, match="a multiple of it; given: 4, 3, 3"):
        ops.dot_product_attention(q, k, v)


# -- patches


@both
@pytest.mark.parametrize(
    "window", [{"stride": 1}, {"stride": 2, "padding": 1}, {"dilation": (1, 2), "stride": (2, 1)}]
)
def test_fold_counts_how_often_unfold_takes_each_pixel(run, window):
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 8)).astype("float32")

    def around(x):
        return ops.fold(ops.unfold(x, (3, 2), **window), (7, 8), (3, 2), **window)

    found = run(around)(ops.convert_to_tensor(x))
    times = around(np.ones_like(x))
    np.testing.assert_allclose(found, x * np.array(times), rtol=1e-5)


def test_fold_checks_the_number_of_patches():
    with pytest.raises(ValueError, match="it has 3 x 3 of them"):
        ops.fold(np.ones((1, 4, 8), "float32"), 4, 2)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_space_to_depth_and_back_with_unknown_lengths(data_format):
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype("float32")
    shape = (None, None, None, 8) if data_format == "channels_last" else (None, 4, None, None)

    def around(x):
        deep = ops.space_to_depth(x, 2, data_format=data_format)
        return [deep, ops.depth_to_space(deep, 2, data_format=data_format)]

    deep, back = Program(trace(around, [Spec(shape, "float32")]), "CPU", {})([x])
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(deep, around(x)[0])
