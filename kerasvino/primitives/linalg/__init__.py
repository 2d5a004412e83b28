"""Primitives of linear algebra, over stacks of matrices, of 32-bit or wider floats."""

from kerasvino.primitives.linalg.orthogonal import eig, eigh, pinv, qr, svd, svdvals
from kerasvino.primitives.linalg.systems import (
    cholesky,
    det,
    inv,
    lu_factor,
    row_order,
    slogdet,
    solve,
    solve_triangular,
)  # fmt: skip

__all__ = [
    "cholesky", "det", "eig", "eigh", "inv", "lu_factor", "pinv", "qr", "row_order", "slogdet",
    "solve", "solve_triangular", "svd", "svdvals",
]  # fmt: skip
