"""A model that tells whether a device has kernels for bfloat16, and whether they are right.

Their sums are in float32: of the terms here each is lost in a sum of bfloat16, and all together are
not.
"""

from __future__ import annotations

import numpy as np
from openvino import Model, PartialShape, Type
from openvino.op import Parameter

from kerasvino.nodes.lowering import convert, ov

__all__ = ["EXPECTED", "INPUT", "model"]

INPUT = np.where(np.arange(65) == 0, 16, 1).astype(np.float32) * np.ones((32, 1), np.float32)
EXPECTED = INPUT @ INPUT.T  # 256 and 64 times 1, where bfloat16 has no 257


def model() -> Model:
    """`EXPECTED` from `INPUT`, by a product of bfloat16 by its own transpose."""
    x = Parameter(Type.f32, PartialShape(list(INPUT.shape)))
    narrow = convert(x.output(0), Type.bf16)
    product = ov.matmul(narrow, narrow, False, True)
    return Model([convert(product.output(0), Type.f32)], [x])
