"""Loading the program that a function led to last while the function is traced."""

import json
import threading

import keras
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino.runtime import blobs, cache, config, prefetch
from kerasvino.runtime.function import Function
from kerasvino.runtime.padding import PaddedBatch
from kerasvino.tensor import Tensor


@pytest.fixture
def events(monkeypatch):
    """("loaded", thread) and ("compiled", thread), as they happen."""
    found = []

    def noting(module, name, word):
        original = getattr(module, name)

        def noted(*args):
            found.append((word, threading.current_thread() is not threading.main_thread()))
            return original(*args)

        monkeypatch.setattr(module, name, noted)

    noting(blobs, "imported", "loaded")
    noting(cache, "compile_graph", "compiled")
    return found


LOADED_AHEAD, LOADED, COMPILED = ("loaded", True), ("loaded", False), ("compiled", False)
X = Tensor(np.random.default_rng(9).normal(size=(1, 8, 8, 2)).astype("float32"))


def network(seed, name="net"):
    kernel = np.random.default_rng(seed).normal(size=(3, 3, 2, 8)).astype("float32")
    kernel = keras.Variable(kernel)
    function = Function(
        lambda x: [ops.relu(ops.conv(x, kernel, padding="same"))], name, variables=lambda: [kernel]
    )
    return function, kernel


def result(seed=1, x=X, **kwargs):
    return network(seed, **kwargs)[0](x)[0].numpy()


def test_what_a_function_led_to_is_loaded_while_it_is_traced(folder, events):
    first = result()
    assert events == [COMPILED]
    np.testing.assert_array_equal(result(), first)
    assert events == [COMPILED, LOADED_AHEAD]


def test_other_weights_shapes_and_settings_are_other_guesses(folder, events):
    result()
    result(seed=2)
    result(x=Tensor(np.zeros((2, 8, 8, 2), "float32")))
    with config.using(precision="bf16"):
        result()
    assert events == [COMPILED] * 4
    assert len(list(folder.glob("*.next"))) == 4


def test_a_wrong_guess_is_not_used_and_corrected(folder, events):
    """A weight that changes where nobody looks for a guess is another program all the same."""
    first = result()

    def changed():
        function, kernel = network(1)
        values = kernel.numpy().copy()
        values[0, 0, 0, 1] += 100
        kernel.assign(values)
        return function(X)[0].numpy()

    other = changed()
    assert np.abs(other - first).max() > 10
    assert COMPILED in events[1:]
    with config.using(cache_dir=None):
        np.testing.assert_allclose(other, changed(), rtol=1e-5, atol=1e-4)
    events.clear()
    np.testing.assert_array_equal(changed(), other)
    assert events == [LOADED_AHEAD]
    events.clear()
    np.testing.assert_array_equal(result(), first)
    assert sorted(events) == [LOADED, LOADED_AHEAD]
    assert len(list(folder.glob("*.next"))) == 1


def test_other_code_of_the_same_name_is_another_program(folder):
    result()
    _, kernel = network(1)
    other = Function(
        lambda x: [ops.tanh(ops.conv(x, kernel, padding="same"))], "net", variables=lambda: [kernel]
    )
    with config.using(cache_dir=None):
        expected = np.tanh(ops.conv(X, kernel, padding="same"))
    np.testing.assert_allclose(other(X)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"3",
        b'["../../etc/passwd", {}, []]',
        b'["%s", [], []]' % (b"0" * 32),
        b'["%s", {}, []]' % (b"0" * 32),
        b'["%s", {"NUM_STREAMS": 1}, []]' % (b"0" * 32),
        b'["%s", {}]' % (b"0" * 32),
    ],
)
def test_a_damaged_note_is_no_guess(folder, events, note):
    first = result()
    (path,) = folder.glob("*.next")
    whole = path.read_bytes()
    path.write_bytes(note)
    np.testing.assert_array_equal(result(), first)
    assert events == [COMPILED, LOADED]
    assert path.read_bytes() == whole


