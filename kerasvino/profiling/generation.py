"""What generating text takes: reading the prompt, and the compiled step of each token."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kerasvino.generate.hub import why_not_by_steps
from kerasvino.generate.session import Run, recorded
from kerasvino.graph import Graph
from kerasvino.runtime.profile import Measurement, RuntimeNode, measure_runs

__all__ = ["Generation", "asks_for_generation", "measure_generation"]

WARMUP = 3  # steps before those that are counted


@dataclass(frozen=True)
class Generation:
    """How a task has generated, and what it took.

    Attributes:
        prompt: positions that the first run read.
        steps: runs after it, one for each token.
        first_seconds: from the call to the end of the first run.
        token_seconds: of a token, the median: the step, the sampler and what Python does between.
        arrays: how many arrays of keys or of values are kept as state of the infer request.
        attentions: how many attention nodes append to their state in one kernel.
    """

    prompt: int
    steps: int
    first_seconds: float
    token_seconds: float
    arrays: int
    attentions: int

    def __str__(self) -> str:
        kernels = f"{self.attentions} attention" + ("s" if self.attentions != 1 else "")
        return (
            f"generates step by step: {self.prompt} tokens of the prompt and the first new one in "
            f"{1e3 * self.first_seconds:.1f} ms, then {1e3 * self.token_seconds:.2f} ms a token "
            f"({1 / self.token_seconds:.1f} tokens/s); {self.arrays} arrays of keys or values are "
            f"state, {kernels} append to theirs in one kernel"
        )


def asks_for_generation(x: Any, max_length: int | None) -> bool:
    """Whether `x` is a prompt: it has a `max_length`, or is text."""
    texts = x if isinstance(x, list | tuple) and x else [x]
    return max_length is not None or all(isinstance(text, str) for text in texts)


def measure_generation(
    model: Any, prompt: Any, max_length: int | None, runs: int
) -> tuple[Graph, Measurement, Generation]:
    """The graph of the step, what it was measured to take, and how the task generates.

    Raises:
        TypeError: the model has no `generate`.
        ValueError: it does not generate by compiled steps, or makes too few tokens to count.
    """
    if not callable(getattr(model, "generate", None)):
        raise TypeError(
            "A text, or max_length=, asks for a profile of generating, and "
            f"{type(model).__name__} has no generate(). Give a batch of inputs for a profile of a "
            "call."
        )
    model.generate(prompt, max_length=max_length, stop_token_ids=None)  # compiles
    with recorded() as found:
        start = time.perf_counter()
        model.generate(prompt, max_length=max_length, stop_token_ids=None)
    if not found:
        raise ValueError(
            f"{type(model).__name__} does not generate by compiled steps: "
            f"{why_not_by_steps(model)} Without max_length its forward pass can be profiled."
        )
    first, steps = found[0], _last_steps(found)
    if len(steps) < 2:
        raise ValueError(
            f"{len(found) - 1} tokens follow the first new one; a profile needs 2 or more. Give a "
            f"greater max_length than {max_length}, or a shorter prompt."
        )
    graph: Graph = steps[0].specialisation.graph
    begin = next(n for n, run in reversed(list(enumerate(found))) if run.state is not None)
    # the runs of the program before the first step are repeated, and not counted
    repeated = found[begin:]
    counted = min(runs, len(steps) - min(WARMUP, len(steps) - 1))
    measurement = measure_runs(
        graph, [run.arrays for run in repeated], len(repeated) - counted, repeated[0].state
    )
    ends = [run.end for run in found[-len(steps) - 1 :]]
    between = [after - before for before, after in itertools.pairwise(ends)]
    generation = Generation(
        first.new,
        len(found) - 1,
        first.end - start,
        statistics.median(between),
        *_kept(measurement.nodes),
    )
    return graph, measurement, generation


def _last_steps(found: Sequence[Run]) -> list[Run]:
    """The runs of one position at the end that are of one program."""
    last = found[-1].specialisation
    steps: list[Run] = []
    for run in reversed(found):
        if run.new != 1 or run.specialisation is not last:
            break
        steps.append(run)
        if run.state is not None:
            break
    return steps[::-1]


def _kept(nodes: Sequence[RuntimeNode]) -> tuple[int, int]:
    kinds = [node.kind for node in nodes]
    return kinds.count("MemoryInput"), kinds.count("ScaledDotProductAttention")
