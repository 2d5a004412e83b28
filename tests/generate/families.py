"""Small random models of KerasHub, one for each family, and what they generate.

Runs under any backend of Keras, in a process of its own for the reference:

    KERAS_BACKEND=torch python -m tests.generate.families reference.json GPT2 Llama
"""

import json
import sys

import numpy as np

from tests.generate.more_families import LENGTH, MORE, VOCABULARY, hub, preprocessor_of, text

_SIZES = {"vocabulary_size": VOCABULARY, "num_layers": 2, "hidden_dim": 32, "intermediate_dim": 48}
_HEADS = {**_SIZES, "num_heads": 4}
_GROUPED = {**_SIZES, "num_query_heads": 4, "num_key_value_heads": 2}
_EXPERTS = {**_GROUPED, "num_experts": 4, "top_k": 2}
_GEMMA = {**_GROUPED, "head_dim": 8}
_GEMMA2 = {
    "use_post_ffw_norm": True, "use_post_attention_norm": True, "attention_logit_soft_cap": 20.0,
    "final_logit_soft_cap": 10.0, "use_sliding_window_attention": True, "sliding_window_size": 6,
}  # fmt: skip

# Family: the class's prefix, and the sizes of its backbone.
DECODERS = {
    "GPT2": ("GPT2", _HEADS | {"max_sequence_length": LENGTH}),
    "OPT": ("OPT", _HEADS | {"max_sequence_length": LENGTH}),
    "Bloom": ("Bloom", _HEADS),
    "GPTNeoX": ("GPTNeoX", _HEADS | {"max_sequence_length": LENGTH, "rotary_percentage": 0.5}),
    "Falcon": ("Falcon", _SIZES | {"num_attention_heads": 4}),
    "Llama": ("Llama", _GROUPED),
    "Llama3": (
        "Llama3",
        _GROUPED
        | {
            "rope_frequency_adjustment_factor": 8.0,
            "rope_low_freq_factor": 1.0,
            "rope_high_freq_factor": 4.0,
            "rope_pretraining_sequence_length": 16,
        },
    ),
    "Mistral": ("Mistral", _GROUPED | {"sliding_window": 8}),
    "Mixtral": ("Mixtral", _EXPERTS | {"sliding_window": 8}),
    "Phi3": ("Phi3", _GROUPED | {"max_sequence_length": 64, "pretraining_sequence_length": 64}),
    "Qwen": ("Qwen", _GROUPED),
    "QwenMoe": (
        "QwenMoe",
        _EXPERTS | {"moe_intermediate_dim": 24, "shared_expert_intermediate_dim": 24},
    ),
    "Qwen3": ("Qwen3", _GROUPED | {"head_dim": 8}),
    "Qwen3Moe": ("Qwen3Moe", _EXPERTS | {"moe_intermediate_dim": 24, "head_dim": 8}),
    "Gemma": ("Gemma", _GEMMA),
    "Gemma2": ("Gemma", _GEMMA | _GEMMA2),
    "Gemma3": (
        "Gemma3",
        _GEMMA | {"image_size": None, "vision_encoder": None, "sliding_window_size": 6}
        | {"use_sliding_window_attention": True, "num_layers": 6},
    ),
    "SmolLM3": (
        "SmolLM3",
        {
            **_SIZES, "num_attention_heads": 4, "num_key_value_heads": 2, "attention_bias": False,
            "attention_dropout": 0.0, "rope_layer_enabled_list": [True, False],
            "layer_types": ["full_attention", "full_attention"], "mlp_bias": False,
            "layer_norm_epsilon": 1e-5, "max_position_embeddings": 64, "rope_theta": 10000.0,
            "partial_rotary_factor": 1.0,
        },
    ),
    "GptOss": ("GptOss", _EXPERTS | {"head_dim": 8, "sliding_window": 8}),
}  # fmt: skip


def _decoder(prefix, sizes):
    return f"{prefix}CausalLM", lambda **more: hub(f"{prefix}Backbone")(**{**sizes, **more}), text


FAMILIES = {name: _decoder(*found) for name, found in DECODERS.items()} | MORE


