"""Primitives of the discrete Fourier transform, on pairs (real, imaginary) of 32- or 64-bit floats.

Graphs have no complex numbers, so a complex tensor is two float ones everywhere. Swapping the parts
of a pair conjugates its transform: the inverse is `dft` with swapped parts, divided by the length.
"""

from __future__ import annotations

import numpy as np
import scipy
from openvino import Type

from kerasvino.nodes.lowering import const, convert, dims, ints, ov, rank, scalar_dim, vector
from kerasvino.primitives import compare
from kerasvino.primitives.arithmetic import add
from kerasvino.primitives.cast import cast
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.create import iota
from kerasvino.primitives.shape import lengths
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["dft", "irdft", "rdft"]


def _two(inputs, attrs):
    return inputs[0], inputs[0]


def _part(x, index):
    return ov.gather(x, ints(index), ints(-1)).output(0)


def _pair(real, imaginary):
    parts = [ov.unsqueeze(x, ints(rank(x))).output(0) for x in (real, imaginary)]
    return ov.concat(parts, rank(real)).output(0)


# -- complex to complex


def _dft_impl(real, imaginary, *, axes):
    # one transform after another rounds as it does in a graph
    x = scipy.fft.fftn(real + 1j * imaginary, axes=axes)
    return x.real, x.imag


def _dft_lower(real, imaginary, *, axes):
    known = dims(real)
    if all(known[a] is not None and known[a] & (known[a] - 1) == 0 for a in axes):
        x = ov.dft(_pair(real, imaginary), ints(axes)).output(0)
        return _part(x, 0), _part(x, 1)
    for axis in axes:
        real, imaginary = _dft_of_reals(real, imaginary, axis)
    return real, imaginary


def _dft_of_reals(real, imaginary, axis):
    """The transform as two of reals: OpenVINO's complex one loses 3 digits for a length of 1000."""
    n = scalar_dim(real, axis)
    order = ov.range(ints(0), n, ints(1), "i32").output(0)
    mirrored = ov.subtract(convert(n, Type.i32), order)
    place = ov.minimum(order, mirrored).output(0)
    upper = ov.convert(ov.less(mirrored, order), "f32")
    sign = ov.subtract(const(1.0, Type.f32), ov.multiply(upper, const(2.0, Type.f32)))
    along = [-1 if a == axis else 1 for a in range(rank(real))]
    sign = ov.reshape(sign, ints(along), special_zero=False)
    # of the half that is computed, the other one is the conjugate
    a, b = (
        ov.gather(ov.rdft(x, ints([axis])), place, ints(axis)).output(0) for x in (real, imaginary)
    )
    return (
        ov.subtract(_part(a, 0), ov.multiply(_part(b, 1), sign)).output(0),
        ov.add(ov.multiply(_part(a, 1), sign), _part(b, 0)).output(0),
    )


def _dft_vjp(grads, inputs, outputs, *, axes):
    real, imaginary = _known(grads, outputs)
    imaginary, real = dft(imaginary, real, axes=axes)
    return real, imaginary


def _known(grads, outputs):
    """Cotangents of a pair, with zeros for one that is None."""
    return tuple(0 * out if g is None else g for g, out in zip(grads, outputs, strict=True))


# real, imaginary, of one shape; axes: tuple. Sums of x[j] exp(-2 pi i j k / n), not scaled.
dft = Primitive(
    "dft", impl=_dft_impl, lower=_dft_lower, dtype=_two, vjp=_dft_vjp, multiple=True,
)  # fmt: skip

# -- reals, and the half of their spectrum that determines it, along the last axis


def _rdft_impl(x):
    y = scipy.fft.rfft(x)
    return y.real, y.imag


def _rdft_lower(x):
    y = ov.rdft(x, ints([rank(x) - 1])).output(0)
    return _part(y, 0), _part(y, 1)


def _irdft_impl(real, imaginary, *, length):
    return scipy.fft.irfft(real + 1j * imaginary, length)


def _irdft_lower(real, imaginary, *, length):
    axis = ints([rank(real) - 1])
    return ov.irdft(_pair(real, imaginary), axis, vector([length]))


def _weights(half: Tensor, length) -> Tensor:
    """How often each place of a half spectrum counts in the mean of `length`: 1 / n or 2 / n.

    All but the first place, and for an even n the last, stand for their conjugates too.
    """
    place = iota(size=lengths(half)[-1])
    n = length if isinstance(length, Tensor) else Tensor._wrap(np.asarray(length, np.int32))
    n = cast(n, dtype="int32")
    zero = constant_like(0, place)
    single = compare.logical_or(compare.equal(place, zero), compare.equal(add(place, place), n))
    n = cast(n, dtype=half.dtype)
    return compare.select(single, 1 / n, 2 / n)


def _rdft_vjp(grads, inputs, outputs):
    real, imaginary = _known(grads, outputs)
    length = lengths(inputs[0])[-1]
    weights = _weights(real, length)
    return (irdft(real / weights, imaginary / weights, length=length),)


def _irdft_vjp(g, inputs, output, *, length):
    real, imaginary = rdft(g)
    weights = _weights(real, length)
    return real * weights, imaginary * weights


# x -> real and imaginary part of the first n // 2 + 1 places of its transform, not scaled.
rdft = Primitive(
    "rdft", impl=_rdft_impl, lower=_rdft_lower, dtype=_two, vjp=_rdft_vjp, multiple=True,
)  # fmt: skip
# real, imaginary: length // 2 + 1 places -> the `length` reals of which they are the transform.
irdft = Primitive(
    "irdft", impl=_irdft_impl, lower=_irdft_lower, vjp=_irdft_vjp, dynamic=("length",)
)
