"""Primitives of the activations that OpenVINO has as one node and fuses into what precedes it.

Where its kernels differ from the definition: relu, relu6 and hard_sigmoid turn NaN into 0, gelu
turns inf into NaN. That stays only where they are part of the kernel of a convolution, gelu also of
a product (`_follows`). All but relu, relu6 and leaky_relu have absolute errors of about 1e-7, so
that their tails are flushed to 0.
"""

from __future__ import annotations

import math

import numpy as np
from openvino import Type
from scipy import special

from kerasvino.nodes import integer
from kerasvino.nodes.floating import magnitude
from kerasvino.nodes.lowering import const, element, is_float, ov
from kerasvino.primitives import layout
from kerasvino.primitives.arithmetic import square
from kerasvino.primitives.compare import logical_and, where
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.elementwise import exp, lower_log1p, sigmoid, tanh
from kerasvino.primitives.special import erf

__all__ = [
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "leaky_relu",
    "relu",
    "relu6",
    "selu",
    "silu",
    "softplus",
]

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def _activation(name, impl, lower, vjp, wide=True):
    """`vjp(g, x, out, **attrs)` is the cotangent of x."""
    return Primitive(
        name, impl=impl, lower=lower, wide=wide, layout=layout.elementwise,
        vjp=lambda g, inputs, output, **attrs: (vjp(g, inputs[0], output, **attrs),),
    )  # fmt: skip


def _interior(x, low, high):
    return logical_and(x > low, x < high)


# -- piecewise linear

_CONVOLUTIONS = (
    "Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData",
)  # fmt: skip
_BETWEEN = ("Add", "BatchNormInference", "Multiply", "Subtract")


def _follows(kinds, x):
    """Whether x is a result of one of `kinds`, scaled, shifted, or added to something.

    The CPU plugin computes an activation of it in the kernel of that. Written out of several nodes
    an activation is a pass over memory of its own: 3 to 30 % of a convolutional network's time.
    """
    waiting = [x]
    while waiting:
        node = waiting.pop().get_node()
        kind = node.get_type_name()
        if kind in kinds:
            return True
        if kind in _BETWEEN:
            waiting += node.input_values()
    return False


def _keeping_nan(kernel, low, high, scaled=lambda x: x):
    """`kernel`, or where that costs nothing `scaled(x)` clipped to [low, high], NaN staying NaN."""

    def clipped(x):
        x = scaled(x)
        result = x
        if high is not None:
            result = ov.select(ov.less(const(high, x), x), const(high, x), result)
        return ov.select(ov.less(x, const(low, x)), const(low, x), result)

    return lambda x: (kernel if _follows(_CONVOLUTIONS, x) else clipped)(x)


_lower_relu_of_floats = _keeping_nan(ov.relu, 0.0, None)


def _lower_relu(x):
    if is_float(x):
        return _lower_relu_of_floats(x)
    if element(x) == Type.boolean or integer.is_unsigned(element(x)):
        return x
    return integer.narrow(ov.maximum(integer.widen(x), integer.i32(0)).output(0), element(x))


# x of any ordered dtype.
relu = _activation(
    "relu", lambda x: np.maximum(x, x.dtype.type(0)), _lower_relu,
    # of the output, which is kept anyway: x then needs not leave the convolution that it comes from
    lambda g, x, out: where(out > 0, g, 0), wide="lower",
)  # fmt: skip
# From here on x is of floats.
relu6 = _activation(
    "relu6", lambda x: np.clip(x, x.dtype.type(0), x.dtype.type(6)),
    _keeping_nan(lambda x: ov.clamp(x, 0.0, 6.0), 0.0, 6.0),
    lambda g, x, out: where(_interior(x, 0, 6), g, 0),
)  # fmt: skip
leaky_relu = _activation(
    "leaky_relu",
    lambda x, *, negative_slope: np.where(x >= 0, x, x * x.dtype.type(negative_slope)),
    lambda x, *, negative_slope: ov.prelu(x, const([negative_slope], x)),
    lambda g, x, out, *, negative_slope: where(x >= 0, g, g * float(negative_slope)),
    wide="lower",
)
hard_sigmoid = _activation(
    "hard_sigmoid", lambda x: np.clip(x + 3, 0, 6) / x.dtype.type(6),
    _keeping_nan(
        lambda x: ov.hsigmoid(x), 0.0, 1.0,
        lambda x: ov.divide(ov.add(x, const(3.0, x)), const(6.0, x)).output(0),
    ),
    lambda g, x, out: where(_interior(x, -3, 3), g * (1 / 6), 0),
)  # fmt: skip


