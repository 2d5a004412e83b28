"""Values and gradients of `keras.ops.nn` against Keras's JAX backend, eager and in a graph."""

import importlib
import itertools

import jax
import numpy as np
import pytest

from kerasvino.autodiff import pullback, watch
from kerasvino.backend.keras_private import PLUGGABLE
from kerasvino.backend.ops import nn
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor

jax_nn = importlib.import_module(f"keras.src.backend.jax.{'ops.nn' if PLUGGABLE else 'nn'}")

SPATIAL = {1: (9,), 2: (9, 8), 3: (6, 5, 7)}
KERNEL = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def image(rank, channels, data_format="channels_last"):
    last = data_format == "channels_last"
    return normal(2, *SPATIAL[rank], channels) if last else normal(2, channels, *SPATIAL[rank])


CASES = {}


def case(name, function, *arrays):
    """`function(nn, *arrays)`: a tensor, differentiated by all arrays."""
    assert name not in CASES, name
    CASES[name] = function, arrays


# -- convolutions


def _windows(strided):
    """Arguments that go together: strides with either padding, or dilation."""
    yield {"strides": strided, "padding": "valid"}
    yield {"strides": strided, "padding": "same"}
    yield {"strides": 1, "padding": "same", "dilation_rate": 2}


def _name(function, rank, data_format, arguments):
    words = "-".join(str(v).replace(" ", "") for v in arguments.values())
    return f"{function}{rank}d-{data_format[9:]}-{words}"


FORMS = (*((rank, "channels_last") for rank in (1, 2, 3)), (2, "channels_first"))
for rank, data_format in FORMS:
    x, size = image(rank, 4, data_format), KERNEL[rank]
    for arguments in _windows(2):
        named = {**arguments, "data_format": data_format}
        case(
            _name("conv", rank, data_format, arguments),
            lambda nn, x, k, named=named: nn.conv(x, k, **named), x, normal(*size, 4, 3),
        )  # fmt: skip
    named = {"strides": 2, "padding": "same", "data_format": data_format}
    case(
        f"grouped_conv{rank}d-{data_format[9:]}",
        lambda nn, x, k, named=named: nn.conv(x, k, **named), x, normal(*size, 2, 6),
    )  # fmt: skip
    transposed = [
        *_windows(2), {"strides": 3, "padding": "valid", "output_padding": 2},
        {"strides": 2, "padding": "same", "output_padding": 1},
    ]  # fmt: skip
    for arguments in transposed:
        named = {**arguments, "data_format": data_format}
        case(
            _name("conv_transpose", rank, data_format, arguments),
            lambda nn, x, k, named=named: nn.conv_transpose(x, k, **named),
            x, normal(*size, 5, 4),
        )  # fmt: skip
    if rank == 3:
        continue  # Keras has these two for at most two spatial axes
    for arguments in _windows((2,) * rank):
        named = {**arguments, "data_format": data_format}
        case(
            _name("depthwise", rank, data_format, arguments),
            lambda nn, x, k, named=named: nn.depthwise_conv(x, k, **named), x, normal(*size, 4, 2),
        )  # fmt: skip
        case(
            _name("separable", rank, data_format, arguments),
            lambda nn, x, k, p, named=named: nn.separable_conv(x, k, p, **named),
            x, normal(*size, 4, 2), normal(*(1,) * rank, 8, 3),
        )  # fmt: skip

# -- pooling

for rank, data_format in FORMS:
    x = image(rank, 3, data_format)
    for name, (window, stride, padding) in itertools.product(
        ("max_pool", "average_pool"), ((2, 2, "valid"), (3, 2, "same"), (3, 1, "valid"))
    ):
        arguments = {"pool_size": window, "strides": stride, "padding": padding}
        named = {**arguments, "data_format": data_format}
        case(
            _name(name, rank, data_format, arguments),
            lambda nn, x, name=name, named=named: getattr(nn, name)(x, **named), x,
        )  # fmt: skip
    for name, size in itertools.product(("adaptive_max_pool", "adaptive_average_pool"), (1, 2, 4)):
        case(
            f"{name}{rank}d-{data_format[9:]}-{size}",
            lambda nn, x, name=name, size=size, form=data_format: getattr(nn, name)(
                x, size if len(x.shape) == 3 else (size,) * (len(x.shape) - 2), form
            ),
            x,
        )  # fmt: skip

