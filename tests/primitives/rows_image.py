"""Rows of the resampling primitives."""

from tests.primitives.harness import ALL, FLOATS, Case, Row


def _upsample(shape, axis, factor, linear=False):
    return Case(shape, attrs={"axis": axis, "factor": factor, "linear": linear})


def _correlate(shape, taps, axis, before):
    return Case(shape, (taps,), attrs={"axis": axis, "before": before})


ROWS = [
    Row(
        "upsample",
        cases=[
            _upsample((2, 3, 4, 2), (1, 2), (2, 3)),
            _upsample((1, 2, 3, 4), (2, 3), (4, 2)),
            _upsample((3,), (0,), (5,)),
            _upsample((2, 1, 3), (2,), (2,)),
            _upsample((0, 2, 2, 1), (1, 2), (2, 2)),
            _upsample((1, 2, 1, 2, 2, 2), (3,), (2,)),
        ],
        dtypes=ALL,
    ),
    Row(
        "upsample",
        cases=[
            _upsample((2, 3, 4, 2), (1, 2), (2, 4), linear=True),
            _upsample((1, 2, 3, 5), (2, 3), (8, 2), linear=True),
            _upsample((1, 4, 3), (0, 1), (2, 2), linear=True),
            _upsample((0, 2, 2, 1), (1, 2), (2, 2), linear=True),
        ],
        dtypes=FLOATS,
        values="finite",
        atol=1e-6,
    ),
    Row(
        "correlate",
        cases=[
            _correlate((2, 3, 5, 4), 3, 2, 1),
            _correlate((2, 3, 5, 4), 3, 3, 1),
            _correlate((1, 2, 3, 6), 4, 3, 1),
            _correlate((1, 1, 3, 2), 7, 2, 3),
            _correlate((1, 2, 3, 2), 1, 2, 0),
            _correlate((2, 2, 4, 3), 2, 2, 1),
            _correlate((0, 2, 4, 3), 3, 2, 1),
        ],
        dtypes=FLOATS,
        values="finite",
        atol={"float32": 2e-6, "float64": 2e-6, "float16": 2e-3, "bfloat16": 2e-2},
        dynamic=False,  # the kernel's length must be known
    ),
]