def test_a_program_loaded_with_other_properties_is_not_used(folder, events):
    first = result()
    (path,) = folder.glob("*.next")
    key, properties, facts = json.loads(path.read_bytes())
    assert properties["INFERENCE_PRECISION_HINT"] == "f32"
    properties["INFERENCE_PRECISION_HINT"] = "bf16"
    path.write_text(json.dumps([key, properties, facts]))
    np.testing.assert_array_equal(result(), first)
    assert sorted(events) == [COMPILED, LOADED, LOADED_AHEAD]


def test_a_blob_of_another_machine_or_version_is_not_loaded(folder, events):
    first = result()
    (path,) = folder.glob("*.next")
    key, properties, facts = json.loads(path.read_bytes())
    path.write_text(json.dumps([key, properties, ["0.0", *facts[1:]]]))
    np.testing.assert_array_equal(result(), first)
    assert events == [COMPILED, LOADED]


@pytest.mark.parametrize("damage", ["flip", "empty", "gone"])
def test_a_damaged_blob_is_made_anew(folder, events, damage):
    first = result()
    (path,) = folder.glob("*.blob")
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40
    path.write_bytes(data if damage == "flip" else b"")
    if damage == "gone":
        path.unlink()
    np.testing.assert_array_equal(result(), first)
    assert events == [COMPILED, COMPILED]
    np.testing.assert_array_equal(result(), first)
    assert events[2:] == [LOADED_AHEAD]


def test_a_blob_that_openvino_refuses_is_compiled_anew(folder, monkeypatch):
    first = result()

    def refusing(*_):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(blobs, "imported", refusing)
    with pytest.warns(UserWarning, match=r"refuses [0-9a-f]{32}\.blob: no such kernel") as said:
        np.testing.assert_array_equal(result(), first)
        np.testing.assert_array_equal(result(), first)
    assert len(said) == 1


def test_a_function_whose_variables_are_not_known_is_not_guessed(folder):
    Function(lambda x: [ops.relu(x)])(X)
    assert list(folder.glob("*.blob"))
    assert not list(folder.glob("*.next"))


def test_the_weights_of_something_that_is_no_layer_are_not_asked_for(folder):
    class Scaled:
        weights = 3

        def __call__(self, x):
            return x * self.weights

    np.testing.assert_array_equal(kerasvino.jit(Scaled())(X), 3 * X.numpy())


def test_seeds_do_not_change_the_guess(folder, events):
    seeds = iter((1, 2))

    def predicted():
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model.add(keras.layers.Dropout(0.5, seed=next(seeds)))
        return model.predict(np.ones((2, 4), "float32"), verbose=0)

    np.testing.assert_array_equal(predicted(), predicted())
    assert events == [COMPILED, LOADED_AHEAD]


@pytest.mark.parametrize("way", ["jit", "direct"])
def test_compiled_calls_of_a_model_are_guessed(way, folder, events):
    def called():
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        call = kerasvino.jit(model) if way == "jit" else model
        return [np.asarray(call(np.ones((2, 4), "float32"))) for _ in range(3)][-1]

    np.testing.assert_array_equal(called(), called())
    assert events == [COMPILED, LOADED_AHEAD]


def test_a_batch_that_is_padded_keeps_no_program(folder):
    def both():
        function, _ = network(1)
        for rows in (4, 3):
            function(Tensor(np.zeros((rows, 8, 8, 2), "float32")))
        return list(function.specialisations.of_shapes.values())

    both()
    result(x=Tensor(np.zeros((3, 8, 8, 2), "float32")))
    longer, padded = both()
    assert type(padded) is PaddedBatch and padded.own is None
    assert longer.is_compiled() and longer.guess is None


def test_samples_take_every_kind_of_weight():
    kinds = ["float32", "bfloat16", "int8", "bool"]
    weights = [keras.Variable(np.ones((3, 2)), dtype=kind) for kind in kinds]
    weights += [keras.Variable(1.0), keras.Variable(np.zeros((0, 3), "float32"))]
    seen = list(prefetch._samples(weights))
    assert len(seen) == 2 * len(weights)
    weights[0].assign(np.zeros((3, 2)))
    assert list(prefetch._samples(weights)) != seen
