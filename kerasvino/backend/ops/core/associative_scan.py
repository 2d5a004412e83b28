"""`associative_scan`: prefix combinations of elements, in parallel."""

from __future__ import annotations

import operator

from kerasvino.backend.ops.core.control_flow import packed_like, tensors_of

__all__ = ["associative_scan"]


def associative_scan(f, elems, reverse=False, axis=0):
    """Prefix combinations of `elems` along `axis` with the associative `f(a, b)`.

    The recursion of Blelloch ("Prefix sums and their applications", 1990): combine neighbours, scan
    the half, fill in the others; of depth log2(n).
    """
    from kerasvino.backend.ops.numpy.joining import concatenate
    from kerasvino.backend.ops.numpy.shaping import flip

    if not callable(f):
        raise TypeError(f"`f` should be a callable. Received: f={f!r}")
    flat = tensors_of(elems)
    axis = operator.index(axis)
    lengths = {t.shape[axis] for t in flat}
    if len(lengths) != 1:
        raise ValueError(
            "Array inputs to associative_scan must have the same first dimension. "
            f"(saw: {[t.shape for t in flat]})"
        )
    length = lengths.pop()
    if length is None:
        raise ValueError("associative_scan needs an axis of known length.")

    def at(t, start, stop, step=1):
        key = [slice(None)] * t.ndim
        key[axis] = slice(start, stop, step)
        return t[tuple(key)]

    def combine(a, b):
        return tensors_of(f(packed_like(elems, a), packed_like(elems, b)))

    def prefixes(values, n):
        if n < 2:
            return values
        pairs = combine([at(v, 0, n - 1, 2) for v in values], [at(v, 1, n, 2) for v in values])
        odd = prefixes(pairs, n // 2)
        if n == 2:
            even = [at(v, 0, 1) for v in values]
        else:
            upto = (n - 1) // 2
            rest = combine([at(v, 0, upto) for v in odd], [at(v, 2, n, 2) for v in values])
            even = [
                concatenate([at(v, 0, 1), r], axis=axis) for v, r in zip(values, rest, strict=True)
            ]
        return [_interleaved(e, o, n, axis) for e, o in zip(even, odd, strict=True)]

    def turned(values):
        return [flip(v, axis=axis) for v in values] if reverse else values

    return packed_like(elems, turned(prefixes(turned(flat), length)))


def _interleaved(even, odd, length, axis):
    """Elements of `even` and `odd` in turn along `axis`, `length` in all."""
    from kerasvino.backend.ops.numpy.indexing import take
    from kerasvino.backend.ops.numpy.joining import concatenate

    both = concatenate([even, odd], axis=axis)
    half = even.shape[axis]
    order = [i // 2 + (half if i % 2 else 0) for i in range(length)]
    return take(both, order, axis=axis)
