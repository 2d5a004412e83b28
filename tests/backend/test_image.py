"""Colours, filters and geometric transformations in every form, against SciPy and NumPy."""

import colorsys

import keras
import numpy as np
import pytest
import scipy.ndimage

from kerasvino.backend.ops import image
from kerasvino.backend.ops.core import convert_to_tensor
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program
from tests.backend.forms import FORMS, run

COMPILED = ("host", "static", "dynamic")


def _image(shape, dtype="float32", scale=1.0):
    return (np.random.default_rng(sum(shape)).random(shape) * scale).astype(dtype)


# -- colour


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 4, 5, 3)])
def test_colours(form, shape):
    rgb = _image(shape)
    rgb.reshape(-1, 3)[:6] = [[0, 0, 0], [1, 1, 1], [1, 0, 0], [0.5, 0.5, 0], [0, 1, 1], [1, 0, 1]]
    hsv = np.apply_along_axis(lambda c: colorsys.rgb_to_hsv(*c), -1, rgb.astype(float))
    got = run(form, image.rgb_to_hsv, rgb)
    np.testing.assert_allclose(got, hsv, atol=2e-6)
    np.testing.assert_allclose(run(form, image.hsv_to_rgb, got), rgb, atol=2e-6)
    first = np.ascontiguousarray(np.moveaxis(rgb, -1, -3))
    got = run(form, lambda x: image.rgb_to_hsv(x, "channels_first"), first)
    np.testing.assert_allclose(np.moveaxis(got, -3, -1), hsv, atol=2e-6)
    gray = rgb.astype(float) @ [0.2989, 0.587, 0.114]
    np.testing.assert_allclose(run(form, image.rgb_to_grayscale, rgb)[..., 0], gray, atol=1e-6)
    got = run(form, lambda x: image.rgb_to_grayscale(x, "channels_first"), first)
    np.testing.assert_allclose(np.moveaxis(got, -3, -1)[..., 0], gray, atol=1e-6)


def test_hues_repeat():
    hsv = np.array([[[0.2, 0.5, 0.7], [1.2, 0.5, 0.7], [-0.8, 0.5, 0.7]]], np.float32)
    first, *others = np.asarray(image.hsv_to_rgb(hsv))[0]
    np.testing.assert_allclose(others, [first, first], atol=1e-6)


@pytest.mark.parametrize("form", COMPILED)
def test_grayscale_truncates_integers(form):
    x = np.array([[[255, 255, 255], [10, 20, 30], [0, 1, 0]]], "uint8")
    got = run(form, image.rgb_to_grayscale, x)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got[0, :, 0], [254, 18, 0])


@pytest.mark.parametrize("function", [image.rgb_to_hsv, image.hsv_to_rgb])
def test_colours_of_wrong_images(function):
    with pytest.raises(ValueError, match="Invalid images rank"):
        function(np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match=r"must have 3 channels.* 4 channels"):
        function(np.zeros((3, 3, 4), np.float32))
    with pytest.raises(ValueError, match="expected float dtype"):
        function(np.zeros((3, 3, 3), np.int32))
    with pytest.raises(ValueError, match="Invalid channel size"):
        image.rgb_to_grayscale(np.zeros((3, 3, 4)))


# -- map_coordinates

_PADDING = {"nearest": "edge", "mirror": "reflect", "reflect": "symmetric"}


def _mapped(x, places, order, mode, value):
    """SciPy's, on an input padded so far that nothing is outside: there it has another meaning."""
    far = 20
    padded = np.pad(
        x.astype(float),
        far,
        mode=_PADDING.get(mode, mode),
        **({"constant_values": value} if mode == "constant" else {}),
    )
    places = places.astype(float) + far
    if order == 0:
        places = np.floor(places + 0.5)
    return scipy.ndimage.map_coordinates(padded, places, order=order)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
