"""Arrays of other libraries: converted, as arguments of operations, as data of models."""

import array
import math

import keras
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
from keras import ops

import kerasvino
from kerasvino.tensor import Tensor

torch = pytest.importorskip("torch")
X = np.arange(6, dtype="float32").reshape(2, 3) / 4


def _jax(dtype):
    jnp = pytest.importorskip("jax.numpy")
    return jnp.asarray(X, dtype)


def _tensorflow(make):
    return make(pytest.importorskip("tensorflow"))


def _picture():
    from PIL import Image

    return Image.fromarray(np.arange(24, dtype="uint8").reshape(2, 4, 3))


def _scipy(name):
    import scipy.sparse

    return getattr(scipy.sparse, name)(np.eye(2, 3))


# What is given, the dtype it becomes, its values.
GIVEN = {
    "torch": (lambda: torch.tensor(X), "float32", X),
    "torch bfloat16": (lambda: torch.tensor(X).bfloat16(), "bfloat16", X),
    "torch float16": (lambda: torch.tensor(X).half(), "float16", X),
    "torch float8": (lambda: torch.tensor(X).to(torch.float8_e4m3fn), "float8_e4m3fn", X),
    "torch float8 e5m2": (lambda: torch.tensor(X).to(torch.float8_e5m2), "float8_e5m2", X),
    "torch float64": (lambda: torch.tensor(X).double(), "float64", X),
    "torch int64": (lambda: torch.tensor([2**40]), "int64", [2**40]),
    "torch uint8": (lambda: torch.tensor([200], dtype=torch.uint8), "uint8", [200]),
    "torch bool": (lambda: torch.tensor([True, False]), "bool", [True, False]),
    "torch complex": (lambda: torch.tensor([1 + 2j]), "complex64", [1 + 2j]),
    "torch conjugate": (lambda: torch.tensor([1 + 2j]).conj(), "complex64", [1 - 2j]),
    "torch negative": (lambda: torch.tensor([1 + 2j]).conj().imag, "float32", [-2]),
    "torch gradient": (lambda: torch.tensor(X, requires_grad=True), "float32", X),
    "torch result": (lambda: torch.tensor(X, requires_grad=True) * 2, "float32", X * 2),
    "torch parameter": (lambda: torch.nn.Parameter(torch.tensor(X).bfloat16()), "bfloat16", X),
    "torch strided": (lambda: torch.tensor(X).T, "float32", X.T),
    "torch strided bfloat16": (lambda: torch.tensor(X).bfloat16().T, "bfloat16", X.T),
    "torch rank 0": (lambda: torch.tensor(2.5).bfloat16(), "bfloat16", 2.5),
    "torch empty": (lambda: torch.zeros(0, 3).bfloat16(), "bfloat16", np.zeros((0, 3))),
    "jax": (lambda: _jax("float32"), "float32", X),
    "jax bfloat16": (lambda: _jax("bfloat16"), "bfloat16", X),
    "jax int32": (lambda: _jax("int32"), "int32", X.astype("int32")),
    "tensorflow": (lambda: _tensorflow(lambda tf: tf.constant(X)), "float32", X),
    "tensorflow bfloat16": (
        lambda: _tensorflow(lambda tf: tf.cast(X, "bfloat16")), "bfloat16", X),
    "tensorflow variable": (lambda: _tensorflow(lambda tf: tf.Variable(X)), "float32", X),
    "tensorflow strings": (lambda: _tensorflow(lambda tf: tf.constant(["a"])), "string", [b"a"]),
    "series": (lambda: pd.Series([1.5, 2.5]), "float64", [1.5, 2.5]),
    "series of nullable integers": (lambda: pd.Series([1, 2], dtype="Int64"), "int64", [1, 2]),
    "frame": (lambda: pd.DataFrame({"a": [1, 2], "b": [0.5, 1]}), "float64", [[1, 0.5], [2, 1]]),
    "frame of objects": (
        lambda: pd.DataFrame({"a": [1, 2], "b": [True, 2.5]}).astype(object),
        "float64", [[1, 1], [2, 2.5]]),
    "frame of strings": (lambda: pd.DataFrame({"a": ["x", "y"]}), "string", [["x"], ["y"]]),
    "picture": (_picture, "uint8", np.arange(24).reshape(2, 4, 3)),
    "pictures": (lambda: [_picture(), _picture()], "uint8",
                 np.stack([np.arange(24).reshape(2, 4, 3)] * 2)),
    "array": (lambda: array.array("h", [1, -2]), "int16", [1, -2]),
    "memoryview": (lambda: memoryview(X), "float32", X),
    "objects": (lambda: np.array([1, 2.5], dtype=object), "float64", [1, 2.5]),
    "big-endian": (lambda: X.astype(">f4"), "float32", X),
    "backwards": (lambda: X[::-1, ::-1], "float32", X[::-1, ::-1]),
    "list of torch": (lambda: [torch.tensor(X).bfloat16(), torch.tensor(X)], "float32", [X, X]),
    "list of gradients": (lambda: [torch.tensor(1.0, requires_grad=True), 2], "float32", [1, 2]),
    "list of jax": (lambda: [_jax("bfloat16"), _jax("bfloat16")], "bfloat16", [X, X]),
    "mixed list": (lambda: [torch.tensor(X), _jax("float32"), X, ops.array(X)], "float32", [X] * 4),
    "nested": (lambda: [[torch.tensor(1), 2], [3, np.int32(4)]], "int64", [[1, 2], [3, 4]]),
}  # fmt: skip


