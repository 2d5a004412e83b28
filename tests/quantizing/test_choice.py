"""Which layers are rounded: by time, by a metric, and by what the processor computes rightly."""

import dataclasses

import numpy as np
import pytest

from kerasvino.export.ov_model import traced
from kerasvino.export.signature import signature_of
from kerasvino.graph.ranges import Activation, Channels, Ranges, Shift
from kerasvino.passes import int8_probe
from kerasvino.passes.ranges import largest, rounded_value
from kerasvino.quantizing import choice
from kerasvino.quantizing.accuracy import within_drop
from kerasvino.quantizing.neighbours import Neighbours
from kerasvino.runtime import narrow
from tests.quantizing.conftest import convolutional

PRODUCTS = ("first/conv", "depthwise/conv", "second/conv", "third/conv", "scores/matmul")


def ranges(products=PRODUCTS, more=(("sum/add", 1), ("global_average_pooling2d/reduce_mean", 0))):
    users = [*((name, 0) for name in products), *more]
    return Ranges(
        PRODUCTS,
        tuple(Channels(name, 1, (0,)) for name in products),
        tuple(Activation((user,), (-1.0,), (1.0,), ()) for user in users),
        (Shift("first/conv", (1.0, 2.0), (2,)),),
        "bf16",
        {name.partition("/")[0]: "int8" for name in PRODUCTS},
        {"f32": 1.0},
    )


@pytest.fixture(scope="module")
def near():
    model = convolutional()
    return Neighbours(traced(model, signature_of(model, None)))


def users(found):
    return {name for activation in found.activations for name, _ in activation.users}


@pytest.mark.parametrize(
    ("kept", "between"),
    [
        (["second/conv"], {"sum/add"}),  # what is added to its result
        (["first/conv"], {"sum/add"}),
        (["third/conv"], {"sum/add"}),  # it reads the sum
        (["scores/matmul"], {"global_average_pooling2d/reduce_mean"}),
        ([], set()),
    ],
)
def test_values_are_rounded_next_to_products_that_are(near, kept, between):
    found = near.only(ranges(), kept)
    assert users(found) == {*kept, *between}
    assert {w.node for w in found.weights} == set(kept)
    assert bool(found.shifts) == ("first/conv" in kept)


def test_ranges_in_a_file():
    found = ranges()
    assert Ranges.from_json(found.to_json()) == found
    assert Ranges.from_json(found.to_json()).digest == found.digest
    assert dataclasses.replace(found, rest="f32").digest != found.digest
    assert dataclasses.replace(found, seconds={}).digest == found.digest


# -- by time


def fastest(**seconds):
    candidates = {"f32": ranges((), ()), "bf16": ranges((), ()), "most": ranges()}
    candidates["fewer"] = ranges(PRODUCTS[:2])
    return choice._fastest(candidates, seconds)


@pytest.mark.parametrize(
    ("expected", "seconds"),
    [
        ("most", {"f32": [9, 9], "bf16": [3, 3], "most": [1, 1], "fewer": [2, 2]}),
        ("most", {"f32": [9, 9], "bf16": [3, 3], "most": [1.01, 1], "fewer": [1, 1]}),
        ("fewer", {"f32": [9, 9], "bf16": [3, 3], "most": [2, 2], "fewer": [1, 1]}),
        ("fewer", {"f32": [9, 9], "bf16": [3, 3], "most": [3.1, 0.1], "fewer": [2.9, 2.9]}),
        ("bf16", {"f32": [9, 9], "bf16": [3, 3], "most": [4, 4], "fewer": [2, 3.1]}),
        ("f32", {"f32": [2, 2], "bf16": [3, 3], "most": [4, 4], "fewer": [5, 5]}),
    ],
)
def test_the_fastest_that_is_never_slower_than_without_int8(expected, seconds):
    assert fastest(**seconds) == expected


# -- by a metric


def test_the_worst_layers_are_left_in_float_and_no_more(near):
    """A metric that needs the two layers with the largest errors in float."""
    errors = {"first": 0.1, "depthwise": 5.0, "second": 0.2, "third": 3.0, "scores": 0.3}

    def metric(trial):
        rounded = set() if trial is None else {n for n, k in trial.layers.items() if k == "int8"}
        return 1.0 - 0.2 * len(rounded & {"depthwise", "third"}) - 0.001 * len(rounded)

    found, exact, reached = within_drop(ranges(), metric, 0.1, lambda: errors, near)
    assert (exact, reached) == (1.0, pytest.approx(0.997))
    assert [n for n, kind in found.layers.items() if kind != "int8"] == ["depthwise", "third"]
    assert users(found) & {"depthwise/conv", "third/conv"} == set()


def test_where_no_layer_may_be_rounded_none_is(near):
    def metric(trial):
        return 1.0 if trial is None or not trial.activations else 0.0

    errors = dict.fromkeys(ranges().layers, 1.0)
    found, exact, reached = within_drop(ranges(), metric, 0.1, lambda: errors, near)
    assert exact == reached == 1.0
    assert not found.activations and set(found.layers.values()) == {"bf16"}


# -- by what is right


@pytest.mark.parametrize("bits", [8, 7])
def test_the_probe_knows_what_is_right(bits):
    small, wide = int8_probe.expected_of_images(bits)
    pixels = int8_probe.IMAGE[0].sum(0)
    np.testing.assert_array_equal(small[0, 1], pixels * largest(bits))
    np.testing.assert_array_equal(small[0, 0], pixels * -largest(bits))
    assert wide[0, 1, 1, 1] == pixels[:3, :3].sum() * largest(bits)
    assert wide[0, 1, 0, 0] == pixels[:2, :2].sum() * largest(bits)


@pytest.mark.parametrize(("wrong", "expected"), [((8,), 7), ((8, 7), None)])
def test_weights_have_as_many_bits_as_are_multiplied_rightly(monkeypatch, wrong, expected):
    """As on a processor that adds products of bytes in 16 bits: 8 bits overflow there."""
    right = int8_probe.expected_of_images

    def of_another_processor(bits):
        return [found + (bits in wrong) for found in right(bits)]

    monkeypatch.setattr(int8_probe, "expected_of_images", of_another_processor)
    assert narrow.weight_bits.__wrapped__("CPU") == expected
    assert narrow.weight_bits.__wrapped__("GPU") is None


def test_weights_of_seven_bits_never_overflow_sums_of_two_in_16():
    weights = np.random.default_rng(0).normal(size=(4, 8, 3, 3)).astype("float32")
    integers, scale = rounded_value(weights, (0,), 7)
    assert scale.shape == (4, 1, 1, 1)
    assert np.abs(integers).max((1, 2, 3)).tolist() == [63] * 4
    assert 2 * 255 * int(np.abs(integers).max()) < 2**15
    np.testing.assert_allclose(integers * scale, weights, atol=scale.max() / 2 + 1e-6)


def test_weights_that_are_not_finite_are_left_as_they_are():
    assert rounded_value(np.array([[1.0, np.nan]], np.float32), (0,)) is None
    integers, scale = rounded_value(np.zeros((2, 3), np.float32), (0,))
    assert not integers.any() and np.isfinite(scale).all()
