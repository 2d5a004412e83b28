"""A case: a plan of a model and the actions on it, as plain data.

Each step of the plan and each action has a seed of its own, from which it draws its details: so
that any of them can be left out without changing the others.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "Case", "Input", "Plan"]

# Kinds of inputs: shape without the batch, dtype, axes that may be unknown.
KINDS = {
    "vector": ((5,), "float32", ()),
    "series": ((6, 4), "float32", (0,)),
    "image": ((7, 8, 3), "float32", (0, 1)),
    "pixels": ((7, 8, 3), "uint8", (0, 1)),
    "ids": ((6,), "int32", (0,)),
    "counts": ((5,), "int64", ()),
    "flags": ((5,), "bool", ()),
}


@dataclass(frozen=True)
class Input:
    """An input of a model.

    Attributes:
        kind: of `KINDS`.
        unknown: whether the axes that may be have no length.
        fed: dtype of the arrays that come in, if another than the input's.
    """

    kind: str
    unknown: bool = False
    fed: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a model is made of.

    Attributes:
        form: "functional", "sequential" or "subclassed" (whose `call` is code of the user).
        inputs: a sequential or subclassed model has one.
        policy: dtype policy.
        steps: (name of a row of `LAYERS` or `GRAPHS`, seed), in order; those that do not fit are
            left out.
        seed: of weights, outputs and what is compiled.
    """

    form: str
    inputs: tuple[Input, ...]
    policy: str
    steps: tuple[tuple[str, int], ...]
    seed: int


@dataclass(frozen=True)
class Case:
    """A plan and the actions, (name of a look or change, seed), in order."""

    plan: Plan
    actions: tuple[tuple[str, int], ...]
