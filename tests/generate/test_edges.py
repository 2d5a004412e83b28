"""Inputs and moments at the edge: prompts that leave nothing to do, precisions, interruptions."""

import keras
import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

from kerasvino.generate import around, hub, stateful  # noqa: E402
from kerasvino.generate.contract import contract_of  # noqa: E402
from tests.generate import families, texts  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return families.model_of("Qwen3")


def tokens(model, inputs, stop=None):
    return families.generated(model, inputs, stop)["ids"]


def eagerly(model, inputs):
    given = {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}
    result = model.generate_step(given)
    return np.asarray(result.get("token_ids", result.get("decoder_token_ids"))).tolist()


def programs(model):
    return [s.current() for steps in stateful._steps[model].values() for s in steps._known.values()]


# Inputs


@pytest.mark.parametrize("family", ["Qwen3", "T5", "PaliGemma"])
def test_a_prompt_that_fills_the_sequence_stays_as_it_is(family):
    model = families.model_of(family)
    inputs = families.prompts(family, (20, 20))
    mask = next(name for name in ("decoder_padding_mask", "padding_mask") if name in inputs)
    inputs[mask][:] = True
    given = inputs[mask.replace("padding_mask", "token_ids")].tolist()
    assert tokens(model, inputs) == tokens(model, inputs, [3]) == given


@pytest.mark.parametrize("lengths", [(1,), (1, 9), (24, 1)])
def test_a_prompt_of_one_token(model, lengths):
    inputs = families.prompts("Qwen3", lengths)
    assert tokens(model, inputs) == eagerly(model, inputs)


def test_prompts_with_padding_at_the_left_and_between(model):
    inputs = families.prompts("Qwen3", (6, 8))
    for name, value in inputs.items():
        inputs[name] = np.roll(value, (2, 0), axis=(1, 0))
    inputs["padding_mask"][1, 4] = False
    assert tokens(model, inputs) == eagerly(model, inputs)


@pytest.mark.parametrize(
    ("lengths", "words"), [((), "no prompt; give at least one"), ((4, 0), r"\[1\] .* no tokens")]
)
def test_prompts_that_are_none(model, lengths, words):
    inputs = families.prompts("Qwen3", lengths) if lengths else None
    if inputs is None:
        inputs = {name: v[:0] for name, v in families.prompts("Qwen3").items()}
    with pytest.raises(ValueError, match=words):
        tokens(model, inputs)


def test_texts_and_ids_give_the_same():
    model = texts.model_of("GPT2", length=24)
    text = model.generate("The quick", max_length=16)
    inputs = model.preprocessor.generate_preprocess(["The quick"], sequence_length=16)
    inputs = {name: np.asarray(value) for name, value in inputs.items()}
    stop = model.preprocessor.tokenizer.end_token_id
    model.preprocessor = None
    found = model.generate(inputs, stop_token_ids=[stop])
    tokenizer = texts.tokenizer_of("GPT2")
    ids = np.asarray(found["token_ids"])[np.asarray(found["padding_mask"]).astype(bool)]
    told = [i for i in ids.tolist() if i != stop]
    assert told
    assert text == str(tokenizer.detokenize(told))


def test_a_length_below_that_of_the_prompt():
    model = texts.model_of("GPT2", length=24)
    prompt = "The quick fox is learning"
    found = model.generate(prompt, max_length=4)
    assert prompt.startswith(found)
    assert found


