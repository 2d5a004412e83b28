"""Neural network operations: softmax, convolutions, poolings, normalizations, losses."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.arrays import FLOATS, Array, arrays, axes, axis_of
from tests.fuzz.operation import Operation

__all__ = ["OPERATIONS"]

_SEED = st.integers(0, 2**16)
_FORMATS = st.sampled_from(["channels_last", "channels_first"])
_SINGLES = ("float16", "bfloat16", "float32")


@st.composite
def _along(draw, values="moderate", least=1, several=False):
    array = draw(arrays(least, 4, FLOATS, values).filter(lambda a: 0 not in a.shape))
    rank = len(array.shape)
    axis = draw(axes(rank).filter(lambda a: a != ())) if several else draw(axis_of(rank))
    if several and axis is None:
        axis = tuple(range(rank))
    return [array], {"axis" if not several else "axes": axis}


def _image(draw, spatial, channels, least, kind="float32"):
    """An array of a batch of images in either data format."""
    lengths = tuple(draw(st.integers(least, 7)) for _ in range(spatial))
    batch, layout = draw(st.integers(1, 2)), draw(_FORMATS)
    last = layout == "channels_last"
    shape = (batch, *lengths, channels) if last else (batch, channels, *lengths)
    return Array(shape, kind, "finite", draw(_SEED)), layout


@st.composite
def _convolved(draw, depthwise=False, transposed=False):
    spatial = (
        1 if depthwise and draw(st.booleans()) else draw(st.integers(1, 2 if depthwise else 3))
    )
    groups = 1 if depthwise or transposed else draw(st.integers(1, 2))
    inner, outer = draw(st.integers(1, 2)), draw(st.integers(1, 2)) * groups
    edge = draw(st.integers(1, 3))
    x, layout = _image(draw, spatial, inner * groups, edge, draw(st.sampled_from(_SINGLES)))
    widths = (edge,) * spatial
    kernel = (*widths, outer, inner) if transposed else (*widths, inner, outer)
    attrs = {
        "strides": draw(st.integers(1, 2)),
        "padding": draw(st.sampled_from(["valid", "same"])),
        "data_format": layout,
    }
    if attrs["strides"] == 1 and not transposed:
        attrs["dilation_rate"] = draw(st.integers(1, 2)) if 2 * edge - 1 <= min(x.shape[1:]) else 1
    return [x, Array(kernel, x.dtype, "finite", draw(_SEED))], attrs


@st.composite
def _pooled(draw):
    size = draw(st.integers(1, 3))
    x, layout = _image(draw, draw(st.integers(1, 3)), 2, size, draw(st.sampled_from(_SINGLES)))
    return [x], {
        "pool_size": size,
        "strides": draw(st.sampled_from([None, 1, 2])),
        "padding": draw(st.sampled_from(["valid", "same"])),
        "data_format": layout,
    }


@st.composite
def _adaptive(draw):
    spatial = draw(st.integers(1, 3))
    x, layout = _image(draw, spatial, 2, 3)
    return [x], {"output_size": draw(st.integers(1, 3)), "data_format": layout}


@st.composite
def _normalised(draw, scale=True):
    array = draw(arrays(2, 4, _SINGLES, "finite").filter(lambda a: 0 not in a.shape))
    width = array.shape[-1:]
    return [array, *(Array(width, array.dtype, "positive", draw(_SEED)) for _ in range(scale))], {}


@st.composite
def _batch_normalised(draw):
    array = draw(arrays(2, 4, _SINGLES, "finite").filter(lambda a: 0 not in a.shape))
    axis = draw(axis_of(len(array.shape)))
    more = [Array((array.shape[axis],), array.dtype, "positive", draw(_SEED)) for _ in range(4)]
    return [array, *more], {"axis": axis}


@st.composite
def _classified(draw, sparse=False):
    shape = (*draw(st.lists(st.integers(1, 3), max_size=2)), draw(st.integers(4, 5)))
    target = Array(shape[:-1], "int32", "indices", draw(_SEED)) if sparse else None
    return [
        target or Array(shape, "float32", "positive", draw(_SEED)),
        Array(shape, "float32", "positive", draw(_SEED)),
    ], {"from_logits": draw(st.booleans())}


@st.composite
def _attention(draw):
    b, t, s, h, d = (draw(st.integers(1, 3)) for _ in range(5))
    kind = draw(st.sampled_from(("float32", "float16")))
    shapes = [(b, t, h, d), (b, s, h, d), (b, s, h, d)]
    return [Array(shape, kind, "finite", draw(_SEED)) for shape in shapes], {
        "is_causal": draw(st.booleans())
    }


@st.composite
def _blocks(draw, deep):
    block, layout = draw(st.integers(2, 3)), draw(_FORMATS)
    a, b, c = (draw(st.integers(1, 2)) for _ in range(3))
    a, b, c = (a, b, c * block**2) if deep else (a * block, b * block, c)
    shape = (2, a, b, c) if layout == "channels_last" else (2, c, a, b)
    kind = draw(st.sampled_from(FLOATS))
    return [Array(shape, kind, "any", draw(_SEED))], {"block_size": block, "data_format": layout}


@st.composite
def _multi_hot(draw):
    array = draw(arrays(1, 2, ("int32",), "indices").filter(lambda a: 0 not in a.shape))
    return [array], {"num_classes": 4}


def _sum_of_products(name, arguments, **more):
    return Operation(name, arguments, terms="product", tolerance=4, **more)


OPERATIONS = [
    Operation("softmax", _along("finite"), tolerance=4),
    Operation("log_softmax", _along("finite"), tolerance=4, terms="largest"),
    Operation("sparsemax", _along("finite"), tolerance=4, terms="largest"),
    Operation("moments", _along("finite", several=True), terms="square"),
    Operation("glu", arrays(1, 3, FLOATS, "finite").filter(
        lambda a: a.shape[-1] % 2 == 0).map(lambda a: ([a], {"axis": -1})), tolerance=2),
    _sum_of_products("conv", _convolved(), known=(1,)),
    _sum_of_products("depthwise_conv", _convolved(depthwise=True), known=(1,)),
    _sum_of_products("conv_transpose", _convolved(transposed=True), known=(1,)),
    Operation("max_pool", _pooled()),
    Operation("average_pool", _pooled(), terms="sum"),
    Operation("adaptive_average_pool", _adaptive(), terms="sum"),
    Operation("adaptive_max_pool", _adaptive()),
    Operation("layer_normalization", _normalised(), tolerance=20, terms="square"),
    Operation("rms_normalization", _normalised(), tolerance=20),
    Operation("batch_normalization", _batch_normalised(), terms="square", tolerance=4),
    Operation("categorical_crossentropy", _classified(), tolerance=4, terms="sum"),
    Operation("binary_crossentropy", _classified(), tolerance=8, terms="sum"),
    Operation("sparse_categorical_crossentropy", _classified(True), tolerance=4, terms="sum"),
    Operation("dot_product_attention", _attention(), terms="largest", tolerance=8),
    Operation("depth_to_space", _blocks(True)),
    Operation("space_to_depth", _blocks(False)),
    Operation("multi_hot", _multi_hot()),
    Operation("psnr", st.lists(_SEED, min_size=2, max_size=2).map(
        lambda s: ([Array((3, 2), "float32", "unit", v) for v in s], {"max_val": 1.0})),
        tolerance=4),
    Operation("in_top_k", st.tuples(_SEED, st.integers(1, 4)).map(lambda p: (
        [Array((5,), "int32", "indices", p[0]), Array((5, 4), "float32", "finite", p[0])],
        {"k": p[1]}))),
    Operation("unfold", st.tuples(_SEED, st.integers(1, 2), st.integers(0, 1)).map(lambda p: (
        [Array((2, 3, 4, 5), "float32", "finite", p[0])],
        {"kernel_size": 2, "stride": p[1], "padding": p[2]}))),
    Operation("segment_sum", st.tuples(_SEED, st.booleans()).map(lambda p: (
        [Array((6, 2), "float32", "finite", p[0]), Array((6,), "int32", "indices", p[0])],
        {"num_segments": 4})), terms="sum"),
    Operation("segment_max", _SEED.map(lambda s: (
        [Array((6, 2), "float32", "finite", s), Array((6,), "int32", "indices", s)],
        {"num_segments": 5}))),


]  # fmt: skip
