"""KerasHub's generation of images is one compiled program, with the images of Keras on torch."""

import os
import subprocess
import sys

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import keras  # noqa: E402

import kerasvino  # noqa: E402, F401
from tests.generate import images  # noqa: E402


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "images.npz"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    run = subprocess.run(
        [sys.executable, images.__file__, str(path)], capture_output=True, text=True, check=False,
        env={**environment, "KERAS_BACKEND": "torch"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return np.load(path)


@pytest.fixture(scope="module", params=images.TASKS)
def task(request):
    return request.param


@pytest.fixture(scope="module")
def model(task):
    return images.model_of(task)


def generated(model, task, seed=7, steps=images.STEPS):
    return model.generate(images.inputs(task), num_steps=steps, seed=seed)


def renewals(model):
    return model.generate_function._jitted.renewals


def test_images_are_those_of_torch(task, reference):
    ours, theirs = images.made(task), reference[task]
    assert ours.shape == (2, images.SIZE, images.SIZE, 3)
    assert ours.std() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_one_program_makes_the_same_image_each_time(task, model):
    first = generated(model, task)
    (function,) = model.generate_function._jitted.functions.values()
    before = renewals(model)
    for _ in range(3):
        np.testing.assert_array_equal(generated(model, task), first)
    assert renewals(model) == before
    assert list(model.generate_function._jitted.functions.values()) == [function]
    assert first.dtype == np.uint8 and first.std() > 10
    assert (generated(model, task, seed=8) != first).any()


def test_the_image_is_that_of_the_steps_on_the_host(task, model):
    compiled = generated(model, task).astype(int)
    eager = images.model_of(task)
    eager.compile(run_eagerly=True)
    hosted = generated(eager, task).astype(int)
    assert eager.generate_function == eager.generate_step
    assert np.abs(compiled - hosted).max() <= 1


def test_numbers_of_steps_and_weights_that_change(task, model):
    few, many = generated(model, task, steps=2), generated(model, task, steps=5)
    assert (few != many).any()
    np.testing.assert_array_equal(generated(model, task, steps=2), few)
    kernel = next(v for v in model.backbone.diffuser.weights if len(v.shape) > 1)
    value = keras.ops.convert_to_numpy(kernel)
    kernel.assign(value * -3)
    changed = generated(model, task, steps=2)
    kernel.assign(value)
    assert (changed != few).any()
    np.testing.assert_array_equal(generated(model, task, steps=2), few)


def test_compile_drops_what_was_compiled():
    model = images.model_of("TextToImage")
    made = model.make_generate_function()
    assert model.make_generate_function() is made
    model.compile()
    assert model.generate_function is None
    assert model.make_generate_function() is not made
