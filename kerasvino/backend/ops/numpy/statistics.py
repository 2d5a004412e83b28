"""Statistics: quantiles, averages, correlation, histograms."""

from __future__ import annotations

import math

from kerasvino.backend.keras_private import config
from kerasvino.backend.ops.core.convert import convert_to_tensor, result_type, to_dtype
from kerasvino.backend.ops.numpy import reductions as r
from kerasvino.backend.ops.numpy.arithmetic import clip
from kerasvino.backend.ops.numpy.elementwise import conjugate
from kerasvino.backend.ops.numpy.linear import matmul
from kerasvino.backend.ops.numpy.spaced_numbers import linspace
from kerasvino.primitives import compare, sort
from kerasvino.primitives import reduce as p
from kerasvino.primitives import shape as s
from kerasvino.primitives.arithmetic import add, divide, maximum, minimum, multiply, subtract
from kerasvino.primitives.cast import cast
from kerasvino.primitives.create import iota
from kerasvino.primitives.elementwise import ceil, floor, rint, sqrt
from kerasvino.primitives.indexing import gather, take_along_axis
from kerasvino.primitives.join import concatenate
from kerasvino.primitives.scatter import scatter_add
from kerasvino.primitives.unbroadcast import constant_like

__all__ = [
    "average", "bincount", "corrcoef", "cov", "histogram", "median", "nanmedian",
    "nanpercentile", "nanquantile", "percentile", "quantile", "trapezoid",
]  # fmt: skip


# -- quantiles

# Fractional place of quantile q among n sorted numbers -> the place to read.
_READ = {"lower": floor, "higher": ceil, "nearest": rint}
_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _rows(x, axes):
    """`x` with the axes to reduce made one, at the end, and the lengths of the others."""
    lengths = s.lengths(x)
    others = [a for a in range(x.ndim) if a not in axes]
    moved = s.transpose(x, axes=(*others, *axes)) if x.ndim else x
    kept = tuple(lengths[a] for a in others)
    if all(isinstance(lengths[a], int) for a in axes):
        return s.reshape(moved, shape=(*kept, math.prod(lengths[a] for a in axes))), others
    return s.reshape(moved, shape=(*kept, -1)), others


def _quantile(x, q, axis, method, keepdims, skip_nan):
    if method not in _METHODS:
        raise ValueError(f"Invalid method: {method!r}; accepted: {', '.join(_METHODS)}.")
    x, q = convert_to_tensor(x), convert_to_tensor(q)
    if not q.is_symbolic and not ((q.numpy() >= 0) & (q.numpy() <= 1)).all():
        raise ValueError(f"Quantiles lie from 0 to 1 (percentiles to 100); given: {q.numpy()}.")
    dtype = config.floatx() if x.dtype == "int64" else result_type(x.dtype, float)
    wide = "float64" if dtype == "float64" else "float32"
    axes = r.reduced_axes(x, axis)
    rows, others = _rows(to_dtype(x, wide), axes)
    last = rows.ndim - 1
    if rows.shape[last] == 0:
        rows = s.broadcast_to(constant_like(math.nan, rows), shape=(*s.lengths(rows)[:last], 1))
    ordered = sort.sort(rows, axis=last)
    missing = compare.isnan(ordered)
    if skip_nan:
        numbers = compare.logical_not(missing)
        count = p.reduce_sum(numbers, axis=(last,), keepdims=True)
        spoiled = compare.equal(count, constant_like(0, count))
    else:
        count = convert_to_tensor(s.lengths(rows)[last], "int32")
        spoiled = p.reduce_any(missing, axis=(last,), keepdims=True)
    # Places among many elements have more digits than a float32, which is all that graphs have.
    exact = wide if q.is_symbolic or count.is_symbolic else "float64"
    final = subtract(to_dtype(count, exact), to_dtype(constant_like(1, count), exact))
    places = multiply(final, s.reshape(to_dtype(q, exact), shape=(-1,)))
    found = _read(ordered, places, final, method)
    found = compare.select(spoiled, constant_like(math.nan, found), found)
    return to_dtype(_arranged(found, x, q, axes, others, keepdims), dtype)


def _read(ordered, place, last, method):
    """Sorted rows at fractional places."""
    zero = constant_like(0, place)
    place = compare.select(compare.less(place, zero), zero, place)

    along = ordered.ndim - 1

    def at(position):
        index = cast(minimum(position, last), dtype="int32")
        index = maximum(index, constant_like(0, index))
        if index.ndim == 1:
            return gather(ordered, index, axis=along)
        return take_along_axis(ordered, index, axis=along)

    if method in _READ:
        return at(_READ[method](place))
    low, high = at(floor(place)), at(ceil(place))
    if method == "midpoint":
        return multiply(add(low, high), constant_like(0.5, low))
    weight = to_dtype(subtract(place, floor(place)), ordered.dtype)
    between = add(low, multiply(subtract(high, low), weight))
    # equal neighbours, infinite ones too, give themselves
    return compare.select(compare.equal(low, high), low, between)


