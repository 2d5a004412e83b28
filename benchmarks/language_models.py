"""The language models that `generate.py` measures, as KerasHub builds them.

    KERAS_BACKEND=torch python benchmarks/language_models.py NETWORK FOLDER NEW

draws their weights and leaves in FOLDER what all roles start from: the weights, the graph written
by hand, and the tokens that Keras on torch generates.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import NamedTuple

import numpy as np

WEIGHTS, TOKENS, PROMPT = "weights.npz", "tokens.json", 16


class Sizes(NamedTuple):
    """Of a decoder-only language model."""

    vocabulary: int
    layers: int
    heads: int
    kept_heads: int  # of keys and values
    size: int  # of a head
    width: int
    inner: int  # of the layers between
    epsilon: float
    positions: int = 0  # that are learned; 0: rotary embeddings
    wavelength: float = 0.0

    @property
    def gpt2(self) -> bool:
        return self.positions > 0


NETWORKS = {
    "GPT2-45M": Sizes(50257, 6, 8, 8, 64, 512, 2048, 1e-5, positions=2048),
    "Qwen3-107M": Sizes(32000, 12, 12, 4, 64, 768, 2304, 1e-6, wavelength=1e6),
    "tiny": Sizes(64, 2, 4, 2, 8, 32, 48, 1e-6, wavelength=1e4),
}


def build(network: str):
    """The KerasHub task, with the weights as they are initialised."""
    import keras_hub

    s, models = NETWORKS[network], keras_hub.models
    if s.gpt2:
        backbone = models.GPT2Backbone(
            vocabulary_size=s.vocabulary, num_layers=s.layers, num_heads=s.heads,
            hidden_dim=s.width, intermediate_dim=s.inner, max_sequence_length=s.positions,
        )  # fmt: skip
        task = models.GPT2CausalLM(backbone=backbone, preprocessor=None)
    else:
        backbone = models.Qwen3Backbone(
            vocabulary_size=s.vocabulary, num_layers=s.layers, num_query_heads=s.heads,
            num_key_value_heads=s.kept_heads, head_dim=s.size, hidden_dim=s.width,
            intermediate_dim=s.inner, layer_norm_epsilon=s.epsilon,
            rope_max_wavelength=s.wavelength,
        )  # fmt: skip
        task = models.Qwen3CausalLM(backbone=backbone, preprocessor=None)
    task.compile(sampler="greedy")
    return task


def load(task, folder: str) -> None:
    """Gives a task the weights that were drawn."""
    with np.load(pathlib.Path(folder, WEIGHTS)) as found:
        for variable in task.weights:
            if variable.path in found.files:
                variable.assign(found[variable.path])


def inputs(network: str, length: int, total: int) -> dict[str, np.ndarray]:
    """A prompt of `length` tokens, in an array of `total`."""
    ids = np.zeros((1, total), np.int32)
    draw = np.random.default_rng(length)
    ids[0, :length] = draw.integers(1, NETWORKS[network].vocabulary, length)
    return {"token_ids": ids, "padding_mask": np.arange(total)[None] < length}


def draw(task) -> dict[str, np.ndarray]:
    """Weights whose tokens do not repeat: embeddings large enough to be told apart."""
    random = np.random.default_rng(0)
    found = {}
    for variable in sorted(task.weights, key=lambda v: v.path):
        shape, name = tuple(variable.shape), variable.path.rsplit("/", 1)[-1]
        if variable.dtype != "float32":
            continue
        noise = random.standard_normal(shape, np.float32)
        if name == "kernel":
            fan = shape[0] if len(shape) == 2 or shape[0] > shape[-1] else shape[0] * shape[1]
            found[variable.path] = noise / np.float32(np.sqrt(fan))
        elif name == "embeddings":
            found[variable.path] = noise * np.float32(0.1)
        else:
            found[variable.path] = 0.1 * noise + np.float32(name in ("gamma", "scale"))
    return found


def main(network: str, folder: str, new: str) -> None:
    import openvino
    from stateful_ir import build as build_ir

    task = build(network)
    weights = draw(task)
    np.savez(pathlib.Path(folder, WEIGHTS), **weights)
    load(task, folder)
    made = task.generate(inputs(network, PROMPT, PROMPT + int(new)), stop_token_ids=None)
    tokens = np.asarray(made["token_ids"])[0, PROMPT:].tolist()
    pathlib.Path(folder, TOKENS).write_text(json.dumps(tokens))
    ir = build_ir(network, weights.__getitem__)
    openvino.save_model(ir, pathlib.Path(folder, "openvino_model.xml"), compress_to_fp16=False)
    # openvino_genai wants to know some token that ends a text, also where it is ignored
    pathlib.Path(folder, "generation_config.json").write_text('{"eos_token_id": 0}')


if __name__ == "__main__":
    main(*sys.argv[1:])
