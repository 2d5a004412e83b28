"""The column `wide`: what it computes in float32, how often it rounds, what it leaves alone."""

import ml_dtypes
import numpy as np
import pytest

from kerasvino.graph import Spec, trace
from kerasvino.primitives.activation import silu
from kerasvino.primitives.core import PRIMITIVES, Primitive
from kerasvino.primitives.wide import in_float32, widened
from kerasvino.tensor import Tensor

NARROW = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def _array(values, name):
    return np.asarray(values, np.float32).astype(getattr(ml_dtypes, name, None) or name)


@pytest.mark.parametrize("name", NARROW)
def test_narrow_floats_are_float32_within(name):
    seen = []

    def impl(x, y, index):
        seen.extend(a.dtype for a in (x, y, index))
        return x / y

    x, y, index = _array([1, 5], name), _array([3, 7], name), np.arange(2)
    found = in_float32(impl)(x, y, index)
    assert seen == [np.float32, np.float32, np.int64]
    assert found.dtype == x.dtype
    wanted = (np.float32([1, 5]) / np.float32([3, 7])).astype(x.dtype)
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint16, np.bool_, np.int32])
def test_other_arrays_are_given_as_they_are(dtype):
    x = np.ones(2, dtype)
    assert in_float32(lambda x: x)(x) is x


@pytest.mark.parametrize("result", [np.int32, np.bool_])
def test_results_that_are_no_floats_stay(result):
    found = in_float32(lambda x: x.astype(result))(_array([1, 0], "bfloat16"))
    assert found.dtype == result


def test_one_rounding():
    # 1 + 2**-8 lies between two bfloat16; 0.75 of its distance is lost where each step rounds
    x = _array([1.0], "bfloat16")
    step = np.float32(2.0**-8)
    found = in_float32(lambda x: x + step + step * 2)(x)
    assert float(found[0]) == float((np.float32(1) + 3 * step).astype(ml_dtypes.bfloat16))
    assert float(found[0]) != float((x + step.astype(x.dtype))[0] + step.astype(x.dtype) * 2)


def _kinds(lower, name, wide):
    """Types of the nodes that a lowering made of one operand, and the element type it saw."""
    seen = []

    def recording(x):
        seen.append(x.get_element_type().get_type_name())
        return lower(x)

    primitive = Primitive(f"test_wide_{name}_{wide}", lower=recording, wide=wide)
    try:
        graph = trace(lambda x: [primitive(x)], [Spec((2,), name)])
    finally:
        del PRIMITIVES[primitive.name]
    ops = [op.get_type_name() for op in graph.model.get_ordered_ops()]
    return [kind for kind in ops if kind not in ("Parameter", "Result", "Constant")], seen


def test_lowering_of_narrow_floats():
    from kerasvino.nodes.lowering import ov

    kinds, seen = _kinds(lambda x: ov.exp(x), "bfloat16", "lower")
    assert seen == ["f32"]
    assert kinds[:2] == ["Convert", "Exp"]
    assert kinds[-1] == "Convert"
    assert len(kinds) > 3  # rounded: a conversion alone may truncate
    assert _kinds(lambda x: ov.exp(x), "bfloat16", "exact") == (
        ["Convert", "Exp", "Convert"],
        ["f32"],
    )
    assert _kinds(lambda x: ov.exp(x), "bfloat16", False) == (["Exp"], ["bf16"])
    assert _kinds(lambda x: ov.exp(x), "float32", True) == (["Exp"], ["f32"])


def test_lowering_that_computes_nothing_gives_its_operand():
    assert _kinds(lambda x: x, "bfloat16", True)[0] == []


def test_columns_that_are_not_there_stay_away():
    assert widened(None, None, False) == (None, None)
    assert widened(None, None, "lower") == (None, None)
    assert widened(None, None, True) == (None, None)
    narrow, lower = widened(abs, abs, "impl")
    assert narrow is not None
    assert lower is abs
    with pytest.raises(ValueError, match="'lower' or 'exact'"):
        widened(None, None, "upper")


@pytest.mark.parametrize("name", NARROW[:2])
def test_a_primitive_rounds_once_on_the_host(name):
    x = _array(np.linspace(-5, 5, 101), name)
    wide = x.astype(np.float32)
    found = silu(Tensor._wrap(x))._array
    reference = (wide / (1 + np.exp(-wide.astype(np.float64)))).astype(x.dtype)
    assert found.dtype == x.dtype
    assert np.mean(found == reference) > 0.98
