"""Rows of the matrix product, activations, softmax, convolutions and pooling."""

import numpy as np

from kerasvino import dtypes
from tests.primitives.harness import ALL, FLOATS, INTEGERS, Case, Row

_T = {"transpose_x": True}
_MATRICES = [
    Case((2, 3), (3, 4)),
    Case((3, 2), (3, 4), attrs=_T),
    Case((2, 3), (4, 3), attrs={"transpose_y": True}),
    Case((3, 2), (4, 3), attrs={"transpose_x": True, "transpose_y": True}),
    Case((5, 2, 3), (3, 4)),
    Case((5, 2, 3), (4, 3), attrs={"transpose_y": True}),
    Case((3, 2), (3, 40), attrs=_T),
    Case((2, 3), (5, 3, 4)),
    Case((5, 1, 2, 3), (6, 3, 1)),
    Case((2, 0), (0, 3)),
    Case((0, 2), (2, 3)),
    Case((0, 2, 3), (3, 4)),
    Case((4, 1), (1, 1)),
    Case((1, 3), (5, 4, 1), attrs={"transpose_x": True, "transpose_y": True}),
]

_SHAPES = [Case((2, 3)), Case(()), Case((0, 3)), Case((2, 3, 1, 5))]
# OpenVINO's kernels of these have absolute errors, so that small values are not kept.
_ATOL = 3e-7


def _specials(rng, shape, dtype):
    """Floats with NaN, infinities, huge and tiny ones."""
    values = rng.normal(0, 4, shape)
    strewn = rng.choice(
        [np.nan, np.inf, -np.inf, 0.0, -0.0, 6e4, -6e4, 1e-4, 3.0, -3.0, 6.0], shape
    )
    return np.where(rng.random(shape) < 0.4, strewn, values).astype(dtypes.numpy_dtype(dtype))


def _apart(rng, shape, dtype):
    """Points off the kinks at 0, 3, 6 and their negatives, where there is no derivative."""
    whole = rng.integers(-8, 8, shape)
    return (whole + rng.uniform(0.1, 0.9, shape)).astype(dtypes.numpy_dtype(dtype))


def _steep(rng, shape, dtype):
    """Moderate numbers, large ones, and minus infinities that leave something else in each row."""
    values = rng.normal(0, 4, shape)
    strewn = rng.choice([-np.inf, -1e4, 1e4, 0.0], shape)
    alone = min(shape, default=1) < 2
    return np.where(rng.random(shape) < (0 if alone else 0.25), strewn, values).astype(
        dtypes.numpy_dtype(dtype)
    )


def _some_not_finite(rng, shape, dtype):
    """Moderate numbers, and one in ten NaN or infinite: rows with one, with several, without."""
    values = rng.normal(0, 4, shape)
    strewn = rng.choice([np.nan, np.inf, -np.inf], shape)
    return np.where(rng.random(shape) < 0.1, strewn, values).astype(dtypes.numpy_dtype(dtype))


def _places(rng, shape, dtype):
    return rng.integers(0, 2, shape).astype(dtype)