# -- normalization

X = normal(3, 5, 4)
for axis in (-1, 1):
    length = X.shape[axis]
    case(
        f"batch_normalization-{axis}",
        lambda nn, x, m, v, b, g, axis=axis: nn.batch_normalization(x, m, v * v, axis, b, g, 1e-3),
        X, *(normal(length, seed=i) for i in range(4)),
    )  # fmt: skip
case(
    "batch_normalization-plain",
    lambda nn, x, m, v: nn.batch_normalization(x, m, v * v, 2), X, normal(4), normal(4, seed=1),
)  # fmt: skip
for axes, keepdims in (((0, 1), False), ((-1,), True)):
    for place, what in enumerate(("mean", "variance")):
        case(
            f"{what}-{axes}",
            lambda nn, x, axes=axes, keepdims=keepdims, place=place: nn.moments(
                x, axes, keepdims
            )[place],
            X,
        )  # fmt: skip
for name in ("softmax", "log_softmax"):
    for axis in (-1, 0, 1):
        case(f"{name}{axis}", lambda nn, x, n=name, axis=axis: getattr(nn, n)(x, axis), X)

# -- activations, off their kinks

OFF = (np.arange(-24, 24) / 4 + 0.1).astype("float32").reshape(6, 8)
for name in (
    "celu", "elu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "log_sigmoid", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softplus",
    "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink", "glu",
):  # fmt: skip
    case(name, lambda nn, x, name=name: getattr(nn, name)(x), OFF)
for approximate in (True, False):
    case(f"gelu-{approximate}", lambda nn, x, a=approximate: nn.gelu(x, a), OFF)
case("threshold", lambda nn, x: nn.threshold(x, 1.0, 5.0), OFF)
case("celu-2", lambda nn, x: nn.celu(x, 2.0), OFF)

# -- losses

LOGITS = normal(4, 6)
LABELS = np.array([0, 5, 2, 2], "int32")
SHARES = np.abs(normal(4, 6, seed=1)) / 4 + 0.05
for logits in (True, False):
    scores = LOGITS if logits else SHARES
    case(
        f"categorical-{logits}",
        lambda nn, t, x, f=logits: nn.categorical_crossentropy(t, x, from_logits=f),
        SHARES, scores,
    )  # fmt: skip
    case(
        f"sparse_categorical-{logits}",
        lambda nn, x, f=logits: nn.sparse_categorical_crossentropy(LABELS, x, from_logits=f),
        scores,
    )
    case(
        f"binary-{logits}",
        lambda nn, t, x, f=logits: nn.binary_crossentropy(t, x, from_logits=f), SHARES, scores,
    )  # fmt: skip
case("psnr", lambda nn, x, y: nn.psnr(x, y, 3.0), LOGITS, SHARES)
case(
    "ctc_loss",
    lambda nn, x: nn.ctc_loss(
        np.array([[1, 1, 3], [2, 0, 0]], "int32"), x, np.array([3, 1], "int32"),
        np.array([7, 4], "int32"),
    ),
    normal(2, 7, 4),
)  # fmt: skip

# -- attention

