"""Makes a failing case smaller: fewer actions, steps and inputs, a plainer model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from tests.model_fuzz.plan import Case

__all__ = ["shrunk"]


def shrunk(case: Case, fails: Callable[[Case], bool], seconds: float = 60.0) -> Case:
    """The smallest case found within `seconds` that still `fails`."""
    end = time.monotonic() + seconds
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(case):
            if time.monotonic() > end:
                return case
            if fails(candidate):
                case, smaller = candidate, True
                break
    return case


def _candidates(case):
    """Cases that are a little smaller, those that leave out most first."""
    plan = case.plan
    for half in _without(case.actions):
        yield replace(case, actions=half)
    for steps in _without(plan.steps):
        yield replace(case, plan=replace(plan, steps=steps))
    if plan.policy != "float32":
        yield replace(case, plan=replace(plan, policy="float32"))
    if len(plan.inputs) > 1:
        yield replace(case, plan=replace(plan, inputs=plan.inputs[:1]))
    for index, entry in enumerate(plan.inputs):
        for change in ({"unknown": False}, {"fed": None}):
            plainer = replace(entry, **change)
            if plainer != entry:
                inputs = (*plan.inputs[:index], plainer, *plan.inputs[index + 1 :])
                yield replace(case, plan=replace(plan, inputs=inputs))


def _without(items):
    """`items` without half of them, then without each."""
    half = len(items) // 2
    if half > 1:
        yield items[half:]
        yield items[:half]
    for index in reversed(range(len(items))):
        yield items[:index] + items[index + 1 :]