def model_of(family, sampler="greedy", seed=0, **changed):
    """The task of `family` with weights drawn from `seed`, the same under every backend.

    Sizes of the backbone may be `changed`, of those in DECODERS.
    """
    import keras

    keras.backend.clear_session()  # names count from the start, whatever was made before
    task, backbone, _ = FAMILIES[family]
    model = hub(task)(backbone=backbone(**changed), preprocessor=preprocessor_of(task))
    draw = np.random.default_rng(seed)
    for variable in sorted(model.weights, key=lambda v: v.path):
        if variable.dtype != "float32":
            continue
        shape = tuple(variable.shape)
        noise = draw.standard_normal(shape).astype(np.float32)
        fan = max(1, int(np.prod(shape[:-1]))) if len(shape) > 1 else 0
        if "embedding" in variable.path and len(shape) == 2:
            variable.assign(noise)
        elif fan:
            variable.assign(noise * 1.6 / np.sqrt(min(fan, shape[-1] * 4)))
        else:  # ones or zeros; those that start at random would differ in each process
            value = keras.ops.convert_to_numpy(variable)
            variable.assign((value.flat[0] if np.ptp(value) == 0 else 0) + 0.1 * noise)
    model.compile(sampler=sampler)
    return model


def prompts(family, lengths=(5, 8), seed=1):
    """Prompts of these lengths, as the family's task takes them."""
    return FAMILIES[family][2](np.random.default_rng(seed), lengths)


def generated(model, inputs, stop_token_ids=None):
    """{"ids", "mask"} of a call of generate."""
    # `generate` itself fails without a preprocessor where the result holds images
    result = model.make_generate_function()(dict(inputs), stop_token_ids=stop_token_ids)
    prefix = "decoder_" if "decoder_token_ids" in result else ""
    return {
        "ids": np.asarray(result[prefix + "token_ids"]).tolist(),
        "mask": np.asarray(result[prefix + "padding_mask"]).astype(int).tolist(),
    }


def noting():
    """A greedy sampler, and the list of what it notes: (place, gaps [batch]) of each step.

    A gap is how far the greatest logit lies above the second.
    """
    import keras
    import keras_hub

    noted = []

    class Noting(keras_hub.samplers.GreedySampler):
        def __call__(self, next, prompt, cache=None, index=0, **kwargs):
            self.place = int(index)
            return super().__call__(next, prompt, cache, index, **kwargs)

        def get_next_token(self, probabilities):
            values = np.sort(np.log(keras.ops.convert_to_numpy(probabilities) + 1e-30), axis=-1)
            noted.append((self.place, (values[:, -1] - values[:, -2]).tolist()))
            self.place += 1
            return super().get_next_token(probabilities)

    return Noting(), noted


def before(inputs):
    """How many ids of the result lie before those that the sampler fills up."""
    return inputs["token_ids"].shape[1] if "predict_token_ids" in inputs else 0


def begins(inputs):
    """[batch]: at which place of the result the first new token of each row is."""
    mask = inputs.get("decoder_padding_mask", inputs.get("padding_mask"))
    return before(inputs) + mask.sum(1)


# What is generated for each family, by name: sampler, lengths of the prompts, stop tokens.
CASES = {
    "greedy": ("greedy", (6,), None),
    "unequal prompts": ("greedy", (5, 8), None),
    "stop tokens": ("greedy", (5, 8), "found"),
    "beam": ("beam", (5, 8), None),
    "contrastive": ("contrastive", (5, 8), None),
}


GREEDY = ("greedy", "unequal prompts", "stop tokens")
SEARCHED = ("GPT2", "Qwen3", "Bart", "T5", "Moonshine", "BLIP2 with T5")


def results(family, reference=False):
    """{case: {"ids", "mask", "gaps", "stop"}}; gaps where it is the reference."""
    model, found = model_of(family), {}
    for case in CASES if family in SEARCHED else GREEDY:
        sampler, lengths, stop = CASES[case]
        noted = None
        if reference and sampler == "greedy":
            sampler, noted = noting()
        model.compile(sampler=sampler)
        inputs = prompts(family, lengths)
        if stop is not None:  # of both rows a token that comes early
            free, starts = found["unequal prompts"]["ids"], begins(inputs)
            stop = [free[0][starts[0] + 2], free[1][starts[1] + 3]]
        found[case] = generated(model, inputs, stop)
        found[case]["stop"] = stop
        if noted is not None:
            found[case]["gaps"] = [(place + before(inputs), some) for place, some in noted]
    return found


def main(path, *families):
    with open(path, "w") as file:
        wanted = families or FAMILIES
        json.dump({family: results(family, reference=True) for family in wanted}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