Q, K, V = normal(2, 3, 4, 8), normal(2, 5, 4, 8), normal(2, 5, 4, 8, seed=1)
MASK = np.random.default_rng(2).random((2, 1, 3, 5)) < 0.6
HEAD_MASK = np.random.default_rng(3).random((2, 4, 3, 5)) < 0.6
HEAD_MASK[0, 1, 2] = False  # a query that sees no key
for name, bias, arguments in (
    ("plain", None, {}), ("mask", None, {"mask": MASK}), ("heads", None, {"mask": HEAD_MASK}),
    ("causal", None, {"is_causal": True}), ("bias", normal(1, 4, 3, 5), {"scale": 0.3}),
    ("all", normal(2, 4, 3, 5), {"mask": MASK, "is_causal": True}),
):  # fmt: skip
    for shared in (4, 2, 1):
        arrays = [Q, K[:, :, :shared], V[:, :, :shared], *([] if bias is None else [bias])]
        case(
            f"attention-{name}-{shared}",
            lambda nn, q, k, v, bias=None, a=arguments: nn.dot_product_attention(
                q, k, v, bias=bias, flash_attention=False, **a
            ),
            *arrays,
        )

# -- rearrangements

PICTURE = normal(2, 4, 6, 8)
for name, function in {
    "unfold": lambda nn, x: nn.unfold(x, (2, 3), 1, 1, 2),
    "unfold-dilated": lambda nn, x: nn.unfold(x, 2, 2, 0, 1),
    "depth_to_space": lambda nn, x: nn.depth_to_space(x, 2),
    "space_to_depth": lambda nn, x: nn.space_to_depth(x, 2),
    "depth_to_space-first": lambda nn, x: nn.depth_to_space(x, 2, "channels_first"),
    "space_to_depth-first": lambda nn, x: nn.space_to_depth(x, 2, "channels_first"),
}.items():
    case(name, function, PICTURE)
case("fold", lambda nn, x: nn.fold(x, (5, 6), 2, 1, 1, 2), normal(2, 12, 12))


def _numpy(value):
    return np.asarray(value, dtype=np.float32)


def _expected(function, arrays):
    """Value, cotangent and gradients by JAX."""
    value, pull = jax.vjp(lambda *xs: function(jax_nn, *xs), *arrays)
    cotangent = normal(*value.shape, seed=7)
    return _numpy(value), cotangent, [_numpy(g) for g in pull(jax.numpy.asarray(cotangent))]


def _differentiated(function, count):
    """`count` arrays and a cotangent -> the value and a gradient for each array."""

    def run(*tensors):
        inputs = [watch(t) for t in tensors[:count]]
        value = function(nn, *inputs)
        return [value, *pullback([value], [tensors[count]], inputs)]

    return run


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients_are_those_of_jax(name, compiled):
    function, arrays = CASES[name]
    value, cotangent, gradients = _expected(function, arrays)
    run = _differentiated(function, len(arrays))
    run = Function(run) if compiled else run
    found = run(*(Tensor(a) for a in (*arrays, cotangent)))
    np.testing.assert_allclose(_numpy(found[0]), value, rtol=2e-5, atol=2e-5)
    for index, (got, wanted) in enumerate(zip(found[1:], gradients, strict=True)):
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(
            _numpy(got), wanted, rtol=5e-5, atol=2e-5 * scale, err_msg=f"of input {index}"
        )


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sparsemax_projects_onto_the_simplex(axis, compiled):
    """Its Jacobian centres on the support (Martins and Astudillo 2016, equation 13).

    Keras's JAX backend has it right for a single row only.
    """
    x, g = normal(3, 5, 4), normal(3, 5, 4, seed=7)
    run = _differentiated(lambda nn, x: nn.sparsemax(x, axis), 1)
    value, gradient = (Function(run) if compiled else run)(Tensor(x), Tensor(g))
    value, gradient = _numpy(value), _numpy(gradient)
    np.testing.assert_allclose(value.sum(axis), 1, rtol=1e-6)
    support = value > 0
    # the projection moves all of the support alike, and leaves out what lies below 0 then
    shift = np.where(support, x - value, np.nan)
    limit = np.nanmean(shift, axis=axis, keepdims=True)
    np.testing.assert_allclose(value, np.maximum(x - limit, 0), atol=1e-6)
    mean = (g * support).sum(axis, keepdims=True) / support.sum(axis, keepdims=True)
    np.testing.assert_allclose(gradient, support * (g - mean), rtol=1e-5, atol=1e-6)
