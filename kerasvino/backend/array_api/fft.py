"""Fourier transforms of the standard. Complex numbers exist eagerly, not in compiled graphs.

There, `keras.ops.fft` and its kin take pairs of real tensors.
"""

from __future__ import annotations

import math

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.ops.math import fourier as f
from kerasvino.backend.ops.numpy.creation import dtype_or
from kerasvino.backend.ops.numpy.methods import to_device
from kerasvino.backend.ops.numpy.shaping import axes_of
from kerasvino.primitives import fourier as p

__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfftn", "rfft", "rfftfreq", "rfftn",
]  # fmt: skip

# The factor of the forward transform of n places; the inverse has what is missing of 1 / n.
_FACTORS = {
    "backward": lambda n: 1.0,
    "ortho": lambda n: 1 / math.sqrt(n),
    "forward": lambda n: 1 / n,
}
_SWAPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _factor(norm, n):
    if norm not in _FACTORS:
        raise ValueError(f"`norm` is one of {', '.join(_FACTORS)}; given: {norm!r}.")
    return _FACTORS[norm](n)


def _count(n):
    if n < 1:
        raise ValueError(f"A Fourier transform has at least one place; given: {n}.")
    return n


def _places(x, n, axis):
    """(x with `axis` last and n places there, n)."""
    x = convert_to_tensor(x)
    x = knp.moveaxis(x, axis, -1)
    n = _count(x.shape[-1] if n is None else n)
    return f.resized(x, n), n


def _wide(x):
    """Real and imaginary parts, in float32 or float64."""
    return f._wide(knp.real(x)), f._wide(knp.imag(x))


def _back(x, axis):
    return knp.moveaxis(x, -1, axis)


def _scaled(x, factor):
    return x if factor == 1 else knp.multiply(x, convert_to_tensor(factor, x.dtype))


def fft(x, /, *, n=None, axis=-1, norm="backward"):
    x, n = _places(x, n, axis)
    real, imaginary = _wide(x)
    pair = p.dft(real, imaginary, axes=(x.ndim - 1,))
    return _back(_scaled(f._get_complex_tensor_from_tuple(pair), _factor(norm, n)), axis)


def ifft(x, /, *, n=None, axis=-1, norm="backward"):
    x, n = _places(x, n, axis)
    real, imaginary = _wide(x)
    imaginary, real = p.dft(imaginary, real, axes=(x.ndim - 1,))
    found = f._get_complex_tensor_from_tuple((real, imaginary))
    return _back(_scaled(found, 1 / (n * _factor(norm, n))), axis)


def rfft(x, /, *, n=None, axis=-1, norm="backward"):
    x = convert_to_tensor(x)
    if dtypes.TABLE[x.dtype].kind == "c":
        raise TypeError(f"`rfft` is of real tensors; given: {x.dtype}. `fft` is of complex ones.")
    x, n = _places(x, n, axis)
    found = f._get_complex_tensor_from_tuple(p.rdft(f._wide(x)))
    return _back(_scaled(found, _factor(norm, n)), axis)


def irfft(x, /, *, n=None, axis=-1, norm="backward"):
    x = convert_to_tensor(x)
    n = _count(2 * (x.shape[axis] - 1) if n is None else n)
    x, _ = _places(x, n // 2 + 1, axis)
    found = p.irdft(*_wide(x), length=n)
    return _back(_scaled(found, 1 / _factor(norm, n)), axis)


def hfft(x, /, *, n=None, axis=-1, norm="backward"):
    return irfft(knp.conjugate(x), n=n, axis=axis, norm=_swapped(norm))


def ihfft(x, /, *, n=None, axis=-1, norm="backward"):
    return knp.conjugate(rfft(x, n=n, axis=axis, norm=_swapped(norm)))


def _swapped(norm):
    _factor(norm, 1)
    return _SWAPPED[norm]


# -- several axes


def _sizes(x, s, axes):
    """Pairs of axis and number of places (None: as many as there are)."""
    x = convert_to_tensor(x)
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    axes = axes_of(tuple(axes), x.ndim, "axes")
    s = [None] * len(axes) if s is None else s
    if len(s) != len(axes):
        raise ValueError(f"`s` and `axes` have one length; given: {s} and {axes}.")
    return x, list(zip(axes, s, strict=True))


def fftn(x, /, *, s=None, axes=None, norm="backward"):
    x, pairs = _sizes(x, s, axes)
    for axis, n in pairs:
        x = fft(x, n=n, axis=axis, norm=norm)
    return x


def ifftn(x, /, *, s=None, axes=None, norm="backward"):
    x, pairs = _sizes(x, s, axes)
    for axis, n in pairs:
        x = ifft(x, n=n, axis=axis, norm=norm)
    return x


def rfftn(x, /, *, s=None, axes=None, norm="backward"):
    x, pairs = _sizes(x, s, axes)
    *rest, (axis, n) = pairs
    x = rfft(x, n=n, axis=axis, norm=norm)
    for axis, n in rest:
        x = fft(x, n=n, axis=axis, norm=norm)
    return x


def irfftn(x, /, *, s=None, axes=None, norm="backward"):
    x, pairs = _sizes(x, s, axes)
    *rest, (last, length) = pairs
    for axis, n in rest:
        x = ifft(x, n=n, axis=axis, norm=norm)
    return irfft(x, n=length, axis=last, norm=norm)


# -- frequencies


def _frequencies(function):
    def frequencies(n, /, *, d=1.0, dtype=None, device=None):
        return to_device(convert_to_tensor(function(n, d), dtype_or(dtype)), device)

    frequencies.__name__ = frequencies.__qualname__ = function.__name__
    frequencies.__doc__ = f"As `numpy.fft.{function.__name__}`."
    return frequencies


fftfreq = _frequencies(np.fft.fftfreq)
rfftfreq = _frequencies(np.fft.rfftfreq)


def _shifted(x, axes, half):
    x = convert_to_tensor(x)
    axes = axes_of(range(x.ndim) if axes is None else axes, x.ndim, "axes")
    return knp.roll(x, tuple(half(x.shape[a]) for a in axes), axes) if axes else x


def fftshift(x, /, *, axes=None):
    return _shifted(x, axes, lambda n: n // 2)


def ifftshift(x, /, *, axes=None):
    return _shifted(x, axes, lambda n: -(n // 2))
