"""Draws a case from a seed."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.model_fuzz.changes import CHANGES
from tests.model_fuzz.looks import OFTEN, RARE
from tests.model_fuzz.of_graphs import GRAPHS
from tests.model_fuzz.of_layers import LAYERS
from tests.model_fuzz.plan import KINDS, Case, Input, Plan

__all__ = ["draw"]

_POLICIES = ("float32",) * 7 + ("mixed_bfloat16", "mixed_float16", "float64")
_FORMS = ("functional",) * 5 + ("sequential",) * 3 + ("subclassed",) * 2


def draw(number: int) -> Case:
    """The case of a seed."""
    rng = random.Random(number)
    plan = _plan(rng)
    actions = tuple(_actions(rng, plan.form))
    needed = {CHANGES[name].needs for name, _ in actions if name in CHANGES}
    more = [(name, _seed(rng)) for name in sorted(needed - {None, *_FORMS})]
    return Case(replace(plan, steps=(*plan.steps, *more)), actions)


def _seed(rng):
    return rng.randrange(2**16)


def _weighted(rng, rows):
    """One of a table's names."""
    return rng.choices(list(rows), [row.weight for row in rows.values()])[0]


def _plan(rng):
    form = rng.choice(_FORMS)
    kinds = [kind for kind in KINDS if form == "functional" or kind != "flags"]
    first = _input(rng, rng.choice(kinds))
    inputs = [first]
    if form == "functional" and rng.random() < 0.35:
        inputs.append(first if rng.random() < 0.5 else _input(rng, rng.choice(kinds)))
    steps = []
    for _ in range(rng.randint(3, 8)):
        table = GRAPHS if form == "functional" and rng.random() < 0.5 else LAYERS
        steps.append((_weighted(rng, table), _seed(rng)))
    return Plan(form, tuple(inputs), rng.choice(_POLICIES), tuple(steps), _seed(rng))


def _input(rng, kind):
    dtype = KINDS[kind][1]
    fed = {"float32": ("float64", "float16", "int32"), "int32": ("int64", "uint8")}.get(dtype, ())
    return Input(kind, rng.random() < 0.4, rng.choice(fed) if fed and rng.random() < 0.2 else None)


def _actions(rng, form):
    """A few looks, then changes, after each of which the same looks, and at times others.

    Looks of before are what a change can leave stale.
    """
    others = set(_FORMS) - {form} | ({"inner sequence"} if form != "functional" else set())
    suited = {name: change for name, change in CHANGES.items() if change.needs not in others}
    usual = rng.sample(OFTEN, rng.randint(2, 3))
    yield from ((name, _seed(rng)) for name in usual)
    for _ in range(rng.randint(2, 4)):
        for _ in range(2 if rng.random() < 0.2 else 1):
            yield _weighted(rng, suited), _seed(rng)
        looks = usual + ([rng.choice(RARE)] if rng.random() < 0.5 else [])
        rng.shuffle(looks)
        yield from ((name, _seed(rng)) for name in looks)
