"""einops on tensors and variables: eagerly, in layers, with gradients, in any import order."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor

einops = pytest.importorskip("einops")
X = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")

CALLS = {
    "rearrange": lambda x: einops.rearrange(x, "b h w c -> b c (h w)"),
    "split": lambda x: einops.rearrange(x, "b (h p) (w q) c -> b (h w) (p q c)", p=2, q=3),
    "rename": lambda x: einops.rearrange(x, "... c -> c ..."),
    "list": lambda x: einops.rearrange([x, x], "n b h w c -> b (n h) w c"),
    "mean": lambda x: einops.reduce(x, "b h w c -> b c", "mean"),
    "max pool": lambda x: einops.reduce(x, "b (h p) (w q) c -> b h w c", "max", p=2, q=2),
    "min": lambda x: einops.reduce(x, "b h w c -> h", "min"),
    "sum": lambda x: einops.reduce(x, "b ... -> b", "sum"),
    "prod": lambda x: einops.reduce(x, "b h w c -> b h c", "prod"),
    "any": lambda x: einops.reduce(x > 1, "b h w c -> b h", "any"),
    "all": lambda x: einops.reduce(x > -1, "b h w c -> b h", "all"),
    "keep": lambda x: einops.reduce(x, "b h w c -> b 1 1 c", "sum"),
    "repeat": lambda x: einops.repeat(x, "b h w c -> b (h 2) w (r c)", r=3),
    "new axis": lambda x: einops.repeat(x, "b h w c -> b h w c n", n=2),
    "einsum": lambda x: einops.einsum(x, x, "b h w c, b h w d -> b c d"),
    "pack": lambda x: einops.pack([x, x[..., 0]], "b h *")[0],
    "unpack": lambda x: einops.unpack(x, [[2], [], [3]], "b h * c")[0],
}


@pytest.mark.parametrize("name", CALLS)
def test_tensors_eagerly_and_in_a_graph(name):
    call = CALLS[name]
    wanted = call(X)
    found = call(ops.convert_to_tensor(X))
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-5)
    found = kerasvino.jit(call)(X)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-5)


DYNAMIC = [name for name in CALLS if name != "unpack"]  # einops multiplies lengths as numbers


@pytest.mark.parametrize("name", DYNAMIC)
def test_unknown_lengths(name):
    call = CALLS[name]
    graph = trace(lambda x: [call(x)], [Spec((None, None, None, 3), "float32")])
    program = Program(graph, "CPU", {})
    for shape in ((2, 4, 6, 3), (1, 2, 12, 3)):
        data = np.random.default_rng(1).normal(size=shape).astype("float32")
        np.testing.assert_allclose(program([data])[0], call(data), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["split", "mean", "max pool", "repeat", "einsum", "pack"])
def test_gradients(name):
    call = CALLS[name]
    jax = pytest.importorskip("jax")
    found = kerasvino.grad(lambda x: ops.sum(ops.square(call(x))))(ops.convert_to_tensor(X))
    wanted = jax.grad(lambda x: (call(x) ** 2).sum())(jax.numpy.asarray(X))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_other_functions():
    x = ops.convert_to_tensor(X)
    assert einops.parse_shape(x, "b h _ c") == {"b": 2, "h": 4, "c": 3}
    assert isinstance(einops.asnumpy(x), np.ndarray)
    reduced = einops.reduce(x, "b h w c -> b c", lambda x, axes: ops.max(ops.abs(x), axis=axes))
    np.testing.assert_array_equal(reduced.numpy(), np.abs(X).max((1, 2)))
    with pytest.raises(einops.EinopsError, match="divide"):
        einops.rearrange(x, "b (h p) w c -> b h p w c", p=3)
    with pytest.raises(NotImplementedError, match="non-floating"):
        einops.reduce(ops.cast(x, "int32"), "b h w c -> b", "mean")


def test_variables():
    weight = keras.Variable(X)
    np.testing.assert_array_equal(
        einops.rearrange(weight, "b h w c -> (b h w) c").numpy(), X.reshape(-1, 3)
    )
    np.testing.assert_allclose(
        einops.reduce(weight, "b h w c -> c", "mean").numpy(), X.mean((0, 1, 2)), rtol=1e-5
    )


def test_a_layer_trains_and_is_exported(tmp_path):
    class Patches(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

        def call(self, x):
            x = x * einops.rearrange(self.scale, "c -> 1 1 1 c")
            return einops.rearrange(x, "b (h p) (w q) c -> b (h w) (p q c)", p=2, q=2)

    inputs = keras.Input((4, 6, 3))
    tokens = Patches()(inputs)
    assert tokens.shape == (None, 6, 12)
    outputs = keras.layers.Dense(2)(einops_mean()(tokens))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    before = model.layers[1].scale.numpy()
    model.fit(X, np.ones((2, 2), "float32"), verbose=0)
    assert (model.layers[1].scale.numpy() != before).all()
    for data in (X, X[:1], np.concatenate([X, X])):
        found = model.predict(data, verbose=0)
        np.testing.assert_allclose(found, model(data).numpy(), rtol=1e-5, atol=1e-6)
    model.export(tmp_path / "model.xml", format="openvino", verbose=False)


def einops_mean():
    class Mean(keras.layers.Layer):
        def call(self, x):
            return einops.reduce(x, "b t c -> b c", "mean")

    return Mean()


def test_layers_of_einops_for_keras():
    pytest.importorskip("tensorflow")
    layers = pytest.importorskip("einops.layers.keras")
    model = keras.Sequential(
        [
            keras.Input((4, 6, 3)),
            layers.Rearrange("b (h p) w c -> b h w (p c)", p=2),
            layers.Reduce("b h w c -> b h c", "mean"),
        ]
    )
    wanted = X.reshape(2, 2, 2, 6, 3).transpose(0, 1, 3, 2, 4).reshape(2, 2, 6, 6).mean(2)
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted, rtol=1e-5, atol=1e-6)


ORDERS = {
    "before": "import einops, kerasvino, keras",
    "between": "import kerasvino, einops, keras",
    "after": "import kerasvino, keras, einops",
    "late": "import kerasvino, keras; keras.ops.ones(1); import einops",
    "used before": (
        "import torch, einops, kerasvino, keras; einops.rearrange(torch.ones(2), 'a -> a 1')"
    ),
}


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_of_imports(order):
    program = f"""
{ORDERS[order]}
found = einops.rearrange(keras.ops.ones((2, 3)), "a b -> (a b)")
assert type(found).__module__ == "kerasvino.tensor", type(found)
assert found.shape == (6,)
import importlib
loader = importlib.import_module("einops._backends").__spec__.loader
assert type(loader).__module__ != "kerasvino.backend.extensions", loader
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_set_backend_of_keras():
    program = """
import kerasvino, keras, einops
einops.rearrange(keras.ops.ones((2, 3)), "a b -> (a b)")
keras.config.set_backend("openvino")
import keras
found = einops.rearrange(keras.ops.ones((2, 3)), "a b -> (a b)")
assert isinstance(found, type(keras.ops.ones(1)))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_no_other_library_is_imported_for_it():
    program = """
import sys, kerasvino, keras
keras.ops.convert_to_tensor([1.0]).sum()
loaded = {"einops", "torch", "tensorflow"} & sys.modules.keys()
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_einops_keeps_no_tensor_of_a_graph():
    import gc
    import weakref

    kept = []

    def function(x):
        kept.append(weakref.ref(ops.shape(x)[0]))
        return [einops.rearrange(x, "a b -> (a b)")]

    trace(function, [Spec((None, 3), "float32")])
    gc.collect()
    assert kept[0]() is None
