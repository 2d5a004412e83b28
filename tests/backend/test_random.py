"""keras.random: the contract, its edges, and the same numbers eager, compiled and in every process.

What a compiled program computes in other kernels (log, the inverse error function, powers) may
differ from the host in the last digits of float32: a relative 2e-5, of normal numbers near 0 an
absolute 1e-6. Everything else must be equal.
"""

import hashlib
import os
import subprocess
import sys
import threading

import keras
import numpy as np
import openvino as ov
import pytest
from keras import ops, random

from kerasvino.autodiff import pullback, watch
from kerasvino.backend.jit import jit
from kerasvino.dtypes import GraphRangeError, numpy_dtype

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
SHAPES = [(), (0,), (1,), (7,), (1024,), (1025,), (3, 700), (2, 0, 5)]

_LOGITS = np.log(np.float32([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]]) + np.float32(1e-30))

# name -> (function of a shape and a seed, whether its results are exact)
DRAWS = {
    "uniform": (lambda shape, seed: random.uniform(shape, seed=seed), True),
    "uniform 1 to 3": (lambda shape, seed: random.uniform(shape, 1, 3, seed=seed), True),
    "normal": (lambda shape, seed: random.normal(shape, 1.0, 2.0, seed=seed), False),
    "truncated_normal": (lambda shape, seed: random.truncated_normal(shape, seed=seed), False),
    "randint": (lambda shape, seed: random.randint(shape, -5, 1000, seed=seed), True),
    "randint of all": (
        lambda shape, seed: random.randint(shape, -(2**31), 2**31, "int32", seed=seed), True
    ),
    "gamma": (lambda shape, seed: random.gamma(shape, 2.5, seed=seed), False),
    "gamma below 1": (lambda shape, seed: random.gamma(shape, 0.3, seed=seed), False),
    "beta": (lambda shape, seed: random.beta(shape, 0.4, 3.0, seed=seed), False),
    "binomial": (lambda shape, seed: random.binomial(shape, 12, 0.4, seed=seed), True),
    "binomial of many": (lambda shape, seed: random.binomial(shape, 1000, 0.7, seed=seed), True),
    "dropout": (lambda shape, seed: random.dropout(ops.ones(shape), 0.3, seed=seed), True),
}  # fmt: skip


def _close(found, expected, exact):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if exact:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(
            found.astype("float64"), expected.astype("float64"), rtol=2e-5, atol=1e-6
        )


def _eager_and_compiled(draw, *args):
    """Results of `draw(*args, seed=generator)`, the generator an input of the compiled one."""
    eager = draw(*args, seed=random.SeedGenerator(11))
    generator = random.SeedGenerator(11)
    compiled = jit(lambda *inner: draw(*inner, seed=generator))(*args)
    assert generator.state.numpy().tolist() == [11, 1]
    return compiled.numpy(), eager.numpy()


@pytest.mark.parametrize("name", DRAWS)
def test_compiled_as_eager(name):
    draw, exact = DRAWS[name]
    generator = random.SeedGenerator(3)
    found = jit(lambda: [draw(shape, generator) for shape in SHAPES])()
    generator = random.SeedGenerator(3)
    for ours, shape in zip(found, SHAPES, strict=True):
        expected = draw(shape, generator)
        assert expected.shape == shape
        _close(ours.numpy(), expected.numpy(), exact)


@pytest.mark.parametrize("name", DRAWS)
def test_unknown_shape(name):
    """The sixth shape is served by a program with an unknown length; 0 is a length, too."""
    draw, exact = DRAWS[name]
    generator, twin = random.SeedGenerator(4), random.SeedGenerator(4)
    function = jit(lambda x: draw((ops.shape(x)[0], 3), generator))
    for length in (1, 2, 3, 4, 1000, 7, 0):
        found = function(np.zeros((length, 2), "float32"))
        _close(found.numpy(), draw((length, 3), twin).numpy(), exact)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["uniform", "normal", "truncated_normal"])
