"""Images and signals."""

from __future__ import annotations

from hypothesis import strategies as st
from keras import ops

from tests.fuzz.arrays import Array
from tests.fuzz.operation import Operation

__all__ = ["OPERATIONS"]

_SEED = st.integers(0, 2**16)
_KINDS = st.sampled_from(["float32", "float16", "bfloat16"])
_FORMATS = st.sampled_from(["channels_last", "channels_first"])


@st.composite
def _image(draw, channels=None, values="finite", **choices):
    h, w = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    count = channels or draw(st.integers(1, 3))
    layout = draw(_FORMATS)
    shape = (h, w, count) if layout == "channels_last" else (count, h, w)
    if draw(st.booleans()):
        shape = (draw(st.integers(1, 2)), *shape)
    attrs = {name: draw(choice) for name, choice in choices.items()}
    return [Array(shape, draw(_KINDS), values, draw(_SEED))], {**attrs, "data_format": layout}


@st.composite
def _coordinates(draw):
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    points = (2, draw(st.integers(1, 5)))
    return [
        Array(shape, "float32", "finite", draw(_SEED)),
        Array(points, "float32", "finite", draw(_SEED)),
    ], {
        "order": draw(st.integers(0, 1)),
        "fill_mode": draw(st.sampled_from(["constant", "nearest", "wrap", "mirror", "reflect"])),
    }


@st.composite
def _affine(draw):
    (image,), attrs = draw(
        _image(
            interpolation=st.sampled_from(["nearest", "bilinear"]),
            fill_mode=st.sampled_from(["constant", "nearest", "wrap", "mirror", "reflect"]),
        )
    )
    batch = image.shape[:1] if len(image.shape) == 4 else ()
    image = Array(image.shape, "float32", "finite", image.seed)
    return [image, Array((*batch, 8), "float32", "unit", draw(_SEED))], attrs


@st.composite
def _signal(draw, complex_parts=False, **choices):
    shape = (*draw(st.lists(st.integers(1, 3), max_size=1)), draw(st.integers(1, 12)))
    parts = [Array(shape, "float32", "finite", draw(_SEED)) for _ in range(1 + complex_parts)]
    return parts, {name: draw(choice) for name, choice in choices.items()}


OPERATIONS = [
    Operation("image.resize", _image(
        size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
        interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]),
        antialias=st.booleans()), terms="largest", tolerance=8),
    Operation("image.rgb_to_grayscale", _image(3), terms="largest", tolerance=2),
    Operation("image.rgb_to_hsv", _image(3, "positive"), terms="largest", tolerance=4),
    Operation("image.hsv_to_rgb", _image(3, "positive"), terms="largest", tolerance=8),
    Operation("image.gaussian_blur", _image(
        kernel_size=st.sampled_from([(3, 3), (1, 3)]), sigma=st.just((1.0, 0.7))),
        terms="largest", tolerance=8),
    Operation("image.pad_images", _image(
        top_padding=st.integers(0, 2), bottom_padding=st.integers(0, 2),
        left_padding=st.integers(0, 2), right_padding=st.integers(0, 2))),
    Operation("image.crop_images", _image(
        top_cropping=st.just(0), left_cropping=st.just(0),
        target_height=st.just(1), target_width=st.just(1))),
    Operation("image.sobel_edges", _image(), terms="sum", tolerance=2),
    Operation("image.map_coordinates", _coordinates(), terms="largest", tolerance=40),
    Operation("image.affine_transform", _affine(), terms="largest", tolerance=400),
    Operation("fft", _signal(True), call=lambda a, b: ops.fft((a, b)), terms="sum", tolerance=4),
    Operation("rfft", _signal(fft_length=st.sampled_from([None, 4, 8])), terms="sum", tolerance=4),
    Operation("extract_sequences", _signal(
        sequence_length=st.integers(1, 2), sequence_stride=st.integers(1, 2)).filter(
        lambda p: p[0][0].shape[-1] >= 2)),
    Operation("stft", _signal(
        sequence_length=st.just(4), sequence_stride=st.just(2), fft_length=st.just(4)).filter(
        lambda p: p[0][0].shape[-1] >= 6), terms="sum", tolerance=4),
]  # fmt: skip
