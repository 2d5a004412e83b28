"""Attention to keys and values that a request keeps: one node, and what attention is defined as."""

import numpy as np
import pytest
from keras import layers, ops

from kerasvino.graph import Spec, trace
from kerasvino.primitives.memory import Kept
from kerasvino.primitives.shape import dimension
from kerasvino.runtime.program import Program
from tests.passes.test_positions import broadcast, causal, chunks, triangles

HEADS, SIZE = 4, 8


def softmax(scores, mask):
    return layers.Softmax(dtype="float32")(scores, mask)


def plain(query, key, value, mask, kept_heads):
    if kept_heads != HEADS:
        key, value = (ops.repeat(t, HEADS // kept_heads, axis=2) for t in (key, value))
    scores = ops.einsum("bqhd,bkhd->bhqk", query, key) * SIZE**-0.5
    return ops.einsum("bhqk,bkhd->bqhd", softmax(scores, mask[..., None, :, :]), value)


def scaled_queries(query, key, value, mask, kept_heads):
    return plain(query * 0.5, key, value, mask, kept_heads)


def queries_first(query, key, value, mask, kept_heads):
    """Queries before heads, a bias by heads and keys."""
    scores = ops.einsum("bqhd,bkhd->bqhk", query, key)
    slopes = ops.convert_to_tensor(0.5 ** np.arange(1, HEADS + 1, dtype="float32"))
    places = ops.arange(ops.shape(mask)[-1], dtype="float32")
    scores = (scores + slopes[:, None] * places) * SIZE**-0.5
    weights = softmax(scores, mask[..., :, None, :])
    return ops.einsum("bqhk,bkhd->bqhd", weights, value)


def rows_second(query, key, value, mask, kept_heads):
    """As Falcon has it: queries before rows of the batch."""
    scores = ops.einsum("bqhd,bkhd->qbhk", query, key) * SIZE**-0.5
    mask = ops.transpose(mask if len(mask.shape) == 3 else mask[None], (1, 0, 2))
    return ops.einsum("qbhk,bkhd->bqhd", softmax(scores, mask[:, :, None, :]), value)


def in_groups(query, key, value, mask, kept_heads):
    """As Gemma has it: heads of queries in two axes."""
    query = ops.reshape(query, (*ops.shape(query)[:2], kept_heads, HEADS // kept_heads, SIZE))
    scores = ops.einsum("btkgh,bskh->bkgts", query * SIZE**-0.5, key)
    weights = softmax(scores, mask[..., None, None, :, :])
    result = ops.einsum("bkgts,bskh->btkgh", weights, value)
    return ops.reshape(result, (*ops.shape(result)[:2], HEADS, SIZE))


def capped(query, key, value, mask, kept_heads):
    """With a soft cap, which no kernel has."""
    scores = ops.tanh(ops.einsum("bqhd,bkhd->bhqk", query, key) * SIZE**-0.5)
    return ops.einsum("bhqk,bkhd->bqhd", softmax(scores, mask[..., None, :, :]), value)


def every_other(ids, index):
    """Every other query has no key at all."""
    return ops.logical_and(causal(ids, index), (ops.arange(ops.shape(ids)[1]) % 2 == 0)[:, None])


def step(attend, mask, kept_heads):
    """A program of queries, keys and values that are new; and the kinds of its nodes."""

    def function(query, key, value, index, rows):
        batch, new = dimension(rows, axis=0), ops.shape(query)[1]
        kept = Kept.made(
            "past.0", (1, 2, 1, kept_heads, SIZE), "float32", rows, index, batch, index + new
        )
        keys = ops.slice_update(kept[:, 0, ...], [0, index, 0, 0], key)
        values = ops.slice_update(kept[:, 1, ...], [0, index, 0, 0], value)
        return [attend(query, keys, values, mask(query[..., 0, 0], index), kept_heads)]

    heads = (HEADS, kept_heads, kept_heads)
    specs = [Spec((None, None, h, SIZE), "float32") for h in heads]
    specs += [Spec((), "int32", "index"), Spec((None,), "int32", "rows")]
    program = Program(trace(function, specs), "CPU", {})
    nodes = program.runtime_model.get_ordered_ops()
    return program, [str(n.get_rt_info()["layerType"].astype(str)) for n in nodes]


def run(program, parts):
    """The results of a run for each part, on one request."""
    request, index, found = program.request(), 0, []
    for arrays in parts:
        batch, new = arrays[0].shape[:2]
        position = [np.array(index, np.int32), np.arange(batch, dtype=np.int32)]
        found += program.start([*arrays, *position], ahead=0, request=request).wait()
        index += new
    program.give_back(request)
    return found


def drawn(kept_heads, lengths=(5, 1, 2), batch=2):
    draw = np.random.default_rng(0)
    heads = (HEADS, kept_heads, kept_heads)
    return [
        [draw.normal(size=(batch, n, h, SIZE)).astype("float32") for h in heads] for n in lengths
    ]


def eagerly(attend, mask, kept_heads, parts):
    """Each part's attention to all keys so far, by NumPy."""
    found, index = [], 0
    for number, (query, *_) in enumerate(parts):
        key, value = (np.concatenate([p[k] for p in parts[: number + 1]], 1) for k in (1, 2))
        allowed = mask(ops.convert_to_tensor(query[..., 0, 0]), index)
        found.append(np.asarray(attend(query, key, value, allowed, kept_heads)))
        index += query.shape[1]
    return found


@pytest.mark.parametrize("mask", [causal, broadcast, triangles, chunks, every_other])
@pytest.mark.parametrize(
    "attend, kept_heads",
    [
        (plain, HEADS), (plain, 2), (scaled_queries, HEADS), (in_groups, 2), (in_groups, HEADS),
        (queries_first, HEADS), (rows_second, HEADS),
    ],
)  # fmt: skip
def test_is_one_node_with_the_same_results(attend, kept_heads, mask):
    program, kinds = step(attend, mask, kept_heads)
    assert kinds.count("ScaledDotProductAttention") == 1
    assert "Softmax" not in kinds
    # whether a query has any key is asked only where it is not known
    assert ("Reduce" in kinds) == (mask in (chunks, every_other))
    parts = drawn(kept_heads)
    expected = eagerly(attend, mask, kept_heads, parts)
    for mine, theirs in zip(run(program, parts), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)


def test_a_soft_cap_is_left_alone():
    program, kinds = step(capped, causal, HEADS)
    assert kinds.count("ScaledDotProductAttention") == 0
    parts = drawn(HEADS)
    expected = eagerly(capped, causal, HEADS, parts)
    for mine, theirs in zip(run(program, parts), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)


def test_rows_of_the_past_are_told_by_number():
    program, _ = step(plain, causal, HEADS)
    first, second = drawn(HEADS, lengths=(4, 1))
    swapped = [array[::-1].copy() for array in first]
    expected = run(program, [swapped, second])[1]
    request = program.request()
    rows = np.arange(2, dtype=np.int32)
    program.start([*first, np.array(0, np.int32), rows], ahead=0, request=request).wait()
    arrays = [*second, np.array(4, np.int32), rows[::-1].copy()]
    found = program.start(arrays, ahead=0, request=request).wait()
    np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-6)


def test_masks_of_all_layers_are_one():
    """A second attention adds no node that compares positions."""

    def twice(query, key, value, mask, kept_heads):
        once = plain(query, key, value, mask, kept_heads)
        return plain(once + query, key, value, mask, kept_heads)

    _, one = step(plain, triangles, HEADS)
    _, two = step(twice, triangles, HEADS)
    assert two.count("Range") == one.count("Range")
