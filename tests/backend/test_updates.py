"""Updates by index, `x.at[key].set(values)`, against NumPy's assignments and JAX's arrays."""

import numpy as np
import pytest
from keras import ops

import kerasvino
from tests.backend.forms import FORMS, run

RNG = np.random.default_rng(1)
X = RNG.normal(size=(4, 5)).astype("float32")
MASK = X > 0.3

KEYS = {
    "int": 2,
    "negative": -1,
    "two ints": (1, -2),
    "slice": slice(1, 3),
    "slices": (slice(None), slice(1, -1)),
    "step": (slice(None, None, 2), slice(None, None, -1)),
    "ellipsis": (..., 0),
    "all": ...,
    "nothing": (),
    "new axis": (None, 1),
    "empty slice": slice(3, 3),
    "list": [0, 2],
    "repeated": [1, 1, 3],
    "two lists": ([0, 3, 3], [1, 4, 0]),
    "list and slice": (slice(1, None), [0, 4]),
    "array": np.array([[0, 1], [2, 2]]),
    "mask": MASK,
    "mask of rows": np.array([True, False, True, False]),
    "no rows": np.zeros(4, bool),
}
STEPS = {
    "set": lambda array, key, value: array.__setitem__(key, value),
    "add": np.add.at,
    "subtract": np.subtract.at,
    "multiply": np.multiply.at,
    "divide": np.divide.at,
    "power": np.power.at,
    "min": np.minimum.at,
    "max": np.maximum.at,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", KEYS)
def test_keys(name, form):
    key = KEYS[name]
    values = RNG.normal(size=X[key].shape).astype("float32")
    if name == "repeated":
        values[1] = values[0]  # which of two assignments is the last is nobody's promise
    for step in ("set", "add", "max"):
        wanted = X.copy()
        STEPS[step](wanted, key, values)
        found = run(form, lambda x, step=step: getattr(x.at[key], step)(values), X)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_array_equal(run(form, lambda x: x.at[key].get(), X), X[key])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("key", ["slice", "repeated"])
def test_steps(step, key, form):
    key, base, value = KEYS[key], np.abs(X) + 0.5, 2.0 if step != "set" else 0.25
    wanted = base.copy()
    STEPS[step](wanted, key, np.float32(value))
    found = run(form, lambda x: getattr(x.at[key], step)(value), base)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_values_broadcast_as_in_assignments(form):
    for shape in ((), (1,), (5,), (2, 1), (1, 2, 5)):
        values = RNG.normal(size=shape).astype("float32")
        for key in (slice(0, 2), [0, 2]):
            wanted = X.copy()
            wanted[key] = values
            found = run(form, lambda x, key=key, values=values: x.at[key].set(values), X)
            np.testing.assert_array_equal(found, wanted)
    with pytest.raises(Exception, match=r"broadcast|shape"):
        run(form, lambda x: x.at[:2].set(np.ones((3, 5), "float32")), X)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int64", "float16", "bfloat16"])
def test_dtypes_stay(dtype):
    x = ops.ones((3,), dtype)
    found = x.at[1].set(0)
    assert found.dtype == dtype
    assert ops.cast(found, "int32").tolist() == [1, 0, 1]
    assert x.at[[1, 2]].set(0.0).dtype == dtype
    if dtype == "int64":
        assert x.at[0].set(2**40).tolist() == [2**40, 1, 1]
        assert x.at[[0]].add(2**40).tolist() == [2**40 + 1, 1, 1]


def test_keys_that_the_graph_knows_only_when_it_runs():
    @kerasvino.jit
    def function(x, i, values):
        return x.at[i].set(values), x.at[:, i].add(1.0), x.at[i, i].multiply(2.0)

    for i in (0, 3, -1):
        values = RNG.normal(size=5).astype("float32")
        found = function(X, np.array(i, "int32"), values)
        wanted = [X.copy() for _ in range(3)]
        wanted[0][i] = values
        wanted[1][:, i] += 1
        wanted[2][i, i] *= 2
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)


def test_out_of_range_raises_and_updates_nothing_in_the_body_of_a_loop():
    x = ops.convert_to_tensor(X)
    for key in (4, -5, [0, 4], (0, 5)):
        with pytest.raises(IndexError):
            x.at[key].set(0.0)
    with pytest.raises(IndexError, match="valid"):
        kerasvino.jit(lambda x, i: x.at[i].set(0.0))(X, np.array([1, 9], "int32"))
    computed = kerasvino.jit(lambda x, y: x.at[ops.cast(ops.exp(y), "int32")].set(0.0))
    with pytest.raises(IndexError, match="valid"):
        computed(X, np.array([0.1, 9], "float32"))

    @kerasvino.jit
    def loop(x, n):
        return ops.fori_loop(0, n, lambda i, x: x.at[3 * i].set(0.0), x)

    wanted = X.copy()
    wanted[[0, 3]] = 0
    np.testing.assert_array_equal(loop(X, np.array(4, "int32")).numpy(), wanted)


def test_rank_0_and_empty():
    assert ops.convert_to_tensor(1.0).at[()].set(3.0).item() == 3
    assert ops.convert_to_tensor(1.0).at[...].add(3.0).item() == 4
    assert ops.zeros((0, 3)).at[:, 1].set(1.0).shape == (0, 3)
    assert ops.zeros((0,)).at[np.zeros(0, "int32")].set(1.0).shape == (0,)


def test_the_tensor_itself_does_not_change():
    x = ops.convert_to_tensor(X)
    x.at[0].set(9.0)
    x.at[[0]].set(9.0)
    np.testing.assert_array_equal(x.numpy(), X)


@pytest.mark.parametrize("key", ["slice", "list", "two lists", "mask", "step"])
def test_gradients(key):
    key = KEYS[key]
    values = RNG.normal(size=X[key].shape).astype("float32")
    weights = RNG.normal(size=X.shape).astype("float32")

    def loss(x, values):
        return ((x.at[key].set(values) + x.at[key].add(values)) * weights).sum()

    of_x, of_values = kerasvino.grad(loss, argnums=(0, 1))(ops.array(X), ops.array(values))
    kept = np.ones_like(X)
    kept[key] = 0
    np.testing.assert_allclose(of_x.numpy(), weights * (kept + 1), rtol=1e-6)
    np.testing.assert_allclose(of_values.numpy(), 2 * weights[key], rtol=1e-6)


@pytest.mark.parametrize("key", ["int", "slices", "list", "two lists", "array", "mask", "new axis"])
@pytest.mark.parametrize("step", STEPS)
def test_as_jax_does(step, key):
    jnp = pytest.importorskip("jax.numpy")
    key, base = KEYS[key], np.abs(X) + 0.5
    if isinstance(key, list):
        key = np.array(key)
    if isinstance(key, tuple):
        key = tuple(np.array(k) if isinstance(k, list) else k for k in key)
    wanted = getattr(jnp.asarray(base).at[key], step)(1.5)
    found = getattr(ops.convert_to_tensor(base).at[key], step)(1.5)
    np.testing.assert_allclose(found.numpy(), np.asarray(wanted), rtol=2e-6)


def test_hints_of_jax_are_taken_and_modes_are_not():
    x = ops.zeros((3,))
    assert x.at[0].set(1.0, unique_indices=True, indices_are_sorted=True).tolist() == [1, 0, 0]
    assert x.at[0].divide(2.0, mode="promise_in_bounds").tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="IndexError"):
        x.at[7].set(1.0, mode="drop")
    with pytest.raises(ValueError, match="IndexError"):
        x.at[7].get(mode="fill")
