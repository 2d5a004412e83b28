"""Families with an encoder, with images or sound, or with a cache of another kind.

Each is a function that makes a small backbone, and one that makes prompts for it.
"""

from types import SimpleNamespace

import numpy as np

VOCABULARY, LENGTH = 64, 24
_SIZES = {"vocabulary_size": VOCABULARY, "num_layers": 2, "hidden_dim": 32, "intermediate_dim": 48}
_HEADS = {**_SIZES, "num_heads": 4}
IMAGE = 16


def hub(name):
    import keras_hub

    return getattr(keras_hub.models, name)


def _inner(path):
    """A class that KerasHub does not export, by `module:name` within its models."""
    import importlib

    module, name = path.split(":")
    return getattr(importlib.import_module(f"keras_hub.src.models.{module}"), name)


def _of(name, **sizes):
    return lambda: hub(name)(**sizes)


# Prompts


def padded(draw, lengths, before=0):
    """(ids, mask) [batch, LENGTH]: random ids, `before` zeros ahead of them."""
    ids = np.zeros((len(lengths), LENGTH), np.int32)
    mask = np.arange(LENGTH) < np.array(lengths)[:, None]
    drawn = mask & (np.arange(LENGTH) >= before)
    ids[drawn] = draw.integers(1, VOCABULARY, int(drawn.sum()))
    return ids, mask


def text(draw, lengths):
    ids, mask = padded(draw, lengths)
    return {"token_ids": ids, "padding_mask": mask}


def encoded(draw, lengths):
    encoder, encoder_mask = padded(draw, [length + 4 for length in lengths])
    ids, mask = padded(draw, [length - 3 for length in lengths])
    return {
        "encoder_token_ids": encoder, "encoder_padding_mask": encoder_mask,
        "decoder_token_ids": ids, "decoder_padding_mask": mask,
    }  # fmt: skip


def heard(draw, lengths):
    ids, mask = padded(draw, [length - 3 for length in lengths])
    sound = draw.normal(size=(len(lengths), 4000, 1)).astype("float32")
    return {
        "encoder_input_values": sound,
        "encoder_padding_mask": np.arange(4000) < np.array([[4000], [3000]])[: len(lengths)],
        "decoder_token_ids": ids, "decoder_padding_mask": mask,
    }  # fmt: skip


def _images(draw, *shape):
    return draw.uniform(size=(*shape, IMAGE, IMAGE, 3)).astype("float32")


def seen(draw, lengths):
    return {**text(draw, lengths), "images": _images(draw, len(lengths))}


def seen_and_encoded(draw, lengths):
    return {**encoded(draw, lengths), "images": _images(draw, len(lengths))}


def _read(draw, lengths):
    """One character, the first, is given; PARSeq reads the rest from a wide image."""
    ids, mask = padded(draw, [1 for _ in lengths])
    images = draw.uniform(size=(len(lengths), 16, 32, 3)).astype("float32")
    return {"token_ids": ids, "padding_mask": mask, "images": images}


def _places(count, tokens, start):
    """Where the tokens of one image for each row are: indices, and a mask of positions."""
    indices = np.tile(np.arange(start, start + tokens, dtype=np.int32), (count, 1))
    mask = np.zeros((count, LENGTH), bool)
    mask[:, start : start + tokens] = True
    return indices, mask


def interleaved(draw, lengths):
    """Images of four tokens each behind the first token."""
    indices, mask = _places(len(lengths), 4, 1)
    images = _images(draw, len(lengths), 1)
    return {
        **text(draw, lengths), "images": images, "vision_indices": indices, "vision_mask": mask,
    }  # fmt: skip


def encoded_and_interleaved(draw, lengths):
    indices, _ = _places(len(lengths), 4, 1)
    images = _images(draw, len(lengths), 1)
    return {**encoded(draw, lengths), "images": images, "vision_indices": indices}


def patches(draw, lengths):
    """Images as patches of 4 x 4 with their positions, for Gemma 4."""
    indices, mask = _places(len(lengths), 4, 1)
    places = np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(1, 1, 16, 2)
    return {
        **text(draw, lengths), "vision_indices": indices, "vision_mask": mask,
        "pixel_values": draw.uniform(size=(len(lengths), 1, 16, 48)).astype("float32"),
        "pixel_position_ids": np.tile(places, (len(lengths), 1, 1, 1)).astype("int32"),
    }  # fmt: skip


def grids(draw, lengths):
    """Images as grids of patches, for Qwen 3.5."""
    count = len(lengths)
    indices = np.array(
        [row * LENGTH + 1 + place for row in range(count) for place in range(4)], "int32"
    )
    return {
        **text(draw, lengths), "vision_indices": indices,
        "pixel_values": draw.uniform(size=(count * 16, 2, 4, 4, 3)).astype("float32"),
        "image_grid_thw": np.tile(np.array([[1, 4, 4]], "int32"), (count, 1)),
    }  # fmt: skip


