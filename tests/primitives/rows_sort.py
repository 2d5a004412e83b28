"""Rows of the primitives of order."""

import numpy as np

from tests.primitives.harness import _VALUES, ALL, NUMERIC, Case, Row


def _axis(*cases):
    return [Case(shape, attrs={"axis": axis}) for shape, axis in cases]


def _sorted(rng, shape, dtype):
    values = _VALUES["any"](rng, shape, dtype)
    return np.sort(values.astype(np.float32)).astype(values.dtype) if dtype == "bfloat16" else np.sort(values)


_SHAPES = _axis(((7,), 0), ((1,), 0), ((3, 5), 0), ((3, 5), 1), ((2, 3, 4), 1), ((2, 0), 1), ((0, 3), 1))

ROWS = [
    Row("sort", _SHAPES, ALL),
    Row("argsort", _SHAPES, ALL),
    Row("top_k", [Case(s, attrs={"k": k}) for s, k in (((7,), 3), ((4, 5), 1), ((2, 3, 4), 4))], NUMERIC),
    Row(
        "searchsorted",
        [Case((9,), s, attrs={"side": side}) for s in ((), (5,), (2, 3)) for side in ("left", "right")],
        NUMERIC,
        values=(_sorted, "any"),
    ),
]
