"""Rows of linear algebra. Vectors of eigh and svd have their signs free: products are compared."""

import numpy as np

from tests.primitives.harness import Case, Row

FLOATS = ("float32", "float64")


def general(rng, shape, dtype):
    """Well-conditioned matrices that need pivoting."""
    *batch, m, n = shape
    u, v = (np.linalg.qr(rng.normal(size=(*batch, k, k)))[0] for k in (m, n))
    values = np.zeros((*batch, m, n))
    for i in range(min(m, n)):
        values[..., i, i] = 1.5 ** (i - 1) * rng.uniform(0.9, 1.1, batch)
    return (u @ values @ v).astype(dtype)


def definite(rng, shape, dtype):
    x = general(rng, shape, "float64")
    return (x @ x.swapaxes(-1, -2) + 0.5 * np.eye(shape[-1])).astype(dtype)


def symmetric(rng, shape, dtype):
    x = general(rng, shape, "float64")
    return (x + x.swapaxes(-1, -2)).astype(dtype)


def triangular(rng, shape, dtype):
    """A full matrix whose triangles are both well-conditioned."""
    return (rng.normal(size=shape) + 4 * np.eye(shape[-1])).astype(dtype)


def singular(rng, shape, dtype):
    """Small integers with the last row that of the first one, so that elimination is exact."""
    x = np.tril(rng.choice([-2.0, 2.0], shape)) + np.eye(shape[-1])
    x[..., 0, :] = 0
    return x.astype(dtype)


def spoiled(rng, shape, dtype):
    """A stack whose first matrix has a NaN."""
    x = general(rng, shape, dtype)
    x[(0,) * (len(shape) - 2)][..., -1, 0] = np.nan
    return x


def exchanges(rng, shape, dtype):
    low = np.arange(shape[-1])
    return np.minimum(low + rng.integers(0, 4, shape), 4).astype(dtype)


def each(shapes, **attrs):
    return [Case(shape, attrs=attrs) for shape in shapes]


def both(shapes, **attrs):
    """Cases with each of the values of one attribute."""
    ((name, values),) = attrs.items()
    return [Case(shape, attrs={name: value}) for shape in shapes for value in values]


SQUARE = [(3, 3), (2, 4, 4), (1, 1), (1, 2, 2), (2, 1, 5, 5), (0, 0), (2, 0, 0), (0, 3, 3)]
OBLONG = [
    *SQUARE, (4, 3), (3, 4), (2, 5, 2), (2, 1, 5), (2, 1, 3, 4), (0, 3), (3, 0), (2, 3, 0),
    (0, 4, 3),
]  # fmt: skip
# gradients take a graph for each shape that is several times as large
DERIVED = [(3, 3), (2, 4, 3), (3, 5), (0, 0)]
FEW = [(3, 3), (1, 1), (2, 4, 3), (2, 1, 3, 4), (1, 2, 2), (0, 3), (3, 0), (0, 4, 3), (2, 0, 0)]
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def _factors(outputs):
    """qr: its product; nothing tells the further columns of a complete Q from each other."""
    q, r = outputs
    return [q @ r, r, q.swapaxes(-1, -2) @ q]


def _vectors(outputs):
    """eigh: what its results say of the matrix."""
    w, v = outputs
    return [w, (v * w[..., None, :]) @ v.swapaxes(-1, -2), v @ v.swapaxes(-1, -2)]


def _pairs(outputs):
    """svd: likewise; the spaces of further vectors by their projections."""
    u, s, vt = outputs
    k = s.shape[-1]
    v = vt.swapaxes(-1, -2)
    spaces = [(x[..., k:] @ x[..., k:].swapaxes(-1, -2)) for x in (u, v)]
    units = [x.swapaxes(-1, -2) @ x for x in (u, v)]
    return [s, (u[..., :k] * s[..., None, :]) @ vt[..., :k, :], *spaces, *units]


ROWS = [
    Row("inv", cases=each(SQUARE), dtypes=FLOATS, values=general, gradient_values=general, **CLOSE),
    *[Row(name, cases=each(SQUARE), dtypes=FLOATS, values=general, gradient_values=general,
          **CLOSE) for name in ("det", "slogdet")],
    *[Row(name, cases=each([(3, 3), (2, 4, 4)]), values=singular, gradient=False)
      for name in ("det", "slogdet")],
    *[Row(name, cases=each([(3, 3), (2, 4, 4)]), values=spoiled, gradient=False,
          invariants=lambda outputs: outputs[-1:], **CLOSE) for name in ("det", "slogdet")],
    Row(
        "solve", dtypes=FLOATS, values=(general, "finite"), gradient_values=(general, "finite"),
        cases=[
            Case((3, 3), (3, 2)), Case((2, 3, 3), (2, 3, 1)), Case((1, 1), (1, 4)),
            Case((2, 4, 4), (4, 2)), Case((3, 3), (5, 3, 1)), Case((2, 1, 2, 2), (3, 2, 2)),
            Case((0, 0), (0, 2)), Case((3, 3), (3, 0)), Case((0, 3, 3), (0, 3, 1)),
        ],
        **CLOSE,
    ),
    Row(
        "solve_triangular", dtypes=FLOATS, values=(triangular, "finite"),
        gradient_values=(triangular, "finite"),
        cases=[
            Case(*shapes, attrs={"lower": lower})
            for lower in (True, False)
            for shapes in [
                ((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 1)), ((1, 1), (1, 4)), ((2, 4, 4), (4, 2)),
                ((3, 3), (5, 3, 1)), ((2, 1, 2, 2), (3, 2, 2)), ((0, 0), (0, 2)),
                ((3, 3), (3, 0)), ((0, 3, 3), (0, 3, 1)),
            ]
        ],
        **CLOSE,
    ),
    Row(
        "cholesky", cases=both(SQUARE, upper=(False, True)), dtypes=FLOATS, values=definite,
        gradient=False, **CLOSE,
    ),
    Row("lu_factor", cases=each(OBLONG), values=general, gradient=False, **CLOSE),
    Row("lu_factor", cases=each(DERIVED), values=general, gradient_values=general, **CLOSE),
    Row(
        "row_order", dtypes=("int32",), values=exchanges,
        cases=each([(4,), (2, 3), (2, 2, 1), (0, 3)], rows=5),
    ),
    Row(
        "qr", values=general, gradient=False,
        cases=each(OBLONG, mode="reduced") + each(SQUARE, mode="complete"), **CLOSE,
    ),
    Row(
        "qr", values=general, gradient_values=general,
        cases=each(DERIVED, mode="reduced") + each([(3, 3), (3, 5)], mode="complete"), **CLOSE,
    ),
    Row(
        "qr", values=general, gradient=False, invariants=_factors,
        cases=both([(3, 4), (5, 2), (2, 1, 3), (0, 3), (3, 0)], mode=("complete",)), **CLOSE,
    ),
    Row(
        "eigh", cases=each(SQUARE), values=symmetric, invariants=_vectors,
        gradient=False, **CLOSE,
    ),
    Row(
        "svd", cases=both(FEW, full_matrices=(False, True)), values=general,
        invariants=_pairs, gradient=False, **CLOSE,
    ),
    Row("svdvals", cases=each(OBLONG), values=general, gradient=False, **CLOSE),
    Row("svdvals", cases=each(DERIVED), values=general, gradient_values=general, **CLOSE),
    Row("pinv", cases=both(FEW, rcond=(None, 1e-4)), values=general, gradient=False, **CLOSE),
    Row("pinv", cases=each(DERIVED, rcond=None), values=general, gradient_values=general, **CLOSE),
]  # fmt: skip