ROWS = [
    Row("matmul", cases=_MATRICES, dtypes=FLOATS, values="finite", atol=2e-6),
    Row("matmul", cases=_MATRICES, dtypes=[d for d in ALL if d not in FLOATS and "64" not in d]),
    Row("matmul", cases=_MATRICES, dtypes=["int64", "uint64"], values="small"),
    Row(
        "matmul",
        cases=[
            Case((2, n), (n, 2), attrs={"dtype": "int32"})
            for n in (1, 3, 50, 300, 1024, 4000, 70000)
        ],
        dtypes=["int8"],
    ),
    Row(
        "matmul",
        cases=[Case((2, 2500), (2500, 3)), Case((1, 70000), (70000, 1))],
        dtypes=["int32", "uint8"],
    ),
    # -- along an axis
    *[
        Row(
            name,
            cases=[
                Case((2, 3), attrs={"axis": 1}),
                Case((2, 3, 4), attrs={"axis": 0}),
                Case((2, 3, 4), attrs={"axis": -2}),
                Case((5,), attrs={"axis": 0}),
                Case((0, 3), attrs={"axis": 1}),
                Case((3, 0), attrs={"axis": 1}),
            ],
            dtypes=FLOATS,
            values=_steep,
            atol=_ATOL,
        )
        for name in ("softmax", "softmax_in_product", "log_softmax")
    ],
    *[
        Row(
            name,
            cases=[Case((8, 3), attrs={"axis": 1}), Case((3, 8, 2), attrs={"axis": 0})],
            dtypes=FLOATS,
            values=_some_not_finite,
            gradient=False,
            atol=_ATOL,
        )
        for name in ("softmax", "log_softmax")
    ],
    Row(
        "log_softmax_at",
        cases=[
            Case((2, 3), (2, 1), attrs={"axis": 1}),
            Case((2, 3, 4), (1, 3, 4), attrs={"axis": 0}),
            Case((5,), (1,), attrs={"axis": 0}),
            Case((2, 3, 2), (2, 1, 2), attrs={"axis": 1}),
            Case((0, 3), (0, 1), attrs={"axis": 1}),
        ],
        dtypes=[(d, "int32") for d in FLOATS],
        values=(_some_not_finite, _places),
        gradient_values=("finite", _places),
        atol=_ATOL,
    ),
    Row(
        "batch_norm",
        cases=[
            Case((2, 3), *[(3,)] * 4, attrs={"axis": 1, "epsilon": 1e-3}),
            Case((2, 3, 4, 5), *[(5,)] * 4, attrs={"axis": 3, "epsilon": 1e-3}),
            Case((2, 3, 4), *[(3,)] * 4, attrs={"axis": 1, "epsilon": 0.1}),
            Case((2, 3, 4), *[(2,)] * 4, attrs={"axis": 0, "epsilon": 1e-3}),
            Case((5,), *[(5,)] * 4, attrs={"axis": 0, "epsilon": 1e-3}),
            Case((2, 1, 4), (1,), (1,), (), (), attrs={"axis": 1, "epsilon": 1e-3}),
            Case((2, 3), (3,), (3,), (), (3,), attrs={"axis": 1, "epsilon": 1e-3}),
            Case((0, 3), *[(3,)] * 4, attrs={"axis": 1, "epsilon": 1e-3}),
            Case((2, 3, 0), *[(3,)] * 4, attrs={"axis": 1, "epsilon": 1e-3}),
            Case((2, 0), *[(0,)] * 4, attrs={"axis": 1, "epsilon": 1e-3}),
        ],
        dtypes=FLOATS,
        values=(_specials, "finite", "positive", "finite", "finite"),
        gradient_values=("finite", "finite", "positive", "finite", "finite"),
        atol=2e-6,
    ),
    # -- activations
    Row("relu", cases=_SHAPES, dtypes=FLOATS, values=_specials, gradient_values=_apart),
    Row("relu", cases=_SHAPES, dtypes=("bool", *INTEGERS)),
    Row("relu6", cases=_SHAPES, dtypes=FLOATS, values=_specials, gradient_values=_apart),
    Row(
        "leaky_relu",
        cases=[
            Case(s, attrs={"negative_slope": a}) for s in ((2, 3), (), (0, 2)) for a in (0.2, 0.0)
        ],
        dtypes=FLOATS,
        values="finite",
        gradient_values=_apart,
    ),
    Row(
        "hard_sigmoid",
        cases=_SHAPES,
        dtypes=FLOATS,
        values=_specials,
        atol=_ATOL,
        gradient_values=_apart,
    ),
    Row(
        "hard_silu",
        cases=_SHAPES,
        dtypes=FLOATS,
        values="any",
        atol=_ATOL,
        gradient_values=_apart,
    ),
    Row("softplus", cases=_SHAPES, dtypes=FLOATS, values="any"),
    Row("silu", cases=_SHAPES, dtypes=FLOATS, values="any", atol=_ATOL),
    Row(
        "elu",
        cases=[Case((2, 3), attrs={"alpha": a}) for a in (1.0, 0.3)],
        dtypes=FLOATS,
        values="any",
        atol=_ATOL,
        gradient_values=_apart,
    ),
    Row("selu", cases=_SHAPES, dtypes=FLOATS, values="any", atol=_ATOL, gradient_values=_apart),
    Row(
        "gelu",
        cases=[Case((2, 3), attrs={"approximate": True}), Case((), attrs={"approximate": True})],
        dtypes=FLOATS,
        values="any",
        atol=_ATOL,
    ),
    Row(
        "gelu",
        cases=[Case((2, 3), attrs={"approximate": False})],
        dtypes=FLOATS,
        values="finite",
        atol={"float32": 2e-6, "float64": 2e-6, "float16": 2e-6, "bfloat16": 2e-6},
    ),
]
