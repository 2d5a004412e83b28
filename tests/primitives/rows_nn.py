"""Rows of the matrix product, activations, softmax, convolutions and pooling."""

from tests.primitives.harness import ALL, FLOATS, Case, Row

_T = {"transpose_x": True}
_MATRICES = [
    Case((2, 3), (3, 4)),
    Case((3, 2), (3, 4), attrs=_T),
    Case((2, 3), (4, 3), attrs={"transpose_y": True}),
    Case((3, 2), (4, 3), attrs={"transpose_x": True, "transpose_y": True}),
    Case((5, 2, 3), (3, 4)),
    Case((2, 3), (5, 3, 4)),
    Case((5, 1, 2, 3), (6, 3, 1)),
    Case((2, 0), (0, 3)),
    Case((0, 2), (2, 3)),
    Case((0, 2, 3), (3, 4)),
]

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
]
