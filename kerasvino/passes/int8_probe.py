"""A model that tells whether a device has kernels for 8-bit integers, and whether they are right.

Processors without instructions for products of bytes (AVX2 alone, or the first AVX512) add pairs of
such products in 16 bits, which do not hold the sums of large ones. OpenVINO runs its int8 kernels
there as well, and gives wrong numbers without a word.
"""

from __future__ import annotations

import numpy as np
from openvino import Model, PartialShape, Type
from openvino.op import Parameter

from kerasvino.nodes.lowering import const, ov
from kerasvino.passes.compressed import Compressed

__all__ = ["EXPECTED", "INPUT", "model"]

_WEIGHTS = np.where(np.arange(64) % 3 == 0, -127, 127).astype(np.int8) * np.ones((32, 1), np.int8)
INPUT = np.where(np.arange(64) % 5 == 0, -127, 127).astype(np.float32) * np.ones((8, 1), np.float32)
EXPECTED = INPUT @ _WEIGHTS.T.astype(np.float32)


def model() -> Model:
    """`EXPECTED` from `INPUT`, by a product as `quantized_products` makes it for int8 kernels."""
    x = Parameter(Type.f32, PartialShape(list(INPUT.shape)))
    limits = [const(np.float32(v), Type.f32) for v in (-127, 127, -127, 127)]
    quantized = ov.fake_quantize(x, *limits, 255)
    weights, transposed = Compressed(_WEIGHTS).node()
    return Model([ov.matmul(quantized, weights, False, transposed).output(0)], [x])
