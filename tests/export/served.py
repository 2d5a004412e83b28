"""What openvino_genai generates of exported models, and `model.generate` itself, as JSON.

Runs in a process of its own: `openvino_tokenizers` changes `openvino.Core` for all of it.

    python -m tests.export.served folder GPT2 Llama
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

PROMPTS = ("The quick", "Größe: 日 fox", "x")
LENGTH, MORE = 40, 12
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
# Those whose attention is no other than causal run with paged attention, too.
PAGED = {"GPT2", "Llama", "Llama3"}


def tuned(model):
    """With low-rank changes of its layers."""
    model.backbone.enable_lora(2)
    for variable in model.backbone.trainable_variables:
        variable.assign(0.3 * np.random.default_rng(3).normal(size=variable.shape))
    return model


def expected(model):
    """The new text of each prompt, and for all of them the same number of tokens."""
    single = [model.generate(prompt, LENGTH, strip_prompt=True) for prompt in PROMPTS]
    few = []
    for prompt in PROMPTS:
        ids = np.asarray(model.preprocessor.generate_preprocess(prompt)["padding_mask"]).sum()
        few.append(model.generate(prompt, int(ids) + MORE, strip_prompt=True))
    return single, few


def engine(folder, backend):
    """What openvino_genai makes of them, each alone and all as a batch."""
    import openvino_genai

    properties = {**EXACT, **({"ATTENTION_BACKEND": backend} if backend else {})}
    pipeline = openvino_genai.LLMPipeline(str(folder), "CPU", **properties)
    plain = {"do_sample": False, "apply_chat_template": False}
    single = [
        pipeline.generate([prompt], max_length=LENGTH, **plain).texts[0] for prompt in PROMPTS
    ]
    return single, pipeline.generate(list(PROMPTS), max_new_tokens=MORE, **plain).texts


def results(folder, family, model):
    warnings.simplefilter("error")
    model.export(folder, format="openvino", verbose=False)
    backends = ["", "SDPA", *(["PA"] if family in PAGED else [])]
    return {
        "expected": expected(model),
        "found": {backend or "default": engine(folder, backend) for backend in backends},
        "files": sorted(path.name for path in folder.iterdir()),
        "generation": json.loads((folder / "generation_config.json").read_text()),
    }


def main(folder, *families):
    import kerasvino  # noqa: F401 - selects the backend
    from tests.generate import texts

    found = {}
    for family in families:
        name, _, lora = family.partition("+")
        model = texts.model_of(name, "greedy")
        found[family] = results(Path(folder) / family, name, tuned(model) if lora else model)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