def test_map_coordinates(form, order, mode):
    rng = np.random.default_rng(0)
    shapes = [(5,), (3, 4), (1, 6, 2)]
    inputs = [_image(s) for s in shapes]
    places = [
        np.stack([rng.uniform(-2 * n, 3 * n, (4, 5)) for n in s]).astype("float32") for s in shapes
    ]
    places[0][0, 0] = [-0.5, 0.5, 1.5, 4.5, np.float32(0.49999997)]
    if order == 1:
        places[1][:, 1] = [[-1, 0, 3, 2, 7], [4, 3, -2, 0, -7]]

    def function(*tensors):
        return [
            image.map_coordinates(x, c, order, mode, 0.25)
            for x, c in zip(tensors[:3], tensors[3:], strict=True)
        ]

    for x, c, got in zip(inputs, places, run(form, function, *inputs, *places), strict=True):
        np.testing.assert_allclose(got, _mapped(x, c, order, mode, 0.25), atol=3e-6)


@pytest.mark.parametrize("form", COMPILED)
def test_map_coordinates_rounds_integers_away_from_zero(form):
    x = np.array([-5, -4, 2, 3], np.int32)
    places = np.array([[0.5, 2.5, 0.49999997, 1.25, 9.0, -0.5]], np.float32)
    got = run(form, lambda x, c: image.map_coordinates(x, c, 1, "constant", 100), x, places)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, [-5, 3, -5, -3, 100, 48])


@pytest.mark.parametrize("form", COMPILED)
@pytest.mark.parametrize("mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
def test_map_coordinates_that_are_no_numbers(form, mode):
    x = np.array([1.0, 2.0, 3.0], np.float32)
    places = np.array([[np.nan, np.inf, -np.inf, 1e20, -1e20, 1.0]], np.float32)
    linear = run(form, lambda x, c: image.map_coordinates(x, c, 1, mode, 7.0), x, places)
    assert np.isnan(linear[:3]).all() and linear[5] == 2
    assert all(v in (1, 2, 3, 7) for v in linear[3:5])
    nearest = run(form, lambda x, c: image.map_coordinates(x, c, 0, mode, 7.0), x, places)
    assert all(v in (1, 2, 3, 7) for v in nearest[3:])


def test_map_coordinates_in_float64():
    x = np.arange(4.0)
    got = image.map_coordinates(x, np.array([[1 / 3]]), 1)
    assert got.dtype == "float64"
    np.testing.assert_allclose(np.asarray(got), [1 / 3], rtol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), np.zeros((2, 4)), 1), "must be the same as the rank"),
        ((np.zeros(3), np.zeros(1), 1), "expected at least rank 2"),
        ((np.zeros(3), np.zeros((1, 4)), 3), "Invalid value for argument `order`"),
        ((np.zeros(3), np.zeros((1, 4)), 1, "edge"), "Invalid value for argument `fill_mode`"),
    ],
)
def test_map_coordinates_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        image.map_coordinates(*arguments)


# -- affine and perspective


def _warped(x, transform, order, mode, value):
    """Images (N, H, W, C) by the definition, in float64."""
    count, height, width, channels = x.shape
    row, column = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    result = np.empty(x.shape)
    for n in range(count):
        a0, a1, a2, b0, b1, b2, c0, c1 = transform[n % len(transform)].astype(float)
        k = c0 * column + c1 * row + 1
        places = np.stack([b0 * column + b1 * row + b2, a0 * column + a1 * row + a2]) / k
        for c in range(channels):
            result[n, ..., c] = _mapped(x[n, ..., c], places, order, mode, value)
    return result


_TRANSFORMS = np.array(
    [
        [1.137, 0.213, -1.371, -0.159, 0.917, 0.733, 0, 0],
        [0.719, -0.137, 1.233, 0.311, 1.219, -2.173, 0.011, 0.023],
    ],
    np.float32,
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("mode", ["constant", "reflect", "wrap"])
def test_affine_transform(form, interpolation, mode):
    x = _image((2, 7, 9, 3))
    order = ["nearest", "bilinear"].index(interpolation)
    wanted = _warped(x, _TRANSFORMS, order, mode, 0.3)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))

    def function(x, first, transform):
        options = interpolation, mode, 0.3
        return [
            image.affine_transform(x, transform, *options),
            image.affine_transform(first, transform, *options, "channels_first"),
            image.affine_transform(x[1], transform[1], *options),
            image.affine_transform(x, transform[:1], *options),
        ]

    last, planes, single, shared = run(form, function, x, first, _TRANSFORMS)
    np.testing.assert_allclose(last, wanted, atol=1e-5)
    np.testing.assert_allclose(planes.transpose(0, 2, 3, 1), wanted, atol=1e-5)
    np.testing.assert_allclose(single, wanted[1], atol=1e-5)
    wanted = _warped(x, _TRANSFORMS[:1], order, mode, 0.3)
    np.testing.assert_allclose(shared, wanted, atol=1e-5)


