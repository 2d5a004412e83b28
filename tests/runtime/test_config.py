"""Settings: where they come from, what is accepted, that programs do not mix."""

import os
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

import kerasvino
from kerasvino.runtime import config
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(config, "_process", None)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_defaults():
    settings = config.get()
    assert settings.device == "CPU"
    assert settings.properties == {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
        "CPU_RUNTIME_CACHE_CAPACITY": "1000", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    }  # fmt: skip


def test_set_using_and_devices_nest():
    kerasvino.config.set(precision="bf16", threads=1)
    assert config.get().properties["INFERENCE_PRECISION_HINT"] == "bf16"
    with config.using(precision="auto") as inner:
        assert "INFERENCE_PRECISION_HINT" not in inner.properties
        assert inner.properties["INFERENCE_NUM_THREADS"] == "1"
        with keras.device("auto"):
            assert config.get().device == "AUTO"
            assert config.get().precision == "auto"
        assert config.get().device == "CPU"
    assert config.get().precision == "bf16"
    kerasvino.config.set(threads=None)
    assert config.get().threads is None


def test_using_is_of_its_thread():
    seen = []
    with config.using(threads=1):
        thread = threading.Thread(target=lambda: seen.append(config.get().threads))
        thread.start()
        thread.join()
    assert seen == [None]


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"precision": "f31"}, ValueError, "precision='f31'; accepted: f32, bf16, f16, auto"),
        ({"performance": "fast"}, ValueError, "latency"),
        ({"threads": 0}, ValueError, "1 or more"),
        ({"threads": "many"}, ValueError, "1 or more"),
        ({"device": "gpu:42"}, ValueError, "cpu:0"),
        ({"device": None}, ValueError, "string"),
        ({"cache_dir": 5}, ValueError, "^cache_dir=5; accepted: the path of a folder"),
        ({"cache_dir": b"folder"}, ValueError, "^cache_dir=b'folder'; accepted"),
        ({"check_numerics": "maybe"}, ValueError, "^check_numerics='maybe'; accepted: True"),
        ({"speed": 3}, TypeError, "device, precision, performance, threads, cache_dir"),
    ],
)
def test_what_is_not_accepted_is_said(settings, kind, message):
    for change in (config.set, config.using):
        with pytest.raises(kind, match=message):
            change(**settings)


@pytest.mark.parametrize(
    ("unnamed", "example"),
    [
        (("device", "cpu"), "device='cpu'"),
        (("threads", 2), "threads=2"),
        (("cpu",), "device='cpu'"),
        (({"threads": 2},), "device='cpu'"),
        (("speed", 2), "device='cpu'"),
    ],
)
def test_settings_without_a_name(unnamed, example):
    for change in (config.set, config.using):
        with pytest.raises(
            TypeError, match=rf"by their names: kerasvino\.config\.set\({example}\)"
        ):
            change(*unnamed)


def test_what_is_wrong_in_the_environment_is_said_when_keras_is_imported():
    code = "import kerasvino, keras; print('imported')"
    wrong = {"KERASVINO_EAGER": "foo", "KERASVINO_CHECK_NUMERICS": "bar"}
    done = _python(code, wrong)
    assert done.stdout == ""
    assert "KERASVINO_CHECK_NUMERICS='bar'; accepted: True, False" in done.stderr
    assert "KERASVINO_EAGER='foo'; accepted: host, compiled." in done.stderr


def test_misspelt_variables_are_warned_of_once():
    code = "import kerasvino, keras; keras.ops.ones(3) + 1; print('imported')"
    done = _python(code, {"KERASVINO_DEVCE": "cpu", "KERASVINO_THREAD": "2"})
    assert done.stdout == "imported\n"
    assert done.stderr.count("KERASVINO_DEVCE, KERASVINO_THREAD: no such environment variable") == 1
    assert "there are: KERASVINO_DEVICE, KERASVINO_PRECISION" in done.stderr
    assert _python(code, {"KERASVINO_THREADS": "2"}).stderr == ""


def test_environment():
    code = (
        "import kerasvino; s = kerasvino.config.get(); "
        "print(s.precision, s.performance, s.threads, s.properties['PERFORMANCE_HINT'])"
    )
    env = {"KERASVINO_PRECISION": "bf16", "KERASVINO_PERFORMANCE": "Throughput",
           "KERASVINO_THREADS": "2"}  # fmt: skip
    done = _python(code, env)
    assert done.stdout.split() == ["bf16", "throughput", "2", "THROUGHPUT"]
    done = _python(code, {"KERASVINO_THREADS": "two"})
    assert "KERASVINO_THREADS='two'; accepted" in done.stderr


def _python(code, env):
    import os

    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | env, capture_output=True, text=True
    )


def test_programs_of_other_settings_stay_apart():
    function = Function(lambda x: [x / 3])
    x = Tensor(np.linspace(0, 1, 64, dtype="float32").reshape(8, 8))
    exact = function(x)[0].numpy()
    with config.using(precision="bf16"):
        function(x)
    assert len(function.specialisations.of_shapes) == 2
    np.testing.assert_array_equal(function(x)[0], exact)
    assert len(function.specialisations.of_shapes) == 2


@pytest.mark.parametrize(
    ("device", "precision", "static"),
    [
        ("CPU", "f32", False),
        ("GPU", None, False),
        ("NPU", None, True),
        ("HETERO:NPU,CPU", None, True),
        ("AUTO:GPU,CPU", None, False),
        ("MULTI:CPU", "f32", False),
    ],
)
def test_defaults_by_device(device, precision, static):
    settings = config.Settings(device=device)
    assert settings.properties.get("INFERENCE_PRECISION_HINT") == precision
    assert settings.static_only == static


def test_settings_of_the_process_reach_its_children(tmp_path):
    text = "from kerasvino.runtime import config; print(config.get())"
    command = [sys.executable, "-c", text]

    def child():
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    kerasvino.config.set(
        device="auto", precision="bf16", performance="throughput", threads=1,
        cache_dir=tmp_path / "kept", check_numerics=True,
    )  # fmt: skip
    with config.using(threads=2):  # of this thread alone
        assert child() == repr(config._process)
    kerasvino.config.set(precision=None, threads=None, cache_dir=None, check_numerics=False)
    kerasvino.config.set(cache_size=None)
    assert child() == repr(config._process)