# Precisions


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16", "float16", "mixed_float16"])
@pytest.mark.parametrize("family", ["GPT2", "T5"])
def test_policies(family, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = families.model_of(family)
    finally:
        keras.config.set_dtype_policy(before)
    gaps = []

    class Noting(keras_hub.samplers.GreedySampler):
        def get_next_token(self, probabilities):
            gaps.append(keras.ops.convert_to_numpy(probabilities).astype("float32"))
            return super().get_next_token(probabilities)

    inputs = families.prompts(family, (6,))
    model.compile(sampler=Noting())
    found = tokens(model, inputs)
    compiled, gaps[:] = list(gaps), []
    expected = eagerly(model, inputs)
    assert model not in hub._whole
    # up to the first token that is another one, probabilities are those of the narrow type
    same = next(
        (n for n, (a, b) in enumerate(zip(found[0], expected[0], strict=True)) if a != b), 24
    )
    steps = same - int(families.begins(inputs)[0]) + 1
    assert steps >= 1
    for mine, theirs in list(zip(compiled, gaps, strict=True))[:steps]:
        assert np.abs(mine - theirs).max() < 0.1


# Models


def test_models_that_take_turns():
    one, other = families.model_of("Qwen3"), families.model_of("GPT2", seed=5)
    inputs = families.prompts("Qwen3", (4, 7))
    alone = [tokens(one, inputs), tokens(other, inputs)]

    class Asking(keras_hub.samplers.GreedySampler):
        """Asks another model, and its own, between two tokens."""

        asked = 0

        def get_next_token(self, probabilities):
            self.asked += 1
            if self.asked in (3, 5):
                seen.append(tokens(other, inputs))
            return super().get_next_token(probabilities)

    seen = []
    one.compile(sampler=Asking())
    assert [tokens(one, inputs), tokens(other, inputs)] == alone
    assert seen == [alone[1]] * 2


def test_another_sampler_between_two_calls():
    model = families.model_of("Qwen3")
    inputs = families.prompts("Qwen3", (4, 7))
    found = {}
    for name in ("greedy", "beam", "contrastive", "greedy", "beam"):
        model.compile(sampler=name)
        once = tokens(model, inputs)
        assert found.setdefault(name, once) == once
    model.compile(sampler=keras_hub.samplers.BeamSampler(num_beams=2))
    assert tokens(model, inputs) == eagerly(model, inputs)


def test_weights_of_an_encoder_assigned_between_are_seen():
    model = families.model_of("T5")
    inputs = families.prompts("T5")
    before = tokens(model, inputs)
    for variable in model.backbone.encoder_transformer_layers[0].weights:
        variable.assign(keras.ops.convert_to_numpy(variable) * -2)
    assert tokens(model, inputs) == eagerly(model, inputs) != before


def test_lora_of_a_task_with_an_encoder():
    model = families.model_of("Bart")
    inputs = families.prompts("Bart")
    before = tokens(model, inputs)
    model.backbone.enable_lora(2)
    for variable in model.backbone.trainable_variables:
        if "lora" in variable.path:
            variable.assign(np.random.default_rng(3).normal(size=variable.shape))
    assert tokens(model, inputs) == eagerly(model, inputs) != before


def test_the_length_of_what_is_encoded_may_differ():
    model = families.model_of("T5")
    for encoded in (24, 17, 9):
        inputs = families.prompts("T5", (5, 8))
        for name in ("encoder_token_ids", "encoder_padding_mask"):
            inputs[name] = inputs[name][:, :encoded]
        assert tokens(model, inputs) == eagerly(model, inputs)
    assert len(programs(model)) <= 2


# Interruptions


@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt])
@pytest.mark.parametrize("family", ["Qwen3", "T5"])
def test_an_error_in_the_middle_gives_the_request_back(family, error):
    left = []

    class Failing(keras_hub.samplers.GreedySampler):
        def get_next_token(self, probabilities):
            left.pop()
            if not left:
                raise error("stop here")
            return super().get_next_token(probabilities)

    model = families.model_of(family)
    inputs = families.prompts(family)
    expected = tokens(model, inputs)
    model.compile(sampler=Failing())
    for _ in range(3):
        left[:] = range(4)
        with pytest.raises(error, match="stop here"):
            tokens(model, inputs)
        for program in programs(model):
            assert len(program._idle) == len({id(r) for r in program._idle}) <= 1
    model.compile(sampler="greedy")
    assert tokens(model, inputs) == expected
    assert getattr(stateful._of_thread, "run", None) is None


