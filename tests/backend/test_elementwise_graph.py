"""Elementwise functions in compiled graphs: constants, fused chains, unknown axes, layout."""

import numpy as np
import pytest

import kerasvino.backend.ops.numpy as knp
from kerasvino.autodiff import pullback, watch
from kerasvino.backend.ops.core import cast, convert_to_tensor
from kerasvino.graph import Spec, trace
from kerasvino.primitives.shape import transpose
from kerasvino.runtime.program import Program

INT32 = np.iinfo(np.int32)


def run(function, *arrays, dynamic=False):
    """Results of `function` compiled for the arrays' shapes, or for unknown ones."""
    specs = [Spec((None,) * a.ndim if dynamic else a.shape, str(a.dtype)) for a in arrays]

    def flat(*tensors):
        result = function(*tensors)
        return list(result) if isinstance(result, (tuple, list)) else [result]

    graph = trace(flat, specs)
    held = [variable._value._array for variable in graph.reads]
    return Program(graph, "CPU", {})([*arrays, *held])


def kinds(function, *specs):
    """Types of the nodes of the graph of `function`."""
    graph = trace(lambda *tensors: [function(*tensors)], specs)
    return [node.get_type_name() for node in graph.model.get_ordered_ops()]


both = pytest.mark.parametrize("dynamic", [False, True])


@both
@pytest.mark.parametrize("dtype", ["int32", "uint32"])
@pytest.mark.parametrize(
    "name",
    ["add", "multiply", "subtract", "maximum", "minimum", "mod", "floor_divide", "less", "equal",
     "greater_equal", "not_equal", "bitwise_xor", "power", "right_shift"],
)  # fmt: skip
def test_full_range_constants(name, dtype, dynamic):
    limits = np.iinfo(dtype)
    x = np.array([limits.min, 1, 16777217, 123456789, limits.max - 1, limits.max], dtype)
    for value in (limits.max, 16777217, 7):
        constant = convert_to_tensor(np.array(value, dtype))
        function = getattr(knp, name)
        (found,) = run(lambda t, c=constant, f=function: f(t, c), x, dynamic=dynamic)
        np.testing.assert_array_equal(found, function(x, constant).numpy(), err_msg=f"{value}")


@both
def test_integers_chosen_by_a_comparison_keep_all_bits(dynamic):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(INT32.min, INT32.max, (40, 5)).astype(np.int32) for _ in range(2))
    f = rng.normal(size=(40, 5)).astype(np.float32)
    found = run(
        lambda x, y, f: (
            knp.where(x < y, x, y), knp.where(f > 0, x, y), knp.where(x == y, 1, x + y),
            knp.where(knp.logical_and(x < y, f > 0), x * y, -1),
        ),
        x, y, f, dynamic=dynamic,
    )  # fmt: skip
    with np.errstate(over="ignore"):
        wanted = [
            np.where(x < y, x, y), np.where(f > 0, x, y), np.where(x == y, 1, x + y),
            np.where((x < y) & (f > 0), x * y, -1),
        ]  # fmt: skip
    for got, expected in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, expected)


