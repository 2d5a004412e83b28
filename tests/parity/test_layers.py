"""Keras's layers, exported with a batch and lengths that stay open, against a call on tensors."""

import keras
import numpy as np
import openvino
import pytest
from keras import layers as L

from kerasvino.export import convert

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SEQUENCE, IMAGE, VOLUME = (7, 4), (9, 8, 3), (5, 6, 7, 2)
SPATIAL = {1: SEQUENCE, 2: IMAGE, 3: VOLUME}

# name: (layer or function of Inputs, shapes without the batch, axes of them that stay open,
# limit of integers to take instead of floats)
CASES = {}


def case(name, make, *shapes, open_axes=(), below=None):
    assert name not in CASES
    CASES[name] = make, shapes, open_axes, below


for padding in ("same", "valid"):
    for strides in (1, 2):
        options = {"strides": strides, "padding": padding}
        for rank, shape in SPATIAL.items():
            kind, free = f"{rank}D", (0,) if rank < 3 else ()
            label = f"{kind} {padding} {strides}"
            case(f"Conv{label}", getattr(L, f"Conv{kind}")(5, 2, **options), shape, open_axes=free)
            transposed = getattr(L, f"Conv{kind}Transpose")(5, 3, **options)
            case(f"Conv{label} transposed", transposed, shape, open_axes=free)
            for name in ("MaxPooling", "AveragePooling"):
                pooling = getattr(L, f"{name}{kind}")(2, **options)
                case(f"{name}{label}", pooling, shape, open_axes=free)
            if rank < 3:
                for name in ("SeparableConv", "DepthwiseConv"):
                    arguments = (5, 3) if name == "SeparableConv" else (3,)
                    convolution = getattr(L, f"{name}{kind}")(*arguments, **options)
                    case(f"{name}{label}", convolution, shape, open_axes=free)
case("Conv1D causal", L.Conv1D(5, 3, padding="causal", dilation_rate=2), SEQUENCE, open_axes=(0,))
for rank, shape in ((1, (7, 1)), (2, (7, 8, 1))):
    convolution = getattr(L, f"Conv{rank}D")(1, 3, padding="same")
    residual = lambda x, convolution=convolution: L.Add()([convolution(x), x])
    case(f"one channel, residual {rank}D", residual, shape, open_axes=(0,))
for rank, shape in SPATIAL.items():
    kind = f"{rank}D"
    for name in ("GlobalMaxPooling", "GlobalAveragePooling"):
        case(f"{name}{kind}", getattr(L, name + kind)(), shape, open_axes=(0,))
    for name, argument in (("ZeroPadding", 2), ("Cropping", 1), ("UpSampling", 2)):
        case(f"{name}{kind}", getattr(L, name + kind)(argument), shape)
    for channels in (1, shape[-1]):
        frames = (4, *shape[:-1], channels)
        layer = getattr(L, f"ConvLSTM{kind}")(3, 2, padding="same", return_sequences=True)
        case(f"ConvLSTM{kind} of {channels}", layer, frames, open_axes=(0,))

for name in ("BatchNormalization", "LayerNormalization", "UnitNormalization", "RMSNormalization"):
    case(name, getattr(L, name)(), IMAGE, open_axes=(0, 1))
case("GroupNormalization", L.GroupNormalization(2), (5, 6, 4))
case("instance normalization", L.GroupNormalization(-1), (5, 6, 4), open_axes=(0, 1))

for name in ("LSTM", "GRU", "SimpleRNN"):
    layer = getattr(L, name)
    for sequences in (True, False):
        options = {"return_sequences": sequences}
        label = f"{name} {'sequences' if sequences else 'last'}"
        case(label, layer(5, return_state=True, **options), SEQUENCE, open_axes=(0,))
        case(f"{label} backwards", layer(5, go_backwards=True, **options), SEQUENCE, open_axes=(0,))
        both = L.Bidirectional(layer(5, **options))
        case(f"{label} both", both, SEQUENCE, open_axes=(0,))
    masked = lambda x, layer=layer: layer(5)(L.Embedding(6, 4, mask_zero=True)(x))
    case(f"{name} masked", masked, (7,), open_axes=(0,), below=6)
case("GRU, reset before", L.GRU(5, reset_after=False), SEQUENCE)
case("TimeDistributed", L.TimeDistributed(L.Conv2D(3, 3)), (4, *IMAGE))

case("MultiHeadAttention", lambda x: L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
     SEQUENCE, open_axes=(0,))  # fmt: skip
case("GroupQueryAttention", lambda x: L.GroupQueryAttention(3, 4, 2)(x, x), SEQUENCE,
     open_axes=(0,))  # fmt: skip
case("Attention", L.Attention(), SEQUENCE, (5, 4), open_axes=(0,))
case("AdditiveAttention", L.AdditiveAttention(), SEQUENCE, (5, 4), open_axes=(0,))
for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
    case(name, getattr(L, name)(), (4, 5), (4, 5), open_axes=(0,))
case("Dot", L.Dot(axes=2), (4, 5), (6, 5), open_axes=(0,))
case("EinsumDense", L.EinsumDense("abc,cd->abd", (None, 6)), SEQUENCE, open_axes=(0,))
case("Embedding", L.Embedding(9, 3), (7,), open_axes=(0,), below=9)
case("CategoryEncoding", L.CategoryEncoding(6, output_mode="multi_hot"), (4,), below=6)
case("Discretization", L.Discretization([-1.0, 0.0, 1.0]), (4,))
for method in ("bilinear", "nearest", "bicubic"):
    case(f"Resizing {method}", L.Resizing(5, 11, interpolation=method), IMAGE)
case("Resizing, cropped", L.Resizing(5, 11, crop_to_aspect_ratio=True), IMAGE)
case("Resizing, padded", L.Resizing(5, 11, pad_to_aspect_ratio=True), IMAGE)
case("CenterCrop", L.CenterCrop(4, 5), IMAGE)
case("STFTSpectrogram", L.STFTSpectrogram(frame_length=8, frame_step=4), (40, 1))
case("Reshape", L.Reshape((-1, 2)), (6, 4))
case("Permute", L.Permute((2, 1)), SEQUENCE, open_axes=(0,))
case("Flatten", L.Flatten(), IMAGE)
case("RepeatVector", L.RepeatVector(3), (4,))
case("PReLU", L.PReLU(shared_axes=[1, 2]), IMAGE, open_axes=(0, 1))
case("Softmax", L.Softmax(axis=1), SEQUENCE, open_axes=(0,))


@pytest.mark.parametrize("name", CASES)
def test_exported_with_open_lengths(name):
    make, shapes, open_axes, below = CASES[name]
    random = np.random.default_rng(1)
    arrays = [
        random.integers(0, below, (3, *shape)).astype("int32")
        if below
        else random.standard_normal((3, *shape)).astype("float32")
        for shape in shapes
    ]
    inputs = [
        L.Input([None if i in open_axes else n for i, n in enumerate(s)], dtype=a.dtype.name)
        for s, a in zip(shapes, arrays, strict=True)
    ]
    model = keras.Model(inputs, make(inputs if len(inputs) > 1 else inputs[0]))
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(np.abs(random.standard_normal(weight.shape)) * 0.3 + 0.1)
    expected = keras.tree.flatten(model(arrays, training=False))
    core = openvino.Core()
    run = core.compile_model(convert(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = run(dict(enumerate(arrays)))
    assert len(results) == len(expected)
    for index, value in enumerate(expected):
        np.testing.assert_allclose(results[index], value, rtol=1e-4, atol=1e-4)
