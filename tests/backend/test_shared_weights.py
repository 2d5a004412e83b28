"""Weights in a file that processes share: the same values, one copy, never changed."""

import mmap
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import kerasvino
from kerasvino.graph.trace import constant_node


def network(seed=0, dtype="float32"):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(32, dtype=dtype)]
    return keras.Sequential([*layers, keras.layers.Dense(64, use_bias=False)])


def base(array):
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def held(model):
    return [base(v._value._array) for v in model.weights]


X = np.random.default_rng(0).normal(size=(3, 64)).astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_stay_and_are_mapped(tmp_path, dtype):
    model = network(dtype=dtype)
    wanted, weights = model.predict(X, verbose=0), model.get_weights()
    count = kerasvino.share_weights(model, tmp_path / "weights")
    large = [w for w in weights if w.nbytes >= 4096]
    assert count == sum(w.nbytes for w in large)
    assert [isinstance(b, mmap.mmap) for b in held(model)] == [w.nbytes >= 4096 for w in weights]
    for now, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, before)
    np.testing.assert_array_equal(model.predict(X, verbose=0), wanted)
    np.testing.assert_allclose(model(X), wanted, rtol=1e-2 if dtype != "float32" else 1e-5)


def test_compiling_copies_nothing(tmp_path):
    """Constants share the memory of arrays that may be written."""
    model = network()
    kerasvino.share_weights(model, tmp_path / "weights")
    for variable in model.weights:
        array = variable._value._array
        if array.nbytes >= 4096:
            shared = constant_node(array, variable.dtype)
            assert shared.data.ctypes.data == array.ctypes.data


def test_a_second_model_maps_what_is_there(tmp_path):
    path = tmp_path / "weights"
    for _ in range(2):
        kerasvino.share_weights(network(), path)
        number = os.stat(path).st_ino
    kerasvino.share_weights(network(), path)
    assert os.stat(path).st_ino == number
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights"]


def test_other_values_replace_the_file_and_nobody_is_disturbed(tmp_path):
    path = tmp_path / "weights"
    first, second = network(0), network(1)
    wanted = [model.predict(X, verbose=0) for model in (first, second)]
    for model in (first, second):
        kerasvino.share_weights(model, path)
    for model, found in zip((first, second), wanted, strict=True):
        np.testing.assert_array_equal(model.predict(X, verbose=0), found)


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "other"])
def test_a_damaged_file_is_replaced(tmp_path, damage):
    path = tmp_path / "weights"
    kerasvino.share_weights(network(), path)
    whole = path.read_bytes()
    flipped = whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
    kinds = {"flipped": flipped, "short": whole[:-7], "empty": b"", "other": b"x" * len(whole)}
    path.unlink()
    path.write_bytes(kinds[damage])
    model = network()
    kerasvino.share_weights(model, path)
    assert path.read_bytes() == whole
    np.testing.assert_array_equal(model.predict(X, verbose=0), network().predict(X, verbose=0))


def test_training_takes_the_weights_back(tmp_path):
    path = tmp_path / "weights"
    model, alone = network(), network()
    kerasvino.share_weights(model, path)
    whole = path.read_bytes()
    for trained in (model, alone):
        trained.compile("sgd", "mse")
        trained.fit(X, X, epochs=2, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], alone.get_weights()[0], rtol=1e-5)
    assert not any(isinstance(b, mmap.mmap) for b in held(model))
    assert path.read_bytes() == whole


def test_another_process_finds_the_same(tmp_path):
    model = network()
    kerasvino.share_weights(model, tmp_path / "weights")
    number = os.stat(tmp_path / "weights").st_ino
    model.save(tmp_path / "model.keras")
    code = (
        "import kerasvino, keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras')\n"
        "print(kerasvino.share_weights(model, 'weights'))\n"
        "np.save('found.npy', model.predict(np.load('x.npy'), verbose=0))\n"
    )
    np.save(tmp_path / "x.npy", X)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), model.predict(X, verbose=0))
    assert os.stat(tmp_path / "weights").st_ino == number


def test_what_is_not_built_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="is not built"):
        kerasvino.share_weights(model, tmp_path / "weights")
    model.build((None, 2))
    assert kerasvino.share_weights(model, tmp_path / "weights") == 0
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        kerasvino.share_weights(network(), tmp_path / "nowhere" / "weights")