def _arranged(found, x, q, axes, others, keepdims):
    """Quantiles, last axis of `found`, as first axes in the shape of q."""
    width = found.ndim - 1
    found = s.transpose(found, axes=(width, *range(width)))
    lengths = s.lengths(x)
    kept = tuple((1 if a in axes else lengths[a]) for a in range(x.ndim) if keepdims or a in others)
    return s.reshape(found, shape=(*s.lengths(q), *kept))


def quantile(x, q, axis=None, method="linear", keepdims=False):
    """`keras.ops.quantile`; NaN if there is one."""
    return _quantile(x, q, axis, method, keepdims, False)


def nanquantile(x, q, axis=None, method="linear", keepdims=False):
    """`keras.ops.nanquantile`: of the numbers that are not NaN."""
    return _quantile(x, q, axis, method, keepdims, True)


def _hundredth(q):
    q = convert_to_tensor(q)
    q = q if q.dtype in ("float32", "float64") else to_dtype(q, "float32")
    return divide(q, constant_like(100, q))


def percentile(x, q, axis=None, method="linear", keepdims=False):
    """`keras.ops.percentile`."""
    return _quantile(x, _hundredth(q), axis, method, keepdims, False)


def nanpercentile(x, q, axis=None, method="linear", keepdims=False):
    """`keras.ops.nanpercentile`."""
    return _quantile(x, _hundredth(q), axis, method, keepdims, True)


def median(x, axis=None, keepdims=False):
    """`keras.ops.median`."""
    return _quantile(x, 0.5, axis, "linear", keepdims, False)


def nanmedian(x, axis=None, keepdims=False):
    """`keras.ops.nanmedian`."""
    return _quantile(x, 0.5, axis, "linear", keepdims, True)


# -- averages


def average(x, axis=None, weights=None):
    """`keras.ops.average`: the mean, weighted if `weights` are given."""
    x = convert_to_tensor(x)
    kinds = [x.dtype, float] + ([] if weights is None else [convert_to_tensor(weights).dtype])
    dtype = result_type(*kinds)
    x = to_dtype(x, dtype)
    if weights is None:
        return r.mean(x, axis)
    weights = to_dtype(convert_to_tensor(weights), dtype)
    axes = r.reduced_axes(x, axis)
    if weights.ndim != x.ndim:
        if weights.ndim != 1 or len(axes) != 1:
            raise ValueError(
                "`weights` must have the shape of `x`, or be of rank 1 along the one `axis`: "
                f"weights.shape={weights.shape}, x.shape={x.shape}, axis={axis}."
            )
        shape = tuple(-1 if a == axes[0] else 1 for a in range(x.ndim))
        weights = s.reshape(weights, shape=shape)
    weights = s.broadcast_to(weights, shape=s.lengths(x))
    total = p.reduce_sum(multiply(x, weights), axis=axes, keepdims=False)
    return divide(total, p.reduce_sum(weights, axis=axes, keepdims=False))


def trapezoid(y, x=None, dx=1.0, axis=-1):
    """`keras.ops.trapezoid`: the integral of `y` over `x`, or over steps of `dx`, by trapezoids."""
    y = convert_to_tensor(y)
    dtype = result_type(y.dtype, float)
    y = to_dtype(y, dtype)
    (axis,) = r.reduced_axes(y, axis)

    def neighbours(t, along):
        key = [slice(None)] * t.ndim
        before, after = list(key), list(key)
        before[along], after[along] = slice(None, -1), slice(1, None)
        return t[tuple(before)], t[tuple(after)]

    low, high = neighbours(y, axis)
    heights = multiply(add(low, high), constant_like(0.5, y))
    if x is None:
        steps = to_dtype(convert_to_tensor(dx), dtype)
    else:
        x = to_dtype(convert_to_tensor(x), dtype)
        left, right = neighbours(x, axis if x.ndim == y.ndim else x.ndim - 1)
        steps = subtract(right, left)
        if x.ndim == 1 and y.ndim > 1:
            steps = s.reshape(steps, shape=tuple(-1 if a == axis else 1 for a in range(y.ndim)))
    return p.reduce_sum(multiply(heights, steps), axis=(axis,), keepdims=False)


# -- correlation


def corrcoef(x):
    """`keras.ops.corrcoef`: Pearson's coefficients of the rows."""
    x, single = _variables(x)
    if x.ndim == 0:
        return constant_like(math.nan, x)
    products, centred = _products(x)
    spread = sqrt(p.reduce_sum(multiply(centred, centred), axis=(1,), keepdims=True))
    result = divide(divide(products, spread), s.transpose(spread, axes=(1, 0)))
    result = clip(result, -1.0, 1.0)
    return s.reshape(result, shape=()) if single else result


def cov(x):
    """`keras.ops.cov`: the covariances of the rows, as one scalar for one row.

    They are NaN where there are fewer than two observations.
    """
    x, single = _variables(x)
    x._differs_where_a_length_is_1()
    if x.ndim > 2:
        raise ValueError(f"`cov` takes a tensor of rank 2 or less; the shape is {x.shape}.")
    if x.ndim == 0:
        return constant_like(math.nan, x)
    dtype = x.dtype
    if dtype in ("float16", "bfloat16"):
        x = to_dtype(x, "float32")
    products, centred = _products(x)
    count = to_dtype(convert_to_tensor(s.lengths(x)[1], "int32"), centred.dtype)
    one = constant_like(1, count)
    # 0 / 0 where there is nothing to estimate from
    result = divide(products, subtract(maximum(count, one), one))
    result = to_dtype(result, dtype)
    return s.reshape(result, shape=()) if single or x.shape[0] == 1 else result


