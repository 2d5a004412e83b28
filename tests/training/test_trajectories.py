"""Losses of 20 steps of ten networks, against those of Keras on JAX (losses_jax.npz)."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.training import architectures

RECORDED = pathlib.Path(__file__).with_name("losses_jax.npz")


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_losses_are_those_of_jax(name):
    with np.load(RECORDED) as recorded:
        expected = recorded[name]
    keras.utils.clear_session()
    losses = architectures.ARCHITECTURES[name]()
    assert expected[-1] < 0.99 * expected[0]
    np.testing.assert_allclose(losses, expected, rtol=1e-3)


@pytest.mark.slow
def test_the_recorded_losses_are_those_of_jax(tmp_path):
    script = pathlib.Path(architectures.__file__)
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run(
        [sys.executable, script, tmp_path / "new.npz"], env=environment, check=True, timeout=600
    )
    with np.load(RECORDED) as recorded, np.load(tmp_path / "new.npz") as new:
        assert set(recorded) == set(new) == set(architectures.ARCHITECTURES)
        for name in new:
            np.testing.assert_allclose(recorded[name], new[name], rtol=1e-4, err_msg=name)