def continued(draw, lengths):
    """A prompt padded at its left and the last of its ids, for RWKV."""
    ids = np.zeros((len(lengths), 16), np.int32)
    for row, length in enumerate(lengths):
        ids[row, 16 - length :] = draw.integers(1, VOCABULARY, length)
    later = np.zeros((len(lengths), LENGTH), np.int32)
    later[:, 0] = draw.integers(1, VOCABULARY, len(lengths))
    return {
        "token_ids": ids, "input_padding_mask": ids > 0, "predict_token_ids": later,
        "padding_mask": later > 0,
    }  # fmt: skip


# Backbones


def _gemma_vision(family, **more):
    kind = _inner(f"{family.lower()}.{family.lower()}_vision_encoder:{family}VisionEncoder")
    return kind(
        image_size=IMAGE, patch_size=4, pool_size=2, num_layers=2, num_heads=2, hidden_dim=16,
        intermediate_dim=32, output_dim=32, **more,
    )  # fmt: skip


_GEMMA = {**_SIZES, "num_query_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


def _gemma3_with_images():
    return hub("Gemma3Backbone")(
        **_GEMMA, image_size=IMAGE, vision_encoder=_gemma_vision("Gemma3"),
        use_sliding_window_attention=True, sliding_window_size=6,
    )  # fmt: skip


_GEMMA4 = {
    **_GEMMA, "num_layers": 6, "image_size": IMAGE, "use_sliding_window_attention": True,
    "sliding_window_size": 6, "attention_logit_soft_cap": None, "final_logit_soft_cap": None,
}  # fmt: skip


def _gemma4(**more):
    return hub("Gemma4Backbone")(**{**_GEMMA4, "vision_encoder": None, **more})


def _gemma4_with_images():
    encoder = _gemma_vision("Gemma4", head_dim=8, num_key_value_heads=2)
    return _gemma4(vision_encoder=encoder)


def _gemma3n():
    return hub("Gemma3nBackbone")(
        text_vocab_size=VOCABULARY, text_hidden_size=32, num_hidden_layers=2, pad_token_id=0,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=[48, 48],
        hidden_activation="gelu_approximate", sliding_window=6, rope_theta=10000.0,
        layer_types=["sliding_attention", "full_attention"], max_position_embeddings=LENGTH,
        vocab_size_per_layer_input=VOCABULARY, hidden_size_per_layer_input=4, altup_num_inputs=2,
        laurel_rank=2,
    )  # fmt: skip


_LINEAR = {
    **_GEMMA, "num_layers": 4, "partial_rotary_factor": 0.25, "linear_num_key_heads": 2,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"], "linear_num_value_heads": 4,
    "linear_key_head_dim": 4, "linear_value_head_dim": 4, "linear_conv_kernel_dim": 4,
}  # fmt: skip


def _qwen35_with_images():
    encoder = _inner("qwen3_5.qwen3_5_vision_encoder:Qwen3_5VisionEncoder")(
        depth=2, hidden_size=32, num_heads=2, intermediate_size=48, patch_size=4,
        temporal_patch_size=2, spatial_merge_size=2, out_hidden_size=32,
        num_position_embeddings=16,
    )  # fmt: skip
    return hub("Qwen3_5Backbone")(**{**_LINEAR, "head_dim": 16}, vision_encoder=encoder)


def _qwen35_moe():
    sizes = {name: size for name, size in _LINEAR.items() if name != "intermediate_dim"}
    return hub("Qwen3_5MoeBackbone")(
        **sizes, moe_intermediate_dim=24, shared_expert_intermediate_size=24, num_experts=4,
        top_k=2,
    )  # fmt: skip


_BLIP2_VISION = {
    "image_size": IMAGE, "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16,
    "intermediate_dim": 32, "use_patch_bias": True, "use_class_token": True, "use_mha_bias": True,
    "use_mlp_bias": True, "dropout_rate": 0.0, "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02,
}  # fmt: skip
_BLIP2_QUERIES = {
    "num_query_tokens": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 8,
    "intermediate_dim": 16, "vision_dim": 16, "cross_attention_frequency": 2, "dropout": 0.0,
    "layer_norm_epsilon": 1e-5,
}  # fmt: skip


def _blip2(language_model):
    return hub("BLIP2Backbone")(
        vision_encoder=hub("BLIP2VisionEncoder")(**_BLIP2_VISION),
        qformer=hub("BLIP2QFormer")(**_BLIP2_QUERIES),
        language_model=language_model(num_query_tokens=4, qformer_hidden_dim=8, dropout=0.0),
    )


def _blip2_opt():
    kind = hub("BLIP2CustomOPT")
    return _blip2(
        lambda **given: kind(
            **_HEADS, max_sequence_length=LENGTH + 8, language_projection=None, **given
        )
    )


def _blip2_t5():
    kind = hub("BLIP2FlanT5")
    return _blip2(lambda **given: kind(**_HEADS, key_value_dim=8, **given))


def _parseq():
    encoder = hub("ViTBackbone")(
        image_shape=(16, 32, 3), patch_size=(4, 8), num_layers=2, num_heads=2, hidden_dim=32,
        mlp_dim=64, use_class_token=False, name="image_encoder",
    )  # fmt: skip
    return hub("PARSeqBackbone")(
        image_encoder=encoder, vocabulary_size=97, max_label_length=LENGTH + 1,
        num_decoder_heads=2, num_decoder_layers=2, decoder_hidden_dim=32, decoder_mlp_dim=64,
    )  # fmt: skip


_T5GEMMA = {
    "vocabulary_size": VOCABULARY, "dropout_rate": 0.0, "rms_norm_eps": 1e-6,
    "query_pre_attn_scalar": 8.0, "attention_bias": False, "initializer_range": 0.02,
    "hidden_activation": "gelu_approximate", "attention_dropout": 0.0,
    **{
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {
            "hidden_dim": 32, "intermediate_dim": 48, "num_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        }.items()
    },
}  # fmt: skip
_T5GEMMA2 = {
    **_T5GEMMA, "tie_word_embeddings": True, "cross_attention_hidden_size": 32,
    "rope_max_wavelength": 10000.0, "use_query_key_norm": True, "sliding_window": 6,
}  # fmt: skip


def _t5gemma2_with_images():
    return hub("T5Gemma2Backbone")(
        **_T5GEMMA2, vision_encoder=_gemma_vision("Gemma3"), eoi_token_index=5
    )


def preprocessor_of(task):
    """What stands for the preprocessor of a task that cannot be made without, or None."""
    if task != "PARSeqCausalLM":
        return None
    return SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=0, end_token_id=1))


