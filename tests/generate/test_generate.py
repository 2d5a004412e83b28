"""What generation keeps, and what it takes note of: weights, seeds, threads, memory, attention."""

import logging
import sys
import threading

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import keras  # noqa: E402

import kerasvino  # noqa: E402
from kerasvino.generate import stateful  # noqa: E402
from tests.generate import families  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return families.model_of("Qwen3")


INPUTS = families.prompts("Qwen3")


def tokens(model, inputs=INPUTS, stop=None):
    return families.generated(model, inputs, stop)["ids"]


def eagerly(model, inputs=INPUTS):
    """The ids of KerasHub's own loop over operations on the host."""
    return np.asarray(model.generate_step(inputs)["token_ids"]).tolist()


def program_of(model):
    (steps,) = stateful._steps[model].values()
    return list(steps._known.values())[-1].current()


@pytest.mark.parametrize("sampler", ["TopKSampler", "TopPSampler", "RandomSampler"])
def test_random_samplers_draw_what_they_draw_eagerly(sampler):
    model = families.model_of("Qwen3")
    kind = getattr(keras_hub.samplers, sampler)
    options = {"p": 0.8} if sampler == "TopPSampler" else {}
    model.compile(sampler=kind(seed=7, temperature=2.0, **options))
    first, second = tokens(model), tokens(model)
    model.compile(sampler=kind(seed=7, temperature=2.0, **options))
    assert [first, second] == [eagerly(model), eagerly(model)]
    assert first != second


def test_a_sampler_of_a_users_own():
    class Second(keras_hub.samplers.Sampler):
        def get_next_token(self, probabilities):
            return keras.ops.argsort(probabilities, axis=-1)[:, -2]

    model = families.model_of("Qwen3", Second())
    assert tokens(model) == eagerly(model)


def test_logits_that_a_task_changes_after_the_step():
    class Without(keras_hub.models.Qwen3CausalLM):
        """Forbids every third token between the step and the sampler."""

        def generate_step(self, inputs, stop_token_ids=None):
            sampler = self.sampler

            def changed(next, **kwargs):
                def other(*args):
                    logits, hidden, cache = next(*args)
                    forbidden = keras.ops.arange(families.VOCABULARY) % 3 == 0
                    return keras.ops.where(forbidden, -1e9, logits), hidden, cache

                return sampler(next=other, **kwargs)

            ids, mask = (
                keras.ops.convert_to_tensor(inputs[k]) for k in ("token_ids", "padding_mask")
            )
            _, cache = self._build_cache(ids)

            def next(prompt, cache, index):
                last = keras.ops.slice(prompt, [0, index - 1], [prompt.shape[0], 1])
                logits, hidden, cache = self.call_with_cache(last, cache, index - 1)
                return logits[:, 0], hidden[:, 0], cache

            index = keras.ops.min(keras.ops.sum(keras.ops.cast(mask, "int32"), -1))
            ids = changed(next=next, prompt=ids, cache=cache, index=index, mask=mask)
            return {"token_ids": ids, "padding_mask": mask}

    model = Without(backbone=families.model_of("Qwen3").backbone, preprocessor=None)
    model.compile(sampler="greedy")
    found = tokens(model)
    assert found == eagerly(model)
    given = INPUTS["padding_mask"]
    assert all(token % 3 for token in np.array(found)[~given])


def test_weights_assigned_between_are_seen(model):
    before = tokens(model)
    kernel = model.backbone.transformer_layers[0].weights[0]
    value = keras.ops.convert_to_numpy(kernel)
    kernel.assign(value * -2)
    try:
        assert tokens(model) == eagerly(model) != before
    finally:
        kernel.assign(value)
    assert tokens(model) == before


def test_lora_is_seen():
    model = families.model_of("Qwen3")
    tokens(model)
    model.backbone.enable_lora(2)
    for variable in model.backbone.trainable_variables:
        variable.assign(np.random.default_rng(3).normal(size=variable.shape).astype("float32"))
    assert tokens(model) == eagerly(model)


def test_threads_have_states_of_their_own(model):
    inputs = [families.prompts("Qwen3", (n, n + 2), seed=n) for n in range(3, 7)]
    expected = [tokens(model, one) for one in inputs]
    found = [None] * len(inputs)

    def run(index):
        for _ in range(3):
            found[index] = tokens(model, inputs[index])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


@pytest.mark.parametrize("family", ["GPT2", "Qwen3", "Gemma", "Gemma2", "Falcon"])
def test_the_plugin_appends_within_its_attention(family, caplog):
    model = families.model_of(family)
    with caplog.at_level(logging.DEBUG, "kerasvino"):
        tokens(model, families.prompts(family))
    kinds = [
        str(n.get_rt_info()["layerType"].value) for n in program_of(model).runtime_model.get_ops()
    ]
    fused = family != "Gemma2"  # whose logits have a soft cap
    assert kinds.count("ScaledDotProductAttention") == (2 if fused else 0)
    assert kinds.count("MemoryInput") == 4
    told = f"4 arrays of keys or values. {2 if fused else 0} attentions append to theirs"
    assert any(told in message for message in caplog.messages)


@pytest.mark.parametrize("family", ["Qwen3", "Mistral"])
def test_nodes_of_a_step_do_not_grow_with_what_is_the_same_in_all_layers(family):
    """Positions, masks and angles are computed once for all layers."""
    model = families.model_of(family)
    inputs = families.prompts(family)
    tokens(model, inputs)
    kinds = [
        str(n.get_rt_info()["layerType"].value) for n in program_of(model).runtime_model.get_ops()
    ]
    layers = model.backbone.num_layers
    assert kinds.count("RoPE") >= layers
    assert kinds.count("ScaledDotProductAttention") == layers
    assert kinds.count("Range") <= 4
    assert kinds.count("Math") <= 4  # sines and cosines of one or two wavelengths


def test_a_sampler_that_goes_back(model):
    class Twice(keras_hub.samplers.GreedySampler):
        def __call__(self, next, prompt, cache=None, index=0, **kwargs):
            def again(prompt, cache, index):
                next(prompt, cache, index)
                return next(prompt, cache, index)

            return super().__call__(again, prompt, cache, index, **kwargs)

    expected = tokens(model)
    other = families.model_of("Qwen3", Twice())
    assert tokens(other) == expected


@pytest.mark.slow
def test_memory_stays_flat():
    psutil = pytest.importorskip("psutil")
    model = families.model_of("Qwen3")
    resident = []
    for n in range(300):
        tokens(model, families.prompts("Qwen3", (2 + n % 15,), seed=n))
        resident.append(psutil.Process().memory_info().rss / 2**20)
    assert resident[-1] - resident[100] < 8


def test_what_is_kept_is_exact_unless_asked(model):
    def probabilities():
        found = []

        class Noting(keras_hub.samplers.GreedySampler):
            def get_next_token(self, probabilities):
                found.append(keras.ops.convert_to_numpy(probabilities))
                return super().get_next_token(probabilities)

        model.compile(sampler=Noting())
        tokens(model)
        kept = np.stack(found)
        found.clear()
        eagerly(model)
        return np.abs(kept - np.stack(found)).max()

    assert probabilities() < 1e-5
    with kerasvino.config.using(kv_cache_precision="u8"):
        assert probabilities() > 1e-4


def test_kerashub_leaves_kerasvino_in_charge(model):
    tokens(model)
    assert "keras_hub.src.utils.openvino_utils" in sys.modules
    assert kerasvino.is_active()
    kerasvino.activate()
