"""Profiles of generating: the step of a token by layer, and how the task keeps its cache."""

import re

import keras
import numpy as np
import pytest

import kerasvino

pytest.importorskip("keras_hub")

from tests.generate import families, texts


@pytest.fixture(scope="module")
def task():
    return texts.model_of("Qwen3")


@pytest.fixture(scope="module")
def found(task):
    return kerasvino.profile(task, "The fox", runs=4, max_length=24)


def test_it_says_how_the_task_generates(found, task):
    generation = found.generation
    layers = task.backbone.num_layers
    assert generation.arrays == 2 * layers
    assert generation.attentions == layers
    assert generation.prompt == len(task.preprocessor.tokenizer("The fox"))
    assert generation.prompt + 1 + generation.steps == 24
    assert 0 < generation.token_seconds < generation.first_seconds * 100
    assert f"state, {layers} attention" in str(found)


def test_a_step_is_charged_to_layers(found):
    assert len(found.measurement.run_seconds) == 4
    paths = " ".join(layer.path for layer in found.layers)
    assert "transformer_layer_0" in paths and "token_embedding" in paths
    assert sum(layer.seconds for layer in found.layers) == pytest.approx(found.node_seconds)
    assert found.generation.token_seconds > 0


def test_the_page_says_it(found, tmp_path):
    found.save_html(tmp_path / "page.html")
    assert "generates step by step" in (tmp_path / "page.html").read_text()


def test_the_text_is_the_same_after_it(task):
    before = task.generate("The fox", max_length=16)
    kerasvino.profile(task, ["The fox", "A dog is"], runs=2, max_length=16)
    assert task.generate("The fox", max_length=16) == before


def test_ids_without_a_preprocessor():
    model = families.model_of("GPT2")
    ids = np.zeros((1, 12), "int32")
    ids[0, :3] = 5, 7, 9
    found = kerasvino.profile(model, {"token_ids": ids, "padding_mask": ids > 0}, max_length=12)
    assert found.generation.prompt == 3 and found.generation.steps == 8


def test_what_cannot_be_profiled(task):
    dense = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match=re.escape("Sequential has no generate()")):
        kerasvino.profile(dense, "text")
    with pytest.raises(TypeError, match="a step of training"):
        kerasvino.profile(task, "text", y=1, max_length=12)
    with pytest.raises(ValueError, match=r"2 or more\. Give a greater max_length"):
        length = len(task.preprocessor.tokenizer("The fox"))
        kerasvino.profile(task, "The fox", max_length=length + 2)
    with pytest.raises(ValueError, match="does not generate by compiled steps"):
        kerasvino.profile(families.model_of("RWKV7"), families.prompts("RWKV7"), max_length=12)
