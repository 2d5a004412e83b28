"""Dense layers over several axes, as the plain products that plugins know.

Keras's EinsumDense reshapes its kernel to a matrix, multiplies, reshapes the result and adds a bias
of that shape. Here the matrix is a Constant itself, which is packed once and can be compressed, and
the bias is added before the result is reshaped, so that the product takes it in.
"""

from __future__ import annotations

import numpy as np
from openvino import Output

from kerasvino.nodes.lowering import const, dims, ov
from kerasvino.passes import constants
from kerasvino.passes.compressed import is_compressed
from kerasvino.passes.patterns import Rule, node, value

__all__ = ["RULES"]

_product, _shape, _bias = node("MatMul", value(), value()), value(), value()
_reshaped = node("Reshape", _product, _shape)


def _folded(found, scope) -> bool | None:
    """Gives a product its weights as a Constant, where a Reshape makes them of one."""
    port = found.root.input(1)
    source = port.get_source_output()
    if source.get_node().get_type_name() != "Reshape" or is_compressed(source):
        return None
    return constants.fold_inputs(found.root, scope) or None


def _biased(found, scope) -> Output | None:
    """Adds a bias to a product instead of to its last axis in parts."""
    product, reshaped, shape = found[_product], found[_reshaped], found[_shape]
    bias = constants.value(found[_bias], scope)
    width = dims(product)[-1]
    if bias is None or width is None:
        return None
    parts = dims(reshaped)
    count = len(parts) - len(dims(product)) + 1  # of the axes that the last one is divided into
    if count < 2 or None in parts[-count:] or int(np.prod(parts[-count:])) != width:
        return None
    if bias.ndim > len(parts) or bias.shape[-count:] != tuple(parts[-count:]):
        return None
    if bias.size != width:
        return None
    flat = bias.reshape([1] * (len(dims(product)) - 1) + [width])
    biased = ov.add(product, const(flat, product)).output(0)
    result = ov.reshape(biased, shape, reshaped.get_node().get_attributes()["special_zero"])
    return result.output(0)


RULES = (
    Rule(_product, _folded, closed=False),
    Rule(_reshaped + _bias, _biased),
)
