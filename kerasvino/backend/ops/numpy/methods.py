"""Methods and properties that tensors share with `numpy.ndarray` and `jax.Array`.

Arguments and their order are NumPy's; what they compute, and the dtypes of results, are
`keras.ops`'s. As tensors never change, `out` is refused and `sort` returns a new tensor.
"""

from __future__ import annotations

import functools
import inspect
import math

from kerasvino import dtypes
from kerasvino.backend.keras_private import standardize_dtype
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.backend.ops.numpy import (
    arithmetic,
    bitwise,
    comparison,
    cumulative,
    diagonals,
    elementwise,
    indexing,
    joining,
    linear,
    reductions,
    shaping,
    sorting,
)
from kerasvino.backend.ops.numpy.updates import At
from kerasvino.primitives import shape as s
from kerasvino.tensor import Tensor, TracedValueError, register_method

__all__ = ["astype", "variance"]


def _in_place(out):
    if out is not None:
        raise TypeError("Tensors cannot be changed in place: leave `out` away, and use the result.")


# -- dtypes and devices


def astype(x, dtype, order="K", casting="unsafe", subok=True, copy=True, *, device=None):
    """The tensor converted to `dtype`; the other arguments of NumPy and JAX change nothing."""
    to_device(x, device)
    return to_dtype(x, "complex64" if dtype is complex else standardize_dtype(dtype))


def to_device(x, device, *, stream=None):
    """The tensor itself: the values of every tensor are in the memory of the host."""
    if device not in (None, "cpu"):
        raise ValueError(
            f"device={device!r}: tensors are in the memory of the host, 'cpu'. Where compiled "
            "programs run is chosen by `keras.device(...)` or `kerasvino.config.set(device=...)`."
        )
    return x


def _itemsize(x):
    return dtypes.numpy_dtype(x.dtype).itemsize if x._array is None else x._array.itemsize


def _nbytes(x):
    if None in x.shape:
        raise x._refusal(
            f"The size in bytes of a traced tensor of shape {x.shape} is not known until the "
            "compiled graph runs. keras.ops.size(x) is the number of its elements."
        )
    return x.size * _itemsize(x)


def _tobytes(x, order="C"):
    return x.numpy().tobytes(order)


def _block_until_ready(x):
    return x


# -- shape and order of axes


def _spread(arguments):
    """`(2, 3)` of `method(2, 3)` and of `method((2, 3))`."""
    if len(arguments) == 1 and not (isinstance(arguments[0], Tensor) and not arguments[0].ndim):
        return arguments[0]
    return arguments


def _reshape(x, *shape, order="C", copy=None):
    shape = shaping.lengths(_spread(shape))
    if _is_fortran(order):
        return _transposed(s.reshape(_transposed(x), shape=shape[::-1]))
    return s.reshape(x, shape=shape)


def _is_fortran(order):
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"`order` is 'C' (rows first) or 'F' (columns first); given: {order!r}.")
    return order == "F"


def _ravel(x, order="C"):
    return _reshape(x, -1, order=order)


def _flatten(x, order="C"):
    return _reshape(x, -1, order=order)


def _transpose(x, *axes):
    axes = _spread(axes) if axes else None
    return shaping.transpose(x, axes)


def _transposed(x):
    return s.transpose(x, axes=tuple(range(x.ndim))[::-1])


def _matrix_transposed(x):
    if x.ndim < 2:
        raise ValueError(f"`mT` is of a matrix or a stack of them; the shape is {x.shape}.")
    return shaping.swapaxes(x, -1, -2)


# -- reductions


def _folded(function, combine, neutral):
    """A sum or product: also of another `dtype`, from an `initial` value, of elements `where`."""

    def method(x, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=None):
        _in_place(out)
        x = x if dtype is None else astype(x, dtype)
        wanted = x.dtype
        if where is not None:
            x = comparison.where(where, x, convert_to_tensor(neutral, wanted))
        found = function(x, axis, keepdims)
        if initial is not None:
            found = combine(found, convert_to_tensor(initial, found.dtype))
        return found if dtype is None else to_dtype(found, wanted)

    return method


def _extreme(function):
    def method(x, axis=None, out=None, keepdims=False, initial=None, where=None):
        _in_place(out)
        if where is not None:
            if initial is None:
                raise ValueError("A reduction of the elements `where` needs an `initial` value.")
            x = comparison.where(where, x, convert_to_tensor(initial, x.dtype))
        return function(x, axis, keepdims, initial)

    return method