def test_float_dtypes(name, dtype):
    found, expected = _eager_and_compiled(
        lambda seed: getattr(random, name)((1000,), dtype=dtype, seed=seed)
    )
    assert found.dtype == numpy_dtype(dtype)
    ulp = {"float16": 2e-3, "bfloat16": 1.6e-2}.get(dtype, 2e-6)
    np.testing.assert_allclose(
        found.astype("float64"), expected.astype("float64"), rtol=ulp, atol=1e-6
    )
    if name == "uniform":
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["gamma", "beta", "binomial"])
def test_dtypes_by_rejection(name, dtype):
    args = {"gamma": (2.0,), "beta": (2.0, 3.0), "binomial": (30, 0.25)}[name]
    found = getattr(random, name)((500,), *args, dtype=dtype, seed=1)
    single = getattr(random, name)((500,), *args, seed=1)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    np.testing.assert_array_equal(found.numpy(), single.numpy().astype(numpy_dtype(dtype)))


@pytest.mark.parametrize("name", ["uniform", "normal", "truncated_normal", "gamma", "binomial"])
def test_dtype_must_be_float(name):
    args = {"gamma": (1.0,), "binomial": (3, 0.5)}.get(name, ())
    with pytest.raises(ValueError, match="float"):
        getattr(random, name)((2,), *args, dtype="int32", seed=1)


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_stays_below_its_end(dtype):
    for low, high in [(0, 1), (1, 2), (-1, 1), (3, 3.1), (-100, -99)]:
        values = random.uniform((100_000,), low, high, dtype=dtype, seed=2).numpy()
        low, high = (np.asarray(v).astype(numpy_dtype(dtype)) for v in (low, high))
        assert values.min() >= low
        assert values.max() < high
    assert random.uniform((3,), 5, 5, seed=1).numpy().tolist() == [5, 5, 5]


def test_bounds_may_be_tensors():
    low, high = np.float32([0, 10]), np.float32([1, 20])
    found, expected = _eager_and_compiled(
        lambda a, b, seed: random.uniform((1000, 2), a, b, seed=seed), low, high
    )
    _close(found, expected, False)
    assert (found >= low).all()
    assert (found < high).all()


def test_lengths_of_a_shape():
    assert random.normal(4, seed=1).shape == (4,)
    assert random.normal(ops.convert_to_tensor([2, 3]), seed=1).shape == (2, 3)
    with pytest.raises(ValueError, match="lengths"):
        random.normal((2, -1), seed=1)


# -- integers


@pytest.mark.parametrize("dtype", INTEGERS)
def test_randint_over_a_whole_dtype(dtype):
    """64-bit ones over what a graph holds of them."""
    limits = np.iinfo(dtype)
    low, high = limits.min, limits.max + 1
    if limits.bits == 64:
        low, high = (-(2**31) if low else 0), 2**31
    found, expected = _eager_and_compiled(
        lambda seed: random.randint((5000,), low, high, dtype=dtype, seed=seed)
    )
    _close(found, expected, True)
    spread = (found.astype("float64") - low) / (high - low)
    assert spread.min() < 0.01
    assert spread.max() > 0.99
    assert abs(spread.mean() - 0.5) < 0.02


@pytest.mark.parametrize("dtype", INTEGERS)
def test_randint_takes_all_values_and_no_others(dtype):
    low = 3 if dtype.startswith("u") else -3
    values = random.randint((1000,), low, low + 7, dtype=dtype, seed=1).numpy()
    assert np.unique(values).tolist() == list(range(low, low + 7))


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(-(2**63), 2**63, "int64"), (0, 2**64, "uint64"), (-5, 2**40, "int64"), (0, 2**32, "int64")],
)
def test_randint_in_64_bits(low, high, dtype):
    values = random.randint((20_000,), low, high, dtype=dtype, seed=1).numpy()
    assert values.dtype == dtype
    spread = np.array([(int(v) - low) / (high - low) for v in values])
    assert 0 <= spread.min() < 1e-3
    assert 1 - 1e-3 < spread.max() < 1
    assert abs(spread.mean() - 0.5) < 0.01


def test_randint_too_wide_for_a_graph():
    generator = random.SeedGenerator(1)
    with pytest.raises(GraphRangeError, match="eagerly"):
        jit(lambda: random.randint((3,), 0, 2**40, dtype="int64", seed=generator))()


