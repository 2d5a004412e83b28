"""The demo: its committed files, its checks, and a whole run."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

DIGITS = pathlib.Path(__file__).parent.parent / "examples" / "digits"
MODELS = ("cnn_jax", "cnn_torch")


@pytest.fixture
def demo(monkeypatch):
    """The demo's module, imported as its folder's scripts import each other."""
    monkeypatch.syspath_prepend(DIGITS)
    import demo

    yield demo
    for name in ("demo", "data"):
        del sys.modules[name]


def record(name: str) -> dict[str, np.ndarray]:
    with np.load(DIGITS / f"{name}.npz") as found:
        return dict(found)


@pytest.mark.parametrize("name", MODELS)
def test_record_is_of_the_held_out_images(demo, name):
    import data

    images, labels = demo.load()
    assert images.shape == (1797, 8, 8, 1)
    training, held_out = data.split(labels)
    np.testing.assert_array_equal(record(name)["held_out"], held_out)
    assert not set(training) & set(held_out)
    assert len(held_out) == data.HELD_OUT


@pytest.mark.parametrize("name", MODELS)
def test_recorded_accuracy_follows_from_the_recorded_logits(demo, name):
    found, labels = record(name), demo.load()[1]
    correct = found["logits"].argmax(-1) == labels[found["held_out"]]
    assert found["accuracy"] == correct.mean() >= 0.97
    assert (DIGITS / f"{name}.keras").stat().st_size < 500_000


@pytest.mark.parametrize("offset", [2e-4, np.nan, np.inf])
def test_a_wrong_logit_is_reported(demo, offset):
    found = record("cnn_jax")
    labels = demo.load()[1][found["held_out"]]
    assert demo.check("cnn_jax", found, found["logits"], labels)[1] == []
    wrong = found["logits"].copy()
    wrong[0, wrong[0].argmin()] += offset
    assert "logits differ by" in demo.check("cnn_jax", found, wrong, labels)[1][0]


def test_another_accuracy_is_reported(demo):
    found = record("cnn_jax")
    labels = demo.load()[1][found["held_out"]].copy()
    labels[0] = (labels[0] + 1) % 10
    assert "accuracy" in demo.check("cnn_jax", found, found["logits"], labels)[1][0]


def test_demo_runs_and_both_models_pass(tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith("KERAS")}
    done = subprocess.run(
        [sys.executable, DIGITS / "demo.py"],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for expected in (*MODELS, "JAX", "torch", "images/s", "LoRA"):
        assert expected in done.stdout
    assert (tmp_path / "digits-training.png").stat().st_size > 10_000