def _logical(function, neutral):
    def method(x, axis=None, out=None, keepdims=False, *, where=None):
        _in_place(out)
        if where is not None:
            x = comparison.where(where, to_dtype(x, "bool"), neutral)
        return function(x, axis, keepdims)

    return method


def _position(function):
    def method(x, axis=None, out=None, *, keepdims=False):
        _in_place(out)
        return function(x, axis, keepdims)

    return method


def _ptp(x, axis=None, out=None, keepdims=False):
    _in_place(out)
    return reductions.ptp(x, axis, keepdims)


def _mean(x, axis=None, dtype=None, out=None, keepdims=False, *, where=None):
    _in_place(out)
    x = x if dtype is None else astype(x, dtype)
    if where is None:
        return reductions.mean(x, axis, keepdims)
    x = to_dtype(x, reductions.averaged(x.dtype))
    where, zero = _mask(where, x), convert_to_tensor(0, x.dtype)
    total = reductions.sum(comparison.where(where, x, zero), axis, keepdims)
    count = reductions.sum(where, axis, keepdims)
    return arithmetic.divide(total, to_dtype(count, x.dtype))


def _mask(where, x):
    return shaping.broadcast_to(to_dtype(convert_to_tensor(where), "bool"), s.lengths(x))


def variance(x, axis=None, correction=0, keepdims=False):
    """The sum of squared distances from the mean over n - correction, not less than 0."""
    found = reductions.var(x, axis, keepdims)
    if isinstance(correction, int) and correction == 0:
        return found
    count = 1
    for each in reductions.reduced_axes(x, axis):
        count = count * s.lengths(x)[each]
    if isinstance(count, Tensor):
        count = to_dtype(count, "float32")
        factor = count / arithmetic.maximum(count - correction, 0.0)
    else:
        rest = max(count - correction, 0)
        factor = count / rest if rest else math.inf if count else math.nan
    return arithmetic.multiply(found, to_dtype(convert_to_tensor(factor), found.dtype))


def _variance(
    x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=None, mean=None,
    correction=None,
):  # fmt: skip
    _in_place(out)
    x = x if dtype is None else astype(x, dtype)
    ddof = ddof if correction is None else correction
    if where is None:
        return variance(x, axis, ddof, keepdims)
    where = _mask(where, x)
    away = x - _mean(x, axis, keepdims=True, where=where)
    squares = elementwise.square(elementwise.absolute(away) if _is_complex(away) else away)
    total = reductions.sum(comparison.where(where, squares, 0.0), axis, keepdims)
    count = to_dtype(reductions.sum(where, axis, keepdims), total.dtype)
    return total / arithmetic.maximum(count - ddof, 0.0)


def _is_complex(x):
    return dtypes.TABLE[x.dtype].kind == "c"


def _deviation(
    x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=None, mean=None,
    correction=None,
):  # fmt: skip
    return elementwise.sqrt(
        _variance(x, axis, dtype, out, ddof, keepdims, where=where, correction=correction)
    )


def _cumulative(function):
    def method(x, axis=None, dtype=None, out=None):
        _in_place(out)
        return function(x, axis, None if dtype is None else standardize_dtype(dtype))

    return method


