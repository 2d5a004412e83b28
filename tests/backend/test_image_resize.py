"""`resize` and `scale_and_translate` in every form, against dense weights in float64."""

import itertools

import numpy as np
import pytest
from keras import ops

from kerasvino.autodiff.reverse import pullback, watch
from kerasvino.backend.ops import image
from kerasvino.backend.ops.core import convert_to_tensor
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program
from tests.backend.forms import FORMS, run

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


def _kernel(name, x):
    x = np.abs(x)
    if name == "bilinear":
        return np.maximum(1 - x, 0)
    if name == "bicubic":
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return np.where(x < 1, near, np.where(x < 2, far, 0))
    radius = int(name[-1])
    return np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0)


def _weights(name, position, length, stretch):
    places = np.arange(length)
    if name == "nearest":
        return (np.floor(position + 0.5)[:, None] == places).astype(float)
    weights = _kernel(name, (position[:, None] - places) / stretch)
    return weights / weights.sum(1, keepdims=True)


def _resized(x, size, name, antialias, axes):
    for axis, n in zip(axes, size, strict=True):
        length = x.shape[axis]
        position = (np.arange(n) + 0.5) * length / n - 0.5
        weights = _weights(name, position, length, max(length / n, 1) if antialias else 1)
        x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
    return x


def _image(shape, dtype="float32"):
    return (np.random.default_rng(sum(shape)).random(shape) * 255).astype(dtype)


