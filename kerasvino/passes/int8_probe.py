"""A model that tells whether a device has kernels for 8-bit integers, and whether they are right.

Processors without instructions for products of bytes (AVX2 alone, or the first AVX512) add pairs of
such products in 16 bits, which do not hold the sums of large ones. OpenVINO runs its int8 kernels
there as well, and gives wrong numbers without a word.
"""

from __future__ import annotations

import numpy as np
from openvino import Model, PartialShape, Type
from openvino.op import Parameter

from kerasvino.graph.trace import constant_node
from kerasvino.nodes.lowering import const, convert, ov
from kerasvino.passes.compressed import Compressed
from kerasvino.passes.ranges import largest

__all__ = ["EXPECTED", "IMAGE", "INPUT", "expected_of_images", "model", "of_images"]

_WEIGHTS = np.where(np.arange(64) % 3 == 0, -127, 127).astype(np.int8) * np.ones((32, 1), np.int8)
INPUT = np.where(np.arange(64) % 5 == 0, -127, 127).astype(np.float32) * np.ones((8, 1), np.float32)
EXPECTED = INPUT @ _WEIGHTS.T.astype(np.float32)
_CHANNELS, _FILTERS = 64, 32
IMAGE = np.where(np.arange(8 * 8) % 5 == 0, 0, 255).reshape(1, 1, 8, 8).astype(np.float32)
IMAGE = IMAGE * np.ones((1, _CHANNELS, 1, 1), np.float32)


def model() -> Model:
    """`EXPECTED` from `INPUT`, by a product as `quantized_products` makes it for int8 kernels."""
    x = Parameter(Type.f32, PartialShape(list(INPUT.shape)))
    limits = [const(np.float32(v), Type.f32) for v in (-127, 127, -127, 127)]
    quantized = ov.fake_quantize(x, *limits, 255)
    weights, transposed = Compressed(_WEIGHTS).node()
    return Model([ov.matmul(quantized, weights, False, transposed).output(0)], [x])


def of_images(bits: int) -> Model:
    """Convolutions of `IMAGE` as `ranges` makes them for int8 kernels, and a product after them.

    Args:
        bits: of the weights, the largest ones of that many.
    """
    x = Parameter(Type.f32, PartialShape(list(IMAGE.shape)))
    limits = [const(np.float32(v), Type.f32) for v in (0, 255, 0, 255)]
    quantized = ov.fake_quantize(x, *limits, 256)
    quantized.set_friendly_name("quantized")
    results = []
    for weights in _kernels(bits):
        wide = convert(constant_node(weights, "int8").output(0), Type.f32)
        scale = np.ones((len(weights), 1, 1, 1), np.float32)
        kernel = ov.multiply(wide, const(scale, Type.f32))
        pads = [(weights.shape[-1] - 1) // 2] * 2
        found = ov.convolution(quantized, kernel, [1, 1], pads, pads, [1, 1])
        results.append(found.output(0))
    return Model(results, [x])


def _kernels(bits: int) -> list[np.ndarray]:
    most = largest(bits)
    signs = np.where(np.arange(_FILTERS) % 3 == 0, -most, most).reshape(-1, 1, 1, 1)
    return [(signs * np.ones((_FILTERS, _CHANNELS, size, size))).astype(np.int8) for size in (1, 3)]


def expected_of_images(bits: int) -> list[np.ndarray]:
    """What `of_images` is to compute of `IMAGE`, exactly."""
    found = []
    for weights in _kernels(bits):
        size = weights.shape[-1]
        pad = (size - 1) // 2
        padded = np.pad(IMAGE[0].sum(0), pad)  # all channels have the same weights
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size)).sum((-1, -2))
        found.append((windows * weights[:, 0, :1, :1].astype(np.float32))[None])
    return found
