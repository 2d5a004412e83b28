"""Every primitive: host against compiled, declared dtypes, gradients."""

import pytest

import kerasvino.autodiff  # noqa: F401 - fills in the gradients of control flow
from kerasvino.primitives.core import PRIMITIVES
from kerasvino.primitives.region import Region
from tests.primitives import gradients, harness

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


GRADIENTS = [
    pytest.param(row, id=f"{row.name}-{index}")
    for index, row in enumerate(ROWS)
    if gradients.has_gradient(row)
]


@pytest.mark.parametrize("row", GRADIENTS)
def test_gradient(row):
    gradients.check_differences(row)


@pytest.mark.parametrize("row", [p for p in GRADIENTS if p.values[0].second_order])
def test_second_order(row):
    gradients.check_second_order(row)


LOWERED = [p for p in GRADIENTS if p.values[0].primitive.lower is not None]


@pytest.mark.parametrize("row", LOWERED)
def test_compiled_gradient(row):
    gradients.check_compiled(row, dynamic=False)


@pytest.mark.parametrize("row", [p for p in LOWERED if p.values[0].gradient_dynamic])
def test_compiled_gradient_dynamic(row):
    gradients.check_compiled(row, dynamic=True)


@pytest.mark.parametrize("row", LOWERED)
def test_cotangents_have_the_dtype_of_their_inputs(row):
    for kind in gradients.float_kinds(row):
        gradients.check_kinds(row, kind)


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


def test_every_gradient_is_checked():
    rules = {name for name, p in PRIMITIVES.items() if p.vjp is not None}
    checked = {p.values[0].name for p in GRADIENTS}
    # of complex numbers in tests/autodiff/test_conventions.py, of regions in tests/autodiff, of
    # matrices under conditions in test_linalg.py, between processes in tests/distribution
    regions = {name for name, p in PRIMITIVES.items() if isinstance(p, Region)}
    elsewhere = {"stop_gradient", "conjugate", "real", "imag", *regions}
    elsewhere |= {"cholesky", "eigh", "svd", "exchange"}
    missing = sorted(rules - checked - elsewhere)
    assert not missing, f"primitives with a vjp that no row in tests/primitives checks: {missing}"