@pytest.mark.parametrize("name", GIVEN)
def test_conversion(name):
    make, dtype, values = GIVEN[name]
    given = make()
    found = ops.convert_to_tensor(given)
    assert isinstance(found, Tensor)
    assert found.dtype == dtype
    if dtype == "string":
        assert found.tolist() == values
        return
    wide = np.complex128 if "complex" in dtype else np.float64
    np.testing.assert_array_equal(found.numpy().astype(wide), values)
    array = ops.convert_to_numpy(given)
    assert array.flags.writeable
    np.testing.assert_array_equal(array.astype(wide), values)
    if dtype != "complex64":
        assert ops.convert_to_tensor(given, "float32").dtype == "float32"


def test_the_memory_is_not_shared():
    for given in (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)):
        found = ops.convert_to_tensor(given)
        given += 1
        assert found.tolist() == [0, 0]
    found = ops.convert_to_tensor(np.zeros(2, "float32"))
    for other in (torch.as_tensor(found), torch.from_dlpack(found), torch.tensor(found)):
        other += 1
        assert found.tolist() == [0, 0]


REFUSED = {
    "scipy matrix": (lambda: _scipy("csr_matrix"), "toarray"),
    "scipy array": (lambda: _scipy("coo_array"), "toarray"),
    "torch sparse": (lambda: torch.eye(2).to_sparse(), "to_dense"),
    "torch quantized": (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
                        "dequantize"),
    "torch dtype": (lambda: torch.ones(2, dtype=torch.float8_e4m3fnuz), "float8_e4m3fnuz"),
    "missing values": (lambda: pd.Series([1, None], dtype="Int64").astype(object), "NA"),
    "dates": (lambda: pd.Series(pd.to_datetime(["2020-01-01"])), "datetime64"),
    "objects": (lambda: np.array([1, object()], dtype=object), "object"),
    "large integers": (lambda: np.array([1, 2**70], dtype=object), "int"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_what_to_give(name):
    make, words = REFUSED[name]
    with pytest.raises(TypeError, match=words):
        ops.convert_to_tensor(make())


OPERANDS = {
    "torch": lambda: torch.tensor(X),
    "torch bfloat16": lambda: torch.tensor(X).bfloat16(),
    "torch gradient": lambda: torch.tensor(X, requires_grad=True),
    "jax": lambda: _jax("float32"),
    "numpy": lambda: X,
    "frame": lambda: pd.DataFrame(X),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_operands(name):
    other, x = OPERANDS[name](), ops.convert_to_tensor(X)
    np.testing.assert_array_equal(ops.add(other, 1).numpy(), X + 1)
    np.testing.assert_array_equal(ops.multiply(x, other).numpy(), X * X)
    result = x + other
    assert isinstance(result, Tensor)
    np.testing.assert_array_equal(result.numpy(), X + X)
    if name != "frame":  # pandas computes with what it takes for an array
        result = other + x
        assert isinstance(result, Tensor)
        np.testing.assert_array_equal(result.numpy(), X + X)
        np.testing.assert_array_equal((other @ x.T).numpy(), X @ X.T)
        assert (other == x).numpy().all()
    assert (x <= other).numpy().all()
    traced = kerasvino.jit(lambda x: x + other)(X)
    np.testing.assert_array_equal(traced.numpy(), X + X)


DATA = {
    **OPERANDS,
    "torch float8": lambda: torch.tensor(X).to(torch.float8_e4m3fn),
    "torch strided": lambda: torch.tensor(X.T.copy()).T,
    "torch integers": lambda: torch.tensor(X).int(),
    "jax bfloat16": lambda: _jax("bfloat16"),
    "tensorflow": lambda: _tensorflow(lambda tf: tf.constant(X)),
    "tensor": lambda: ops.convert_to_tensor(X),
    "sparse": lambda: __import__("scipy.sparse").sparse.csr_matrix(X),
}


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("name", DATA)
def test_models_take_them(name, model):
    data = DATA[name]()
    known = X.astype("int32") if name == "torch integers" else X
    wanted = known @ model.layers[-1].kernel.numpy() + model.layers[-1].bias.numpy()
    for found in (model.predict(data, verbose=0), model.predict_on_batch(data)):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    if name != "sparse":  # no layer of Keras's takes them
        np.testing.assert_allclose(model(data).numpy(), wanted, rtol=1e-5, atol=1e-6)
        found = kerasvino.jit(model)(data).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    y = np.ones((2, 2), "float32")
    loss = ((wanted - y) ** 2).mean()
    assert math.isclose(model.test_on_batch(data, y), loss, rel_tol=1e-4)
    assert math.isclose(model.evaluate(data, y, verbose=0), loss, rel_tol=1e-4)
    weights = model.get_weights()
    model.train_on_batch(data, y)
    model.fit(data, y, verbose=0)
    model.set_weights(weights)


def test_targets_of_other_libraries(model):
    weights = model.get_weights()
    for y in (torch.ones(2, 2, dtype=torch.bfloat16), torch.ones(2, 2, requires_grad=True)):
        assert np.isfinite(model.train_on_batch(X, y))
        assert np.isfinite(model.test_on_batch(X, y, sample_weight=torch.ones(2)))
        model.fit(X, y, verbose=0)
    model.set_weights(weights)


def test_jit_traces_them_and_keeps_numbers_static():
    traced = []

    @kerasvino.jit
    def function(x, n):
        traced.append(n)
        return x * n

    for scale in (1.0, 2.0):
        for make in (OPERANDS["torch bfloat16"], OPERANDS["jax"]):
            found = function({"x": make()}["x"] * scale, np.int64(3))
            np.testing.assert_array_equal(found.numpy().astype("float32"), X * scale * 3)
    assert traced == [3, 3]  # one for each dtype


def test_dlpack():
    x = ops.convert_to_tensor(X)
    assert x.__dlpack_device__() == (1, 0)
    for keywords in ({}, {"copy": True}, {"device": "cpu"}):
        np.testing.assert_array_equal(np.from_dlpack(x, **keywords), X)
        np.testing.assert_array_equal(torch.from_dlpack(x, **keywords).numpy(), X)
    for keywords in ({"stream": None}, {"max_version": (1, 0)}, {"dl_device": (1, 0)}):
        assert "dltensor" in repr(x.__dlpack__(**keywords))
    with pytest.raises(BufferError, match="copies"):
        np.from_dlpack(x, copy=False)
    with pytest.raises(BufferError):
        x.__dlpack__(dl_device=(2, 0))
    narrow = ops.cast(x, "bfloat16")
    with pytest.raises(BufferError, match=r"torch\.bfloat16"):
        torch.from_dlpack(narrow)
    bits = torch.from_numpy(ops.convert_to_numpy(narrow).view("int16")).view(torch.bfloat16)
    assert bits.tolist() == narrow.tolist()


def test_only_dlpack():
    class Foreign:
        def __dlpack__(self, **keywords):
            return X.copy().__dlpack__(**keywords)

        def __dlpack_device__(self):
            return X.__dlpack_device__()

    np.testing.assert_array_equal(ops.convert_to_tensor(Foreign()).numpy(), X)
    np.testing.assert_array_equal(ops.convert_to_tensor([Foreign(), X]).numpy(), [X, X])


def test_bfloat16_keeps_its_bits():
    values = np.arange(2**16, dtype="uint16").view(ml_dtypes.bfloat16)
    given = torch.from_numpy(values.view("int16").copy()).view(torch.bfloat16)
    assert ops.convert_to_tensor(given).numpy().tobytes() == values.tobytes()
