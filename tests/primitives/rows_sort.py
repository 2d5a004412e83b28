"""Rows of the primitives of order, and of sets."""

import numpy as np

from kerasvino import dtypes
from kerasvino.primitives import sets, sort  # noqa: F401 - fills the table of primitives
from tests.primitives.harness import _VALUES, ALL, FLOATS, NUMERIC, Case, Row
from tests.primitives.rows_reduce import distinct, tied


def ordered(rng, shape, dtype):
    """Any numbers, sorted, NaN last."""
    values = _VALUES["any"](rng, shape, dtype)
    keys = values.astype(np.float32) if dtype == "bfloat16" else values
    return np.sort(keys).astype(values.dtype)


def mixed(rng, shape, dtype):
    """Few different values, so that many are equal; in some arrays NaN beside infinities."""
    values = np.asarray(rng.choice([0.0, 1.0, 2.0, np.inf, -np.inf, np.nan], shape))
    if dtypes.TABLE[dtype].kind != "f":
        return tied(rng, shape, dtype)
    return values.astype(dtypes.numpy_dtype(dtype))


def along(*cases):
    return [Case(shape, attrs={"axis": axis}) for shape, axis in cases]


SHAPES = along(
    ((7,), 0), ((1,), 0), ((30, 5), 0), ((3, 50), 1), ((2, 13, 4), 1), ((2, 0), 1), ((0, 3), 1),
    ((0,), 0),
)  # fmt: skip
TOP = [Case(s, attrs={"k": k}) for s, k in (((7,), 3), ((4, 50), 1), ((2, 3, 40), 9), ((0, 3), 2))]
SEARCH = [
    Case((n,), s, attrs={"side": side})
    for n in (9, 0) for s in ((), (5,), (2, 30), (0,)) for side in ("left", "right")
]  # fmt: skip
FLAT = [Case(shape, attrs={"axis": None}) for shape in ((9,), (4, 5), (1,), (0,), (2, 3, 2))]
SLICES = along(((6, 2), 0), ((2, 7), 1), ((5,), 0))

LONG = along(((3, 300), 1), ((300, 2), 0), ((50000,), 0))
LONG_TOP = [Case(s, attrs={"k": k}) for s, k in (((3, 3000), 2), ((2, 5000), 100), ((300,), 300))]
WIDE = ("int32", "uint32", "float32", "bool")

ROWS = [
    Row("sort", LONG, WIDE, gradient=False),
    Row("argsort", LONG, WIDE),
    Row("argsort", LONG, WIDE, values=mixed),
    Row("top_k", LONG_TOP, WIDE, gradient=False),
    Row("top_k", LONG_TOP, WIDE, values=mixed, gradient=False),
    Row("sort", SHAPES, ALL, gradient_values=distinct),
    Row("sort", SHAPES, FLOATS, values=mixed, gradient=False),
    Row("argsort", SHAPES, ALL),
    Row("argsort", SHAPES, ALL, values=mixed),
    Row("top_k", TOP, ALL, gradient_values=distinct),
    Row("top_k", TOP, ALL, values=mixed, gradient=False),
    Row("searchsorted", SEARCH, NUMERIC, values=(ordered, "any")),
    Row("searchsorted", SEARCH, FLOATS, values=(ordered, mixed)),
    Row("unique", FLAT, ALL),
    Row("unique", FLAT, ALL, values=mixed),
    Row(
        "unique",
        along(((6, 2), 0), ((2, 7), 1), ((5,), 0)),
        ("int32", "uint32", "float32"),
        "small",
    ),
]