def _variables(x):
    """x as floats, at least as a matrix, and whether it was a vector."""
    x = convert_to_tensor(x)
    x = to_dtype(x, "float64" if x.dtype == "int64" else result_type(x.dtype, float))
    return (s.reshape(x, shape=(1, -1)), True) if x.ndim == 1 else (x, False)


def _products(x):
    """The products of the rows of x, from which their means are taken, and those rows."""
    centred = subtract(x, p.reduce_mean(x, axis=(1,), keepdims=True))
    return matmul(centred, s.transpose(conjugate(centred), axes=(1, 0))), centred


# -- counting


def bincount(x, weights=None, minlength=0, sparse=False):
    """`keras.ops.bincount`: occurrences (or sums of weights) of 0, 1, … along the last axis.

    There are `minlength` bins, or as many as the largest number needs, which a compiled graph only
    knows when it runs.

    Raises:
        ValueError: `sparse`, a negative number (eagerly), or weights of another shape.
    """
    if sparse:
        raise ValueError("`sparse=True`: the OpenVINO backend has dense tensors only.")
    x = convert_to_tensor(x)
    kind = x.dtype
    x = to_dtype(x, "int32")
    if weights is None:
        weights, dtype = constant_like(1, x), "int32"
    else:
        weights = convert_to_tensor(weights)
        dtype = result_type(kind, weights.dtype)
        if weights.shape != x.shape:
            raise ValueError(
                f"`weights` must have the shape of `x`, {x.shape}; given: {weights.shape}."
            )
    if not x.is_symbolic and (x.numpy() < 0).any():
        raise ValueError("`bincount` counts numbers from 0 on; there are negative ones in `x`.")
    weights = s.broadcast_to(to_dtype(weights, dtype), shape=s.lengths(x))
    return _counted(x, weights, _bins(x, minlength))


def _bins(x, least):
    """One more than the largest element of x, but at least `least`: an int, or a symbolic int32."""
    least = s.reshape(constant_like(int(least) - 1, x), shape=(1,))
    candidates = concatenate(s.reshape(x, shape=(-1,)), least, axis=0)
    largest = p.reduce_max(candidates, axis=(0,), keepdims=False)
    bins = add(largest, constant_like(1, largest))
    return bins if bins.is_symbolic else int(bins)


def _counted(x, weights, bins):
    """Sums of `weights` by the values of x along the last axis."""
    *rows, length = s.lengths(x)
    count = _product(rows)
    flat = s.reshape(x, shape=(count, length))
    width = s.reshape(convert_to_tensor(bins, "int32"), shape=())
    offsets = s.expand_dims(multiply(iota(size=count), width), axis=(1,))
    index = s.reshape(add(flat, offsets), shape=(-1,))
    start = s.broadcast_to(constant_like(0, weights), shape=(_product((count, bins)),))
    total = scatter_add(start, index, s.reshape(weights, shape=(-1,)), axis=0)
    return s.reshape(total, shape=(*rows, bins))


def _product(factors):
    """Product of ints and symbolic int32 scalars, of that kind."""
    total = 1
    for n in factors:
        if isinstance(n, int) and isinstance(total, int):
            total *= n
        else:
            total = multiply(convert_to_tensor(total, "int32"), convert_to_tensor(n, "int32"))
    return total


def histogram(x, bins=10, range=None):
    """`keras.ops.histogram`: counts in bins of equal width, and the edges of the bins."""
    x = convert_to_tensor(x)
    dtype = result_type(x.dtype, float)
    wide = "float64" if dtype == "float64" else "float32"
    values = s.reshape(to_dtype(x, wide), shape=(-1,))
    if range is None:
        if values.shape[0] == 0:
            low, high = constant_like(0, values), constant_like(1, values)
        else:
            low, high = r.min(values), r.max(values)
    else:
        low, high = (to_dtype(convert_to_tensor(v), wide) for v in range)
    same = compare.equal(low, high)
    half = constant_like(0.5, values)
    low, high = (
        compare.select(same, subtract(low, half), low), compare.select(same, add(high, half), high),
    )  # fmt: skip
    edges = linspace(low, high, bins + 1, dtype=wide)
    place = sort.searchsorted(edges, values, side="right")
    # the last bin is closed
    top = compare.equal(values, high)
    place = compare.select(top, constant_like(bins, place), place)
    # bins 1 to `bins`; what lies outside is counted in two more
    spill = compare.greater(values, high)
    place = compare.select(spill, constant_like(bins + 1, place), place)
    counts = _counted(
        place, s.broadcast_to(constant_like(1, place), shape=s.lengths(place)), bins + 2
    )
    return to_dtype(counts[1 : bins + 1], "int32"), to_dtype(edges, dtype)
