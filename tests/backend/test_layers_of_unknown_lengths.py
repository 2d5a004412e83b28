"""Layers in a graph that knows only the number of channels, against their eager results."""

import numpy as np
import pytest
from keras import layers, ops, tree

from tests.backend.forms import run
from tests.backend.samples import known

_rng = np.random.default_rng(3)


def _channels_last(*shape):
    return known(_rng.random(shape).astype("float32"), -1)


SERIES, IMAGE = _channels_last(2, 7, 3), _channels_last(2, 7, 9, 3)
VOLUME, VIDEO = _channels_last(1, 5, 6, 7, 2), _channels_last(2, 3, 5, 4, 3)
TOKENS = _rng.integers(0, 10, (2, 5)).astype("int32")
SOUND = _rng.normal(size=(2, 200)).astype("float32")


def _spatial(padding, strides):
    return {
        f"conv1d {padding} {strides}": (layers.Conv1D(4, 3, strides, padding), SERIES),
        f"conv2d {padding} {strides}": (layers.Conv2D(4, (2, 3), strides, padding), IMAGE),
        f"conv3d {padding} {strides}": (layers.Conv3D(2, 2, strides, padding), VOLUME),
        f"depthwise {padding} {strides}": (layers.DepthwiseConv2D(3, strides, padding), IMAGE),
        f"separable {padding} {strides}": (layers.SeparableConv2D(4, 3, strides, padding), IMAGE),
        f"transpose {padding} {strides}": (layers.Conv2DTranspose(4, 3, strides, padding), IMAGE),
        f"max {padding} {strides}": (layers.MaxPooling2D((2, 3), strides, padding), IMAGE),
        f"average {padding} {strides}": (layers.AveragePooling2D((2, 3), strides, padding), IMAGE),
    }


CASES = {
    **_spatial("same", 1), **_spatial("same", 2), **_spatial("valid", 3),
    "causal": (layers.Conv1D(4, 3, padding="causal", dilation_rate=2), SERIES),
    "global max": (layers.GlobalMaxPooling2D(), IMAGE),
    "global average": (layers.GlobalAveragePooling1D(keepdims=True), SERIES),
    "adaptive average": (layers.AdaptiveAveragePooling2D((2, 3)), IMAGE),
    "adaptive max": (layers.AdaptiveMaxPooling2D((2, 3)), IMAGE),
    "upsampling": (layers.UpSampling2D((2, 3)), IMAGE),
    "padding": (layers.ZeroPadding2D(((1, 2), (0, 3))), IMAGE),
    "cropping": (layers.Cropping2D(((1, 2), (0, 3))), IMAGE),
    "resizing": (layers.Resizing(5, 6), IMAGE),
    "resizing, smooth": (layers.Resizing(5, 6, "bicubic", antialias=True), IMAGE),
    "resizing, cropped": (layers.Resizing(5, 6, crop_to_aspect_ratio=True), IMAGE),
    "resizing, padded": (layers.Resizing(5, 6, pad_to_aspect_ratio=True), IMAGE),
    "layer normalization": (layers.LayerNormalization(), IMAGE),
    "batch normalization": (layers.BatchNormalization(), IMAGE),
    "group normalization": (layers.GroupNormalization(3), IMAGE),
    "unit normalization": (layers.UnitNormalization(), SERIES),
    "lstm": (layers.LSTM(4, return_sequences=True, return_state=True), SERIES),
    "gru": (layers.GRU(4, go_backwards=True), SERIES),
    "bidirectional": (layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True)), SERIES),
    "conv lstm": (layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True), VIDEO),
    "dense": (layers.Dense(4), SERIES),
    "einsum": (layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"), SERIES),
    "embedding": (layers.Embedding(10, 4), TOKENS),
    "flatten": (layers.Flatten(), SERIES),
    "reshape": (layers.Reshape((-1, 3)), IMAGE),
    "permute": (layers.Permute((2, 1)), SERIES),
    "softmax": (layers.Softmax(axis=1), SERIES),
    "mel spectrogram": (
        layers.MelSpectrogram(fft_length=64, sequence_stride=32, num_mel_bins=8), SOUND,
    ),
    "stft spectrogram": (
        layers.STFTSpectrogram(frame_length=32, frame_step=16, fft_length=32),
        known(SOUND[..., None], 2),
    ),
    "multi-hot": (layers.CategoryEncoding(10, "multi_hot"), TOKENS),
    "discretization": (layers.Discretization([0.0, 0.5]), SOUND),
}  # fmt: skip
JOINED = {
    "attention": layers.Attention(),
    "additive attention": layers.AdditiveAttention(),
    "concatenate": layers.Concatenate(1),
    "dot": layers.Dot(2),
    "add": layers.Add(),
}


def _same(function, x):
    eager, found = run("host", function, x), run("dynamic", function, x)
    eager, found = (r if isinstance(r, list) else [r] for r in (eager, found))
    for ours, theirs in zip(found, eager, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_layer(name):
    layer, x = CASES[name]
    layer(np.asarray(x))  # creates its variables
    _same(lambda x: [ops.convert_to_tensor(t) for t in tree.flatten(layer(x))], x)


@pytest.mark.parametrize("name", JOINED)
def test_layer_of_two(name):
    _same(lambda x: JOINED[name]([x, x]), SERIES)


@pytest.mark.parametrize("layer", [layers.MultiHeadAttention, layers.GroupQueryAttention])
def test_attention_of_heads(layer):
    heads = (2, 4) if layer is layers.MultiHeadAttention else (4, 4, 2)
    layer = layer(*heads)
    layer(np.asarray(SERIES), np.asarray(SERIES))
    _same(lambda x: layer(x, x, use_causal_mask=True), SERIES)
