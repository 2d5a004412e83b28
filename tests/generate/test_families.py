"""Tokens of KerasHub's models equal those of Keras on torch, and how they were made."""

import json
import logging
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("keras_hub")

from tests.generate import families

ROOT = pathlib.Path(__file__).parents[2]
FAST = ("GPT2", "Qwen3", "Gemma2", "Gemma3", "Bart", "T5Gemma", "Moonshine", "PaliGemma")
# Two logits as near as this may come in either order.
MARGIN = 1e-4
# Those whose steps do not keep their cache as state: always, or with images and unequal prompts.
WHOLE = {
    "EdRec", "Gemma3n", "Qwen3.5", "Qwen3.5 with images", "Qwen3.5Moe", "PARSeq", "RWKV7",
    "Gemma3 with images", "Gemma4 with images",
}  # fmt: skip


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """reference(family) -> {case: result} of Keras on torch, made in a process of its own."""
    found = {}

    def of(family):
        if family not in found:
            wanted = FAST if family in FAST else [f for f in families.FAMILIES if f not in FAST]
            path = tmp_path_factory.mktemp("reference") / "tokens.json"
            environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
            command = [sys.executable, "-m", "tests.generate.families", str(path), *wanted]
            run = subprocess.run(
                command, env={**environment, "KERAS_BACKEND": "torch"}, capture_output=True,
                text=True, check=False, cwd=ROOT,
            )  # fmt: skip
            assert run.returncode == 0, run.stderr[-3000:]
            found.update(json.loads(path.read_text()))
        return found[family]

    return of


def same_tokens(ours, theirs):
    """Asserts equal tokens and masks, up to the first place where two logits are nearly equal."""
    gaps = {place: some for place, some in theirs.get("gaps", [])}
    close = False
    for row, (mine, expected) in enumerate(zip(ours["ids"], theirs["ids"], strict=True)):
        differs = np.flatnonzero(np.array(mine) != np.array(expected))
        if len(differs):
            gap = gaps.get(differs[0], [np.inf] * len(ours["ids"]))[row]
            assert gap < MARGIN, (int(differs[0]), gap, mine, expected)
            close = True
    assert close or ours["mask"] == theirs["mask"]


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
