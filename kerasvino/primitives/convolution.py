"""Primitives `conv` and `conv_transpose`, channels first, in one to three spatial axes.

Neither has a host form: on concrete tensors each runs as a compiled one-primitive program. Their
gradients are in `convolution_gradient`.
"""

from __future__ import annotations

from kerasvino.nodes.lowering import (
    dims,
    element,
    ints,
    is_integer,
    ov,
)
from kerasvino.primitives.core import Primitive
from kerasvino.primitives.matmul import integer_product

__all__ = ["conv", "conv_transpose"]


def _grouped(kernel, groups):
    """A kernel (O, I, ...) as (groups, O / groups, I, ...), which GroupConvolution takes."""
    outputs, *rest = dims(kernel)
    return ov.reshape(kernel, ints([groups, outputs // groups, *rest]), special_zero=False)


def _lower_conv(x, kernel, *, strides, padding, dilation, groups):
    same = padding == "same"
    begins, ends = ([0] * len(strides),) * 2 if same else map(list, zip(*padding, strict=True))
    mode = "same_upper" if same else "explicit"

    def operation(x, kernel):
        arguments = list(strides), begins, ends, list(dilation), mode
        if groups == 1 and len(strides) == 1 and dims(kernel)[1] == 1 and None in dims(x):
            # With dynamic shapes the CPU plugin loses what is added to this one, not to a plane.
            plane = [ov.unsqueeze(operand, ints([2])) for operand in (x, kernel)]
            arguments = [1, *strides], [0, *begins], [0, *ends], [1, *dilation], mode
            return ov.squeeze(ov.convolution(*plane, *arguments), ints([2]))
        if groups == 1:
            return ov.convolution(x, kernel, *arguments)
        return ov.group_convolution(x, _grouped(kernel, groups), *arguments)

    if is_integer(x):
        terms = 1
        for length in dims(kernel)[1:]:
            terms *= length
        return integer_product(x, kernel, element(x), terms, operation)
    return operation(x, kernel)


# x (N, C, spatial...), kernel (O, C / groups, spatial...); strides, dilation: an int for each
# spatial axis; padding: (before, after) for each, or "same": as much as gives ceil(n / stride)
# outputs, the odd one after (for axes whose length is not known). Integers wrap.
conv = Primitive("conv", lower=_lower_conv, wide="lower")


def _lower_conv_transpose(x, kernel, *, strides, padding, output_padding, dilation, groups):
    begins, ends = map(list, zip(*padding, strict=True))
    arguments = list(strides), None, begins, ends, list(dilation), "explicit", list(output_padding)

    def operation(x, kernel):
        if groups == 1:
            return ov.convolution_backprop_data(x, kernel, *arguments)
        return ov.group_convolution_backprop_data(x, _grouped(kernel, groups), *arguments)

    if is_integer(x):
        terms = dims(kernel)[0] // groups
        for length in dims(kernel)[2:]:
            terms *= length
        return integer_product(x, kernel, element(x), terms, operation)
    return operation(x, kernel)


# The adjoint of conv in x: x (N, I, spatial...), kernel (I, O / groups, spatial...); result
# (n - 1) * stride + (k - 1) * dilation + 1 long on each axis, less `padding` cropped (before,
# after), plus `output_padding` after.
conv_transpose = Primitive("conv_transpose", lower=_lower_conv_transpose, wide="lower")
