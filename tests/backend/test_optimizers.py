"""Fifty steps of every optimizer, against Keras on JAX (tests/training/optimizers_jax.npz)."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.training import optimizer_runs

RECORDED = pathlib.Path(optimizer_runs.__file__).with_name("optimizers_jax.npz")


def compare(found, expected, name, rtol):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if value.dtype.kind in "iu":
            np.testing.assert_array_equal(found[key], value, err_msg=f"{name} {key}")
        else:
            scale = np.abs(value).max() + 1e-6
            np.testing.assert_allclose(
                found[key], value, rtol=rtol, atol=rtol * scale, err_msg=f"{name} {key}"
            )


def recorded_run(recorded, name):
    return {k.split("/")[1]: recorded[k] for k in recorded if k.split("/")[0] == name}


@pytest.mark.parametrize("name", optimizer_runs.RUNS)
def test_trajectory(name):
    keras.utils.clear_session()
    with np.load(RECORDED) as recorded:
        expected = recorded_run(recorded, name)
    assert expected["loss"][-1] < expected["loss"][0]
    compare(optimizer_runs.run(name), expected, name, 1e-3)


@pytest.mark.slow
def test_the_record_is_that_of_jax(tmp_path):
    # Fifty steps make differences of rounding between instruction sets larger than the tolerance.
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}
    subprocess.run(
        [sys.executable, optimizer_runs.__file__, tmp_path / "new.npz"],
        env=environment, check=True, timeout=600,
    )  # fmt: skip
    with np.load(RECORDED) as recorded, np.load(tmp_path / "new.npz") as new:
        assert {key.split("/")[0] for key in new} == set(optimizer_runs.RUNS)
        for name in optimizer_runs.RUNS:
            compare(recorded_run(recorded, name), recorded_run(new, name), name, 1e-4)