def test_randint_bounds():
    for low, high in [(0, 0), (5, 2)]:
        with pytest.raises(ValueError, match="minval < maxval"):
            random.randint((2,), low, high, seed=1)
    with pytest.raises(ValueError, match="range of dtype uint8"):
        random.randint((2,), 0, 300, dtype="uint8", seed=1)
    assert random.randint((4,), 2.0, 3.0, seed=1).numpy().tolist() == [2, 2, 2, 2]
    low, high = np.int32([0, 100]), np.int32([2, 103])
    found, expected = _eager_and_compiled(
        lambda a, b, seed: random.randint((500, 2), a, b, seed=seed), low, high
    )
    _close(found, expected, True)
    assert np.unique(found[:, 0]).tolist() == [0, 1]
    assert np.unique(found[:, 1]).tolist() == [100, 101, 102]


# -- choices


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8"])
def test_categorical(dtype):
    found, expected = _eager_and_compiled(
        lambda logits, seed: random.categorical(logits, 2000, dtype=dtype, seed=seed), _LOGITS
    )
    _close(found, expected, True)
    frequencies = [np.bincount(row, minlength=3) / 2000 for row in found]
    np.testing.assert_allclose(frequencies, [[0.1, 0.2, 0.7], [0.5, 0.5, 0]], atol=0.03)


def test_categorical_never_takes_what_is_impossible():
    logits = np.array([[0.0, -np.inf, 2.0, -np.inf]])
    for kind in ("float16", "float32", "float64"):
        drawn = random.categorical(logits.astype(kind), 5000, seed=3).numpy()
        assert set(np.unique(drawn)) == {0, 2}
    assert random.categorical(np.zeros((0, 3), "float32"), 4, seed=1).shape == (0, 4)
    assert random.categorical(np.zeros((3, 2), "float32"), 0, seed=1).shape == (3, 0)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16", "float32"])
def test_shuffle(axis, dtype):
    x = np.arange(60).reshape(5, 12).astype(dtype)
    found, expected = _eager_and_compiled(
        lambda x, seed: random.shuffle(x, axis=axis, seed=seed), x
    )
    _close(found, expected, True)
    rows, shuffled = (np.moveaxis(a, axis, 0).tolist() for a in (x, found))
    assert sorted(rows) == sorted(shuffled)
    if dtype != "bool":
        assert rows != shuffled


