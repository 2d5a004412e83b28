"""Networks of KerasHub predict and train as they do with Keras on JAX."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.parity import hub_models

pytest.importorskip(
    "keras_hub",
    reason="KerasHub is not among the test packages, as it brings TensorFlow Text; "
    "pip install keras-hub, or keras-hub-nightly",
    exc_type=ImportError,
)


def test_networks_of_keras_hub(tmp_path):
    file = tmp_path / "reference.npz"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    command = [sys.executable, hub_models.__file__, file]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
    wanted = dict(np.load(file))
    found = hub_models.results()
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        scale = max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(found[name] / scale, value / scale, atol=1e-5, err_msg=name)
    for name in ("bert", "resnet", "vit"):
        assert np.std(wanted[f"{name} before"], axis=0).max() > 1e-3
        assert wanted[f"{name} losses"][1] < wanted[f"{name} losses"][0]
