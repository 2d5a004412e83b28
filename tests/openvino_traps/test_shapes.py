"""Empty and zero-rank tensors, indices, and kernels that end the process."""

import numpy as np
import openvino as ov
import openvino.opset16 as ops
import pytest

from . import compositions as exact
from .harness import assert_same, exit_code, run, uses_avx512

RUNTIME = ("static", "dynamic")
EMPTY = np.zeros((0, 3), np.float32)
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


# Each of these ends the process by a signal; they run in one of their own.
CRASHES = {
    "gather from a static empty tensor": """
        run(lambda a: ops.gather(a, ops.constant([0]), ops.constant(1)),
            np.zeros((0, 3), np.float32))
    """,
    "gather with static empty indices": """
        run(lambda a: ops.gather(a, ops.constant(np.zeros(0, np.int64)), ops.constant(0)),
            np.ones((3, 4), np.float32))
    """,
    "broadcast to a static empty shape": """
        run(lambda a: ops.broadcast(a, ops.constant([2, 0, 3])), np.zeros((0, 3), np.float32))
    """,
    "average pooling of opset 16 without dilations": """
        run(lambda a: ops.avg_pool(a, [2, 2], [0, 0], [0, 0], [2, 2], True),
            np.ones((1, 1, 4, 4), np.float32))
    """,
}
EMPTY_LOOP = """
    x, body = ops.parameter([3], Type.f32), ops.parameter([3], Type.f32)
    step, go = ops.exp(body), ops.constant(np.array(True))
    loop = ops.loop(ops.constant(np.int32(0)), ops.constant(np.array(True)))
    row = ops.unsqueeze(step, ops.constant([0]))
    loop.set_function(ov.Model([go, step, row], [body]))
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(body, x.output(0), step.output(0))
    last = loop.get_iter_value(step.output(0), -1)
    rows = loop.get_concatenated_slices(row.output(0), 0, 1, 1, -1, 0)
    core.compile_model(ov.Model([last, rows], [x]), "CPU", CONFIG)([np.ones(3, np.float32)])
"""


@pytest.mark.skipif("sys.platform == 'win32'")
@pytest.mark.parametrize("name", CRASHES)
def test_ends_the_process(name):
    assert exit_code(CRASHES[name]) < 0


@pytest.mark.skipif("sys.platform == 'win32'")
def test_a_loop_of_a_constant_zero_iterations_ends_the_process():
    assert (exit_code(EMPTY_LOOP) < 0) == uses_avx512()


def test_average_pooling_with_dilations():
    x = np.ones((1, 1, 4, 4), np.float32)
    ones = [1, 1]
    for mode in RUNTIME:
        got = run(
            lambda a: ops.avg_pool(a, ones, [0, 0], [0, 0], [2, 2], True, dilations=ones),
            x,
            mode=mode,
        )
        assert_same(got, np.ones((1, 1, 3, 3), np.float32))


@pytest.mark.parametrize("mode", RUNTIME)
def test_pooling_of_an_empty_batch_raises(mode):
    x, ones = np.ones((0, 1, 4, 4), np.float32), [1, 1]
    with pytest.raises(RuntimeError, match="Batch size is zero"):
        run(
            lambda a: ops.avg_pool(a, ones, [0, 0], [0, 0], [2, 2], True, dilations=ones),
            x,
            mode=mode,
        )
    with pytest.raises(RuntimeError, match="Batch size is zero"):
        run(lambda a: ops.max_pool(a, ones, ones, [0, 0], [0, 0], [2, 2]).output(0), x, mode=mode)


