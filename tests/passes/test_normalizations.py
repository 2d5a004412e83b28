"""Normalizations become one MVN node, with the same results, where the plugin has a kernel."""

import numpy as np
import pytest
from keras import layers, ops

from kerasvino.autodiff import pullback, watch
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(2, 3, shape).astype("float32")


def compiled(function, arrays, shapes=None):
    """A program of `function` for these shapes, and the kinds of its nodes as they run."""
    shapes = shapes or [a.shape for a in arrays]
    specs = [Spec(s, str(a.dtype)) for s, a in zip(shapes, arrays, strict=True)]
    graph = trace(function, specs)
    names = [v._value._array for v in graph.reads]
    program = Program(graph, "CPU", dict(enumerate(names)))
    kinds = [str(n.get_rt_info()["layerType"].astype(str)) for n in _nodes(program)]
    return program, kinds


def _nodes(program):
    return program.runtime_model.get_ordered_ops()


def layer(kind, shape, **arguments):
    made = kind(**arguments)
    made.build((None, *shape[1:]))
    for index, weight in enumerate(made.weights):
        weight.assign(normal(*weight.shape, seed=index))
    return made


def norm(**arguments):
    return lambda shape: layer(layers.LayerNormalization, shape, **arguments)


def by_hand(x):
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    return centred * ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + 1e-3)


def of_316(scaled=True):
    """As Keras 3.16 writes it: the difference from the mean is computed twice."""

    def make(shape):
        scale, shift = (normal(shape[-1], seed=s) if scaled else None for s in (1, 2))

        def normalize(x):
            mean, variance = ops.moments(x, axes=[-1], keepdims=True)
            gain = ops.rsqrt(variance + 1e-3)
            if not scaled:
                return (x - mean) * gain
            return (x - mean) * (gain * scale) + shift

        return normalize

    return make


FUSED = {
    "last": ((2, 5, 16), norm()),
    "matrix": ((3, 16), norm()),
    "image": ((2, 5, 6, 16), norm()),
    "unscaled": ((2, 5, 16), norm(scale=False)),
    "uncentred": ((2, 5, 16), norm(center=False)),
    "plain": ((2, 5, 16), norm(center=False, scale=False)),
    "two": ((2, 5, 16), norm(axis=(1, 2))),
    "volume": ((2, 3, 4, 5, 6), norm()),
    "by hand": ((2, 5, 16), lambda shape: by_hand),
    "of Keras 3.16": ((2, 5, 16), of_316()),
    "of Keras 3.16, plain": ((2, 5, 16), of_316(scaled=False)),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", FUSED)
def test_normalization_is_one_node(name, dynamic):
    shape, make = FUSED[name]
    function, x = make(shape), normal(*shape)
    unknown = (None,) + (shape[1:] if name == "two" else (None,) * (len(shape) - 2) + shape[-1:])
    program, kinds = compiled(lambda x: [function(x)], [x], [unknown if dynamic else shape])
    assert kinds.count("MVN") == 1
    assert "Reduce" not in kinds
    (found,) = program([x])
    np.testing.assert_allclose(found, function(Tensor(x)), rtol=1e-4, atol=2e-5)
    if dynamic:
        (found,) = program([x[:0]])
        assert found.shape == (0, *shape[1:])


@pytest.mark.parametrize("make", [norm(), of_316()], ids=["layer", "of Keras 3.16"])
def test_normalization_between_a_convolution_and_a_dense_layer(make):
    """As in ConvNeXt: the image turned to channels last for the dense layer is normalized so."""
    shape = (1, 6, 7, 8)
    convolve = layer(layers.DepthwiseConv2D, shape, kernel_size=3, padding="same")
    normalize, dense = make(shape), layer(layers.Dense, shape, units=5)
    x = normal(*shape)
    program, kinds = compiled(lambda x: [dense(normalize(convolve(x)))], [x])
    assert kinds.count("MVN") == 1
    assert "Reduce" not in kinds
    wanted = dense(normalize(convolve(x)))
    np.testing.assert_allclose(program([x])[0], wanted, rtol=1e-4, atol=1e-4)


def test_between_convolutions_nothing_is_transposed_for_it():
    shape = (1, 6, 7, 8)
    first, second = (layer(layers.Conv2D, shape, filters=8, kernel_size=3) for _ in range(2))
    normalize, x = layer(layers.LayerNormalization, shape), normal(*shape)
    program, kinds = compiled(lambda x: [second(normalize(first(x)))], [x])
    assert "MVN" not in kinds
    wanted = second(normalize(first(x)))
    np.testing.assert_allclose(program([x])[0], wanted, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_what_a_gradient_uses_is_kept(dynamic):
    normalize, x, g = norm()((2, 5, 16)), normal(2, 5, 16), normal(2, 5, 16, seed=1)

    def function(x, g):
        x = watch(x)
        y = normalize(x)
        return [y, *pullback([y], [g], [x])]

    shapes = [(None, None, 16)] * 2 if dynamic else None
    program, kinds = compiled(function, [x, g], shapes)
    assert "MVN" not in kinds
    for found, wanted in zip(program([x, g]), function(Tensor(x), Tensor(g)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)


def test_statistics_that_are_results_as_well_are_kept():
    x = normal(2, 5, 16)

    def function(x):
        mean, variance = ops.moments(x, axes=[-1], keepdims=True)
        inverse = ops.rsqrt(variance + 1e-3)
        return [x * inverse - mean * inverse, (x - mean) * inverse, mean, inverse]

    program, _ = compiled(function, [x])
    for found, wanted in zip(program([x]), function(Tensor(x)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: layer(layers.GroupNormalization, shape, groups=4),
        lambda shape: layer(layers.LayerNormalization, shape, axis=1),
        lambda shape: layer(layers.LayerNormalization, shape, axis=(1, 3)),
        lambda shape: layer(layers.UnitNormalization, shape),
        lambda shape: lambda x: ops.normalize(x - ops.mean(x, -1, keepdims=True)),
        lambda shape: lambda x: x * ops.rsqrt(ops.var(x, -1, keepdims=True) + 1e-3),
        # another mean, another axis, another tensor than those of the variance
        lambda shape: lambda x: (x - ops.mean(x)) * ops.rsqrt(ops.var(x, -1, keepdims=True) + 1),
        lambda shape: (
            lambda x: (
                (x - ops.mean(x, 1, keepdims=True)) * ops.rsqrt(ops.var(x, -1, keepdims=True) + 1)
            )
        ),
        lambda shape: (
            lambda x: (
                (x + 1 - ops.mean(x, -1, keepdims=True))
                * ops.rsqrt(ops.var(x, -1, keepdims=True) + 1)
            )
        ),
    ],
)
def test_other_normalizations_are_left_as_they_are(make):
    shape = (2, 5, 6, 8)
    function, x = make(shape), normal(*shape)
    program, kinds = compiled(lambda x: [function(x)], [x])
    assert "MVN" not in kinds
    np.testing.assert_allclose(program([x])[0], function(Tensor(x)), rtol=1e-4, atol=2e-5)