@pytest.mark.parametrize("form", COMPILED)
def test_affine_transform_of_integers(form):
    x = _image((5, 4, 1), "uint8", 255)
    halfway = np.array([1, 0, 0.5, 0, 1, 0, 0, 0], np.float32)
    got = run(form, lambda x: image.affine_transform(x, halfway, fill_value=300), x)
    assert got.dtype == np.uint8
    wide = np.concatenate([x, np.full((5, 1, 1), 255)], 1).astype(float)
    np.testing.assert_array_equal(got, np.floor((wide[:, :-1] + wide[:, 1:]) / 2 + 0.5))


def test_as_many_transforms_as_images():
    with pytest.raises(ValueError, match="3 transforms for 2 images"):
        image.affine_transform(np.zeros((2, 3, 3, 1)), np.zeros((3, 8)))
    with pytest.raises(ValueError, match="Invalid transform rank"):
        image.affine_transform(np.zeros((2, 3, 3, 1)), np.zeros((1, 3, 8)))


_START = np.array([[[0, 0], [640, 3], [650, 470], [-7, 480]], [[5, 9], [0, 2], [8, 3], [9, 8]]])
_END = np.array([[[30, 10], [600, 40], [640, 400], [20, 470]], [[0, 9], [1, 1], [9, 0], [8, 9]]])


def _solved(start, end):
    """The homography as the solution of the eight equations for its entries."""
    rows, right = [], []
    for (x, y), (u, v) in zip(start, end, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        right += [x, y]
    return np.linalg.solve(np.array(rows, float), np.array(right, float))


@pytest.mark.parametrize("form", FORMS)
def test_homography(form):
    start, end = _START.astype("float32"), _END.astype("float32")
    wanted = [_solved(s, e) for s, e in zip(_START, _END, strict=True)]
    got = run(form, image.compute_homography_matrix, start, end)
    np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=1e-7)
    k = (end[..., 0] * got[:, 6:7] + end[..., 1] * got[:, 7:8] + 1)[..., None]
    moved = np.einsum("npi,nij->npj", end, got[:, [[0, 3], [1, 4]]]) + got[:, None, [2, 5]]
    np.testing.assert_allclose(moved / k, start, atol=2e-3)


def test_homography_of_integers_and_float64():
    assert image.compute_homography_matrix(_START, _END).dtype == keras.config.floatx()
    got = image.compute_homography_matrix(_START.astype(float), _END.astype(float))
    wanted = [_solved(s, e) for s, e in zip(_START, _END, strict=True)]
    np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("form", COMPILED)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_perspective_transform(form, interpolation):
    x = _image((2, 9, 8, 3))
    start = np.array([[[0, 0], [7, 0], [0, 8], [7, 8]]] * 2, np.float32)
    end = start + np.random.default_rng(5).uniform(-1.5, 1.5, start.shape).astype("float32")
    transforms = np.array([_solved(s, e) for s, e in zip(start, end, strict=True)])
    wanted = _warped(x, transforms, ["nearest", "bilinear"].index(interpolation), "constant", 0.4)

    def function(x, start, end):
        return [
            image.perspective_transform(x, start, end, interpolation, 0.4),
            image.perspective_transform(x[1], start[1], end[1], interpolation, 0.4),
        ]

    batch, single = run(form, function, x, start, end)
    np.testing.assert_allclose(batch, wanted, atol=3e-5)
    np.testing.assert_allclose(single, wanted[1], atol=3e-5)