@both
def test_floats_divide_without_remainder(dynamic):
    x = np.arange(1, 1000, dtype=np.float32)
    quotient, rest = run(lambda t: (t // t, t % t), x, dynamic=dynamic)
    assert (quotient == 1).all()
    assert (rest == 0).all()


@both
def test_16_bit_results_wrap_inside_a_chain(dynamic):
    x = np.array([30000, -30000, 5], np.int16)
    (found,) = run(lambda t: knp.maximum(t + t, 0), x, dynamic=dynamic)
    np.testing.assert_array_equal(found, np.maximum(x + x, 0))


@both
def test_nan_is_neither_larger_nor_dropped(dynamic):
    x = np.array([np.nan, 1, np.nan, -1], np.float32)
    y = np.array([1, np.nan, np.nan, 2], np.float32)
    greater, highest, clipped, number, fmax = run(
        lambda x, y: (
            x > y, knp.maximum(x, y), knp.clip(x, 0, 2), knp.nan_to_num(x), knp.fmax(x, y),
        ),
        x, y, dynamic=dynamic,
    )  # fmt: skip
    assert not greater.any()
    np.testing.assert_array_equal(highest, [np.nan, np.nan, np.nan, 2])
    np.testing.assert_array_equal(clipped, [np.nan, 1, np.nan, 0])
    np.testing.assert_array_equal(number, [0, 1, 0, -1])
    np.testing.assert_array_equal(fmax, [1, 1, np.nan, 2])


@both
def test_absolute_of_what_derives_from_constants(dynamic):
    x = np.array([0.0, 0.0], np.float32)
    (found,) = run(lambda t: knp.abs(knp.negative(np.float32([7, -7]))) + t, x, dynamic=dynamic)
    assert found.tolist() == [7, 7]


@both
def test_logarithm_of_one_plus_an_exponential(dynamic):
    x = np.float32([-80, -40, -17, -5, 0, 5, 80])
    (found,) = run(lambda t: knp.log1p(knp.exp(t)), x, dynamic=dynamic)
    np.testing.assert_allclose(found, np.log1p(np.exp(x.astype("float64"))), rtol=5e-6)


@both
def test_casts_to_bfloat16_round_to_even(dynamic):
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    (found,) = run(lambda t: cast(t, "bfloat16"), x, dynamic=dynamic)
    np.testing.assert_array_equal(found, x.astype(found.dtype))


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_casts_through_float8_lose_digits(dtype):
    x = np.float32([0.1, 3.3, -200, 1e-3])
    (found,) = run(lambda t: cast(cast(t, dtype), "float32"), x)
    np.testing.assert_array_equal(found, cast(cast(x, dtype), "float32").numpy())


_AROUND_FLOAT16 = {
    "float32": np.float32(
        [1 / 3, 2049, 2051, 65519, -65520, 1e30, np.inf, np.nan, 1e-7, 3e-8, 2e-8, -1e-5, 0]
    ),
    "bfloat16": np.float32([1 / 3, 2049, 65500, -7e4, 3e38, np.inf, np.nan, 1e-7]),
    "uint16": np.uint16([2048, 2049, 2051, 65519, 65520, 65535]),
    "int32": np.int32([-2049, 65519, -65520, INT32.max]),
}


@both
@pytest.mark.parametrize("dtype", _AROUND_FLOAT16)
def test_casts_through_float16_lose_digits(dtype, dynamic):
    x = cast(_AROUND_FLOAT16[dtype], dtype).numpy()
    (found,) = run(lambda t: cast(cast(t, "float16"), "float32"), x, dynamic=dynamic)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, x.astype("float16").astype("float32"))


def test_broadcast_gradients_with_unknown_axes():
    def gradients(x, y):
        a, b = watch(x), watch(y)
        result = a * b
        return pullback([result], [result], [a, b])

    graph = trace(gradients, [Spec((None, None), "float32"), Spec((None,), "float32")])
    program = Program(graph, "CPU", {})
    rng = np.random.default_rng(0)
    for shapes in (((2, 3), (3,)), ((2, 3), (1,)), ((4, 1), (3,)), ((0, 3), (3,))):
        x, y = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
        dx, dy = program([x, y])
        wx, wy = (g.numpy() for g in gradients(convert_to_tensor(x), convert_to_tensor(y)))
        np.testing.assert_allclose(dx, wx, rtol=1e-5)
        np.testing.assert_allclose(dy, wy, rtol=1e-5)


# -- layout


def _back_and_forth(function):
    """`function` between a pending permutation and its inverse."""
    return lambda *tensors: transpose(
        function(transpose(tensors[0], axes=(0, 2, 3, 1)), *tensors[1:]), axes=(0, 3, 1, 2)
    )


IMAGE = Spec((2, 3, 4, 5), "float32")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: knp.exp(x) + 1.0,
        lambda x: knp.where(x > 0, x, 0.0),
        lambda x: knp.clip(knp.abs(x), 0.1, 2.0),
        lambda x: cast(knp.maximum(x, 0.5), "float16"),
        lambda x: x * np.float32([1, 2, 3]),
        lambda x: knp.add(x, x) // 3.0,
    ],
)
def test_permutations_pass_elementwise_functions(function):
    assert "Transpose" not in kinds(_back_and_forth(function), IMAGE)
    x = np.random.default_rng(0).normal(size=IMAGE.shape).astype(np.float32)
    (found,) = run(_back_and_forth(function), x)
    wanted = np.transpose(
        function(convert_to_tensor(x.transpose(0, 2, 3, 1))).numpy(), (0, 3, 1, 2)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_gradient_of_a_bias_keeps_the_permutation():
    b = np.float32([1, 2, 3])

    def function(x):
        image, bias = watch(transpose(x, axes=(0, 2, 3, 1))), watch(convert_to_tensor(b))
        result = image + bias
        return pullback([result], [result], [bias])[0]

    assert "Transpose" not in kinds(function, IMAGE)
    x = np.random.default_rng(0).normal(size=IMAGE.shape).astype(np.float32)
    (found,) = run(function, x)
    np.testing.assert_allclose(found, (x.transpose(0, 2, 3, 1) + b).sum((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_sinc_of_subnormal_numbers(dtype, dynamic):
    x = np.array([1e-45, -1e-40, 2e-39, 1e-38, 0.0, 0.5], "float32").astype(dtype)
    found = run(knp.sinc, x, dynamic=dynamic)[0].astype("float64")
    np.testing.assert_allclose(found, np.sinc(x.astype("float64")), rtol=1e-2)


@pytest.mark.parametrize("function", [knp.hypot, knp.heaviside])
def test_integers_beyond_32_bits_become_floats_at_once(function):
    small, large = np.array([-3, 5], "int16"), np.array([2**32 - 1, 2**31 + 9], "uint32")
    wanted = getattr(np, function.__name__)(small.astype("float64"), large.astype("float64"))
    np.testing.assert_allclose(run(function, small, large)[0], wanted, rtol=1e-6)
    np.testing.assert_allclose(function(small, large), wanted, rtol=1e-6)  # float32, by promotion