# Family: the task, what makes its backbone, what makes its prompts.
MORE = {
    "Bart": ("BartSeq2SeqLM", _of("BartBackbone", **_HEADS, max_sequence_length=LENGTH), encoded),
    "T5": ("T5Seq2SeqLM", _of("T5Backbone", **_HEADS), encoded),
    "T5Gemma": (
        "T5GemmaSeq2SeqLM",
        _of("T5GemmaBackbone", **_T5GEMMA, tie_word_embeddings=False, sliding_window=6,
            final_logit_softcapping=30.0),
        encoded,
    ),
    "T5Gemma2": ("T5Gemma2Seq2SeqLM", _of("T5Gemma2Backbone", **_T5GEMMA2), encoded),
    "T5Gemma2 with images": (
        "T5Gemma2Seq2SeqLM", _t5gemma2_with_images, encoded_and_interleaved,
    ),
    "EdRec": (
        "EdRecSeq2SeqLM",
        _of("EdRecBackbone", vocab_size=VOCABULARY, num_layers_enc=2, num_layers_dec=2,
            num_heads=4, hidden_dim=32, intermediate_dim=48, dropout=0.0),
        encoded,
    ),
    "Moonshine": (
        "MoonshineAudioToText",
        _of("MoonshineBackbone", vocabulary_size=VOCABULARY, hidden_dim=32, filter_dim=32,
            encoder_num_layers=2, decoder_num_layers=2, encoder_num_heads=4, decoder_num_heads=4,
            intermediate_dim=64, partial_rotary_factor=0.62, dropout=0.0),
        heard,
    ),
    "PaliGemma": (
        "PaliGemmaCausalLM",
        _of("PaliGemmaBackbone", **_GEMMA, image_size=IMAGE, vit_patch_size=4, vit_num_layers=2,
            vit_num_heads=2, vit_hidden_dim=16, vit_intermediate_dim=32),
        seen,
    ),
    "Gemma3 with images": ("Gemma3CausalLM", _gemma3_with_images, interleaved),
    "Gemma3n": ("Gemma3nCausalLM", _gemma3n, text),
    "Gemma4": ("Gemma4CausalLM", _gemma4, text),
    "Gemma4 with images": ("Gemma4CausalLM", _gemma4_with_images, patches),
    "BLIP2 with OPT": ("BLIP2CausalLM", _blip2_opt, seen),
    "BLIP2 with T5": ("BLIP2Seq2SeqLM", _blip2_t5, seen_and_encoded),
    "Qwen3.5": ("Qwen3_5CausalLM", _of("Qwen3_5Backbone", **_LINEAR), text),
    "Qwen3.5 with images": ("Qwen3_5CausalLM", _qwen35_with_images, grids),
    "Qwen3.5Moe": ("Qwen3_5MoeCausalLM", _qwen35_moe, text),
    "PARSeq": ("PARSeqCausalLM", _parseq, _read),
    "RWKV7": (
        "RWKV7CausalLM",
        _of("RWKV7Backbone", vocabulary_size=VOCABULARY, hidden_size=32, num_layers=2, head_size=8,
            intermediate_dim=48, gate_lora=8, mv_lora=4, aaa_lora=4, decay_lora=4),
        continued,
    ),
}  # fmt: skip