def test_static_empty_matmul_does_not_compile():
    a, b = np.zeros((2, 0), np.float32), np.zeros((0, 3), np.float32)
    with pytest.raises(RuntimeError, match="not initialized"):
        run(lambda x: ops.matmul(x, x, False, True), EMPTY)
    got = run(lambda x, y: ops.matmul(x, y, False, False), a, b, mode="dynamic")
    assert_same(got, np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("mode", RUNTIME)
def test_identities_of_empty_reductions(mode):
    x = np.zeros((2, 0), np.float32)

    def reduced(name):
        return run(lambda a: getattr(ops, name)(a, exact.axes(1)), x, mode=mode).tolist()

    assert reduced("reduce_sum") == [0, 0]
    assert reduced("reduce_prod") == [1, 1]
    assert reduced("reduce_mean") == [0, 0]  # NumPy: NaN
    assert reduced("reduce_max") == [np.finfo(np.float32).min] * 2  # NumPy raises


@pytest.mark.parametrize("mode", RUNTIME)
def test_reducing_no_axes_does_not_compile(mode):
    with pytest.raises(RuntimeError, match="incorrect number"):
        run(lambda a: ops.reduce_sum(a, ops.constant(np.zeros(0, np.int64))), ROWS, mode=mode)


@pytest.mark.parametrize("mode", RUNTIME)
def test_gather_out_of_range_gives_zero(mode):
    # openvino#35687
    got = run(lambda a: ops.gather(a, exact.axes(3, -4, -1), exact.axis(0)), ROWS, mode=mode)
    assert_same(got, np.stack([0 * ROWS[0], 0 * ROWS[0], ROWS[-1]]))


@pytest.mark.parametrize("mode", RUNTIME)
def test_scatter_update_rejects_negative_indices(mode):
    base, new = np.zeros(5, np.float32), np.ones(1, np.float32)
    index = np.array([-1], np.int32)
    with pytest.raises(RuntimeError, match="non-existing"):
        run(lambda a, i, u: ops.scatter_update(a, i, u, exact.axis(0)), base, index, new, mode=mode)
    got = run(
        lambda a, i, u: ops.scatter_elements_update(a, i, u, exact.axis(0)),
        base,
        index,
        new,
        mode=mode,
    )
    assert got.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("mode", RUNTIME)
@pytest.mark.parametrize("how", ["sum", "prod", "max", "min"])
def test_scatter_with_duplicates_is_exact(how, mode):
    rng = np.random.default_rng(0)
    base, new = rng.integers(-(2**31), 2**31, (2, 50), dtype=np.int32)
    index = rng.integers(-50, 50, (50, 1), dtype=np.int32)
    want = base.copy()
    update = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[how]
    update.at(want, index[:, 0], new)
    got = run(lambda a, i, u: ops.scatter_nd_update(a, i, u, how), base, index, new, mode=mode)
    assert_same(got, want)


@pytest.mark.parametrize("mode", RUNTIME)
def test_topk_of_nothing(mode):
    with pytest.raises(RuntimeError, match="K"):
        run(lambda a: ops.topk(a, exact.axis(0), 1, "max", "value").output(0), ROWS, mode=mode)


@pytest.mark.parametrize("mode", RUNTIME)
def test_full_reverse(mode):
    def reverse(a):
        low = exact.axes(-(2**31))
        return ops.slice(a, exact.axes(-1), low, exact.axes(-1), exact.axes(1))

    assert_same(run(reverse, ROWS, mode=mode), ROWS[:, ::-1])


def test_the_end_of_a_reversed_axis_of_unknown_length():
    def last(far):
        x = ops.parameter(ov.PartialShape([-1, 4]), np.float32)
        back = ops.slice(x, *([n] for n in (far, -far, -1, 0)))
        return ops.slice(back, *([n] for n in (-1, 2**31 - 1, 1, 0))).get_output_partial_shape(0)

    assert last(2**31 - 1) == ov.PartialShape([0, 4])  # it has one row
    assert last(2**63 - 1).compatible(ov.PartialShape([1, 4]))


@pytest.mark.parametrize("mode", RUNTIME)
def test_one_hot_leaves_out_what_is_out_of_range(mode):
    index = np.int32([0, 2, -1, 3])
    got = run(lambda i: ops.one_hot(i, exact.axis(3), exact.f(1), exact.f(0), -1), index, mode=mode)
    assert_same(got, np.float32([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]))


def test_weights_of_a_convolution_need_a_static_shape():
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)

    def convolve(a, b):
        return ops.convolution(a, b, [1, 1], [0, 0], [0, 0], [1, 1])

    assert_same(run(convolve, x, w), np.full((1, 3, 3, 3), 18, np.float32))
    assert_same(
        run(lambda a: convolve(a, ops.constant(w)), x, mode="dynamic"),
        np.full((1, 3, 3, 3), 18, np.float32),
    )
    with pytest.raises(RuntimeError, match="fallback"):
        run(convolve, x, w, mode="dynamic")


def test_a_sum_after_a_convolution_of_one_channel_along_one_axis():
    x, w = np.ones((2, 1, 6), np.float32), np.ones((3, 1, 3), np.float32)
    h = np.full((2, 3, 4), 5, np.float32)

    def convolve(a, b):
        return ops.add(ops.convolution(a, ops.constant(w), [1], [0], [0], [1]), b)

    def in_a_plane(a, b):
        a, kernel = ops.unsqueeze(a, exact.axis(2)), ops.constant(w[:, :, None])
        flat = ops.convolution(a, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
        return ops.add(ops.squeeze(flat, exact.axis(2)), b)

    assert_same(run(convolve, x, h), h + 3)
    assert_same(run(in_a_plane, x, h, mode="dynamic"), h + 3)
    # the kernel of dynamic shapes loses the sum that is fused into it
    assert np.array_equal(run(convolve, x, h, mode="dynamic"), h + 3) != uses_avx512()


def test_a_chain_of_products_down_to_one_column_does_not_compile():
    def layers(x):
        hidden = ops.matmul(x, ops.constant(np.ones((3, 1), np.float32)), False, False)
        return ops.matmul(hidden, ops.constant(np.ones((1, 1), np.float32)), False, False)

    with pytest.raises(RuntimeError, match="Layout rank"):
        run(layers, ROWS.reshape(4, 3))

    def outer(x):
        hidden = ops.matmul(x, ops.constant(np.ones((3, 1), np.float32)), False, False)
        return ops.multiply(hidden, ops.constant(np.ones((1, 1), np.float32)))

    x = ROWS.reshape(4, 3)
    assert_same(run(outer, x), x.sum(axis=1, keepdims=True))