def test_shuffle_is_uniform_over_permutations():
    x = np.arange(4)
    orders = [tuple(random.shuffle(x, seed=s).numpy()) for s in range(2400)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert counts.size == 24
    assert ((counts - 100) ** 2 / 100).sum() < 49.7  # chi-squared of 23 degrees at 0.1 %


def test_shuffle_of_nothing():
    assert random.shuffle(np.zeros((0, 3)), seed=1).shape == (0, 3)
    assert random.shuffle(np.zeros((2, 0)), seed=1).shape == (2, 0)
    assert random.shuffle(np.float32([7]), seed=1).numpy().tolist() == [7]


@pytest.mark.parametrize("dtype", FLOATS)
def test_dropout(dtype):
    x = (np.arange(12_000).reshape(100, 120) % 7 + 1).astype(numpy_dtype(dtype))
    found, expected = _eager_and_compiled(lambda x, seed: random.dropout(x, 0.25, seed=seed), x)
    kept = found != 0
    np.testing.assert_array_equal(kept, expected != 0)
    assert abs(kept.mean() - 0.75) < 0.02
    tolerance = {"float16": 1e-3, "bfloat16": 8e-3}.get(dtype, 1e-6)
    np.testing.assert_allclose(
        found[kept].astype("float64"), x[kept].astype("float64") / 0.75, rtol=tolerance
    )


def test_dropout_of_none_and_all():
    x = np.float32([1, np.nan, np.inf])
    np.testing.assert_array_equal(random.dropout(x, 0, seed=1), x)
    np.testing.assert_array_equal(random.dropout(x, 1.0, seed=1), [0, 0, 0])


def test_dropout_with_a_noise_shape():
    found, expected = _eager_and_compiled(
        lambda x, seed: random.dropout(x, 0.5, noise_shape=(None, 1, 4), seed=seed),
        np.ones((6, 5, 4), "float32"),
    )
    _close(found, expected, True)
    assert (found == found[:, :1]).all()
    assert 0 < (found == 0).mean() < 1


def test_gradient_of_dropout():
    x = watch(ops.convert_to_tensor(np.arange(1, 41, dtype="float32")))
    kept = random.dropout(x, 0.5, seed=3)
    (gradient,) = pullback([kept], [ops.ones_like(kept)], [x])
    np.testing.assert_array_equal(gradient, np.where(kept.numpy() == 0, 0, 2).astype("float32"))


# -- parameters of the distributions by rejection


def test_gamma_parameters():
    alpha = np.float32([0, 1e-3, 1, 1e8, -1, np.inf, np.nan])
    for values in _eager_and_compiled(lambda a, seed: random.gamma((50, 7), a, seed=seed), alpha):
        assert (values[:, 0] == 0).all()
        assert (values[:, :4] >= 0).all()
        np.testing.assert_allclose(values[:, 3], 1e8, rtol=1e-3)
        assert np.isnan(values[:, 4:]).all()


def test_beta_of_tiny_parameters():
    """Both gamma variates are below the smallest float32 for most of these."""
    values = random.beta((4000,), 1e-3, 1e-3, seed=1).numpy()
    assert not np.isnan(values).any()
    assert 0.45 < values.mean() < 0.55
    assert ((values < 0.01) | (values > 0.99)).mean() > 0.98


def test_binomial_parameters():
    counts = np.float32([0, 10, 10, 1e6, 1e6, 5, -1, np.nan, 5, 3.9])
    chances = np.float32([0.5, 0, 1, 0, 1, np.nan, 0.5, 0.5, 1.5, 1])
    expected = np.float32([0, 0, 10, 0, 1e6, np.nan, np.nan, np.nan, np.nan, 3])
    for values in _eager_and_compiled(
        lambda n, p, seed: random.binomial((20, 10), n, p, seed=seed), counts, chances
    ):
        np.testing.assert_array_equal(values, np.broadcast_to(expected, (20, 10)))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float16", "float32"])
def test_binomial_counts_given_as_tensors(dtype):
    counts = np.array([[3], [100]], dtype)
    chances = np.float32([0.1, 0.5, 0.9])
    found, expected = _eager_and_compiled(
        lambda n, p, seed: random.binomial((400, 2, 3), n, p, seed=seed), counts, chances
    )
    _close(found, expected, True)
    np.testing.assert_array_equal(found, np.floor(found))
    np.testing.assert_allclose(found.mean(0), counts * chances, rtol=0.2)


# -- seeds


def test_seeds_differ():
    draws = [random.uniform((50,), seed=s).numpy() for s in (1, 2, -1, 2**31, 2**32 - 2)]
    generator = random.SeedGenerator(1)
    draws += [random.uniform((50,), seed=generator).numpy() for _ in range(3)]
    np.testing.assert_array_equal(draws[0], draws[5])
    del draws[5]
    for i, first in enumerate(draws):
        for second in draws[:i]:
            assert not (first == second).any()


def test_global_seed():
    def draw():
        keras.utils.set_random_seed(5)
        return [random.normal((4,)).numpy() for _ in range(3)]

    first, again = draw(), draw()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


class Unseeded(keras.Model):
    def call(self, x):
        return x + random.normal((3,)) + random.normal((3,))


def _programs():
    model = Unseeded()
    return {
        "eager": lambda x: x + random.normal((3,)) + random.normal((3,)),
        "jit": jit(lambda x: x + random.normal((3,)) + random.normal((3,))),
        "predict": model.predict_on_batch,
        "in a loop": jit(lambda x: ops.fori_loop(0, 2, lambda i, y: y + random.normal((3,)), x)),
    }


@pytest.mark.parametrize("forgetting", [lambda: None, keras.utils.clear_session])
def test_programs_ask_for_the_global_generator_of_the_moment(forgetting):
    """`set_random_seed` and `clear_session` have Keras make another one."""
    x = np.zeros((1, 3), "float32")
    for name, program in _programs().items():
        found = []
        for _ in range(3):
            keras.utils.set_random_seed(5)
            found.append([np.asarray(program(x)) for _ in range(2)])
            forgetting()
        keras.utils.set_random_seed(5)
        expected = [sum(random.normal((3,)).numpy() for _ in range(2)) for _ in range(2)]
        for pair in found:
            for mine, theirs in zip(pair, expected, strict=True):
                np.testing.assert_allclose(mine[0], theirs, rtol=1e-5, atol=1e-6, err_msg=name)


def test_programs_and_eager_calls_draw_from_one_generator():
    program = jit(lambda x: x + random.normal((3,)))
    x = np.zeros(3, "float32")
    program(x)
    keras.utils.set_random_seed(5)
    mixed = [np.asarray(f(x)) for f in (program, lambda x: random.normal((3,)), program)]
    keras.utils.set_random_seed(5)
    np.testing.assert_allclose(mixed, [random.normal((3,)) for _ in range(3)], 1e-5, 1e-6)


def test_a_stateless_scope_in_a_program_keeps_the_global_generator():
    def function(x):
        with keras.StatelessScope():
            inside = random.normal((3,))
        return x + inside, x + random.normal((3,))

    program = jit(function)
    first, second = program(np.zeros(3, "float32"))
    np.testing.assert_array_equal(first, second)


def test_each_thread_has_a_global_generator():
    program = jit(lambda x: x + random.normal((3,)))
    x = np.zeros(3, "float32")
    keras.utils.set_random_seed(5)
    first = np.asarray(program(x))
    found = []

    def other():
        keras.utils.set_random_seed(5)
        found.append(np.asarray(program(x)))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(first, found[0])
    assert not np.array_equal(first, program(x))


def test_an_exported_model_has_the_global_generator_as_state(tmp_path):
    model = Unseeded()
    model(np.zeros((1, 3), "float32"))
    model.export(tmp_path / "model.xml", format="openvino", verbose=False)
    request = ov.Core().compile_model(tmp_path / "model.xml", "CPU").create_infer_request()
    draws = [request.infer([np.zeros((1, 3), "float32")])[0].copy() for _ in range(2)]
    assert not np.array_equal(*draws)


class Noise(keras.layers.Layer):
    """Adds noise in predict, too."""

    def __init__(self):
        super().__init__()
        self.generator = random.SeedGenerator(8)

    def call(self, x):
        return x + random.uniform(ops.shape(x), seed=self.generator)


def test_seeds_advance_in_predict():
    layer = Noise()
    model = keras.Sequential([keras.Input((3,)), layer])
    x = np.zeros((4, 3), "float32")
    first, second = (model.predict(x, batch_size=2, verbose=0) for _ in range(2))
    assert layer.generator.state.numpy().tolist() == [8, 4]
    generator = random.SeedGenerator(8)
    expected = [random.uniform((2, 3), seed=generator).numpy() for _ in range(4)]
    np.testing.assert_array_equal(np.concatenate([first, second]), np.concatenate(expected))


SCRIPT = """
import kerasvino, hashlib, numpy as np
from tests.backend.test_random import digest
print(digest())
"""


def digest():
    """A hash of the numbers of every exact distribution."""
    found = hashlib.sha256()
    for draw, exact in DRAWS.values():
        if exact:
            found.update(draw((777,), 1234).numpy().tobytes())
    found.update(random.shuffle(np.arange(99), seed=6).numpy().tobytes())
    return found.hexdigest()


def test_every_process_draws_the_same():
    env = {**os.environ, "KERAS_BACKEND": "openvino", "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == digest(), done.stderr


def test_numbers_are_those_of_the_first_release():
    """Changing the generator changes every seeded result of every user: only on purpose."""
    np.testing.assert_array_equal(
        random.randint((4,), -(2**31), 2**31, seed=1234),
        [226994031, 1187677631, -1579951815, 817152952],
    )