def test_seeds_are_given_back_where_generation_begins_anew():
    class Rewriting(keras_hub.models.Qwen3CausalLM):
        """Does more with its cache than append to it, behind the prompt."""

        def call_with_cache(self, token_ids, cache, cache_update_index):
            if token_ids.shape[1] == 1:
                cache = keras.ops.where(keras.ops.isfinite(cache), cache, 0.0)
            return super().call_with_cache(token_ids, cache, cache_update_index)

    backbone = families.model_of("Qwen3").backbone
    inputs = families.prompts("Qwen3", (4,))
    found = []
    for kind in (Rewriting, keras_hub.models.Qwen3CausalLM):
        model = kind(backbone=backbone, preprocessor=None)
        model.compile(sampler=keras_hub.samplers.RandomSampler(seed=3))
        found.append([tokens(model, inputs), tokens(model, inputs)])
    assert found[0] == found[1]


# Other contracts


def test_arguments_that_may_or_may_not_go_along_with_the_tokens():
    class Extra(keras_hub.models.Qwen3CausalLM):
        def call_with_cache(self, token_ids, cache, cache_update_index, kinds=None):
            result = super().call_with_cache(token_ids, cache, cache_update_index)
            shift = 0.0 if kinds is None else keras.ops.mean(kinds)
            return result[0] + shift, *result[1:]

        def _build_cache(self, token_ids):
            length = token_ids.shape[1]
            cache = keras.ops.zeros((1, 2, 2, length, 2, 8))
            return self.call_with_cache(token_ids, cache, 0, keras.ops.ones((1, length)))[1:]

    backbone = families.model_of("Qwen3").backbone
    model = Extra(backbone=backbone, preprocessor=None)
    model.compile(sampler="greedy")
    inputs = families.prompts("Qwen3", (6,))
    assert tokens(model, inputs) == eagerly(model, inputs)
    assert model in hub._whole


def test_code_that_cannot_be_compiled_runs_eagerly(caplog):
    class Asking(keras_hub.models.T5Seq2SeqLM):
        def call_encoder(self, token_ids, padding_mask):
            assert int(keras.ops.sum(padding_mask)) > 0
            return super().call_encoder(token_ids, padding_mask)

    model = Asking(backbone=families.model_of("T5").backbone, preprocessor=None)
    model.compile(sampler="greedy")
    inputs = families.prompts("T5")
    with caplog.at_level("DEBUG", "kerasvino"):
        assert tokens(model, inputs) == eagerly(model, inputs)
    assert any("call_encoder runs eagerly" in message for message in caplog.messages)
    assert model not in hub._whole


def test_encoders_are_compiled_once():
    model = families.model_of("PaliGemma")
    tokens(model, families.prompts("PaliGemma", (4,)))
    encoder = around._known[model]["vit_encoder"]
    tokens(model, families.prompts("PaliGemma", (6,), seed=4))
    assert not encoder._eager
    assert len(encoder._jitted.functions) == 1


def test_each_task_that_generates_has_a_family_here():
    kinds = {
        kind
        for kind in vars(keras_hub.models).values()
        if isinstance(kind, type) and issubclass(kind, keras_hub.models.CausalLM)
    }
    kinds -= {keras_hub.models.CausalLM, keras_hub.models.Seq2SeqLM}
    bare = {kind for kind in kinds if kind.backbone_cls is None}  # KerasHub's own bases
    here = {getattr(keras_hub.models, task) for task, _, _ in families.FAMILIES.values()}
    # a draft model, which generates for another one and not by itself
    drafts = {getattr(keras_hub.models, "Gemma4AssistantCausalLM", None)}
    assert sorted(k.__name__ for k in kinds - bare - here - drafts) == []


def test_contracts_of_keras_hub():
    assert contract_of(families.model_of("GPT2")).method == "call_with_cache"
    assert contract_of(families.model_of("T5Gemma")).pair
    assert contract_of(families.model_of("RWKV7")) is None
