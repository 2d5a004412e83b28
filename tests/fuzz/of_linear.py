"""Products of arrays and linear algebra."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from keras import ops

from tests.fuzz.arrays import ALL, NUMERIC, Array, arrays, broadcastable
from tests.fuzz.operation import Operation

__all__ = ["OPERATIONS"]

_SEED = st.integers(0, 2**16)
_LENGTH = st.integers(0, 4)
_FLOATS = ("float16", "bfloat16", "float32", "float64")


@st.composite
def _pair(draw, rule, values="finite", dtypes=ALL):
    """Two arrays of the shapes, and keyword arguments, that `rule(draw)` gives."""
    first, second, attrs = rule(draw)
    kind = draw(st.sampled_from(dtypes))
    other = kind if draw(st.booleans()) else draw(st.sampled_from(dtypes))
    return [Array(first, kind, values, draw(_SEED)), Array(second, other, values, draw(_SEED))], (
        attrs
    )


def _matmul(draw):
    m, k, n = (draw(_LENGTH) for _ in range(3))
    before, after = draw(broadcastable(2, 2))
    left = draw(st.sampled_from([(k,), (m, k), (*before, m, k)]))
    return left, draw(st.sampled_from([(k,), (k, n), (*after, k, n)])), {}


def _dot(draw):
    k = draw(_LENGTH)
    left = (*draw(st.lists(_LENGTH, max_size=2)), k)
    right = draw(st.sampled_from([(k,), (k, 2), (3, k, 2)]))
    return draw(st.sampled_from([(left, right, {}), ((), right, {}), (left, (), {})]))


def _inner(draw):
    k = draw(_LENGTH)
    return (*draw(st.lists(_LENGTH, max_size=2)), k), (*draw(st.lists(_LENGTH, max_size=2)), k), {}


def _outer(draw):
    return *(tuple(draw(st.lists(_LENGTH, max_size=2))) for _ in range(2)), {}


def _flat(draw):
    shape = tuple(draw(st.lists(_LENGTH, max_size=3)))
    return shape, shape, {}


def _tensordot(draw):
    a, b, c = (draw(_LENGTH) for _ in range(3))
    return draw(
        st.sampled_from(
            [
                ((2, a, b), (a, b, c), {"axes": 2}),
                ((2, a), (a, c), {"axes": 1}),
                ((a, b), (c, a), {"axes": ((0,), (1,))}),
                ((a,), (b,), {"axes": 0}),
            ]
        )
    )


def _einsum(draw):
    a, b, c, d = (draw(_LENGTH) for _ in range(4))
    left, right, formula = draw(
        st.sampled_from(
            [
                ((a, b), (b, c), "ij,jk->ik"),
                ((a, b, c), (a, c, d), "bij,bjk->bik"),
                ((a, b), (a, b), "ij,ij->i"),
                ((a, b), (b, c), "ij,jk->"),
                ((a, b, c), (b,), "aij,i->ja"),
                ((a, b), (c, d), "ij,kl->lkji"),
            ]
        )
    )
    return left, right, {"formula": formula}


def _cross(draw):
    size = draw(st.sampled_from([2, 3]))
    before = tuple(draw(st.lists(_LENGTH, max_size=2)))
    return (*before, size), (*before, 3), {}


def _shapes_of_kron(draw):
    return *(tuple(draw(st.lists(_LENGTH, min_size=1, max_size=2))) for _ in range(2)), {}


@st.composite
def _square(draw, extra=None, dtypes=("float32", "float64")):
    """A well-conditioned matrix, or a stack, as noise that `_regular` completes."""
    n, before = draw(st.integers(1, 4)), tuple(draw(st.lists(st.integers(1, 2), max_size=2)))
    kind = draw(st.sampled_from(dtypes))
    found = [Array((*before, n, n), kind, "unit", draw(_SEED))]
    if extra is not None:
        found.append(Array((*before, n, extra), kind, "unit", draw(_SEED)))
    return found, {}


def _regular(x):
    return x + 4 * ops.eye(ops.shape(x)[-1], dtype=x.dtype)


def _positive(x):
    return ops.matmul(x, ops.swapaxes(x, -1, -2)) + ops.eye(ops.shape(x)[-1], dtype=x.dtype)


def _qr(x):
    """Signs of the rows are free."""
    q, r = ops.qr(x)
    return [ops.matmul(q, r), ops.abs(r)]


def _eigh(x):
    values, vectors = ops.eigh(_positive(x))
    return [
        values,
        ops.matmul(vectors * ops.expand_dims(values, -2), ops.swapaxes(vectors, -1, -2)),
    ]


def _svd(x):
    u, s, v = ops.svd(x, full_matrices=False)
    return [s, ops.matmul(u * ops.expand_dims(s, -2), v)]


def _product(name, rule, call=None, reference=True, tolerance=4, **more):
    found = getattr(np, name) if reference is True else reference
    arguments = _pair(rule, **more)
    return Operation(name, arguments, call, found, tolerance=tolerance, terms="product")


def _of_matrix(name, call, extra=None, tolerance=40):
    return Operation(name, _square(extra), call, tolerance=tolerance, terms="largest")


OPERATIONS = [
    _product("matmul", _matmul),
    _product("dot", _dot),
    _product("inner", _inner),
    _product("outer", _outer),
    _product("vdot", _flat),
    _product("tensordot", _tensordot, call=lambda a, b, axes: ops.tensordot(a, b, axes=axes)),
    _product("einsum", _einsum, call=lambda a, b, formula: ops.einsum(formula, a, b),
             reference=lambda a, b, formula: np.einsum(formula, a, b), dtypes=NUMERIC),
    _product("cross", _cross, reference=None, dtypes=NUMERIC),
    _product("kron", _shapes_of_kron, dtypes=NUMERIC),
    _of_matrix("inv", lambda x: ops.inv(_regular(x))),
    _of_matrix("det", lambda x: ops.det(_regular(x)), tolerance=400),
    _of_matrix("slogdet", lambda x: ops.slogdet(_regular(x))),
    _of_matrix("logdet", lambda x: ops.logdet(_positive(x))),
    _of_matrix("solve", lambda x, b: ops.solve(_regular(x), b), extra=2),
    _of_matrix("solve_triangular", lambda x, b: ops.solve_triangular(
        ops.tril(_regular(x)), b, lower=True), extra=2),
    _of_matrix("cholesky", lambda x: ops.cholesky(_positive(x))),
    _of_matrix("cholesky_inverse", lambda x: ops.cholesky_inverse(ops.cholesky(_positive(x)))),
    _of_matrix("qr", _qr),
    _of_matrix("eigh", _eigh),
    _of_matrix("svd", _svd),
    _of_matrix("pinv", lambda x: ops.pinv(_regular(x))),
    _of_matrix("cdist", lambda x: ops.cdist(x, x[..., ::-1, :])),
    Operation("normalize", arrays(1, 3, _FLOATS, "finite").map(lambda a: ([a], {"axis": -1})),
              tolerance=4),
]  # fmt: skip