def test_points_of_a_wrong_shape():
    points = np.zeros((4, 2))
    with pytest.raises(ValueError, match="Invalid start_points shape"):
        image.perspective_transform(np.zeros((3, 3, 1)), np.zeros((3, 2)), points)
    with pytest.raises(ValueError, match="must have the same shape"):
        image.perspective_transform(np.zeros((3, 3, 1)), points, points[None])


# -- filters


def _gaussian(size, sigma):
    weights = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    return weights / weights.sum()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(3, 3), (5, 3), (4, 2), (1, 7)])
def test_gaussian_blur(form, size):
    x, sigma = _image((2, 6, 8, 3)), np.array([0.8, 1.7], np.float32)
    wanted = x.astype(float)
    for axis, n, s in zip((2, 1), size, sigma, strict=True):
        before = (n - 1) // 2
        pads = [(before, n - 1 - before) if a == axis else (0, 0) for a in range(4)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(wanted, pads), n, axis)
        wanted = windows @ _gaussian(n, s)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))

    def function(x, first, sigma):
        return [
            image.gaussian_blur(x, size, sigma),
            image.gaussian_blur(first, size, sigma, "channels_first"),
            image.gaussian_blur(x[0], np.array(size), sigma),
        ]

    last, planes, single = run(form, function, x, first, sigma)
    np.testing.assert_allclose(last, wanted, atol=1e-6)
    np.testing.assert_allclose(planes.transpose(0, 2, 3, 1), wanted, atol=1e-6)
    np.testing.assert_allclose(single, wanted[0], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float64"])
def test_gaussian_blur_keeps_the_dtype(dtype):
    x = convert_to_tensor(_image((5, 5, 1), "float64", 255), dtype)
    got = image.gaussian_blur(x)
    assert got.dtype == dtype
    wide = np.asarray(x).astype(float)[..., 0]
    weights = np.outer(_gaussian(3, 1), _gaussian(3, 1))
    wanted = scipy.ndimage.correlate(wide, weights, mode="constant")
    rtol = {"uint8": 0.5, "float16": 1e-3, "bfloat16": 8e-3, "float64": 1e-14}[dtype]
    error = np.abs(np.asarray(got).astype(float)[..., 0] - wanted)
    assert (error <= (0.5 if dtype == "uint8" else rtol * wanted)).all()


@pytest.mark.parametrize("form", FORMS)
def test_sobel_edges(form):
    x = _image((2, 5, 6, 3))
    down = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], float)
    wanted = np.stack(
        [
            scipy.ndimage.correlate(x.astype(float), k[None, :, :, None], mode="constant")
            for k in (down, down.T)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(run(form, image.sobel_edges, x), wanted, atol=2e-6)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    got = run(form, lambda t: image.sobel_edges(t, "channels_first"), first)
    np.testing.assert_allclose(got.transpose(0, 2, 3, 1, 4), wanted, atol=2e-6)
    with pytest.raises(ValueError, match="Invalid images rank: expected rank 4"):
        image.sobel_edges(x[0])


# -- elastic


@pytest.mark.parametrize("form", COMPILED)
def test_elastic_displacements_are_smoothed_normal_numbers(form):
    # On a ramp, what a pixel gains is its displacement.
    size, alpha, sigma = 96, 3.0, 2.0
    row, column = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    x = np.stack([row, column], -1)[None].astype("float32").repeat(2, 0)
    got = run(form, lambda t: image.elastic_transform(t, alpha, sigma, seed=3), x) - x
    inner = got[:, 20:-20, 20:-20].astype(float)
    # the standard deviation of white noise after the blur
    deviation = alpha * sigma * (_gaussian(13, sigma) ** 2).sum()
    assert abs(inner.mean()) < 0.15 * deviation
    np.testing.assert_allclose(inner.std(axis=(1, 2)), deviation, rtol=0.15)
    # rows, columns and images move on their own
    flat = inner.transpose(0, 3, 1, 2).reshape(4, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.25
    # neighbours move together, as the blur of deviation 2 has it
    near = np.corrcoef(inner[:, :, 1:].ravel(), inner[:, :, :-1].ravel())[0, 1]
    np.testing.assert_allclose(near, np.exp(-1 / (4 * sigma**2)), atol=0.03)


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_elastic_transform_is_the_same_in_a_graph(mode):
    x = _image((3, 20, 24, 2))

    def function(x, alpha, sigma):
        return image.elastic_transform(x, alpha, sigma, seed=7)

    arguments = x, np.float32(2), np.float32(1.3)
    got = run(mode, function, *arguments)
    assert np.abs(got - x).max() > 0.1
    np.testing.assert_allclose(got, run("host", function, *arguments), atol=1e-4)


@pytest.mark.parametrize("fill_mode", ["constant", "reflect"])
def test_elastic_transform_by_nothing(fill_mode):
    for dtype in ("float16", "uint8"):
        x = _image((4, 5, 1), dtype, 255)
        got = image.elastic_transform(x, 0.0, 1.0, fill_mode=fill_mode, seed=1)
        np.testing.assert_array_equal(np.asarray(got), x)


# -- dtypes

_FUNCTIONS = {
    "rgb_to_grayscale": image.rgb_to_grayscale,
    "rgb_to_hsv": image.rgb_to_hsv,
    "hsv_to_rgb": image.hsv_to_rgb,
    "resize": lambda x: image.resize(x, (5, 3)),
    "resize_widened": lambda x: image.resize(x, (3, 4), "lanczos3", antialias=True),
    "affine_transform": lambda x: image.affine_transform(x, _TRANSFORMS[0]),
    "perspective_transform": lambda x: image.perspective_transform(x, _START[1], _END[1]),
    "map_coordinates": lambda x: image.map_coordinates(x[0], np.full((3, 2), 1.3), 1),
    "gaussian_blur": image.gaussian_blur,
    "elastic_transform": lambda x: image.elastic_transform(x, 3.0, 1.0, seed=2),
    "scale_and_translate": lambda x: image.scale_and_translate(
        x, (2, 4, 5, 3), [1.5], [0.3], (1,), "cubic"
    ),
    "sobel_edges": image.sobel_edges,
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in _FUNCTIONS
        for dtype in ("float16", "bfloat16", "uint8", "int16")
        if "hsv" not in name or "float" in dtype
    ],
)
def test_results_have_the_dtype_of_the_images(name, dtype):
    whole = "int" in dtype
    x = np.asarray(convert_to_tensor(_image((2, 6, 5, 3), "float64", 200 if whole else 1), dtype))
    # what float32 gives, rounded
    wanted = np.asarray(_FUNCTIONS[name](x.astype("float32"))).astype(float)
    step = {"float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0)
    for form in COMPILED:
        got = run(form, _FUNCTIONS[name], x)
        assert got.dtype == x.dtype
        if whole:
            limits = np.iinfo(dtype)
            # rounded, grayscale truncated
            error = np.abs(got - np.clip(wanted, limits.min, limits.max))
            assert (error <= (1 if name == "rgb_to_grayscale" else 0.501)).all()
        else:
            np.testing.assert_allclose(got.astype(float), wanted, rtol=1.1 * step, atol=1e-5)


# -- in models


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsampling_between_convolutions_transposes_nothing(interpolation):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.Conv2D(4, 3),
            keras.layers.UpSampling2D(2, interpolation=interpolation),
            keras.layers.Conv2D(4, 3),
        ]
    )
    graph = trace(lambda t: [model(t)], [Spec((2, 8, 8, 4), "float32")])
    program = Program(graph, "CPU", {i: v.value._array for i, v in enumerate(graph.reads)})
    kinds = [n.get_rt_info()["layerType"] for n in program.runtime_model.get_ordered_ops()]
    kinds = [kind if isinstance(kind, str) else kind.astype(str) for kind in kinds]
    assert kinds.count("Convolution") == 2 and "Interpolate" in kinds
    # one on the way in, one on the way out
    assert kinds.count("Transpose") + kinds.count("Reorder") <= 2, kinds
    x = _image((2, 8, 8, 4))
    np.testing.assert_allclose(program([x])[0], np.asarray(model(x)), atol=1e-5)
