"""Rows of the Fourier transforms. OpenVINO computes them in float32, hence absolute errors."""

from tests.primitives.harness import Case, Row

_FLOATS = ("float32", "float64")


def _complex(*cases):
    return [Case(shape, shape, attrs={"axes": axes}) for shape, axes in cases]


ROWS = [
    Row(
        "dft",
        _complex(
            ((8,), (0,)), ((1,), (0,)), ((7,), (0,)), ((3, 12), (1,)), ((2, 4, 8), (1, 2)),
            ((2, 6, 5), (1, 2)), ((2, 1000), (1,)), ((2, 128), (1,)), ((0, 6), (1,)),
        ),
        _FLOATS, values="finite", rtol=1e-5, atol=1e-4,
    ),
    Row(
        "rdft", [Case(s) for s in ((8,), (1,), (7,), (2, 3, 15), (2, 1000), (0, 6))],
        _FLOATS, values="finite", rtol=1e-5, atol=1e-4,
    ),
    Row(
        "irdft",
        [
            Case((*batch, n // 2 + 1), (*batch, n // 2 + 1), attrs={"length": n})
            for batch, n in (((), 8), ((), 1), ((), 7), ((2, 3), 14), ((2,), 1000), ((0,), 6))
        ],
        _FLOATS, values="finite", rtol=1e-5, atol=1e-5,
    ),
]  # fmt: skip
