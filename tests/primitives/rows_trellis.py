"""Rows of the trellis of CTC and its linear form."""

from tests.primitives.harness import Case, Row

_SHAPES = [(5, 2, 4), (1, 3, 1), (4, 1, 2), (6, 2, 7)]
_KINDS = [("float32", "float32", "bool"), ("float64", "float64", "bool")]

ROWS = [
    Row(
        "trellis",
        [Case(shape[1:], shape, shape[1:]) for shape in _SHAPES],
        dtypes=_KINDS,
        values="finite",
        rtol=1e-5,
        atol=1e-5,
    ),
    *(
        Row(
            "banded_recurrence",
            [
                Case(shape, (shape[0], 3, *shape[1:]), attrs={"adjoint": adjoint})
                for shape in _SHAPES
            ],
            dtypes=["float32", "float64"],
            values="unit",
            rtol=1e-5,
            atol=1e-5,
        )
        for adjoint in (False, True)
    ),
]
