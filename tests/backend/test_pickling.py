"""Pickled models, layers and tensors run on kerasvino wherever they are read, or are refused."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasvino
from kerasvino.backend.pickling import restored

ROOT = Path(kerasvino.__path__[0]).parent
READ = """
import pickle, sys
{first}
with open("pickled", "rb") as file:
    found = pickle.load(file)
import keras
import numpy as np
y = found.predict(np.ones((2, 3)), verbose=0) if hasattr(found, "predict") else found
print(type(keras.ops.ones(1)).__module__, np.asarray(y).tolist())
"""


def model():
    layers = [keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")]
    return keras.Sequential(layers)


PICKLED = {"model": model, "tensor": lambda: keras.ops.full((2, 2), 3.0)}


def read(folder, first, **variables):
    """Reads the pickle in a process to which nothing says that it came from kerasvino."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS", "PYTHON"))}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(folder)} | variables
    (folder / "reader.py").write_text(READ.format(first=first))
    command = [sys.executable, "reader.py"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("what", PICKLED)
def test_imports_kerasvino_where_it_is_read(tmp_path, what):
    (tmp_path / "pickled").write_bytes(pickle.dumps(PICKLED[what]()))
    done = read(tmp_path, "sys.modules['tensorflow'] = None  # which takes seconds")
    assert done.stdout == "kerasvino.tensor [[3.0, 3.0], [3.0, 3.0]]\n", done.stderr


@pytest.mark.parametrize("what", PICKLED)
def test_is_refused_by_another_backend(tmp_path, what):
    (tmp_path / "pickled").write_bytes(pickle.dumps(PICKLED[what]()))
    done = read(tmp_path, "import keras", KERAS_BACKEND="numpy")
    last = done.stderr.splitlines()[-1]
    assert "Keras was imported before kerasvino and already runs on the 'numpy' backend" in last
    assert (
        "Line 5 of " in last and "(`found = pickle.load(file)`) imports it, as unpickling" in last
    )
    assert "import kerasvino before keras or set KERAS_BACKEND=kerasvino; or hand over" in last


def test_every_layer_names_our_function_first():
    for layer in (model(), keras.layers.Dense(2), keras.Model(*[keras.Input((3,))] * 2)):
        made = layer.__reduce__()
        assert made[0] is restored
        assert pickle.dumps(layer).index(b"kerasvino") < pickle.dumps(layer).index(b"keras.src")


def test_a_layer_with_more_state_keeps_it():
    class Counted(keras.layers.Layer):
        def __reduce__(self):
            return Counted, (), {"seen": 3}

    assert Counted().__reduce__() == (Counted, (), {"seen": 3})
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    again = pickle.loads(pickle.dumps(dense))
    np.testing.assert_array_equal(again.kernel, dense.kernel)
