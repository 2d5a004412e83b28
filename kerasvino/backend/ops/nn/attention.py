"""Attention by scaled dot products."""

from __future__ import annotations

import math

import ml_dtypes

from kerasvino import dtypes
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.numpy.diagonals import tri
from kerasvino.primitives.arithmetic import add, multiply
from kerasvino.primitives.compare import logical_and, select
from kerasvino.primitives.elementwise import rsqrt, tanh
from kerasvino.primitives.matmul import matmul
from kerasvino.primitives.normalization import softmax_in_product
from kerasvino.primitives.shape import broadcast_to, expand_dims, lengths, reshape, transpose
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["dot_product_attention"]


def _scale(key):
    """1 / sqrt of the size of a head."""
    if key.shape[-1] is not None:
        return 1 / math.sqrt(key.shape[-1])
    return rsqrt(to_dtype(lengths(key)[-1], key.dtype))


def _check(query, key, value):
    shapes = query.shape, key.shape, value.shape
    if any(len(s) != 4 for s in shapes):
        raise ValueError(
            "dot_product_attention takes query, key and value of rank 4, (batch, length, heads, "
            f"size); given shapes: {', '.join(map(str, shapes))}."
        )
    heads, shared = query.shape[2], key.shape[2]
    if None in (heads, shared, value.shape[2]):
        raise ValueError(
            "dot_product_attention in a graph needs to know the number of heads, axis 2 of query, "
            f"key and value; given shapes: {', '.join(map(str, shapes))}."
        )
    if shared != value.shape[2] or heads % shared:
        raise ValueError(
            "key and value must have one number of heads, and query a multiple of it; "
            f"given: {heads}, {shared}, {value.shape[2]} of query, key, value."
        )


def _allowed(mask, is_causal, query, key) -> Tensor | None:
    """Booleans that broadcast to (batch, heads, queries, keys): which keys a query sees."""
    if mask is not None:
        mask = to_dtype(convert_to_tensor(mask), "bool")
    if not is_causal:
        return mask
    causal = tri(lengths(query)[1], lengths(key)[1], dtype="bool")
    return causal if mask is None else logical_and(mask, causal)


def _grouped(x, shared):
    """(batch, heads, length, size) as (batch, shared heads, group * length, size).

    So the heads that share a key are rows of one matrix, and the key is not repeated.
    """
    batch, heads, length, size = lengths(x)
    if heads == shared:
        return x
    group = heads // shared
    rows = group * length if isinstance(length, int) else -1
    return reshape(x, shape=(batch, shared, rows, size))


def _grouped_term(x, heads, shared, query):
    """What broadcasts against logits (batch, heads, queries, keys), grouped as they are."""
    if heads == shared or x.ndim < 2:
        return x
    if x.ndim < 4:
        x = expand_dims(x, axis=tuple(range(4 - x.ndim)))
    if x.shape[1:3] == (1, 1):
        return x
    batch, _, _, keys = lengths(x)
    group, length = heads // shared, lengths(query)[2]
    x = broadcast_to(x, shape=(batch, group if x.shape[1] == 1 else heads, length, keys))
    return _grouped(x, 1 if x.shape[1] == group else shared)


def dot_product_attention(
    query, key, value, bias=None, mask=None, scale=None, is_causal=False, flash_attention=None,
    attn_logits_soft_cap=None,
):  # fmt: skip
    """softmax(scale * query · key + bias) · value for each head.

    Vaswani et al., "Attention Is All You Need", 2017; with fewer heads of key and value, Ainslie et
    al., "GQA", 2023. OpenVINO fuses these nodes into one kernel; `flash_attention` changes nothing.

    Args:
        query: (batch, queries, heads, size).
        key, value: (batch, keys, heads or a divisor of it, size).
        bias: added to the logits, broadcasts to (batch, heads, queries, keys).
        mask: which keys count (True), broadcasts likewise. A query without any takes their mean.
        scale: of the logits; default 1 / sqrt(size).
        is_causal: whether keys after a query's position do not count.
        attn_logits_soft_cap: if given, logits x become cap * tanh(x / cap).
    """
    query, key, value = promote(query, key, value, least=float)
    _check(query, key, value)
    dtype = query.dtype
    if dtype in ("float16", "bfloat16"):
        query, key, value = (to_dtype(x, "float32") for x in (query, key, value))
    scale = _scale(key) if scale is None else scale
    allowed = _allowed(mask, is_causal, query, key)
    query, key, value = (transpose(x, axes=(0, 2, 1, 3)) for x in (query, key, value))
    batch, heads, length, _ = lengths(query)
    shared = key.shape[1]
    query = multiply(query, to_dtype(convert_to_tensor(scale), query.dtype))
    logits = matmul(_grouped(query, shared), key, transpose_y=True)
    if attn_logits_soft_cap is not None:
        cap = attn_logits_soft_cap
        logits = multiply(
            tanh(multiply(logits, constant_like(1 / cap, logits))), constant_like(cap, logits)
        )
    if bias is not None:
        bias = to_dtype(convert_to_tensor(bias), logits.dtype)
        logits = add(logits, _grouped_term(bias, heads, shared, query))
    if allowed is not None:
        # Far below any logit, and finite, so that a row without keys is no NaN.
        lowest = -0.7 * float(ml_dtypes.finfo(dtypes.numpy_dtype(logits.dtype)).max)
        allowed = _grouped_term(allowed, heads, shared, query)
        logits = select(allowed, logits, constant_like(lowest, logits))
    result = matmul(softmax_in_product(logits, axis=3), value)
    if heads != shared:
        result = reshape(result, shape=(batch, heads, length, lengths(value)[3]))
    return to_dtype(transpose(result, axes=(0, 2, 1, 3)), dtype)
