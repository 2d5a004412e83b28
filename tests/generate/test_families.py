"""Tokens of KerasHub's models equal those of Keras on torch, and how they were made."""

import logging

import numpy as np
import pytest

pytest.importorskip("keras_hub")

from tests.generate import families, table
from tests.generate.comparison import same_tokens

FAST = ("GPT2", "Qwen3", "Gemma2", "Gemma3", "Bart", "T5Gemma", "Moonshine", "PaliGemma")
# Those whose steps do not keep their cache as state: always, or with images and unequal prompts.
WHOLE = {
    "EdRec", "Gemma3n", "Qwen3.5", "Qwen3.5 with images", "Qwen3.5Moe", "PARSeq", "RWKV7",
    "Gemma3 with images", "Gemma4 with images",
}  # fmt: skip


@pytest.fixture(scope="session")
def reference():
    """reference(family) -> {case: result} of Keras on torch, made in a process of its own."""
    found = {}

    def of(family):
        if family not in found:
            wanted = FAST if family in FAST else [f for f in families.FAMILIES if f not in FAST]
            found.update(table.reference(list(wanted)))
        return found[family]

    return of


@pytest.mark.parametrize(
    "family",
    [f if f in FAST else pytest.param(f, marks=pytest.mark.slow) for f in families.FAMILIES],
)
def test_tokens_are_those_of_torch(family, reference, caplog):
    with caplog.at_level(logging.DEBUG, "kerasvino"):
        found = families.results(family)
    expected = reference(family)
    assert list(found) == list(expected)
    for case, result in found.items():
        assert result["stop"] == expected[case]["stop"], case
        same_tokens(result, expected[case])
    whole = any("generates in one program" in message for message in caplog.messages)
    assert whole == (family in WHOLE)


def test_the_whole_generation_in_one_program_gives_the_same():
    from kerasvino.generate.loop import whole

    model = families.model_of("Llama")
    inputs = families.prompts("Llama")
    found = whole(model, inputs, None)
    assert np.asarray(found["token_ids"]).tolist() == families.generated(model, inputs)["ids"]
