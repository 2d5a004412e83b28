"""Every primitive: host against compiled, declared dtypes, gradients against differences."""

import pytest

from kerasvino.primitives.core import PRIMITIVES
from tests.primitives import harness

ROWS = harness.load_rows()
FAST = [
    pytest.param(row, dtype, id=f"{row.name}-{index}-{dtype}")
    for index, row in enumerate(ROWS)
    for dtype in row.dtypes
    if row.primitive.lower is not None and (row.primitive.impl or row.reference) is not None
]


@pytest.mark.parametrize(("row", "dtype"), FAST)
def test_static(row, dtype):
    harness.check_compiled(row, dtype, dynamic=False)


@pytest.mark.parametrize(("row", "dtype"), [p for p in FAST if p.values[0].dynamic])
def test_dynamic(row, dtype):
    harness.check_compiled(row, dtype, dynamic=True)


@pytest.mark.parametrize(
    "row",
    [pytest.param(r, id=f"{r.name}-{i}") for i, r in enumerate(ROWS) if harness.has_gradient(r)],
)
def test_gradient(row):
    harness.check_gradient(row)


def test_every_primitive_has_a_row():
    # one that graphs cannot express has nothing to be compared with
    lowered = {name for name, primitive in PRIMITIVES.items() if primitive.lower is not None}
    missing = sorted(lowered - {row.name for row in ROWS})
    assert not missing, f"primitives without a row in tests/primitives/rows_*.py: {missing}"


def test_every_primitive_has_a_gradient_or_says_why_not():
    silent = sorted(
        name for name, p in PRIMITIVES.items() if p.vjp is None and p.nondifferentiable is None
    )
    assert not silent, f"primitives with neither vjp nor a reason in `nondifferentiable`: {silent}"
