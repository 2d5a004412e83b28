"""Fourier transforms of pairs (real, imaginary): complex, real, and of short windows."""

from __future__ import annotations

import math

import numpy as np

from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.math.frames import extract_sequences, overlapped
from kerasvino.primitives import compare, fourier, indexing, join, shape
from kerasvino.primitives.arithmetic import add, divide, multiply
from kerasvino.primitives.cast import cast
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["fft", "fft2", "ifft2", "irfft", "istft", "rfft", "stft"]


# -- operands


def _wide(x: Tensor) -> Tensor:
    """The operand as float32 or float64: there are no complex numbers of 16-bit parts."""
    return x if x.dtype == "float64" else to_dtype(x, "float32")


def _pair(x, rank):
    """The parts of a complex operand as floats of one dtype and shape."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(
            f"Input `x` should be a tuple of two tensors - real and imaginary. Received: x={x}"
        )
    real, imaginary = map(_wide, promote(*x, least=float))
    if real.shape != imaginary.shape:
        raise ValueError(
            "Both the real and imaginary parts should have the same shape. Received: "
            f"x[0].shape = {real.shape}, x[1].shape = {imaginary.shape}"
        )
    if real.ndim < rank:
        raise ValueError(f"Input should have rank >= {rank}. Received: input.shape = {real.shape}")
    return real, imaginary


def _get_complex_tensor_from_tuple(x):
    """The complex tensor of a (real, imaginary) pair of floats."""
    real, imaginary = _pair(x, 0)
    dtype = "complex128" if real.dtype == "float64" else "complex64"
    unit = Tensor._wrap(np.asarray(1j, dtype))
    return add(to_dtype(real, dtype), multiply(to_dtype(imaginary, dtype), unit))


def resized(x: Tensor, length) -> Tensor:
    """The last axis cut, or filled up with zeros, to `length` (an int)."""
    axis, known = x.ndim - 1, x.shape[-1]
    if known == length:
        return x
    if known is None or known < length:
        # what is too much is cut below
        more = length if known is None else length - known
        pads = tuple((0, more if a == axis else 0) for a in range(x.ndim))
        x = join.pad(x, pads=pads, mode="constant", value=0)
    return indexing.slice_(x, axis=(axis,), starts=(0,), stops=(length,), steps=(1,))


# -- transforms of whole axes


def fft(x):
    """`keras.ops.fft`: of the last axis of (real, imaginary), to such a pair, not scaled."""
    real, imaginary = _pair(x, 1)
    return fourier.dft(real, imaginary, axes=(real.ndim - 1,))


def fft2(x):
    """`keras.ops.fft2`: of the last two axes of (real, imaginary), to such a pair, not scaled."""
    real, imaginary = _pair(x, 2)
    return fourier.dft(real, imaginary, axes=(real.ndim - 2, real.ndim - 1))


def ifft2(x):
    """`keras.ops.ifft2`: the inverse of `fft2`."""
    real, imaginary = _pair(x, 2)
    rank, sizes = real.ndim, shape.lengths(real)
    imaginary, real = fourier.dft(imaginary, real, axes=(rank - 2, rank - 1))
    for length in sizes[-2:]:
        count = length if isinstance(length, Tensor) else convert_to_tensor(length, "int32")
        scale = divide(constant_like(1, real), cast(count, dtype=real.dtype))
        real, imaginary = multiply(real, scale), multiply(imaginary, scale)
    return real, imaginary


def rfft(x, fft_length=None):
    """`keras.ops.rfft`: of the last axis of reals, n // 2 + 1 places, as (real, imaginary).

    With `fft_length` the axis is cut, or filled up with zeros, to that length before.
    """
    x = convert_to_tensor(x)
    if x.ndim < 1:
        raise ValueError(f"Input should have rank >= 1. Received: input.shape = {x.shape}")
    x = _wide(x)
    return fourier.rdft(x if fft_length is None else resized(x, _length(fft_length)))


def irfft(x, fft_length=None):
    """`keras.ops.irfft`: the `fft_length` reals whose `rfft` x is; by default 2 (n - 1) of them."""
    real, imaginary = _pair(x, 1)
    if fft_length is not None:
        length = _length(fft_length)
        half = length // 2 + 1
        real, imaginary = resized(real, half), resized(imaginary, half)
    else:
        half = shape.lengths(real)[-1]
        if isinstance(half, int):
            length = _length(2 * (half - 1))
        else:
            before = add(half, constant_like(-1, half))
            length = add(before, before)
    return fourier.irdft(real, imaginary, length=length)


def _length(value):
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"The length of a transform is a positive integer; given: {value!r}.")
    return int(value)


# -- transforms of short windows

_COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}


def _window(window, sequence_length, fft_length, dtype):
    """The window as a tensor, zeros around it up to `fft_length`; None if there is none."""
    if window is None:
        return None
    if isinstance(window, str):
        if window not in _COSINES:
            raise ValueError(
                "If a string is passed to `window`, it must be one of `'hann'`, `'hamming'`. "
                f"Received: window={window}"
            )
        constant, factor = _COSINES[window]
        places = np.arange(sequence_length) / sequence_length
        values = constant - factor * np.cos(2 * math.pi * places)
        window = values if sequence_length > 1 else np.ones(1)
    window = to_dtype(convert_to_tensor(window), dtype)
    if window.shape != (sequence_length,):
        raise ValueError(
            "The shape of `window` must be equal to [sequence_length]. "
            f"Received: window shape={window.shape}, sequence_length={sequence_length}"
        )
    before = (fft_length - sequence_length) // 2
    pads = ((before, fft_length - sequence_length - before),)
    return join.pad(window, pads=pads, mode="constant", value=0)


def _check(dtype, sequence_length, sequence_stride, fft_length):
    if dtype not in ("float32", "float64"):
        raise TypeError(
            f"Invalid input type. Expected `float32` or `float64`. Received: input type={dtype}"
        )
    if sequence_length < 1 or sequence_stride < 1:
        raise ValueError(
            "`sequence_length` and `sequence_stride` are positive integers; given: "
            f"{sequence_length} and {sequence_stride}."
        )
    if fft_length < sequence_length:
        raise ValueError(
            "`fft_length` must equal or larger than `sequence_length`. "
            f"Received: sequence_length={sequence_length}, fft_length={fft_length}"
        )


def stft(x, sequence_length, sequence_stride, fft_length, window="hann", center=True):
    """`keras.ops.stft`: (..., time) to a pair of (..., number of frames, fft_length // 2 + 1).

    With `center` x is first mirrored at both ends by half a frame.
    """
    x = convert_to_tensor(x)
    _check(x.dtype, sequence_length, sequence_stride, fft_length)
    taper = _window(window, sequence_length, fft_length, x.dtype)
    if center:
        edge = (fft_length // 2, fft_length // 2)
        pads = tuple(edge if a == x.ndim - 1 else (0, 0) for a in range(x.ndim))
        x = join.pad(x, pads=pads, mode="reflect", value=0)
    frames = extract_sequences(x, fft_length, sequence_stride)
    return fourier.rdft(frames if taper is None else multiply(frames, taper))


# Where squared windows sum up to less, nothing is known of the signal: it is left as it is.
_TINY = 1e-10


def istft(
    x, sequence_length, sequence_stride, fft_length, length=None, window="hann", center=True
):  # fmt: skip
    """`keras.ops.istft`: the signal (..., time) whose `stft` is nearest to x.

    Frames are weighted with the window and added up, and the sum is divided by that of the squared
    windows (Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984).
    Without a window they are only added up, as in Keras's other backends. `length` cuts the result,
    or fills it up with zeros.
    """
    real, imaginary = _pair(x, 2)
    _check(real.dtype, sequence_length, sequence_stride, fft_length)
    taper = _window(window, sequence_length, fft_length, real.dtype)
    frames = irfft((real, imaginary), fft_length)
    if taper is None:
        signal = overlapped(frames, sequence_stride)
    else:
        signal = overlapped(multiply(frames, taper), sequence_stride)
        squares = multiply(taper, taper)
        squares = shape.broadcast_to(squares, shape=(shape.lengths(frames)[-2], fft_length))
        weight = overlapped(squares, sequence_stride)
        unknown = compare.less(weight, constant_like(_TINY, weight))
        signal = divide(signal, compare.select(unknown, constant_like(1, weight), weight))
    half = fft_length // 2 if center else 0
    if half:
        stop = -half if length is None else indexing.END
        signal = indexing.slice_(
            signal, axis=(signal.ndim - 1,), starts=(half,), stops=(stop,), steps=(1,)
        )
    return signal if length is None else resized(signal, _length(length))
