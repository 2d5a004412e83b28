"""Rows of linear algebra, which runs on the host alone: gradients only."""

import numpy as np

from tests.primitives.harness import Case, Row


def _definite(rng, shape, dtype):
    x = rng.normal(size=shape)
    return (x @ x.swapaxes(-1, -2) + 3 * np.eye(shape[-1])).astype(dtype)


_SQUARE = [Case((3, 3)), Case((2, 4, 4)), Case((1, 1))]
_TALL = [Case((4, 3))]

ROWS = [
    *[Row(n, cases=_SQUARE, gradient_values=_definite) for n in ("inv", "det", "slogdet")],
    Row(
        "solve", cases=[Case((3, 3), (3, 2)), Case((2, 3, 3), (2, 3, 1))],
        gradient_values=(_definite, "finite"),
    ),
    *[Row(n, cases=_SQUARE) for n in ("cholesky", "eig", "eigh", "solve_triangular")],
    *[Row(n, cases=_TALL) for n in ("lu_factor", "qr", "svd", "svdvals", "pinv", "matrix_rank")],
]  # fmt: skip