def _trace(x, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    _in_place(out)
    return linear.trace(x if dtype is None else astype(x, dtype), offset, axis1, axis2)


# -- order


def _sort(x, axis=-1, kind=None, order=None, *, stable=None, descending=False):
    found = sorting.sort(x, axis)
    return shaping.flip(found, -1 if axis is None else axis) if descending else found


def argsort(x, axis=-1, kind=None, order=None, *, stable=None, descending=False):
    """Indices that sort x, those of equal elements in their order."""
    if not descending:
        return sorting.argsort(x, axis)
    if axis is None or not x.ndim:
        x, axis = s.reshape(x, shape=(-1,)), 0
    # ascending backwards, twice, so that equal elements stay in their order
    found = shaping.flip(sorting.argsort(shaping.flip(x, axis), axis), axis)
    return arithmetic.subtract(s.lengths(x)[axis] - 1, found)


def _argpartition(x, kth, axis=-1, kind=None, order=None):
    return sorting.argpartition(x, kth, axis)


def _searchsorted(x, v, side="left", sorter=None):
    x = x if sorter is None else indexing.take(x, sorter)
    return sorting.searchsorted(x, v, side)


# -- elements


def _clip(x, min=None, max=None, out=None, **names):
    """Between `min` and `max`, either of which may be left away; the dtype stays."""
    _in_place(out)
    low, high = names.pop("a_min", min), names.pop("a_max", max)
    if names:
        raise TypeError(f"`clip` takes `min` and `max`; given: {', '.join(names)}.")
    if low is not None and high is not None:
        return to_dtype(arithmetic.clip(x, low, high), x.dtype)
    if low is not None:
        x = to_dtype(arithmetic.maximum(x, low), x.dtype)
    return x if high is None else to_dtype(arithmetic.minimum(x, high), x.dtype)


def _round(x, decimals=0, out=None):
    _in_place(out)
    return elementwise.round(x, decimals)


def _dot(x, b, out=None):
    _in_place(out)
    return linear.dot(x, b)


def _take(x, indices, axis=None, out=None, mode=None):
    _in_place(out)
    indices = indexing.indices_of(indices)
    if mode in ("clip", "wrap"):
        count = shaping.size(x) if axis is None else s.lengths(x)[axis]
        if mode == "clip":
            indices = arithmetic.clip(indices, 0, arithmetic.maximum(count - 1, 0))
        else:
            indices = arithmetic.mod(indices, count)
    elif mode not in (None, "raise"):
        raise ValueError(f"`mode` is 'raise', 'wrap' or 'clip'; given: {mode!r}.")
    return indexing.take(x, indices, axis)


def _compress(x, condition, axis=None, out=None):
    _in_place(out)
    (places,) = indexing.nonzero(to_dtype(convert_to_tensor(condition), "bool"))
    return indexing.take(x, places, axis)


def _copy(x, order="C"):
    return x


def _contains(x, value):
    found = reductions.any(comparison.equal(x, value))
    if found.is_symbolic:
        raise TracedValueError(
            "Whether a traced tensor contains a value is not known until the compiled graph runs. "
            "Use keras.ops.any(keras.ops.equal(x, value))."
        )
    return bool(found)


_METHODS = {
    "__contains__": _contains,
    "all": _logical(reductions.all, True),
    "any": _logical(reductions.any, False),
    "argmax": _position(reductions.argmax),
    "argmin": _position(reductions.argmin),
    "argpartition": _argpartition,
    "argsort": argsort,
    "astype": astype,
    "block_until_ready": _block_until_ready,
    "clip": _clip,
    "compress": _compress,
    "conj": elementwise.conjugate,
    "conjugate": elementwise.conjugate,
    "copy": _copy,
    "cumprod": _cumulative(cumulative.cumprod),
    "cumsum": _cumulative(cumulative.cumsum),
    "diagonal": diagonals.diagonal,
    "dot": _dot,
    "flatten": _flatten,
    "max": _extreme(reductions.max),
    "mean": _mean,
    "min": _extreme(reductions.min),
    "nonzero": indexing.nonzero,
    "prod": _folded(reductions.prod, arithmetic.multiply, 1),
    "ptp": _ptp,
    "ravel": _ravel,
    "repeat": joining.repeat,
    "reshape": _reshape,
    "round": _round,
    "searchsorted": _searchsorted,
    "sort": _sort,
    "squeeze": shaping.squeeze,
    "std": _deviation,
    "sum": _folded(reductions.sum, arithmetic.add, 0),
    "swapaxes": shaping.swapaxes,
    "take": _take,
    "to_device": to_device,
    "tobytes": _tobytes,
    "trace": _trace,
    "transpose": _transpose,
    "var": _variance,
    "view": bitwise.view,
}

_PROPERTIES = {
    "T": _transposed,
    "at": At,
    "device": lambda x: "cpu",
    "imag": elementwise.imag,
    "itemsize": _itemsize,
    "mT": _matrix_transposed,
    "nbytes": _nbytes,
    "real": elementwise.real,
}


def _registered(name, function):
    """Makes a function the method `name`, by which errors call it."""
    if function.__name__.startswith("_") or "<locals>" in function.__qualname__:
        _call(function, name)
    if "axis" in inspect.signature(function).parameters:
        function = _call(_with_axis(name, function), name)
    register_method(name, function)


def _call(function, name):
    function.__name__ = function.__qualname__ = name
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=name)
    return function


def _with_axis(name, function):
    """`function`, which says so where it is given `dim` in place of `axis`."""

    @functools.wraps(function)
    def method(self, *args, **names):
        if "dim" in names:
            raise TypeError(
                f"{name}() takes `axis`, as NumPy does, not PyTorch's `dim`: write "
                f"x.{name}(axis={names['dim']!r}), and `keepdims` for `keepdim`."
            )
        return function(self, *args, **names)

    return method


for _name, _function in _METHODS.items():
    _registered(_name, _function)
for _name, _function in _PROPERTIES.items():
    register_method(_name, property(_function))
