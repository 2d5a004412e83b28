"""Device names: what is accepted, what is refused and how."""

import keras
import numpy as np
import pytest

import kerasvino
from kerasvino.runtime import compiling, config, devices
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor


def test_devices_lists_what_is_here():
    assert "cpu:0" in kerasvino.devices()


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("cpu", "CPU"),
        ("CPU", "CPU"),
        ("cpu:0", "CPU"),
        ("auto", "AUTO"),
        ("auto:cpu", "AUTO:CPU"),
        ("hetero:cpu", "HETERO:CPU"),
        ("multi:cpu", "MULTI:CPU"),
        ("batch:cpu", "BATCH:CPU"),
    ],
)
def test_names_that_are_here(name, resolved):
    assert devices.resolve(name) == resolved
    with keras.device(name):
        assert config.get().device == resolved
        (result,) = Function(lambda x: [x + x])(Tensor(np.ones((2, 2), "float32")))
    np.testing.assert_array_equal(result, np.full((2, 2), 2))


@pytest.mark.parametrize(
    "name",
    ["nonexistent:3", "cpu:7", "gpu:42", "hetero:cpu,nothing", "hetero", "cpu:x", "", 3, None],
)
def test_absent_or_malformed_devices_raise(name):
    with pytest.raises(ValueError) as error:
        keras.device(name)
    if isinstance(name, str) and name != "hetero":
        assert "cpu:0" in str(error.value)


def test_scopes_nest_and_end():
    before = config.get().device
    with keras.device("auto"):
        with keras.device("cpu"):
            assert config.get().device == "CPU"
        assert config.get().device == "AUTO"
    assert config.get().device == before


@pytest.mark.parametrize("capabilities", [["FP32", "BF16"], ["FP32"]])
@pytest.mark.parametrize("precision", [None, "f32", "bf16"])
def test_the_log_says_once_that_bfloat16_is_faster(capabilities, precision, monkeypatch, caplog):
    class Core:
        def __getattr__(self, name):
            return getattr(core, name)

        def get_property(self, device, name, *more):
            is_asked = name == "OPTIMIZATION_CAPABILITIES"
            return capabilities if is_asked else core.get_property(device, name, *more)

    core = devices.core()
    monkeypatch.setattr(devices, "core", Core)
    compiling._tell_precision.cache_clear()
    with caplog.at_level("INFO", "kerasvino"), config.using(precision=precision):
        for factor in (1.0, 2.0):
            Function(lambda x, factor=factor: [x * factor])(Tensor(np.ones(2, "float32")))
    compiling._tell_precision.cache_clear()
    told = [record for record in caplog.records if "faster in bfloat16" in record.message]
    assert len(told) == (precision is None and "BF16" in capabilities)
