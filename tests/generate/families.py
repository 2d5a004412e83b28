"""Small random models of KerasHub, one for each family, and what they generate.

Runs under any backend of Keras, in a process of its own for the reference:

    KERAS_BACKEND=torch python tests/generate/families.py reference.json GPT2 Llama
"""

import json
import sys

import numpy as np

VOCABULARY, LENGTH = 64, 24
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
_SEQ2SEQ = {"Bart": ("Bart", _HEADS | {"max_sequence_length": LENGTH}), "T5": ("T5", _HEADS)}
FAMILIES = {**DECODERS, **_SEQ2SEQ}
DIRECT = {"Gemma3CausalLM"}
TASKS = {name: "Seq2SeqLM" for name in _SEQ2SEQ}


def model_of(family, sampler="greedy", seed=0, **changed):
    """The task of `family` with weights drawn from `seed`, the same under every backend.

    Sizes of the backbone may be `changed`.
    """
    import keras_hub

    prefix, sizes = FAMILIES[family]
    backbone = getattr(keras_hub.models, f"{prefix}Backbone")(**{**sizes, **changed})
    task = getattr(keras_hub.models, f"{prefix}{TASKS.get(family, 'CausalLM')}")
    model = task(backbone=backbone, preprocessor=None)
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
            constant = np.asarray(variable).flat[:1]
            variable.assign((constant if np.ptp(np.asarray(variable)) == 0 else 0) + 0.1 * noise)
    model.compile(sampler=sampler)
    return model


def prompts(family, lengths=(5, 8), seed=1):
    """Prompts of these lengths, padded to LENGTH, as the family's task takes them."""
    draw = np.random.default_rng(seed)

    def padded(lengths):
        ids = np.zeros((len(lengths), LENGTH), np.int32)
        mask = np.arange(LENGTH) < np.array(lengths)[:, None]
        ids[mask] = draw.integers(1, VOCABULARY, int(mask.sum()))
        return ids, mask

    if TASKS.get(family) != "Seq2SeqLM":
        ids, mask = padded(lengths)
        return {"token_ids": ids, "padding_mask": mask}
    encoder, encoder_mask = padded([length + 4 for length in lengths])
    ids, mask = padded([length - 3 for length in lengths])
    return {
        "encoder_token_ids": encoder, "encoder_padding_mask": encoder_mask,
        "decoder_token_ids": ids, "decoder_padding_mask": mask,
    }  # fmt: skip


def generated(model, inputs, stop_token_ids=None):
    """{"ids", "mask"} of a call of generate."""
    # `generate` itself fails without a preprocessor where the result holds images that are None
    generate = (
        model.generate if type(model).__name__ not in DIRECT else model.make_generate_function()
    )
    result = generate(dict(inputs), stop_token_ids=stop_token_ids)
    prefix = "decoder_" if "decoder_token_ids" in result else ""
    return {
        "ids": np.asarray(result[prefix + "token_ids"]).tolist(),
        "mask": np.asarray(result[prefix + "padding_mask"]).astype(int).tolist(),
    }


def gaps(model, inputs, ids):
    """[batch, LENGTH - 1]: how far the greatest logit of each next token lies above the second."""
    from keras import ops

    whole = np.ones_like(ids, bool)
    if "encoder_token_ids" in inputs:
        given = {**inputs, "decoder_token_ids": ids, "decoder_padding_mask": whole}
    else:
        given = {"token_ids": ids, "padding_mask": whole}
    logits = ops.convert_to_numpy(model(given, training=False))
    top = np.sort(logits, axis=-1)[..., -2:]
    return (top[..., 1] - top[..., 0])[:, :-1]


# What is generated for each family, by name: sampler, lengths of the prompts, stop tokens.
CASES = {
    "greedy": ("greedy", (6,), None),
    "unequal prompts": ("greedy", (5, 8), None),
    "stop tokens": ("greedy", (5, 8), "found"),
    "beam": ("beam", (5, 8), None),
    "contrastive": ("contrastive", (5, 8), None),
}


GREEDY = ("greedy", "unequal prompts", "stop tokens")
SEARCHED = ("GPT2", "Qwen3", "Bart")


def results(family):
    """{case: {"ids", "mask", "gaps", "stop"}}."""
    model, found = model_of(family), {}
    for case in CASES if family in SEARCHED else GREEDY:
        sampler, lengths, stop = CASES[case]
        model.compile(sampler=sampler)
        inputs = prompts(family, lengths)
        if stop is not None:  # what the first sequence has as its third new token
            free = found.get("unequal prompts") or generated(model, inputs)
            start = lengths[0] - (3 if TASKS.get(family) == "Seq2SeqLM" else 0)
            stop = [free["ids"][0][start + 2], free["ids"][1][start + 6]]
        found[case] = generated(model, inputs, stop)
        found[case]["stop"] = stop
        if sampler == "greedy":
            ids = np.array(found[case]["ids"], np.int32)
            found[case]["gaps"] = gaps(model, inputs, ids).tolist()
    return found


def main(path, *families):
    with open(path, "w") as file:
        json.dump({family: results(family) for family in families or FAMILIES}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