CASES = [
    ((7, 10, 3), (5, 13), "channels_last"),
    ((2, 12, 5, 3), (4, 20), "channels_last"),
    ((1, 3, 11, 6), (22, 24), "channels_first"),
    ((2, 1, 1), (3, 2), "channels_first"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resize_is_the_weighted_sum_of_its_kernel(interpolation, form):
    images = [_image(shape) for shape, *_ in CASES]
    options = [
        (size, data_format, antialias) for _, size, data_format in CASES for antialias in (0, 1)
    ]
    repeated = [x for x in images for _ in range(2)]

    def function(*tensors):
        return [
            image.resize(t, size, interpolation, bool(antialias), data_format=data_format)
            for t, (size, data_format, antialias) in zip(tensors, options, strict=True)
        ]

    results = run(form, function, *repeated)
    for x, got, (size, data_format, antialias) in zip(repeated, results, options, strict=True):
        axes = (-3, -2) if data_format == "channels_last" else (-2, -1)
        wanted = _resized(x.astype(float), size, interpolation, antialias, axes)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, atol=2e-4, err_msg=str((x.shape, size, antialias)))


@pytest.mark.parametrize("form", ("host", "static", "dynamic"))
def test_positions_are_exact_on_long_axes(form):
    # A ramp whose values are its positions: float32 positions would be off by 4e-4.
    ramp = np.arange(4000, dtype=np.float32).reshape(1, 4000, 1)
    got = run(form, lambda x: image.resize(x, (1, 3001)), ramp)[0, :, 0]
    wanted = np.clip((np.arange(3001) + 0.5) * 4000 / 3001 - 0.5, 0, 3999)
    np.testing.assert_array_less(np.abs(got - wanted), 2.5e-4)
    nearest = run(form, lambda x: image.resize(x, (1, 3001), "nearest"), ramp)[0, :, 0]
    np.testing.assert_array_equal(nearest, (2 * np.arange(3001) + 1) * 4000 // 6002)


# -- aspect ratio


@pytest.mark.parametrize("form", ("host", "static", "dynamic"))
@pytest.mark.parametrize("shape", [(9, 20, 1), (20, 9, 1), (8, 12, 1), (5, 1, 1)])
def test_crop_takes_the_middle(form, shape):
    x = _image(shape)
    height, width, _ = shape
    rows, columns = max(min(height, width * 4 // 6), 1), max(min(width, height * 6 // 4), 1)
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = x[top : top + rows, left : left + columns]
    got = run(form, lambda t: image.resize(t, (4, 6), crop_to_aspect_ratio=True), x)
    wanted = _resized(middle.astype(float), (4, 6), "bilinear", False, (0, 1))
    np.testing.assert_allclose(got, wanted, atol=2e-4)


@pytest.mark.parametrize("form", ("host", "static", "dynamic"))
@pytest.mark.parametrize("shape", [(9, 20, 1), (20, 9, 1), (8, 12, 1), (1, 5, 1)])
def test_pad_frames_evenly(form, shape):
    x = _image(shape)
    height, width, _ = shape
    rows, columns = max(height, width * 4 // 6), max(width, height * 6 // 4)
    top, left = (rows - height) // 2, (columns - width) // 2
    framed = np.pad(x, [(top, top), (left, left), (0, 0)], constant_values=7.5)
    got = run(form, lambda t: image.resize(t, (4, 6), pad_to_aspect_ratio=True, fill_value=7.5), x)
    wanted = _resized(framed.astype(float), (4, 6), "bilinear", False, (0, 1))
    np.testing.assert_allclose(got, wanted, atol=2e-4)


# -- dtypes


@pytest.mark.parametrize("form", ("host", "static", "dynamic"))
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_integers_are_rounded_and_saturated(form, interpolation):
    x = np.array([0, 1, 254, 255, 255, 0, 0, 0, 255], "uint8").reshape(3, 3, 1)
    got = run(form, lambda t: image.resize(t, (7, 7), interpolation), x)
    wanted = _resized(x.astype(float), (7, 7), interpolation, False, (0, 1))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, np.clip(np.rint(wanted), 0, 255))
    assert interpolation == "bilinear" or wanted.min() < -1


@pytest.mark.parametrize("form", ("host", "static", "dynamic"))
@pytest.mark.parametrize("size", [(4, 6), (3, 5)])
def test_nearest_keeps_every_value(form, size):
    whole = np.array([[2**24 + 1, -(2**31)], [7, 2**31 - 1]], np.int32)[..., None]
    flags = np.array([[True, False], [False, True]])[..., None]
    for x in (whole, flags, _image((2, 2, 1), "float16")):
        got = run(form, lambda t: image.resize(t, size, "nearest"), x)
        assert got.dtype == x.dtype
        wanted = _resized(x.astype(float), size, "nearest", False, (0, 1))
        np.testing.assert_array_equal(got.astype(float), wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_floats_keep_their_dtype_and_precision(dtype):
    x = convert_to_tensor(_image((7, 10, 3)), dtype)
    wanted = _resized(np.asarray(x).astype(float), (4, 9), "bicubic", True, (0, 1))
    got = image.resize(x, (4, 9), "bicubic", antialias=True)
    assert got.dtype == dtype
    rtol = {"float16": 1e-3, "bfloat16": 8e-3, "float64": 1e-13}[dtype]
    np.testing.assert_allclose(np.asarray(got).astype(float), wanted, rtol=rtol)


# -- traced sizes, gradients, errors


def test_the_size_may_be_known_only_to_the_graph():
    def twice(x):
        height, width = ops.shape(x)[:2]
        return [image.resize(x, (height * 2, width * 3), "bilinear")]

    program = Program(trace(twice, [Spec((None, None, 2), "float32")]), "CPU", {})
    for shape in ((3, 4, 2), (5, 2, 2)):
        x = _image(shape)
        wanted = _resized(x.astype(float), (2 * shape[0], 3 * shape[1]), "bilinear", False, (0, 1))
        np.testing.assert_allclose(program([x])[0], wanted, atol=2e-4)


@pytest.mark.parametrize(
    ("interpolation", "size"),
    [(i, s) for i, s in itertools.product(INTERPOLATIONS, [(4, 9), (10, 8)])],
)
def test_gradient_is_the_transposed_weights(interpolation, size):
    x = _image((5, 4, 2), "float64")
    g = np.random.default_rng(1).normal(size=(*size, 2))
    tensor = watch(convert_to_tensor(x))
    (got,) = pullback([image.resize(tensor, size, interpolation)], [convert_to_tensor(g)], [tensor])
    columns = [
        (_resized(unit.reshape(5, 4, 1), size, interpolation, False, (0, 1)) * g).sum((0, 1))
        for unit in np.eye(20)
    ]
    np.testing.assert_allclose(np.asarray(got), np.reshape(columns, (5, 4, 2)), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolation": "area"}, "Invalid value for argument `interpolation`"),
        ({"fill_mode": "edge"}, "Only `'constant'` is supported"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "Only one of"),
        ({"size": (1, 2, 3)}, "tuple of 2 integers"),
        ({"images": np.zeros((2, 2))}, "Invalid images rank"),
    ],
)
def test_errors_name_the_argument(options, message):
    arguments = {"images": np.zeros((2, 2, 1)), "size": (3, 3), **options}
    with pytest.raises(ValueError, match=message):
        image.resize(**arguments)


# -- scale_and_translate


def _located(x, size, scale, shift, name, antialias, axis):
    position = (np.arange(size) + 0.5 - shift) / scale - 0.5
    stretch = max(1 / scale, 1) if antialias else 1
    with np.errstate(invalid="ignore"):
        weights = _weights(name, position, x.shape[axis], stretch)
    weights[(position < -0.5) | (position > x.shape[axis] - 0.5)] = 0
    return np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("method", "kernel"), [("linear", "bilinear"), ("cubic", "bicubic"), ("lanczos3", "lanczos3")]
)
@pytest.mark.parametrize("antialias", [False, True])
def test_scale_and_translate(form, method, kernel, antialias):
    x = _image((6, 3, 9))
    scale, shift = np.array([1.3, 0.4], np.float32), np.array([0.2, -0.7], np.float32)

    def function(x, scale, shift):
        return image.scale_and_translate(x, (8, 3, 5), scale, shift, (0, -1), method, antialias)

    wanted = _located(x.astype(float), 8, scale[0], shift[0], kernel, antialias, 0)
    wanted = _located(wanted, 5, scale[1], shift[1], kernel, antialias, 2)
    got = run(form, function, x, scale, shift)
    assert (wanted == 0).any() and (wanted != 0).any()
    np.testing.assert_allclose(got, wanted, atol=3e-4)


def test_scale_and_translate_leaves_other_axes():
    x = np.zeros((4, 4, 3), np.float32)
    with pytest.raises(ValueError, match="not one of `spatial_dims`"):
        image.scale_and_translate(x, (4, 4, 2), [1.0], [0.0], (0,), "linear")
