"""Rows of the elementwise families: arithmetic, comparison, bits, functions of floats, casts."""

from __future__ import annotations

import numpy as np

from kerasvino import dtypes
from tests.primitives.harness import (
    _VALUES,
    ALL,
    FLOATS,
    INTEGERS,
    NUMERIC,
    Case,
    Row,
    full_integers,
)

ONE = [Case((3, 41)), Case(()), Case((0, 3)), Case((7,)), Case((2, 1, 3, 2))]
TWO = [
    Case((60, 5), (60, 5)), Case((2, 3), (3,)), Case((), ()), Case((3,), ()), Case((0, 3), (1, 3)),
    Case((2, 1, 3), (4, 1)), Case((5,), (5,)),
]  # fmt: skip

NARROW = tuple(kind for kind in INTEGERS if not kind.endswith("64"))


def spread(low, high, special=()):
    """Floats drawn evenly from an interval, with special ones strewn in."""

    def values(rng, shape, dtype):
        array = rng.uniform(low, high, shape)
        if special:
            chosen = rng.random(shape) < 0.3
            array = np.where(chosen, rng.choice(np.asarray(special, float), shape), array)
        return np.asarray(array).astype(dtypes.numpy_dtype(dtype))

    return values


def shifts(rng, shape, dtype):
    """Numbers of bits, now and then out of range."""
    top = 40 if dtype.startswith(("int", "uint")) and dtypes.TABLE[dtype].bits > 8 else 12
    low = 0 if dtype.startswith("u") else -2
    return rng.integers(low, top, shape).astype(dtypes.numpy_dtype(dtype))


def similar(rng, shape, dtype):
    """Full-range integers of every magnitude, so that pairs have quotients of every size."""
    full = full_integers(rng, shape, dtype)
    return full >> rng.integers(0, dtypes.TABLE[dtype].bits, shape).astype(full.dtype)


def held(low, high):
    """As "any", but 64-bit integers such that a graph, which has 32 bits, holds the results too."""

    def values(rng, shape, dtype):
        if dtypes.TABLE[dtype].bits != 64 or dtypes.TABLE[dtype].kind == "f":
            return _VALUES["any"](rng, shape, dtype)
        sign = rng.choice([-1, 1], shape) if dtype == "int64" else 1
        return np.asarray(rng.integers(low, high, shape) * sign).astype(dtypes.numpy_dtype(dtype))

    return values


LARGER, SMALLER = held(2**14, 2**15), held(0, 2**14)


def integral(rng, shape, dtype):
    """Small whole numbers and fractions of them as floats: exact quotients are common."""
    array = rng.integers(-50, 51, shape) / rng.choice([1, 2, 7, 10], shape)
    return np.asarray(array).astype(dtypes.numpy_dtype(dtype))


NAN, INF = float("nan"), float("inf")
EDGES = (NAN, INF, -INF, 0.0, -0.0)

RING = [
    Row("add", TWO, ALL, values=(LARGER, SMALLER)),
    Row("subtract", TWO, NUMERIC, values=(LARGER, SMALLER)),
    Row("multiply", TWO, ALL, values=(LARGER, SMALLER)),
    Row("negative", ONE, tuple(kind for kind in NUMERIC if kind != "uint64"), values=LARGER),
    Row("square", ONE, NUMERIC, values=LARGER),
    Row("absolute", ONE, ALL, values=LARGER),
    Row("sign", ONE, NUMERIC),
    Row("maximum", TWO, ALL),
    Row("minimum", TWO, ALL),
    Row("clip", [Case(c.shapes[0], attrs={"low": 1, "high": 100}) for c in ONE], NUMERIC),
    Row("clip", [Case((3, 41), attrs={"low": -0.7, "high": 1.3})], FLOATS),
    Row(
        "clip",
        [Case((3, 41), attrs={"low": 16777217, "high": 3000000001})],
        ("uint32",),
    ),
]

DIVISION = [
    Row("divide", TWO, FLOATS, atol=1e-37, gradient_values="positive"),
    *(
        Row(name, TWO, kinds, values=values, gradient_values=("finite", "positive"))
        for name in ("floor_divide", "mod", "fmod")
        for kinds, values in (
            (INTEGERS, "any"),
            (INTEGERS, similar),
            (FLOATS, integral),
            (FLOATS, (spread(-1e3, 1e3, EDGES), spread(-3, 3, (*EDGES, 1e-3)))),
        )
    ),
    Row("power", TWO, INTEGERS, values=(held(0, 5), "small")),
    Row("power", TWO, NARROW, values="any"),
    Row(
        "power",
        TWO,
        FLOATS,
        values=(spread(-4, 4, EDGES), spread(-3, 3, (*EDGES, 1, 2, 3, -1, -2))),
        rtol={"float32": 1e-5, "float64": 1e-5},
        gradient_values=("positive", "finite"),
    ),
]