def _hard_silu_vjp(g, x, out):
    inner = g * ((x * 2 + 3) * (1 / 6))
    return where(_interior(x, -3, 3), inner, where(x > 0, g, 0))


hard_silu = _activation(
    "hard_silu", lambda x: x * (np.clip(x + 3, 0, 6) / x.dtype.type(6)),
    lambda x: ov.hswish(x), _hard_silu_vjp,
)  # fmt: skip

# -- of exponentials


def _lower_softplus(x):
    # OpenVINO's own falls below 0 for x < -17
    tail = lower_log1p(ov.exp(ov.negative(magnitude(x))))
    result = ov.add(ov.relu(x), tail)
    return ov.select(ov.not_equal(x, x), x, result)


softplus = _activation(
    "softplus", lambda x: np.logaddexp(x, x.dtype.type(0)), _lower_softplus,
    lambda g, x, out: g * sigmoid(x),
)  # fmt: skip


def _silu_vjp(g, x, out):
    gate = sigmoid(x)
    return g * (gate * (1 + x * (1 - gate)))


silu = _activation("silu", lambda x: x * special.expit(x), lambda x: ov.swish(x), _silu_vjp)


def _elu_vjp(g, x, out, *, alpha):
    return where(x > 0, g, g * (out + float(alpha)))


# alpha: the limit at minus infinity is -alpha.
elu = _activation(
    "elu",
    lambda x, *, alpha: np.where(x > 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0))),
    lambda x, *, alpha: ov.elu(x, float(alpha)),
    _elu_vjp,
)


def _selu(x):
    scale = x.dtype.type(SELU_SCALE)
    return scale * np.where(x > 0, x, x.dtype.type(SELU_ALPHA) * np.expm1(np.minimum(x, 0)))


def _selu_vjp(g, x, out):
    return where(x > 0, g * SELU_SCALE, g * (out + SELU_ALPHA * SELU_SCALE))


selu = _activation(
    "selu", _selu,
    lambda x: ov.selu(x, const(SELU_ALPHA, x), const(SELU_SCALE, x)), _selu_vjp,
)  # fmt: skip

# -- gelu

_SQRT_HALF = math.sqrt(0.5)
_SQRT_TWO_OVER_PI = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def _gelu(x, *, approximate):
    kind = x.dtype.type
    if not approximate:
        return x * (kind(0.5) * special.erfc(x * kind(-_SQRT_HALF)))
    inner = kind(_SQRT_TWO_OVER_PI) * (x + kind(_CUBIC) * x * x * x)
    return kind(0.5) * x * (1 + np.tanh(inner))


def _lower_gelu(x, *, approximate):
    found = ov.gelu(x, "tanh" if approximate else "erf")
    if _follows((*_CONVOLUTIONS, "MatMul"), x):
        return found
    # OpenVINO's gelu of inf is NaN
    return ov.select(ov.equal(x, const(math.inf, x)), x, found)


def _gelu_vjp(g, x, out, *, approximate):
    if approximate:
        x2 = square(x)
        t = tanh(x * (1 + x2 * _CUBIC) * _SQRT_TWO_OVER_PI)
        slope = x * (1 - square(t)) * ((1 + x2 * (3 * _CUBIC)) * _SQRT_TWO_OVER_PI)
        return g * ((1 + t + slope) * 0.5)
    cumulative = (1 + erf(x * _SQRT_HALF)) * 0.5
    density = exp(square(x) * -0.5) * (0.5 * _SQRT_TWO_OVER_PI)
    return g * (cumulative + x * density)


# approximate: by tanh.
gelu = _activation("gelu", _gelu, _lower_gelu, _gelu_vjp)
