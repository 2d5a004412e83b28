"""Rows of the exchange between processes; here it is that of a process which is alone."""

import numpy as np

from kerasvino.primitives import collective  # noqa: F401 - fills the table of primitives
from tests.primitives.harness import Case, Row


def weight(rng, shape, dtype):
    return np.asarray(rng.choice([1.0, 3.0], shape)).astype(dtype)


CASES = [Case((), s, attrs={"mean": mean}) for s in ((3, 4), (), (2, 0)) for mean in (True, False)]
KINDS = [("float32", kind) for kind in ("float16", "float32", "int32", "uint8", "bool")]

ROWS = [
    # the gradient is that of several processes: tests/distribution
    Row(
        "exchange", CASES, KINDS, values=(weight, "any"), gradient=False,
        dynamic=lambda index, shape: (None,) * len(shape) if index else shape,
    ),
]  # fmt: skip
