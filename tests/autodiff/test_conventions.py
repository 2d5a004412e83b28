"""Gradients where there is none, or several: ties, kinks, zeros, bounds, complex numbers.

Each case is compared, on the host and compiled, with the function of JAX through `jax.grad`. Those
that differ, on purpose, are listed in docs/gradients.md.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from keras import ops

import kerasvino

NAN = float("nan")


# name, ours, JAX's, inputs (gradient of the sum of the results with respect to the first)
SAME = [
    ("sign", ops.sign, jnp.sign, [[-1.0, 0.0, 2.0]]),
    ("relu", ops.relu, jax.nn.relu, [[-1.0, 0.0, 2.0]]),
    ("relu6", ops.relu6, jax.nn.relu6, [[-1.0, 0.0, 2.0, 6.0, 7.0]]),
    ("leaky_relu", ops.leaky_relu, lambda x: jax.nn.leaky_relu(x, 0.2), [[-1.0, 0.0, 2.0]]),
    ("elu", ops.elu, jax.nn.elu, [[-1.0, 0.0, 2.0]]),
    ("silu", ops.silu, jax.nn.silu, [[-90.0, 0.0, 90.0]]),
    ("softplus", ops.softplus, jax.nn.softplus, [[-90.0, 0.0, 90.0]]),
    ("maximum tie", ops.maximum, jnp.maximum, [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]]),
    ("minimum tie", ops.minimum, jnp.minimum, [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]]),
    ("max ties", ops.max, jnp.max, [[3.0, 1.0, 3.0]]),
    ("min ties", ops.min, jnp.min, [[1.0, 1.0, 3.0]]),
    ("prod of zero", ops.prod, jnp.prod, [[2.0, 0.0, 3.0]]),
    ("prod of zeros", ops.prod, jnp.prod, [[2.0, 0.0, 0.0]]),
    ("cumprod", ops.cumprod, jnp.cumprod, [[2.0, 0.0, 3.0, 4.0]]),
    ("norm", ops.norm, jnp.linalg.norm, [[0.0, 0.0]]),
    ("sqrt", ops.sqrt, jnp.sqrt, [[0.0, 1.0]]),
    ("rsqrt", ops.rsqrt, lax.rsqrt, [[0.0, 1.0]]),
    ("power of 0", lambda x: ops.power(x, 2.0), lambda x: x**2.0, [[0.0, -1.0]]),
    ("power to 1", lambda x: ops.power(x, 1.0), lambda x: x**1.0, [[0.0, 2.0]]),
    ("exponent", lambda y: ops.power(2.0, y), lambda y: 2.0**y, [[0.0, 2.0]]),
    ("exponent of 0", lambda y: ops.power(0.0, y), lambda y: jnp.power(0.0, y), [[1.0, 2.0]]),
    ("log", ops.log, jnp.log, [[0.0, 1.0]]),
    ("logaddexp", ops.logaddexp, jnp.logaddexp, [[1.0, -90.0, 0.0], [1.0, 90.0, 0.0]]),
    ("logsumexp", ops.logsumexp, jax.nn.logsumexp, [[90.0, 90.0, -90.0]]),
    ("sort ties", lambda x: ops.sort(x) * ops.arange(3.0), lambda x: jnp.sort(x) * jnp.arange(3.0),
     [[2.0, 1.0, 1.0]]),
    ("top_k ties", lambda x: ops.top_k(x, 2)[0], lambda x: lax.top_k(x, 2)[0], [[2.0, 2.0, 2.0]]),
    ("where", lambda x: ops.where(x > 0, x, 0.0), lambda x: jnp.where(x > 0, x, 0.0),
     [[-1.0, 0.0, 1.0]]),
    ("where of NaN", lambda x: ops.where(x > 0, ops.sqrt(x), 0.0),
     lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0), [[-1.0, 1.0]]),
    ("floor", ops.floor, jnp.floor, [[1.0, 1.5]]),
    ("mod", ops.mod, jnp.mod, [[5.5, -5.5], [2.0, 2.0]]),
    ("arctan2", ops.arctan2, jnp.arctan2, [[1.0, 0.0], [0.0, -1.0]]),
    ("median", ops.median, jnp.median, [[3.0, 1.0, 2.0]]),
    ("var", ops.var, jnp.var, [[1.0, 1.0, 1.0]]),
    ("expm1", ops.expm1, jnp.expm1, [[0.0, 1e-6]]),
    ("log1p", ops.log1p, jnp.log1p, [[0.0, 1e-6]]),
    ("tanh", ops.tanh, jnp.tanh, [[-90.0, 0.0, 90.0]]),
    ("sigmoid", ops.sigmoid, jax.nn.sigmoid, [[-90.0, 0.0, 90.0]]),
    ("erf", ops.erf, jax.scipy.special.erf, [[0.0, 9.0]]),
    ("arcsin", ops.arcsin, jnp.arcsin, [[0.0, 1.0]]),
    ("pad reflect", lambda x: ops.pad(x, [[2, 1]], "reflect") * ops.arange(6.0),
     lambda x: jnp.pad(x, 2, "reflect")[:6] * jnp.arange(6.0), [[1.0, 2.0, 3.0]]),
    ("take twice", lambda x: ops.take(x, [1, 1, 0]), lambda x: x[jnp.array([1, 1, 0])],
     [[1.0, 2.0, 3.0]]),
    ("max_pool ties", lambda x: ops.max_pool(ops.reshape(x, (1, 4, 1)), 2) * 3.0,
     lambda x: 3.0 * lax.reduce_window(x, -jnp.inf, lax.max, (2,), (2,), "VALID"),
     [[1.0, 1.0, 0.0, 2.0]]),
]  # fmt: skip

# name, ours, JAX's, inputs, our gradient, JAX's
DIFFERENT = [
    ("absolute", ops.abs, jnp.abs, [[-1.0, 0.0, 2.0]], [-1.0, 0.0, 1.0], [-1.0, 1.0, 1.0]),
    ("clip at a bound", lambda x: ops.clip(x, 0.0, 1.0), lambda x: jnp.clip(x, 0.0, 1.0),
     [[-1.0, 0.0, 0.5, 1.0, 2.0]], [0.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.5, 1.0, 0.5, 0.0]),
    ("hypot", ops.hypot, jnp.hypot, [[0.0], [0.0]], [0.0], [0.5]),
    ("power to 0", lambda x: ops.power(x, 0.0), lambda x: x**0.0, [[0.0, 2.0]],
     [0.0, 0.0], [NAN, 0.0]),
]  # fmt: skip


def gradients(ours, theirs, inputs):
    arrays = [np.asarray(x, "float32") for x in inputs]

    def total(*xs):
        return ops.sum(ours(*xs))

    found = kerasvino.grad(total)(*map(ops.convert_to_tensor, arrays))
    compiled = kerasvino.jit(kerasvino.grad(total))(*map(ops.convert_to_tensor, arrays))
    wanted = jax.grad(lambda *xs: jnp.sum(theirs(*xs)))(*map(jnp.asarray, arrays))
    return np.asarray(found), np.asarray(compiled), np.asarray(wanted)


@pytest.mark.parametrize(
    ("ours", "theirs", "inputs"), [pytest.param(*c[1:], id=c[0]) for c in SAME]
)
def test_as_jax(ours, theirs, inputs):
    found, compiled, wanted = gradients(ours, theirs, inputs)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(compiled, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "inputs", "own", "jax_own"),
    [pytest.param(*c[1:], id=c[0]) for c in DIFFERENT],
)
def test_otherwise_than_jax(ours, theirs, inputs, own, jax_own):
    found, compiled, wanted = gradients(ours, theirs, inputs)
    np.testing.assert_allclose(found, own)
    np.testing.assert_allclose(compiled, own)
    np.testing.assert_allclose(wanted, jax_own)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ops.real, jnp.real),
        (ops.imag, jnp.imag),
        (ops.abs, jnp.abs),
        (lambda z: ops.real(ops.conjugate(z) * z), lambda z: jnp.real(jnp.conj(z) * z)),
    ],
)
def test_complex_cotangents_are_those_of_jax(ours, theirs):
    z = np.array([1 + 2j, -0.5j, 3], "complex64")
    found = kerasvino.grad(lambda z: ops.sum(ours(z)))(ops.convert_to_tensor(z))
    wanted = jax.grad(lambda z: jnp.sum(theirs(z)))(jnp.asarray(z))
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5, atol=1e-6)
