"""Rows of the reductions: sums, means, products, extremes, logic, positions of extremes."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from kerasvino.primitives import cumulative, reduce  # noqa: F401 - fills the table of primitives
from tests.primitives.harness import _VALUES, ALL, FLOATS, NUMERIC, Case, Row, full_integers


def case(shape, axis, keepdims=False):
    return Case(shape, attrs={"axis": axis, "keepdims": keepdims})


AXES = [
    case((3, 4), (0, 1)), case((3, 4), (1,), True), case((2, 3, 4), (0, 2)),
    case((2, 3, 4), (1,)), case((2, 3, 4, 2), (3, 1), True), case((7,), (0,)), case((), ()),
    case((2, 3), ()), case((0, 3), (1,)), case((40, 3), (0,)),
    case((5, 1), (1,)),  # of one element
]  # fmt: skip
NOTHING = [case((0, 3), (0,)), case((2, 0), (1,), True), case((0,), (0,)), case((0, 2), (0, 1))]
ONE = [
    Case(shape, attrs={"axis": axis, "keepdims": keep})
    for shape, axis, keep in [
        ((3, 4), 0, False), ((3, 4), 1, True), ((40,), 0, False), ((2, 3, 4), 1, False),
        ((2, 300), 1, False), ((0, 3), 1, False), ((5, 1), 1, False),
    ]
]  # fmt: skip
ALONG = [
    Case(shape, attrs={"axis": axis, "reverse": reverse})
    for shape, axis, reverse in [
        ((9,), 0, False), ((3, 5), 0, True), ((2, 7, 2), 1, False), ((2, 7, 2), 1, True),
        ((3, 4), 1, False), ((4, 1), 1, False), ((0, 3), 0, False), ((3, 0), 0, True),
    ]
]  # fmt: skip
LONG = [case((5000,), (0,)), case((1, 4096), (0, 1), True), case((9000, 1), (0,))]


def summable(rng, shape, dtype):
    """Floats without cancellation, some infinite or NaN; integers whose 64-bit sums fit a graph."""
    row = dtypes.TABLE[dtype]
    if row.kind in "iu" and row.bits == 64:
        low = 0 if row.kind == "u" else -(10**6)
        return rng.integers(low, 10**6, shape).astype(row.numpy)
    if row.kind != "f":
        return _VALUES["any"](rng, shape, dtype)
    values = rng.uniform(0.5, 2, shape)
    values[rng.random(shape) < 0.02] = np.inf
    values[rng.random(shape) < 0.02] = np.nan
    return values.astype(row.numpy)


def factors(rng, shape, dtype):
    """Of products that stay in range."""
    row = dtypes.TABLE[dtype]
    if row.kind in "iu":
        values = full_integers(rng, shape, dtype)
        return np.sign(values) if row.bits == 64 else values
    return rng.uniform(0.7, 1.4, shape).astype(row.numpy)


def tied(rng, shape, dtype):
    """Few different values, so that extremes occur several times; NaN and infinities."""
    if dtypes.TABLE[dtype].kind != "f":
        return np.asarray(rng.integers(0, 3, shape)).astype(dtypes.numpy_dtype(dtype))
    choices = (
        [0.0, 1.0, -1.0, np.inf, -np.inf, np.nan] if rng.random() < 0.5 else [1.0, 2.0, -np.inf]
    )
    return rng.choice(np.array(choices), shape).astype(dtypes.numpy_dtype(dtype))


def distinct(rng, shape, dtype):
    """No two alike, for gradients."""
    return rng.permutation(int(np.prod(shape))).reshape(shape).astype(dtypes.numpy_dtype(dtype))


def with_zeros(rng, shape, dtype):
    values = rng.uniform(0.5, 2, shape)
    values[rng.random(shape) < 0.15] = 0
    return values.astype(dtypes.numpy_dtype(dtype))


ROWS = [
    Row("reduce_sum", AXES + NOTHING, ALL, values=summable),
    Row("reduce_sum", LONG, ("float32", "bool", "uint8", "int32"), values=summable, gradient=False),
    Row("reduce_mean", AXES, FLOATS, values=summable),
    Row("reduce_mean", NOTHING, FLOATS, gradient=False),
    Row("reduce_mean", LONG, ("float32",), values=summable, gradient=False),
    Row(
        "mean_and_variance",
        [
            Case(shape, attrs={"axis": axis})
            for shape, axis in [
                ((3, 4), (0, 1)),
                ((3, 4), (1,)),
                ((2, 3, 4), (0, 2)),
                ((7,), (0,)),
                ((2, 3), ()),
                ((), ()),
                ((0, 3), (1,)),
                ((40, 3), (0,)),
                ((5, 1), (1,)),
                ((2, 3, 4, 2), (3, 1)),
            ]
        ],
        ("float32", "float64"),
        values="finite",
        rtol=1e-5,
        atol=1e-6,
    ),
    Row(
        "mean_and_variance",
        [Case((0, 3), attrs={"axis": (0,)}), Case((5000,), attrs={"axis": (0,)})],
        ("float32",),
        values="finite",
        rtol=1e-5,
        atol=1e-6,
        gradient=False,
    ),
    Row("reduce_prod", AXES + NOTHING, NUMERIC, values=factors, gradient_values=with_zeros),
    Row("reduce_any", AXES + NOTHING, ("bool",)),
    Row("reduce_all", AXES + NOTHING, ("bool",)),
]
for name in ("reduce_max", "reduce_min"):
    ROWS += [
        Row(name, AXES, ALL, gradient_values=distinct),
        Row(name, AXES, FLOATS, values=tied, gradient=False),
    ]
for name in ("cumsum", "cumprod"):
    values = summable if name == "cumsum" else factors
    ROWS.append(Row(name, ALONG, NUMERIC, values=values, gradient_values=with_zeros))
ROWS.append(
    Row("linear_recurrence", [Case(*c.shapes * 2, attrs=c.attrs) for c in ALONG], FLOATS, "finite",
        rtol={"float32": 1e-5, "float64": 1e-5}, atol=1e-4),
)  # fmt: skip
for name in ("argmax", "argmin"):
    ROWS += [Row(name, ONE, ALL), Row(name, ONE, ALL, values=tied)]
