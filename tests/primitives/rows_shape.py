"""Rows of the primitives that move values: shape, joining, indexing, scatter, iota."""

import numpy as np

from kerasvino import dtypes
from tests.primitives.harness import ALL, FLOATS, NUMERIC, Case, Row

_SOME = ("float32", "int32", "uint8", "int64", "uint32", "bfloat16")
EVERY = (*ALL, "float8_e4m3fn", "float8_e5m2")


def moved(name, cases, **settings):
    """A row of an operation that changes no value: all dtypes, exactly."""
    return Row(name, cases, EVERY, rtol=0, **settings)


def indices(length):
    """Values of an index input: from -length to length - 1."""

    def make(rng, shape, dtype):
        low = 0 if dtypes.TABLE[dtype].kind == "u" else -length
        return rng.integers(low, length, shape).astype(dtypes.numpy_dtype(dtype))

    return make


def unique(rng, shape, dtype):
    """Index tuples of a 4 x 3 tensor, each but once, some of them negative."""
    count = int(np.prod(shape[:-1]))
    flat = rng.permutation(12 if shape[-1] == 2 else 4)[:count]
    places = np.stack([flat // 3, flat % 3] if shape[-1] == 2 else [flat], -1)
    places -= (rng.random(places.shape) < 0.3) * np.array([4, 3][: shape[-1]])
    return places.reshape(shape).astype(dtypes.numpy_dtype(dtype))


def modest(rng, shape, dtype):
    """Floats of moderate size; integers that leave room in the 32 bits that a graph computes in."""
    row = dtypes.TABLE[dtype]
    if row.kind == "f":
        return rng.uniform(-3, 3, shape).astype(row.numpy)
    if row.bits == 64:
        return rng.integers(0, 9, shape).astype(row.numpy)
    limits = np.iinfo(row.numpy)
    return rng.integers(limits.min, limits.max, shape, row.numpy, endpoint=True)


def any_or_zero(rng, shape, dtype):
    kinds = [0, 1, 2**24 + 1] if dtypes.TABLE[dtype].kind == "u" else [0, 1, -1, 2**24 + 1]
    array = rng.integers(0, 3, shape) * rng.choice(kinds, shape)
    return array.astype(dtypes.numpy_dtype(dtype))


def case(*shapes, **attrs):
    return Case(*shapes, attrs=attrs)


def indexed():
    """(dtype, index dtype) pairs: float32 with every index dtype, every dtype with int32."""
    kinds = ("int32", "int64", "uint8", "int16", "uint32", "uint64")
    return [("float32", i) for i in kinds] + [(d, "int32") for d in EVERY if d != "float32"]


ROWS = [
    Row("dimension", [case((2, 3), axis=0), case((2, 0, 5), axis=2), case((0,), axis=0)], EVERY),
    moved(
        "reshape",
        [
            case((2, 3), shape=(3, 2)), case((2, 3), shape=(-1,)), case((), shape=(-1,)),
            case((1, 1), shape=()), case((0, 3), shape=(3, 0, 2)), case((0, 3), shape=(-1,)),
            case((4, 6), shape=(2, -1, 3)), case((3,), shape=(1, 3, 1)),
        ],
    ),
    moved(
        "expand_dims",
        [
            case((2, 3), axis=(0,)), case((2, 3), axis=(1, 3)), case((), axis=(0, 1)),
            case((0, 2), axis=(2,)), case((3,), axis=()),
        ],
    ),
    moved(
        "squeeze",
        [
            case((1, 3), axis=(0,)), case((1, 3, 1), axis=(0, 2)), case((1,), axis=(0,)),
            case((0, 1), axis=(1,)),
        ],
    ),
    moved(
        "transpose",
        [
            case((2, 3), axes=(1, 0)), case((2, 3, 4), axes=(2, 0, 1)), case((), axes=()),
            case((0, 2), axes=(1, 0)),
        ],
    ),
    moved(
        "broadcast_to",
        [
            case((1, 3), shape=(2, 3)), case((3,), shape=(4, 2, 3)), case((), shape=()),
            case((), shape=(2, 0)), case((2, 1, 3), shape=(2, 4, 3)), case((1, 2), shape=(0, 2)),
        ],
    ),
    moved(
        "concatenate",
        [
            case((2, 3), (2, 3), axis=0), case((2, 3), (2, 0), (2, 1), axis=1), case((2,), axis=0),
            case((2, 1, 2), (2, 4, 2), axis=1), case((0, 2), (0, 2), axis=0),
        ],
    ),
    moved(
        "split",
        [
            case((6, 2), sizes=(1, 2, 3), axis=0), case((2, 4), sizes=(2, 2), axis=1),
            case((3,), sizes=(3,), axis=0), case((2, 3), sizes=(0, 3), axis=1),
            case((0, 3), sizes=(1, 2), axis=1),
        ],
    ),
    moved(
        "pad",
        [
            case((2, 3), pads=((1, 0), (2, 3)), mode="constant", value=0),
            case((3,), pads=((0, 0),), mode="constant", value=0),
            case((), pads=(), mode="constant", value=0),
            case((2, 3), pads=((1, 0), (2, 3)), mode="constant", value=1),
            case((0, 2), pads=((1, 2), (0, 1)), mode="constant", value=0),
            case((2, 3), pads=((1, 0), (2, 3)), mode="edge", value=0),
            case((4, 3), pads=((3, 1), (0, 2)), mode="reflect", value=0),
            case((4, 3), pads=((4, 1), (0, 3)), mode="symmetric", value=0),
            case((2, 3), pads=((2, 5), (0, 4)), mode="wrap", value=0),
        ],
    ),
    Row(
        "pad",
        [
            case((2, 3), pads=((1, 0), (2, 3)), mode="constant", value=value)
            for value in (2**31 - 1, 2**24 + 1, 123456789)
        ],
        ("int32", "uint32", "int64", "uint64"),
    ),
    Row("pad", [case((2,), pads=((1, 1),), mode="constant", value=2**32 - 2)], ("uint32",)),
    Row(
        "pad",
        [
            case((2,), pads=((1, 1),), mode="constant", value=value)
            for value in (-np.inf, np.nan, 0.1)
        ],
        FLOATS, rtol=0, gradient=False,
    ),
    # Longer than the axis: needs its length to be known.
    moved(
        "pad",
        [
            case((2, 3), pads=((5, 1), (0, 7)), mode="reflect", value=0),
            case((2, 3), pads=((5, 1), (0, 7)), mode="symmetric", value=0),
        ],
        dynamic=False,
    ),
    moved(
        "tile",
        [
            case((2, 3), repeats=(2, 1)), case((2, 3), repeats=(3, 2)), case((2,), repeats=(0,)),
            case((), repeats=()), case((0, 2), repeats=(2, 2)),
        ],
    ),
    moved(
        "roll",
        [
            case((5,), shift=(2,), axis=(0,)), case((4, 3), shift=(-1, 7), axis=(0, 1)),
            case((3, 2), shift=(1, 1), axis=(0, 0)), case((0, 2), shift=(1,), axis=(1,)),
        ],
    ),
    moved(
        "slice",
        [
            case((5, 4), axis=(0,), starts=(1,), stops=(4,), steps=(2,)),
            case((5, 4), axis=(0, 1), starts=(-3, 0), stops=(-1, 9), steps=(1, 3)),
            case((5, 4), axis=(1,), starts=(-1,), stops=(-(2**31 - 1),), steps=(-1,)),
            case((5, 4), axis=(0, 1), starts=(2**31 - 1, 3), stops=(-5, 0), steps=(-2, -1)),
            case((5,), axis=(0,), starts=(3,), stops=(3,), steps=(1,)),
            case((2, 3), axis=(0, 1), starts=(-3, -3), stops=(-9, -9), steps=(-1, -2)),
            case((4,), axis=(0,), starts=(2**31 - 1,), stops=(1 - 2**31,), steps=(-1,)),
            case((5,), axis=(0,), starts=(9,), stops=(2**31 - 1,), steps=(1,)),
            case((0, 3), axis=(0,), starts=(0,), stops=(2,), steps=(1,)),
            case((2, 3), axis=(), starts=(), stops=(), steps=()),
        ],
    ),
    moved(
        "dynamic_slice",
        [
            case((5, 4), starts=(1, 2), sizes=(2, 2)), case((5, 4), starts=(4, 0), sizes=(3, 4)),
            case((5,), starts=(-2,), sizes=(2,)), case((5,), starts=(-9,), sizes=(2,)),
            case((), starts=(), sizes=()), case((3, 2), starts=(1, 0), sizes=(0, 2)),
        ],
    ),
    moved(
        "dynamic_update_slice",
        [
            case((5, 4), (2, 2), starts=(1, 2)), case((5, 4), (3, 4), starts=(4, 0)),
            case((5,), (2,), starts=(-2,)), case((3, 4, 5), (1, 4, 2), starts=(2, 0, 1)),
            case((), (), starts=()), case((3, 2), (3, 2), starts=(0, 0)),
            case((3, 2), (0, 2), starts=(1, 0)), case((1, 3, 5), (0, 0, 4), starts=(0, 1, 1)),
        ],
    ),
    Row(
        "gather",
        [
            case((4, 3), (5,), axis=0), case((4, 3), (), axis=0), case((2, 4), (2, 3), axis=1),
            case((3, 4, 2), (1,), axis=1), case((4,), (0,), axis=0), case((0, 4), (2,), axis=1),
            case((0,), (0,), axis=0),
        ],
        indexed(), values=("any", indices(4)), rtol=0, gradient_values=("finite", indices(4)),
    ),
    Row(
        "gather_nd",
        [
            case((3, 3), (4, 2)), case((3, 2), (5, 1)), case((3, 3, 2), (2, 2, 2)),
            case((3, 3), (2,)), case((3, 2), (0, 1)),
        ],
        # The last length of the indices is part of the operation.
        indexed(), values=("any", indices(3)), rtol=0, gradient_values=("finite", indices(3)),
        dynamic=False,
    ),
    Row(
        "take_along_axis",
        [
            case((4, 3), (2, 3), axis=0), case((2, 4), (2, 6), axis=1), case((4,), (3,), axis=0),
            case((2, 4, 3), (2, 1, 3), axis=1), case((2, 4), (2, 0), axis=1),
        ],
        indexed(), values=("any", indices(4)), rtol=0, gradient_values=("finite", indices(4)),
    ),
    Row(
        "nonzero",
        [case((3, 4)), case((5,)), case((2, 3, 2)), case((0,)), case((1,))],
        ALL, values=any_or_zero,
    ),
    Row(
        "iota",
        [case(size=n) for n in (0, 1, 5)],
    ),
    *[
        Row(
            "scatter_nd",
            [
                case((4, 3), (5, 2), (5,), reduction=reduction),
                case((4, 3), (2, 1), (2, 3), reduction=reduction),
                case((4, 3), (2, 2, 2), (2, 2), reduction=reduction),
                case((4, 3), (1, 1), (1, 3), reduction=reduction),
                case((4, 3), (0, 2), (0,), reduction=reduction),
            ],
            [(d, "int32", d) for d in ("float32", *kinds)], values=(values, unique, values),
            rtol=rtol, dynamic=False, gradient_values=("finite", unique, "finite"),
        )
        for reduction, kinds, values, rtol in (
            (None, EVERY, "any", 0), ("add", NUMERIC, modest, None),
            ("mul", NUMERIC, modest, None), ("max", NUMERIC, "any", 0),
            ("min", NUMERIC, "any", 0),
        )
    ],
    # Several updates of one place.
    *[
        Row(
            "scatter_nd",
            [
                case((3, 2), (7, 1), (7, 2), reduction=reduction),
                case((3, 3), (4, 3, 2), (4, 3), reduction=reduction),
            ],
            [(d, i, d) for d in _SOME for i in ("int32", "int64")],
            values=(modest, indices(3), modest), dynamic=False,
            gradient_values=("finite", indices(3), "finite"),
        )
        for reduction in (None, "add", "mul", "max", "min")
    ],
    Row(
        "scatter_add",
        [
            case((4, 3), (2, 3), (2, 3), axis=0), case((2, 4), (2, 6), (2, 6), axis=1),
            case((4,), (9,), (9,), axis=0), case((4,), (0,), (0,), axis=0),
        ],
        [(d, "int32", d) for d in ("float32", *NUMERIC)], values=(modest, indices(4), modest),
        gradient_values=("finite", indices(4), "finite"),
    ),
]  # fmt: skip
