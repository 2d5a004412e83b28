"""Kernels that decompositions of matrices would use."""

import numpy as np
import openvino.opset16 as ops
import pytest

from . import compositions as exact
from .harness import assert_same, exit_code, run

GATHER = """
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    places = np.array([[2, 1, 0, 3]], np.int32)
    for _ in range(1000):
        run(lambda a, i: ops.multiply(ops.gather(a, i, ops.constant(1), batch_dims=1), a),
            x, places)
"""


@pytest.mark.skipif("sys.platform == 'win32'")
def test_gather_with_a_batch_axis_of_one_corrupts_memory():
    assert exit_code(GATHER) < 0


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("batch", [1, 2])
def test_gather_nd_does_not(batch, mode):
    x = np.arange(16 * batch, dtype=np.float32).reshape(batch, 4, 4)
    places = np.tile(np.array([2, 1, 0, 3], np.int32), (batch, 1))
    got = run(
        lambda a, i: ops.multiply(ops.gather_nd(a, ops.unsqueeze(i, exact.axes(2)), 1), a),
        x, places, mode=mode,
    )  # fmt: skip
    assert_same(got, x[:, places[0]] * x)


def test_a_product_over_no_terms_is_refused_with_an_operation_fused_to_it():
    a, b = np.ones((2, 0), np.float32), np.ones((0, 3), np.float32)

    def product(x, y):
        return ops.relu(ops.matmul(x, y, False, False))

    with pytest.raises(RuntimeError, match="degenerate case"):
        run(product, a, b, mode="dynamic")


def test_inverse_pivots_and_leaves_singular_matrices_infinite():
    x = np.stack([np.eye(4, dtype=np.float32)[[2, 0, 3, 1]], np.zeros((4, 4), np.float32)])
    got = run(ops.inverse, x)
    assert_same(got[0], x[0].T)
    assert not np.isfinite(got[1]).any()


@pytest.mark.parametrize("heads", [2, 8])
def test_a_kernel_of_attention_overwrites_its_query(heads):
    """With as many heads as queries, where something elementwise stands before and behind it."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(1, heads, heads, 4)).astype("float32") for _ in range(3)]
    order = ops.constant([0, 2, 1, 3])

    def attention(turn):
        def graph(query, key, value):
            query = turn(ops.multiply(query, ops.constant(np.float32(0.5))))
            key, value = (ops.transpose(x, order) for x in (key, value))
            weights = ops.softmax(ops.matmul(query, key, False, True), 3)
            return ops.transpose(ops.abs(ops.matmul(weights, value, False, False)), order)

        return run(graph, *arrays)

    def apart(x):
        x = ops.transpose(x, order)
        return ops.maximum(x, x)

    query, key, value = (np.moveaxis(x, 1, 2) for x in arrays)
    weights = np.exp(0.5 * query @ key.swapaxes(2, 3))
    expected = np.abs(weights / weights.sum(3, keepdims=True) @ value).swapaxes(1, 2)
    wrong = attention(lambda x: ops.transpose(x, order))
    assert np.abs(wrong - expected).max() > 0.1
    np.testing.assert_allclose(attention(apart), expected, rtol=1e-5)
