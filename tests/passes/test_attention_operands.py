"""Attention with as many heads as queries, whose kernel would overwrite its operands."""

import numpy as np
import pytest
from keras import ops

from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program

TAILS = {
    "none": lambda x: x,
    "abs": ops.abs,
    "float16": lambda x: ops.cast(ops.cast(x, "float16"), "float32"),
}


def composed(query, key, value):
    """Of (batch, length, heads, width), without the operation of that name."""
    query, key, value = (ops.transpose(x, (0, 2, 1, 3)) for x in (query * 0.5, key, value))
    weights = ops.softmax(ops.matmul(query, ops.swapaxes(key, 2, 3)))
    return ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))


def headed(query, key, value):
    """Heads first in the operands, last in the result."""
    weights = ops.softmax(ops.matmul(query * 0.5, ops.swapaxes(key, 2, 3)))
    return ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))


def looped(query, key, value):
    """Its result carried through a loop."""
    return ops.fori_loop(0, 2, lambda _, x: ops.abs(composed(x, key, value)), query)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("attend", [ops.dot_product_attention, composed, headed, looped])
@pytest.mark.parametrize("heads", [2, 3, 8])
def test_no_row_is_overwritten(heads, attend, tail):
    rng = np.random.default_rng(heads)
    arrays = [rng.normal(size=(2, heads, heads, 4)).astype("float32") for _ in range(3)]

    def function(*tensors):
        return [TAILS[tail](attend(*tensors))]

    program = Program(trace(function, [Spec(a.shape, "float32") for a in arrays]), "CPU", {})
    expected = function(*map(ops.convert_to_tensor, arrays))[0].numpy()
    tolerance = 2e-3 if tail == "float16" else 2e-5
    np.testing.assert_allclose(program(arrays)[0], expected, rtol=tolerance, atol=tolerance)
