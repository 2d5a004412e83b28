"""What masks say of positions is read off their graphs, and written down again with few nodes."""

import numpy as np
import pytest
from keras import ops
from openvino import Model, PartialShape
from openvino import opset16 as ov

from kerasvino.graph import Spec, trace
from kerasvino.passes.positions import Positions, emitted
from kerasvino.passes.walk import Scope
from kerasvino.runtime import devices

WINDOW = 3


def rows_and_columns(ids, index):
    new = ops.shape(ids)[1]
    return ops.arange(new), ops.arange(index + new)


def causal(ids, index):
    i, j = rows_and_columns(ids, index)
    i = ops.cast(i, "float32") + ops.cast(index, "float32")
    return ops.expand_dims(i, 1) >= ops.cast(j, "float32")


def broadcast(ids, index):
    mask = causal(ids, index)[None]
    new, total = ops.shape(ids)[1], index + ops.shape(ids)[1]
    return ops.broadcast_to(mask, (ops.shape(ids)[0], new, total))


def triangles(ids, index):
    """A sliding window cut out of a square of all positions."""
    total, new = index + ops.shape(ids)[1], ops.shape(ids)[1]
    square = ops.ones((total, total), "bool")
    band = ops.triu(square, 1 - WINDOW) * ops.tril(square, WINDOW - 1)
    band = ops.slice(band, (index, 0), (new, total))
    return ops.logical_and(broadcast(ids, index), ops.cast(band[None], "bool"))


def compared(ids, index):
    i, j = rows_and_columns(ids, index)
    i, j = ops.expand_dims(i + index, 1), ops.expand_dims(j, 0)
    return ops.logical_and(j <= i, ops.logical_not(j < i - WINDOW))


def of_integers(ids, index):
    """Zeros and ones, of which the smaller counts."""
    both = ops.minimum(
        ops.cast(causal(ids, index), "int32"), ops.cast(compared(ids, index), "int32")
    )
    return ops.cast(both, "bool")


def either(ids, index):
    i, j = rows_and_columns(ids, index)
    return ops.logical_or(ops.expand_dims(i + index, 1) == j, j < 2)


def chunks(ids, index):
    """Of chunks of positions, which are no sum of positions."""
    i, j = rows_and_columns(ids, index)
    return ops.expand_dims((i + index) // 2, 1) == j // 2


def padded(ids, index):
    """What is told by the tokens, not by their positions."""
    return ops.logical_and(causal(ids, index)[None], (ids > 0)[:, :, None])


def of_batch(ids, index):
    """Another mask in each row of the batch."""
    i, j = rows_and_columns(ids, index)
    row = ops.reshape(ops.arange(ops.shape(ids)[0]), (-1, 1, 1))
    return ops.expand_dims(i + index, 1) >= j + row


KNOWN = (causal, broadcast, triangles, compared, of_integers, either)


def traced(mask):
    graph = trace(
        lambda ids, index: [mask(ids, index)],
        [Spec((None, None), "int32", "ids"), Spec((), "int32", "index")],
    )
    model = graph.model
    return model, model.get_results()[0].input_value(0)


@pytest.mark.parametrize("mask", KNOWN)
def test_masks_are_written_anew(mask):
    model, output = traced(mask)
    positions = Positions(Scope(model))
    sentence = positions.mask(output)
    anew = emitted(sentence, positions)
    both = Model([ov.result(output), ov.result(anew)], model.get_parameters())
    run = devices.core().compile_model(both, "CPU")
    for new, index in [(1, 0), (1, 7), (5, 0), (4, 6)]:
        found = run([np.ones((2, new), np.int32), np.array(index, np.int32)])
        expected = found[0] if found[0].ndim == 2 else found[0][1]
        np.testing.assert_array_equal(found[1], expected)


def test_masks_that_say_the_same_are_the_same():
    sentences = []
    for mask in (causal, broadcast):
        model, output = traced(mask)
        positions = Positions(Scope(model))
        sentence = positions.mask(output)
        (name,) = positions.scalars
        sentences.append(repr(sentence).replace(repr(name), "index"))
    assert sentences[0] == sentences[1]


def test_a_wide_window_is_left_out_where_a_narrow_one_is_within():
    model, output = traced(of_integers)
    kind, parts = Positions(Scope(model)).mask(output)
    assert (kind, len(parts)) == ("and", 2)


@pytest.mark.parametrize("mask", [chunks, padded, of_batch])
def test_other_masks_are_not_known(mask):
    model, output = traced(mask)
    assert Positions(Scope(model)).mask(output) is None


@pytest.mark.parametrize(
    "mask, whether",
    [(causal, True), (triangles, True), (either, True), (lambda *a: ~either(*a), False)],
)
def test_whether_each_query_has_a_key(mask, whether):
    model, output = traced(mask)
    positions = Positions(Scope(model))
    assert positions.has_a_column(positions.mask(output)) == whether


def test_lengths_come_from_parameters():
    x = ov.parameter(PartialShape([-1, -1, 8]), np.float32)
    reshaped = ov.reshape(x, ov.constant(np.array([0, 0, 2, 4])), True)
    turned = ov.transpose(reshaped, ov.constant(np.array([0, 2, 1, 3])))
    positions = Positions(Scope(Model([ov.result(turned)], [x])))
    assert positions.length(turned.output(0), 2) == positions.length(x.output(0), 1)
    assert positions.length(turned.output(0), 2) != positions.length(x.output(0), 0)
    assert positions.length(turned.output(0), 3).constant == 4
