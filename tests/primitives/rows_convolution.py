"""Rows of convolutions and pooling, against slow definitions in NumPy."""

import numpy as np

from tests.primitives import references
from tests.primitives.harness import ALL, FLOATS, INTEGERS, Case, Row

_EXACT = [name for name in INTEGERS if "64" not in name]
_WEIGHTS = (True, False)
_ROUNDING = {"float16": 4e-3, "bfloat16": 4e-2, "float32": 4e-6, "float64": 4e-6}
# Of sums of a hundred products and more.
_SUMMED = {"float16": 4e-2, "bfloat16": 0.3, "float32": 2e-5, "float64": 2e-5}


def _conv(x, kernel, strides=1, padding=0, dilation=1, groups=1, **others):
    count = len(x) - 2

    def spread(value):
        return (value,) * count if isinstance(value, int) else value

    pads = padding if padding == "same" else tuple((p, p) for p in spread(padding))
    attrs = {"strides": spread(strides), "padding": pads, "dilation": spread(dilation)}
    return Case(x, kernel, attrs={**attrs, "groups": groups, **others})


_CONVOLUTIONS = [
    _conv((2, 3, 9), (4, 3, 3)),
    _conv((2, 3, 9), (4, 3, 2), strides=2, padding="same"),
    _conv((2, 1, 9), (4, 1, 3), strides=2, padding=1, dilation=2),
    _conv((2, 1, 9), (4, 1, 4), padding="same"),
    _conv((2, 3, 9, 8), (4, 3, 3, 2), strides=(2, 1), padding=(1, 0), dilation=(1, 2)),
    _conv((1, 3, 10, 7), (2, 3, 3, 3), strides=2, padding="same"),
    _conv((1, 3, 10, 7), (2, 3, 2, 5), padding="same"),
    _conv((2, 4, 5, 6), (6, 2, 2, 2), groups=2),
    _conv((2, 4, 5, 6), (8, 1, 3, 3), groups=4, padding=1),
    _conv((1, 2, 5, 4, 6), (3, 2, 2, 3, 2), strides=(1, 2, 1), padding=(1, 0, 1)),
    _conv((0, 3, 5, 5), (2, 3, 3, 3)),
]
_TRANSPOSED = [
    _conv((2, 3, 5), (3, 4, 3), strides=2, output_padding=(0,)),
    _conv((2, 3, 4, 5), (3, 2, 3, 2), strides=(2, 3), padding=(1, 0), output_padding=(1, 4)),
    _conv((1, 3, 4, 5), (3, 2, 3, 3), dilation=2, padding=1, output_padding=(0, 0)),
    _conv((1, 4, 4, 5), (4, 2, 3, 3), strides=2, groups=2, output_padding=(1, 0)),
    _conv((1, 2, 3, 2, 4), (2, 3, 2, 2, 3), strides=2, output_padding=(0, 1, 0)),
]


# The ways of summing over windows: by tap, by patch, long; and images that windows do not reach.
_KERNELS = [
    _conv((2, 33, 9, 9), (2, 3, 8, 9), size=(2, 1)),
    _conv((2, 9, 8, 8), (2, 3, 8, 8), size=(1, 1)),
    _conv((2, 33, 66), (2, 2, 65), size=(2,)),
    _conv((2, 33, 17, 16), (2, 3, 8, 8), size=(2, 2), strides=2, padding=0),
    _conv((2, 3, 9, 9), (2, 4, 5, 5), size=(1, 1), strides=2),
    _conv((1, 9, 5, 4, 6), (1, 2, 4, 4, 5), size=(2, 1, 2)),
    _conv((2, 3, 9, 8), (2, 4, 9, 8), size=(3, 3), padding=1),
    _conv((2, 9, 17, 16), (2, 3, 8, 8), size=(2, 2), strides=2),
    _conv((2, 6, 9, 9), (2, 4, 8, 8), size=(2, 2), groups=2),
    _conv((2, 3, 9, 9), (2, 3, 8, 8), size=(2, 2), groups=3),
    _conv((2, 3, 66), (2, 2, 66), size=(3,), padding=1),
    _conv((1, 2, 5, 5, 5), (1, 2, 4, 4, 4), size=(2, 2, 2)),
    _conv((2, 3, 9, 8), (2, 4, 4, 4), size=(3, 2), strides=2),
    _conv((2, 3, 9, 8), (2, 4, 3, 4), size=(3, 2), strides=(3, 2), padding=1, dilation=(1, 2)),
    _conv((2, 4, 6), (2, 6, 4), size=(2,), dilation=2, groups=2),
    _conv((3, 2, 3, 4, 5), (3, 2, 2, 2, 2), size=(2, 2, 2), strides=(1, 2, 3)),
    _conv((0, 3, 5, 5), (0, 2, 3, 3), size=(3, 3)),
]


