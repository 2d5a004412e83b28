"""The cache of compiled programs: hits, other weights, damaged blobs."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino.runtime import blobs, cache, config, devices
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor


@pytest.fixture
def compiles(monkeypatch):
    count = []
    original = cache.compile_graph
    monkeypatch.setattr(cache, "compile_graph", lambda *a: (count.append(1), original(*a))[1])
    return count


def network(seed):
    random = np.random.default_rng(seed)
    kernel = keras.Variable(random.normal(size=(3, 3, 2, 8)).astype("float32"))
    return Function(lambda x: [ops.relu(ops.conv(x, kernel, padding="same"))]), kernel


X = Tensor(np.random.default_rng(9).normal(size=(1, 8, 8, 2)).astype("float32"))


def test_an_equal_model_is_not_compiled_again(folder, compiles):
    first = network(1)[0](X)[0].numpy()
    assert len(compiles) == 1
    np.testing.assert_array_equal(network(1)[0](X)[0], first)
    assert len(compiles) == 1
    assert len(list(folder.glob("*.blob"))) == 1
    assert not list(folder.glob("*.part"))


def test_other_weights_shapes_and_settings_are_other_models(folder, compiles):
    function, kernel = network(1)
    first = function(X)[0].numpy()
    kernel.assign(kernel * 2)
    np.testing.assert_allclose(function(X)[0], first * 2, rtol=1e-5)
    function(Tensor(np.zeros((2, 8, 8, 2), "float32")))
    with config.using(precision="bf16"):
        function(X)
    assert len(compiles) == 4


@pytest.mark.parametrize("place", ["head", "middle", "end", "cut", "empty"])
def test_a_damaged_blob_is_made_anew(folder, compiles, place):
    first = network(1)[0](X)[0].numpy()
    (path,) = folder.glob("*.blob")
    data = bytearray(path.read_bytes())
    if place in ("cut", "empty"):
        data = data[: len(data) // 2 if place == "cut" else 0]
    else:
        data[{"head": 3, "middle": len(data) // 2, "end": -1}[place]] ^= 0x40
    path.write_bytes(data)
    np.testing.assert_array_equal(network(1)[0](X)[0], first)
    assert len(compiles) == 2
    np.testing.assert_array_equal(network(1)[0](X)[0], first)
    assert len(compiles) == 2


def test_openvino_itself_trusts_a_damaged_blob(tmp_path):
    """Why there is a checksum: a flipped bit of a weight comes out as a wrong number."""
    from kerasvino.graph import Spec, trace

    weight = np.full((64, 64), 1.5, "float32")
    graph = trace(
        lambda x: [ops.matmul(x, ops.convert_to_tensor(weight))], [Spec((1, 64), "float32")]
    )
    settings = config.Settings()
    compiled = devices.core().compile_model(graph.model, "CPU", settings.properties)
    exported = compiled.export_model()
    data = bytearray(exported if isinstance(exported, bytes) else exported.getvalue())
    place = data.find(weight.tobytes()[:256])
    assert place > 0
    data[place + 3] ^= 0x01
    damaged = devices.core().import_model(bytes(data), "CPU", settings.properties)
    result = damaged.create_infer_request().infer([np.ones((1, 64), "float32")])[0]
    assert not np.allclose(result, 96.0)


def test_a_file_whose_memory_was_given_back_can_be_read_again(folder):
    network(1)[0](X)
    (path,) = folder.glob("*.blob")
    file = blobs.opened(path)
    before = file.blob.tobytes()
    file.leave()
    assert file.blob.tobytes() == before
    assert file.is_whole()
