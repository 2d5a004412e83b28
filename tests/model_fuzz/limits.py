"""What is known to differ between a compiled model and Keras eagerly, with reasons.

The only place where a disagreement of models may be declared acceptable.
"""

from __future__ import annotations

import re

__all__ = ["FEW", "excluded", "may_raise", "tolerances", "warned"]

# Tolerances as shares of the largest element: of most elements, and of all of them.
_EXACT = (3e-4, 3e-3)
# {reason: tolerances}
TOLERANCE = {
    # intermediate results of a graph are float32, and rounded elsewhere than layer by layer: much
    # where the difference of two like numbers is taken, or a gradient has a corner
    "mixed_bfloat16": (0.1, 0.4),
    "mixed_float16": (3e-2, 0.2),
    # a float just between two integers is rounded to the one or the other: a row differs at times
    "int8": (1e-3, 0.1),
}
FEW = 0.1  # the share of elements that "most" leaves out


def tolerances(reasons) -> tuple[float, float]:
    """The largest tolerances of the reasons that apply."""
    rows = [_EXACT, *(TOLERANCE[reason] for reason in reasons)]
    return max(row[0] for row in rows), max(row[1] for row in rows)


_LENGTHS = "its code asks for a length, which an export leaves open"

# (look or change, steps of which the plan has one, pattern of the error, reason): may raise.
_RAISES = [
    (
        "fit_some", (), "This optimizer can only be called for the variables",
        "a change before it made variables that the optimizer was not compiled with",
    ),
    ("add", (), "^ValueError: None$", "Keras locks a Sequential model that is quantized whole"),
    ("export", ("time distributed",), "TimeDistributed", _LENGTHS),
]  # fmt: skip

# (look or change, steps, predicate of the plan, reason): not done where the plan has such a step.
_EXCLUDED = [
    (
        ("export",), ("per length",), lambda plan: any(i.unknown for i in plan.inputs),
        "an export takes the length for unknown, and the layer says what it does then",
    ),
]  # fmt: skip


def may_raise(session, error) -> bool:
    """Whether it is known that the look of a session raises so."""
    names = {name for name, _ in session.case.plan.steps}
    text = f"{type(error).__name__}: {error}"
    return isinstance(error, Exception) and any(
        session.look == look and (not steps or names & set(steps)) and re.search(pattern, text)
        for look, steps, pattern, _ in _RAISES
    )


def warned(session, messages) -> bool:
    """Whether a step of training said that it does not follow a flag since `compile()`."""
    return session.look == "train" and any(
        "trainable" in message and "compile" in message for message in messages
    )


def excluded(action, plan) -> str | None:
    """The reason why an action is not done with models of a plan, or None."""
    names = {name for name, _ in plan.steps}
    for actions, steps, applies, reason in _EXCLUDED:
        if action in actions and names & set(steps) and applies(plan):
            return reason
    return None
