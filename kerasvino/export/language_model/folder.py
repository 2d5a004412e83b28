"""Writes the folder of a language model: the graph, its tokenizer, what `generate` is set to."""

from __future__ import annotations

import json
import warnings
from typing import NamedTuple

from openvino import Model

from kerasvino._version import __version__
from kerasvino.backend.keras_private import VERSION, at
from kerasvino.export.language_model.decoder import decoder
from kerasvino.export.language_model.tokenizers import NotConverted, converted
from kerasvino.generate.streaming import stops_of
from kerasvino.primitives.memory import NotAppended

__all__ = ["FILES", "Contents", "contents"]

FILES = (
    "openvino_tokenizer.xml", "openvino_detokenizer.xml", "config.json", "generation_config.json",
    "openvino_model.xml",
)  # fmt: skip


class Contents(NamedTuple):
    """What is written: models and JSON by the names of their files."""

    models: dict[str, Model]
    texts: dict[str, str]


def contents(model) -> Contents:
    """What a folder of `model`, a `keras_hub.models.CausalLM`, holds.

    Raises:
        ValueError: the model is none that engines could run.
    """
    try:
        graph = decoder(model)
    except NotAppended as why:
        raise ValueError(
            f"{type(model).__name__} cannot be exported as a language model, since its cache "
            f"cannot be state of an infer request: {why} Export its forward pass to a path that "
            "ends with '.xml'."
        ) from why
    models = {"openvino_model.xml": graph}
    try:
        tokenizer, detokenizer = converted(model)
        models |= {
            "openvino_tokenizer.xml": tokenizer, "openvino_detokenizer.xml": detokenizer,
        }  # fmt: skip
    except NotConverted as why:
        warnings.warn(
            f"The model is written without a tokenizer, as {why}. Engines take its token ids.",
            stacklevel=5,
        )
    for each in models.values():
        each.set_rt_info(__version__, ["kerasvino", "version"])
        each.set_rt_info(VERSION, ["kerasvino", "keras_version"])
    texts = {"config.json": _config(model), "generation_config.json": _generation(model)}
    return Contents(models, {name: json.dumps(text, indent=2) for name, text in texts.items()})


def _tokens(model) -> dict:
    """The ids of the tokens that mean something else than text."""
    if model.preprocessor is None:
        return {}
    tokenizer = model.preprocessor.tokenizer
    named = {"bos_token_id": "start_token_id", "pad_token_id": "pad_token_id"}
    found = {name: getattr(tokenizer, attribute, None) for name, attribute in named.items()}
    found["eos_token_id"] = stops_of(model)
    return {name: value for name, value in found.items() if value is not None}


def _config(model) -> dict:
    """What a reader may want to know of the network; engines read the graph."""
    kind = type(model).__name__
    sizes = {"vocabulary_size": "vocab_size", "num_layers": "num_hidden_layers"}
    found = {"architectures": [kind], "model_type": kind.removesuffix("CausalLM").lower()}
    for attribute, name in {**sizes, "hidden_dim": "hidden_size"}.items():
        if isinstance(getattr(model.backbone, attribute, None), int):
            found[name] = getattr(model.backbone, attribute)
    return {**found, **_tokens(model)}


def _generation(model) -> dict:
    """The sampler of the model, as engines call what it does."""
    found = _tokens(model)
    if model.preprocessor is not None:
        found["max_length"] = model.preprocessor.sequence_length
    sampler = model.sampler
    for name, options in _SAMPLERS.items():
        if type(sampler) is at(f"keras_hub.src.samplers.{name}"):
            return {**found, **options(sampler)}
    return {**found, "do_sample": False}


def _drawn(sampler, **options) -> dict:
    return {"do_sample": True, "temperature": float(sampler.temperature), **options}


_SAMPLERS = {
    "random_sampler:RandomSampler": _drawn,
    "top_k_sampler:TopKSampler": lambda s: _drawn(s, top_k=int(s.k)),
    "top_p_sampler:TopPSampler": lambda s: _drawn(s, top_p=float(s.p)),
    "beam_sampler:BeamSampler": lambda s: {"do_sample": False, "num_beams": int(s.num_beams)},
}
