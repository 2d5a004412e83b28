"""Writes the table of families: python -m tests.generate.table docs/generating-families.md.

Each family is generated with under Keras on torch, in a process of its own, and here: once by
compiled steps, and with samplers that draw also eagerly.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.generate import families
from tests.generate.comparison import Close, same_tokens

ROOT = Path(__file__).parents[2]
DRAWN = {"top-k": "TopKSampler", "top-p": "TopPSampler", "random": "RandomSampler"}
COLUMNS = (*families.CASES, *DRAWN)

TEXT = """\
# Families of generating models

This file is written by `make families`. Each row is a small model with random weights. Its tokens
are compared with those of Keras on torch with the same weights, in float32: one prompt of 6 tokens,
two of 5 and 8, the same two with stop tokens, beam search and contrastive search. With samplers
that draw, the compiled tokens are compared with the eager ones of the same seed.

- *equal*: all tokens and masks are equal.
- *close*: equal up to a token where the reference's two greatest logits are within {margin}.
- *steps*: whether the cache is state of compiled steps (*yes*), or the whole is one program with a
  loop (*whole*), or runs eagerly (*eager*); *mixed*: steps but for prompts of unequal lengths.
- A dash: not compared.

{versions}

| family | steps | {columns} |
|---|---|{rule}
{rows}
"""


def reference(names: list[str]) -> dict:
    """{family: {case: result}} of Keras on torch."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.json"
        command = [sys.executable, "-m", "tests.generate.families", str(path), *names]
        run = subprocess.run(
            command, env={**environment, "KERAS_BACKEND": "torch"}, cwd=ROOT, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            raise RuntimeError(f"The reference fails: {run.stderr[-3000:]}")
        return json.loads(path.read_text())


def drawn(family: str) -> dict[str, str]:
    """Whether compiled and eager tokens are equal, by sampler."""
    import keras
    import keras_hub

    found = {}
    for name, kind in DRAWN.items():
        model, inputs = families.model_of(family), families.prompts(family)
        tokens = []
        for eager in (False, True):
            options = {"p": 0.8} if name == "top-p" else {}
            model.compile(sampler=getattr(keras_hub.samplers, kind)(seed=7, **options))
            if eager:
                given = {n: keras.ops.convert_to_tensor(v) for n, v in inputs.items()}
                result = model.generate_step(given, None)
                ids = result.get("decoder_token_ids", result.get("token_ids"))
                tokens.append(np.asarray(ids).tolist())
            else:
                tokens.append(families.generated(model, inputs)["ids"])
        found[name] = "equal" if tokens[0] == tokens[1] else "differs"
    return found


def way(messages: list[str]) -> str:
    """How a family was generated, by what the logger says."""
    if any("generates eagerly" in message for message in messages):
        return "eager"
    whole = [message for message in messages if "generates in one program" in message]
    if not whole:
        return "yes"
    return "mixed" if all("unequal lengths" in message for message in whole) else "whole"


def row(family: str, expected: dict, messages: list[str]) -> tuple[str, ...]:
    messages.clear()
    cells = {}
    for case, result in families.results(family).items():
        try:
            cells[case] = "close" if same_tokens(result, expected[case]) is Close else "equal"
        except AssertionError:
            cells[case] = "differs"
    steps = way(messages)
    cells |= drawn(family)
    return (family, steps, *(cells.get(column, "–") for column in COLUMNS))


def main(path: str, *names: str) -> int:
    chosen = list(names or families.FAMILIES)
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("kerasvino")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    expected, rows = reference(chosen), []
    for family in chosen:
        rows.append(row(family, expected[family], messages))
        print(" | ".join(rows[-1]), flush=True)
    packages = ("keras", "keras-hub", "openvino", "torch")
    Path(path).write_text(
        TEXT.format(
            margin="1e-4",
            versions=", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages),
            columns=" | ".join(COLUMNS),
            rule="---|" * len(COLUMNS),
            rows="\n".join(f"| {' | '.join(cells)} |" for cells in rows),
        ),
        encoding="utf-8",
    )
    return int(any("differs" in cells for cells in rows))


if __name__ == "__main__":
    import kerasvino  # noqa: F401

    sys.exit(main(*sys.argv[1:]))
