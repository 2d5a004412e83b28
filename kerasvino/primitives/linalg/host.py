"""Host forms: what NumPy and SciPy lack for stacks of matrices, or do on too many threads."""

from __future__ import annotations

import functools

import numpy as np
import scipy

from kerasvino.locks import lock

__all__ = ["eig", "lu_factor", "qr", "row_order", "solve_triangular"]


def _each(function, *arrays):
    """`function` of each matrix in stacks of one shape, its results stacked likewise."""
    batch = arrays[0].shape[:-2]
    results = [function(*(a[i] for a in arrays)) for i in np.ndindex(batch)]
    if not results:
        example = function(*(np.ones(a.shape[-2:], a.dtype) for a in arrays))
        return tuple(np.zeros((*batch, *part.shape), part.dtype) for part in example)
    return tuple(
        np.stack(parts).reshape(batch + parts[0].shape) for parts in zip(*results, strict=True)
    )


def eig(x):
    values, vectors = np.linalg.eig(x)
    wide = np.result_type(x.dtype, np.complex64)
    return values.astype(wide), vectors.astype(wide)


def lu_factor(x):
    def one(matrix):
        packed, pivots = scipy.linalg.lu_factor(matrix, check_finite=False)
        return packed, pivots.astype(np.int32)

    return _each(one, x)


@functools.cache
def _blas():
    from threadpoolctl import ThreadpoolController  # only here: most programs decompose nothing

    return ThreadpoolController().select(user_api="blas")


# Multiplications up to which one thread takes no longer than two. OpenBLAS's others, once woken,
# spin for 0.1 s after their work: what follows an orthogonal initializer would share its cores.
_WORK_OF_ONE_THREAD = 2**26
_one_thread = lock()  # the number of threads is of the process


def qr(x, *, mode):
    if x.size * min(x.shape[-2:]) > _WORK_OF_ONE_THREAD:
        return tuple(np.linalg.qr(x, mode=mode))
    with _one_thread, _blas().limit(limits=1):
        return tuple(np.linalg.qr(x, mode=mode))


def row_order(pivots, *, rows):
    """Of int32 exchanges (..., k) the row (..., rows) that has come to each place."""
    order = np.tile(np.arange(rows, dtype=np.int32), (*pivots.shape[:-1], 1))
    for step in range(pivots.shape[-1]):
        other = pivots[..., step : step + 1].astype(np.int64)
        moved = np.take_along_axis(order, other, -1)
        np.put_along_axis(order, other, order[..., step : step + 1].copy(), -1)
        order[..., step : step + 1] = moved
    return order


def solve_triangular(a, b, *, lower):
    def one(a, b):
        return (scipy.linalg.solve_triangular(a, b, lower=lower, check_finite=False),)

    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(v, batch + v.shape[-2:]) for v in (a, b))
    return _each(one, a, b)[0]
