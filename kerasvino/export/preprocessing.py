"""Preprocessing as the beginning of an exported graph: what a camera or a decoder hands over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import openvino
from openvino import Layout, Type
from openvino.preprocess import ColorFormat, PrePostProcessor, ResizeAlgorithm

from kerasvino import dtypes
from kerasvino.backend.keras_private import image_data_format

__all__ = ["Preprocessing", "add_preprocessing"]

# OpenVINO's nearest and cubic choose other pixels and another cubic than Keras and Pillow do.
_RESIZE = {
    "linear": ResizeAlgorithm.RESIZE_LINEAR,
    "bilinear_pillow": ResizeAlgorithm.RESIZE_BILINEAR_PILLOW,
    "bicubic_pillow": ResizeAlgorithm.RESIZE_BICUBIC_PILLOW,
}
_COLORS = {"rgb": None, "bgr": ColorFormat.BGR}


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before the model sees it: (resized pixel - mean) / scale.

    Attributes:
        dtype: of the input, `uint8` as decoders give it.
        layout: of the input, `NHWC` or `NCHW`; it may differ from the model's.
        color: of the input, `rgb`, or `bgr` where the model expects RGB and OpenCV delivers.
        resize: the input may have any size and is resized to the model's: `linear` as
            `keras.ops.image.resize` does, `bilinear_pillow` or `bicubic_pillow` as Pillow does
            (these antialias). None: it has the model's size.
        mean: subtracted, one number or one for each channel.
        scale: divided by, after that, one number or one for each channel.

    Raises:
        ValueError: a field has a value that there is not.
    """

    dtype: str = "uint8"
    layout: str = "NHWC"
    color: str = "rgb"
    resize: str | None = None
    mean: float | Sequence[float] | None = None
    scale: float | Sequence[float] | None = None

    def __post_init__(self):
        accepted = {
            "dtype": [name for name, row in dtypes.TABLE.items() if row.kind in "iuf"],
            "layout": ["NHWC", "NCHW"],
            "color": list(_COLORS),
            "resize": [None, *_RESIZE],
        }
        for name, values in accepted.items():
            value = getattr(self, name)
            if value not in values:
                raise ValueError(
                    f"preprocessing {name}={value!r}; accepted: {', '.join(map(repr, values))}."
                )


def add_preprocessing(model: openvino.Model, given: Preprocessing | Mapping) -> openvino.Model:
    """`model` with preprocessing before its inputs (see `export_openvino`)."""
    processor = PrePostProcessor(model)
    for name, steps in _by_input(model, given).items():
        _add(processor.input(name), model.input(name), steps)
    return processor.build()


def _by_input(model, given) -> dict[str, Preprocessing]:
    """{input name: Preprocessing} of what the user gave."""
    names = [model_input.get_any_name() for model_input in model.inputs]
    fieldnames = {field.name for field in fields(Preprocessing)}
    if isinstance(given, Preprocessing) or (
        isinstance(given, Mapping) and set(given) <= fieldnames
    ):
        if len(names) != 1:
            raise ValueError(
                f"The model has the inputs {', '.join(names)}: give preprocessing as "
                "{input name: {...}}."
            )
        given = {names[0]: given}
    if not isinstance(given, Mapping):
        raise TypeError(f"preprocessing is a Preprocessing or a dict; given: {given!r}.")
    found = {}
    for name, steps in given.items():
        if name not in names:
            raise ValueError(
                f"preprocessing names {name!r}, which is neither an input of the model "
                f"({', '.join(names)}) nor a field ({', '.join(sorted(fieldnames))})."
            )
        if not isinstance(steps, Preprocessing):
            unknown = set(steps) - fieldnames
            if unknown:
                raise ValueError(
                    f"preprocessing of {name!r} has no field {', '.join(sorted(unknown))}; there "
                    f"are {', '.join(sorted(fieldnames))}."
                )
            steps = Preprocessing(**steps)
        found[name] = steps
    return found


def _add(processor, model_input, steps: Preprocessing) -> None:
    layout = "NHWC" if image_data_format() == "channels_last" else "NCHW"
    shape = model_input.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4:
        raise ValueError(
            f"preprocessing is for images, of shape {layout}; the input "
            f"{model_input.get_any_name()!r} has shape {shape}."
        )
    height, width, channels = (shape[layout.index(axis)] for axis in "HWC")
    if steps.resize and (height.is_dynamic or width.is_dynamic):
        raise ValueError(
            f"preprocessing resizes to the size that the model takes, but its shape is {shape}; "
            "give input_signature with a height and a width."
        )
    computed = model_input.get_element_type()
    # The mean and the scale are of float values; an integer input of the model gets them rounded.
    working = computed if computed.is_real() else Type.f32
    tensor, chain = processor.tensor(), processor.preprocess()
    tensor.set_element_type(dtypes.graph_type(steps.dtype)).set_layout(Layout(steps.layout))
    processor.model().set_layout(Layout(layout))
    if _COLORS[steps.color]:
        tensor.set_color_format(_COLORS[steps.color])
        chain.convert_color(ColorFormat.RGB)
    if steps.resize:
        tensor.set_spatial_dynamic_shape()
    chain.convert_element_type(working)
    if steps.resize:
        chain.resize(_RESIZE[steps.resize])
    for name in ("mean", "scale"):
        value = getattr(steps, name)
        if value is None:
            continue
        try:
            values = [float(value)]
        except TypeError:
            values = [float(one) for one in value]
        if len(values) != 1 and channels.is_static and len(values) != channels.get_length():
            raise ValueError(
                f"preprocessing {name} has {len(values)} numbers, "
                f"and the input {channels} channels."
            )
        getattr(chain, name)(values[0] if len(values) == 1 else values)
    if working != computed:
        chain.convert_element_type(computed)
