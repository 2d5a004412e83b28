"""Elementwise functions and operators on concrete tensors: dtypes, exactness, operators."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino.autodiff import pullback, watch
from kerasvino.runtime import config
from kerasvino.tensor import Tensor

on_host = pytest.mark.skipif(
    config.eager_compiled(), reason="64 bits: compiled graphs have 32, and say so"
)


def tensor(value, dtype=None):
    return ops.convert_to_tensor(np.asarray(value, dtype))


# -- dtypes


@on_host
def test_64_bit_operands_keep_their_width():
    assert ops.add(tensor(2**40, "int64"), tensor(2**40, "int64")).tolist() == 2**41
    assert ops.add(tensor(2**40, "int64"), 1).tolist() == 2**40 + 1
    assert ops.multiply(tensor(2**40, "int64"), tensor(3, "int8")).tolist() == 3 * 2**40
    assert ops.add(tensor(1, "float64"), 2**-40).tolist() == 1 + 2**-40
    assert ops.sin(tensor(1, "float64")).dtype == "float64"


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("int64", "int32", "int64"),
        ("int64", "float32", "float32"),
        ("uint64", "uint8", "uint64"),
        ("float64", "int64", "float64"),
        ("float64", "complex64", "complex128"),
        ("uint32", "int32", "int32"),
        ("int8", "bfloat16", "bfloat16"),
        ("float16", "bfloat16", "float32"),
    ],
)
def test_promotion_is_keras_own_but_does_not_halve(first, second, wanted):
    x, y = (ops.cast(tensor(1), kind) for kind in (first, second))
    assert ops.add(x, y).dtype == ops.add(y, x).dtype == wanted


def test_python_numbers_are_weak():
    for dtype in ("int8", "uint8", "float16", "bfloat16", "int64"):
        assert ops.multiply(ops.cast(tensor([3]), dtype), 2).dtype == dtype
    assert ops.multiply(tensor([3], "int8"), 2.5).tolist() == [7.5]


def test_booleans():
    assert ops.add(True, True).tolist() is True
    assert ops.multiply(True, False).tolist() is False
    assert [ops.power(a, b).tolist() for a in (False, True) for b in (False, True)] == [
        True, False, True, True,
    ]  # fmt: skip
    with pytest.raises(TypeError):
        ops.subtract(tensor([True]), tensor([True]))


# -- values


def test_no_warnings_as_on_any_accelerator():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ops.divide(1.0, 0.0).tolist() == np.inf
        assert ops.log(0.0).tolist() == -np.inf
        assert np.isnan(ops.sqrt(-1.0).tolist())
        assert ops.multiply(tensor(3e38, "float32"), 10.0).tolist() == np.inf
        assert ops.floor_divide(tensor(1), tensor(0)).tolist() == 0


def test_integer_powers_of_negative_exponents_are_truncated():
    x = tensor([0, 1, -1, -1, 2, -3], "int32")
    y = tensor([-1, -5, -4, -3, -1, -2], "int32")
    assert ops.power(x, y).tolist() == [0, 1, 1, -1, 0, 0]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_floats_out_of_range_become_the_nearest_integer(dtype):
    limits = np.iinfo(dtype)
    x = tensor([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.9, -0.9], "float32")
    wanted = [0, limits.max, limits.min, limits.max, limits.min, 2, 0]
    assert ops.cast(x, dtype).tolist() == wanted


@on_host
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_floats_out_of_range_become_the_nearest_64_bit_integer(dtype):
    limits = np.iinfo(dtype)
    x = tensor([np.nan, np.inf, -np.inf, 2.0**62, 9223372036854775807.0, 18446744073709551615.0])
    wanted = [0, limits.max, limits.min, 2**62, min(2**63, limits.max), limits.max]
    assert ops.cast(x, dtype).tolist() == wanted


def test_clip_takes_bounds_that_the_dtype_does_not_hold():
    assert ops.clip(tensor([1, 200], "uint8"), -5, 100).tolist() == [1, 100]
    assert ops.clip(tensor([1, 200], "uint8"), 3, 1000).tolist() == [3, 200]
    assert ops.clip(tensor([1, 2, 3]), 1.5, 2.5).tolist() == [1, 2, 2]
    assert ops.clip(tensor([True, False]), 0, 5).dtype == "int32"
    nan = ops.clip(tensor([np.nan, 1.0, 5.0]), 2.0, tensor(3.0)).numpy()
    np.testing.assert_array_equal(nan, [np.nan, 2, 3])


def test_round_of_integers_to_tens_is_half_to_even():
    x = [125, 135, -15, -25, 2**30 + 5, 4]
    assert ops.round(tensor(x, "int32"), -1).tolist() == [round(v, -1) for v in x]


def test_round_of_half_floats_does_not_overflow():
    x = ops.cast(tensor([0.1, 1.2345, 50000]), "float16")
    assert ops.round(x, 5).tolist() == x.tolist()
    assert ops.round(x, -4).tolist() == [0, 0, float(np.float16(50000))]


def test_select_takes_the_first_condition():
    x = tensor([1, 2, 3, 4])
    result = ops.select([x > 3, x > 1], [x * 10, x * 100], 7)
    assert result.tolist() == [7, 200, 300, 40]


def test_ldexp_and_gcd_refuse_what_is_no_integer():
    with pytest.raises(TypeError, match="integer exponent"):
        ops.ldexp(1.0, 2.0)
    with pytest.raises(TypeError, match="takes integers"):
        ops.gcd(tensor([1.0]), tensor([2.0]))


def test_views_of_bits():
    assert ops.view(tensor([1.0], "float32"), "int32").tolist() == [0x3F800000]
    assert ops.view(tensor([-1], "int32"), "uint32").tolist() == [2**32 - 1]
    assert ops.view(tensor([1, 2], "int16"), "int8").shape == (4,)
    with pytest.raises(ValueError):
        ops.view(tensor([1, 2, 3], "int8"), "int16")


def test_complex_parts_and_angles():
    z = tensor([3 + 4j, -1j], "complex64")
    assert ops.real(z).tolist() == [3, 0]
    assert ops.imag(z).tolist() == [4, -1]
    assert ops.conj(z).tolist() == [3 - 4j, 1j]
    assert ops.absolute(z).tolist() == [5, 1]
    np.testing.assert_allclose(ops.angle(tensor([1.0, -1.0])), [0, np.pi], rtol=1e-6)
    assert ops.isreal(tensor([1, 1j])).tolist() == [True, False]


# -- operators


def test_operators():
    x, y = tensor([7, -7], "int32"), tensor([2, 3], "int32")
    assert (x + y).tolist() == [9, -4]
    assert (1 - x).tolist() == [-6, 8]
    assert (x * 2).tolist() == [14, -14]
    assert (x / y).dtype == "float32"
    assert (x // y).tolist() == [3, -3]
    assert (x % y).tolist() == [1, 2]
    assert [v.tolist() for v in divmod(x, y)] == [[3, -3], [1, 2]]
    assert (2**y).tolist() == [4, 8]
    assert (-x).tolist() == (+(-x)).tolist() == [-7, 7]
    assert abs(x).tolist() == [7, 7]
    assert (~x).tolist() == [-8, 6]
    assert ((x & 3) | (y ^ 1)).tolist() == [(7 & 3) | (2 ^ 1), (-7 & 3) | (3 ^ 1)]
    assert ((x << 1) >> y).tolist() == [14 >> 2, -14 >> 3]
    assert ((x > y) & (x != 3)).tolist() == [True, False]
    assert (~(x > y)).tolist() == [False, True]
    assert (x @ y).tolist() == -7
    assert round(tensor([1.25, 2.5]), 1).tolist() == pytest.approx([1.2, 2.5])
    assert round(tensor(2.5)).tolist() == 2.0
    assert x.astype("float16").dtype == "float16"


def test_operators_with_other_values():
    x = tensor([1.0, 2.0], "float32")
    variable = keras.Variable([10.0, 20.0])
    for result in (x + variable, variable + x, x + np.float32([10, 20]), np.float32([10, 20]) + x):
        assert type(result) is Tensor
        assert result.tolist() == [11.0, 22.0]
    symbol = keras.KerasTensor((2,), "float32")
    for result in (x + symbol, symbol + x, x < symbol, x @ symbol, symbol**x):
        assert isinstance(result, keras.KerasTensor)


def test_operators_leave_unknown_objects_alone():
    x = tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert (x != "a") is True
    with pytest.raises(TypeError, match="unsupported operand"):
        x + None
    with pytest.raises(TypeError, match="integers or booleans"):
        tensor([1.0]) & tensor([2.0])


# -- gradients


def _second_derivative(function, value):
    x = watch(tensor(value, "float64"))
    y = function(x)
    (first,) = pullback([y], [tensor(np.ones(y.shape))], [x])
    (second,) = pullback([first], [tensor(np.ones(y.shape))], [x])
    return second.numpy()


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (ops.sin, lambda x: -np.sin(x)),
        (ops.exp, np.exp),
        (lambda x: x * x * x, lambda x: 6 * x),
        (lambda x: ops.power(x, 3.0), lambda x: 6 * x),
        (lambda x: 1.0 / x, lambda x: 2 / x**3),
        (ops.log1p, lambda x: -1 / (1 + x) ** 2),
        (ops.tanh, lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2)),
    ],
)
def test_second_derivatives(function, wanted):
    x = np.array([0.3, 0.7, 1.9])
    np.testing.assert_allclose(
        _second_derivative(function, x), wanted(x), rtol=1e-5 if config.eager_compiled() else 1e-9
    )


def _gradient(function, *values):
    inputs = [watch(tensor(value, "float64")) for value in values]
    y = function(*inputs)
    return [g.tolist() for g in pullback([y], [tensor(np.ones(y.shape))], inputs)]


def test_gradients_meet_no_nan_of_the_branch_not_taken():
    assert _gradient(ops.sinc, [0.0]) == [[0.0]]
    assert _gradient(ops.divide_no_nan, [1.0], [0.0]) == [[0.0], [0.0]]
    assert _gradient(ops.logaddexp, [np.inf], [np.inf]) == [[0.5], [0.5]]
    assert _gradient(ops.hypot, [0.0], [0.0]) == [[0.0], [0.0]]
    assert _gradient(ops.power, [0.0], [2.0]) == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda z: ops.square(ops.absolute(z)), 10.0),
        (lambda z: ops.real(z) * ops.imag(z), 4.0),
        (lambda z: ops.real(ops.conj(z) * z), 10.0),
        (lambda z: ops.imag(z * z), 8.0),
    ],
)
def test_gradients_through_complex_numbers(function, slope):
    def of_real(x):
        return function(ops.cast(x, "complex128") * (1 + 2j))

    assert _gradient(of_real, [3.0]) == [[pytest.approx(3 * slope)]]


def test_ties_share_the_gradient():
    assert _gradient(ops.maximum, [1.0, 2.0], [1.0, 1.0]) == [[0.5, 1.0], [0.5, 0.0]]
    assert _gradient(lambda x: ops.clip(x, 0.0, 1.0), [-1.0, 0.0, 0.5, 2.0]) == [[0, 1, 1, 0]]


def test_gradient_of_a_broadcast_operand_is_summed():
    x, y = np.ones((2, 3)), np.arange(3.0)
    assert _gradient(ops.multiply, x, y) == [[[0, 1, 2], [0, 1, 2]], [2, 2, 2]]
