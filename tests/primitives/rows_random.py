"""Rows of the counter-based generator."""

import numpy as np

from tests.primitives.harness import Case, Row


def _key(rng, shape, dtype):
    return rng.integers(0, 2**32, shape, dtype=np.uint32)


SHAPES = [(), (0,), (1,), (5,), (1024,), (1025,), (3, 700), (2048,), (0, 3)]

ROWS = [
    Row("random_bits", [Case((2,), attrs={"shape": s}) for s in SHAPES], ["uint32"], values=_key),
    Row(
        "random_uniform",
        [Case((2,), attrs={"shape": s, "bits": b}) for s in SHAPES for b in (8, 24)],
        ["uint32"],
        values=_key,
        rtol=0.0,
    ),
]
