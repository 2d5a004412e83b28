"""Keras's own tests of `keras.distribution` that are of data parallelism, on this backend.

Keras runs most of them on JAX alone, so the file is read as if that were the backend.
"""

import importlib.util
import os
import pathlib
from unittest import mock

import keras
import pytest

from kerasvino.backend import distribution_lib

FILE = pathlib.Path(keras.__file__).parent / "src" / "distribution" / "distribution_lib_test.py"
if not FILE.is_file():  # Keras 3.16 keeps its tests elsewhere
    pytest.skip("The installed Keras has no tests.", allow_module_level=True)
pytest.importorskip("tensorflow")

OF_DATA_PARALLELISM = (
    "MultiProcessInitializeTest", "DeviceMeshTest", "TensorLayoutTest", "DistributionTest",
    "DataParallelDistributionTest", "LayoutMapTest",
)  # fmt: skip


def _read():
    spec = importlib.util.spec_from_file_location("keras_distribution_tests", FILE)
    module = importlib.util.module_from_spec(spec)
    with (
        mock.patch("keras.src.backend.backend", return_value="jax"),
        mock.patch("keras.src.backend.distribution_lib", distribution_lib),
    ):
        spec.loader.exec_module(module)
    return module


_module = _read()
for _name in OF_DATA_PARALLELISM:
    globals()[_name] = getattr(_module, _name)


@pytest.fixture(autouse=True)
def environment():
    """That of before: a test of Keras's clears it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_none_is_skipped():
    for name in OF_DATA_PARALLELISM:
        marks = [m for m in getattr(globals()[name], "pytestmark", []) if m.name == "skipif"]
        assert not any(condition for mark in marks for condition in mark.args)