def _pool(x, size, strides, padding=0):
    count = len(x) - 2
    pads = padding if padding == "same" else ((padding, padding),) * count
    return Case(x, attrs={"size": size, "strides": strides, "padding": pads})


_POOLS = [
    _pool((2, 3, 9), (3,), (2,)),
    _pool((2, 3, 9, 8), (3, 2), (2, 2), 1),
    _pool((1, 2, 4, 5, 6), (2, 3, 2), (1, 2, 2)),
    _pool((0, 3, 9, 8), (3, 2), (2, 2)),
]
_SAME = [_pool((2, 3, 9, 8), (3, 3), (2, 2), "same"), _pool((1, 3, 4, 3), (7, 5), (1, 2), "same")]
_SIZES = [
    Case(x, attrs={"size": size})
    for x, size in (
        ((2, 3, 9), (4,)),
        ((2, 3, 9, 8), (3, 5)),
        ((1, 2, 5, 6, 7), (2, 3, 7)),
        ((1, 2, 3), (5,)),
    )
]


def _images(index, shape):
    """Of images the batch may be unknown."""
    return (None, *shape[1:])


def _not_kernels(index, shape):
    return shape if index == 1 else _images(index, shape)


def _operands(index, shape):
    return _images(index, shape) if index < 2 else shape


def _blocks(x, block, depth_first=False):
    return Case(x, attrs={"block": block, "depth_first": depth_first})


def _without_empty(cases):
    return [case for case in cases if 0 not in case.shapes[0]]


def _integers_to(limit):
    def values(rng, shape, dtype):
        return rng.integers(0, limit, shape).astype(np.dtype(dtype))

    return values


ROWS = [
    *[
        Row(
            name, cases=cases, dtypes=dtypes, values=values, dynamic=_WEIGHTS, reference=reference,
            gradient_dynamic=_not_kernels, atol=_ROUNDING,
        )
        for name, cases, reference in (
            ("conv", _CONVOLUTIONS, references.conv),
            ("conv_transpose", _TRANSPOSED, references.conv_transpose),
        )
        for dtypes, values in (
            (FLOATS, "finite"), (_EXACT, "any"), (("int64", "uint64"), _integers_to(100)),
        )
    ],
    *[
        Row(
            "conv_kernel", cases=cases, dtypes=FLOATS, values="finite", atol=_SUMMED,
            reference=references.conv_kernel, dynamic=dynamic, gradient_dynamic=_operands,
        )
        for cases, dynamic in ((_KERNELS, False), (_without_empty(_KERNELS), _images))
    ],
    Row(
        "space_to_depth",
        cases=[
            _blocks((2, 3, 4, 6), 2), _blocks((1, 2, 9), 3), _blocks((2, 1, 2, 4, 2), 2),
            _blocks((2, 3, 2, 2), 1), _blocks((0, 3, 4, 6), 2),
            _blocks((2, 3, 4, 6), 2, True), _blocks((2, 2, 2, 4, 2), 2, True),
        ],
        dtypes=ALL, rtol=0,
    ),
    Row(
        "depth_to_space",
        cases=[
            _blocks((2, 12, 4, 3), 2), _blocks((1, 6, 3), 3), _blocks((2, 8, 1, 4, 2), 2),
            _blocks((2, 3, 2, 2), 1), _blocks((0, 4, 4, 6), 2),
            _blocks((2, 12, 4, 3), 2, True), _blocks((2, 16, 1, 4, 2), 2, True),
        ],
        dtypes=ALL, rtol=0,
    ),
    Row(
        "max_pool", cases=_POOLS + _SAME, dtypes=FLOATS, values="finite",
        reference=references.max_pool, dynamic=False,
    ),
    Row(
        "max_pool", cases=_without_empty(_POOLS + _SAME), dtypes=FLOATS, values="finite",
        reference=references.max_pool, gradient_dynamic=_images,
    ),
    Row("max_pool", cases=_POOLS, dtypes=_EXACT, reference=references.max_pool, dynamic=False),
    Row("max_pool", cases=_without_empty(_POOLS), dtypes=_EXACT, reference=references.max_pool),
    Row(
        "average_pool", cases=_POOLS + _SAME, dtypes=FLOATS, values="finite", atol=_ROUNDING,
        reference=references.average_pool, dynamic=False,
    ),
    Row(
        "average_pool", cases=_without_empty(_POOLS + _SAME), dtypes=FLOATS, values="finite",
        atol=_ROUNDING, reference=references.average_pool, gradient_dynamic=_images,
    ),
    Row(
        "adaptive_max_pool", cases=_SIZES, dtypes=FLOATS, values="finite",
        reference=references.adaptive_max_pool, gradient_dynamic=_images,
    ),
    Row(
        "adaptive_average_pool", cases=_SIZES, dtypes=FLOATS, values="finite", atol=_ROUNDING,
        reference=references.adaptive_average_pool, gradient_dynamic=_images,
    ),
]  # fmt: skip