COMPARISON = [
    *(
        Row(name, TWO, ALL)
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ),
    *(Row(name, TWO, ["bool"]) for name in ("logical_and", "logical_or", "logical_xor")),
    Row("logical_not", ONE, ["bool"]),
    *(Row(name, ONE, ALL) for name in ("isnan", "isinf", "isfinite", "signbit")),
    Row("always", ONE, ALL),
    Row(
        "select",
        [
            Case((2, 3), (2, 3), (2, 3)),
            Case((), (3,), ()),
            Case((3, 1), (), (4,)),
            Case((0,), (1,), ()),
        ],
        [("bool", kind, kind) for kind in (*FLOATS, *INTEGERS, "bool")],
    ),
]

BITS = [
    *(Row(name, TWO, ("bool", *INTEGERS)) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")),
    Row("bitwise_invert", ONE, ("bool", *INTEGERS)),
    Row("left_shift", TWO, NARROW, values=("any", shifts)),
    Row("left_shift", TWO, ("int64", "uint64"), values=(SMALLER, held(0, 16))),
    Row("right_shift", TWO, INTEGERS, values=("any", shifts)),
    Row("gcd", TWO, INTEGERS, values=similar),
    Row("lcm", TWO, INTEGERS, values="small"),
    Row("lcm", TWO, NARROW, values=similar),
]


def real(name, low, high, special=EDGES, rtol=None, atol=0.0, inside=None):
    """A row of a function of one float: values in an interval, and all the special ones."""
    low_inside, high_inside = inside or (max(low, -3), min(high, 3))
    return Row(
        name, ONE, FLOATS, values=spread(low, high, special), rtol=rtol, atol=atol,
        gradient_values=spread(low_inside, high_inside),
    )  # fmt: skip


def polygamma(order, low, high, special, inside, rtol=None, atol=0.0):
    return Row(
        "polygamma", [Case(shape, attrs={"order": order}) for shape in ((3, 41), (), (0, 3))],
        FLOATS, values=spread(low, high, special), atol=atol,
        rtol=rtol and {"float32": rtol, "float64": rtol},
        gradient_values=spread(*inside), gradient_rtol=1e-3,
    )  # fmt: skip


FUNCTIONS = [
    real("exp", -80, 88),
    real("exp2", -100, 100),
    real("expm1", -3, 3, (*EDGES, 1e-3, 1e-6, -1e-6, 80)),
    real("log", 0, 1e4, (*EDGES, -1, 1), inside=(0.1, 3)),
    real("log1p", -1, 3, (*EDGES, -1, -2, 1e-3, 1e-6, -1e-6, 1e30), inside=(-0.9, 3)),
    real("log2", 0, 1e4, (*EDGES, -1, 1), inside=(0.1, 3)),
    real("log10", 0, 1e4, (*EDGES, -1, 1), inside=(0.1, 3)),
    real("sigmoid", -80, 80),
    real("sqrt", 0, 1e4, (*EDGES, -1), inside=(0.1, 3)),
    real("rsqrt", 0, 1e4, (*EDGES, -1), inside=(0.1, 3)),
    real("cbrt", -1e4, 1e4, inside=(0.1, 3)),
    real("sin", -100, 100, atol=1e-7),
    real("cos", -100, 100, atol=1e-7),
    real("tan", -1.5, 1.5, inside=(-1, 1)),
    real("arcsin", -1, 1, (*EDGES, 1, -1, 2), inside=(-0.9, 0.9)),
    real("arccos", -1, 1, (*EDGES, 1, -1, 2), inside=(-0.9, 0.9)),
    real("arctan", -10, 10),
    real("sinh", -10, 10),
    real("cosh", -10, 10),
    real("tanh", -10, 10),
    real("arcsinh", -10, 10),
    real("arccosh", 1, 10, (*EDGES, 1), inside=(1.2, 3)),
    real("arctanh", -1, 1, (*EDGES, 1, -1, 2), inside=(-0.9, 0.9)),
    real("erf", -4, 4, (*EDGES, 1e-3, 1e-9)),
    real("erfc", -4, 9, (*EDGES, 1e-3), rtol={"float32": 1e-5, "float64": 1e-5}),
    real("erfinv", -1, 1, (*EDGES, 1, -1, 2, 1e-3, 0.9999), inside=(-0.9, 0.9)),
    real("i0", -20, 20, (*EDGES, 60), rtol={"float32": 5e-6, "float64": 5e-6}),
    real("i1", -20, 20, (*EDGES, 60), rtol={"float32": 5e-6, "float64": 5e-6}),
    # relative to 1 near the zeros of the functions, which below 0 are many
    real("lgamma", 0, 50, (*EDGES, 1, 2, 1e-30, 1e30, 3), inside=(0.3, 3)),
    real("lgamma", -20, 3, (*EDGES, 1, 2, -1, -3, -1e-9), atol=1e-5, inside=(-0.9, -0.1)),
    polygamma(0, 0, 50, EDGES, inside=(0.5, 3), atol=1e-6),
    polygamma(1, 0, 50, (NAN, INF, 0.0), inside=(0.5, 3)),
    *(polygamma(order, 0, 50, (NAN, 0.5), inside=(0.5, 3)) for order in (2, 3)),
    polygamma(0, -9, 0, (NAN, -1.0, -4.0, 0.5), inside=(-0.8, -0.2), rtol=2e-5, atol=1e-5),
    polygamma(1, -9, 0, (NAN, 0.5), inside=(-0.8, -0.2), rtol=2e-5),
    polygamma(2, -5, 0, (NAN, 0.5), inside=(-0.8, -0.2), rtol=1e-4, atol=1e-4),
    *(Row(name, ONE, FLOATS) for name in ("floor", "ceil", "rint", "trunc")),
    Row("stop_gradient", ONE, ALL, gradient=False),
]  # fmt: skip

_CLOSE = {"float32": 1e-5, "float64": 1e-5}
OF_TWO = [
    Row(
        "gammainc",
        [TWO[0], TWO[2], TWO[4], TWO[5]],
        FLOATS,
        values=(spread(0.01, 5, EDGES), spread(0, 9, (*EDGES, 1e-3, 60))),
        rtol=_CLOSE,
        gradient_values=(spread(0.3, 4), spread(0.3, 6)),
        gradient_rtol=1e-3,
    ),
    Row(
        "gammainc",
        TWO[:1],
        values=(spread(15, 200, (20,)), spread(10, 240)),
        rtol=_CLOSE,
        atol=1e-10,
        gradient_values=(spread(15, 40), spread(12, 45)),
        gradient_rtol=1e-3,
    ),
    Row("arctan2", TWO, FLOATS, values=spread(-3, 3, (*EDGES, 1e-3, 1e3))),
    Row("hypot", TWO, FLOATS, values=spread(-3, 3, (*EDGES, 1e-3, 1e3, 1e30))),
    Row("logaddexp", TWO, FLOATS, values=spread(-30, 30, EDGES)),
    Row("logaddexp2", TWO, FLOATS, values=spread(-30, 30, EDGES)),
    Row("nextafter", TWO, ("float16", "bfloat16", "float32"), rtol=0.0, atol=1e-37),
    Row(
        "ldexp",
        TWO,
        [(x, n) for x in FLOATS for n in ("int32", "int8", "uint8", "int64")],
        values=(spread(-4, 4, EDGES), "small"),
        rtol=0.0,
        gradient_values=("finite", "small"),
    ),
]


def castable(to):
    """Any values, but none past 32 bits for a 64-bit integer in a graph."""

    def values(rng, shape, dtype):
        array = _VALUES["any"](rng, shape, dtype)
        if not to.endswith("int64") or dtype in ("bool", "int64", "uint64"):
            return array
        if dtypes.TABLE[dtype].kind == "f":
            return np.nan_to_num(array).clip(0 if to == "uint64" else -1e4, 1e4).astype(array.dtype)
        return array & array.dtype.type(0x7F) if array.dtype.itemsize == 1 else array >> 1

    return values


CASTS = [
    Row(
        "cast", [Case(shape, attrs={"dtype": to}) for shape in ((9, 7), (), (0, 2), (5,))], ALL,
        values=castable(to), gradient=to == "float64",
    )
    for to in ALL
]  # fmt: skip

UNBROADCAST = [
    Row(
        "sum_to",
        [
            Case((2, 3, 4), attrs={"shape": (2, 1, 4)}), Case((2, 3), attrs={"shape": (1, 1)}),
            Case((), attrs={"shape": ()}), Case((0, 3), attrs={"shape": (1, 3)}),
            Case((4, 2), attrs={"shape": (4, 2)}), Case((0, 3), attrs={"shape": (0, 1)}),
        ],
        ("float32", "float64"), values="finite",
    )
]  # fmt: skip

ROWS = RING + DIVISION + COMPARISON + BITS + FUNCTIONS + OF_TWO + CASTS + UNBROADCAST
