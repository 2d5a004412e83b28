"""`python -m kerasvino doctor`: what it finds, with which remedy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import kerasvino
from kerasvino.cli import doctor, installed, machine, sites
from kerasvino.runtime import config, devices


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No settings, no selection, and nothing enabled but what a test says."""
    for name in list(os.environ):
        if name.startswith(("KERAS", "OMP_", "OPENBLAS_", "MKL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(sites, "in_effect", lambda: [])
    config._environment.cache_clear()
    yield
    config._environment.cache_clear()


def found(check, subject=None):
    findings = list(check())
    return findings if subject is None else [f for f in findings if f.subject == subject]


def levels(check):
    return {finding.level for finding in check()}


# -- whole runs, in processes of their own


def whole(tmp_path, **variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS", "PYTHON"))}
    root = str(Path(kerasvino.__path__[0]).parent)
    clean |= {"PYTHONPATH": root, "KERAS_HOME": str(tmp_path), **variables}
    return subprocess.run(
        [sys.executable, "-m", "kerasvino", "doctor"],
        capture_output=True, text=True, timeout=120, env=clean, cwd=tmp_path,
    )  # fmt: skip


def test_a_healthy_environment(tmp_path):
    done = whole(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert any(line.startswith("ok   keras") and keras.__version__ in line for line in lines)
    assert any(line.startswith("ok   cpu:0 ") for line in lines)
    assert any(
        line.startswith("ok   a model     runs on openvino by kerasvino, off by") for line in lines
    )
    assert "FAIL" not in done.stdout
    assert lines[-1].startswith("Nothing is broken")


def test_what_is_broken_gives_the_exit_code(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"floatx": "float64"}))
    done = whole(tmp_path, KERAS_BACKEND="jax", KERASVINO_DEVICE="gpu:7")
    assert done.returncode == 1, done.stdout
    text = " ".join(done.stdout.split())
    assert "FAIL selected jax, by KERAS_BACKEND: `import kerasvino` refuses" in text
    assert "-> unset KERAS_BACKEND, or set it to openvino" in text
    assert "FAIL settings KERASVINO_DEVICE='gpu:7': No device 'gpu:7' here; OpenVINO" in text
    assert "warn floatx is float64, which compiled graphs compute in float32" in text
    assert "FAIL a model does not run" in text
    assert done.stdout.splitlines()[-1] == "3 broken, 1 warning."


# -- versions


def test_versions_are_held_against_what_is_required(monkeypatch):
    assert levels(doctor.versions) <= {"ok", "note"}
    wanted = {"numpy": "<1", "scipy": "", "openvino": ">=2026.2,<2027"}
    monkeypatch.setattr(doctor, "_requirements", lambda: wanted)
    (numpy,) = found(doctor.versions, "numpy")
    assert numpy.level == "FAIL"
    assert numpy.remedy == "pip install 'numpy<1'"
    assert found(doctor.versions, "openvino")[0].level == "ok"


def test_missing_and_overlapping_packages(monkeypatch):
    pretend(monkeypatch, {"scipy": None, "openvino-nightly": "2026.1"})
    (scipy,) = found(doctor.versions, "scipy")
    assert (scipy.level, scipy.text) == ("FAIL", "is not installed")
    assert scipy.remedy.startswith("pip install 'scipy")
    (nightly,) = found(doctor.versions, "openvino-nightly")
    assert (nightly.level, nightly.remedy) == ("warn", "pip uninstall openvino-nightly")


def pretend(monkeypatch, versions):
    """Has packages installed in these versions, or not at all."""
    real = installed.metadata.version

    def version(name):
        found = versions[name] if name in versions else real(name)
        if found is None:
            raise installed.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(installed.metadata, "version", version)


@pytest.mark.parametrize(
    ("versions", "lines"),
    [
        (("3.15.1", None, None), [("ok", "keras", "3.15.1")]),
        ((None, "3.16.0.dev1", None), [("ok", "keras-nightly", "3.16.0.dev1")]),
        (("3.14.0", None, None), [("FAIL", "keras", "3.14.0, and kerasvino needs")]),
        ((None, None, None), [("FAIL", "keras", "is not installed")]),
        (
            ("3.15.1", "3.16.0.dev1", None),
            [
                ("ok", "keras", "3.15.1"),
                ("ok", "keras-nightly", "3.16"),
                ("warn", "keras", "twice"),
            ],
        ),
        (
            ("3.16.0", None, "0.0.1"),
            [("ok", "keras", "3.16.0"), ("note", "keras-openvino", "0.0.1; with kerasvino it is")],
        ),
    ],
)
def test_keras_under_either_name(monkeypatch, versions, lines):
    names = ("keras", "keras-nightly", "keras-openvino")
    pretend(monkeypatch, dict(zip(names, versions, strict=True)))
    told = [f for f in doctor.versions() if f.subject in names]
    assert [(f.level, f.subject) for f in told] == [line[:2] for line in lines]
    for finding, (_, _, text) in zip(told, lines, strict=True):
        assert text in finding.text


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (("3.15.1", None, None), "as bundled with Keras"),
        (("3.15.1", None, "0.0.1"), "as bundled with Keras"),
        ((None, "3.16.0.dev1", None), "of the package keras-openvino, which is not installed"),
        (("3.16.0", None, "0.0.1"), "of the package keras-openvino 0.0.1"),
    ],
)
def test_the_backend_without_kerasvino(monkeypatch, versions, text):
    names = ("keras", "keras-nightly", "keras-openvino")
    pretend(monkeypatch, dict(zip(names, versions, strict=True)))
    assert installed.other_backend() == text
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    (selected,) = found(doctor.selection, "selected")
    assert f"{text}, unless kerasvino comes first" in selected.text


# -- selection


@pytest.mark.parametrize(
    ("variable", "file", "enabled", "level", "text"),
    [
        (None, None, False, "note", "tensorflow, by Keras's default"),
        (None, "jax", False, "note", "jax, by "),
        ("torch", None, False, "FAIL", "torch, by KERAS_BACKEND"),
        ("torch", None, True, "FAIL", "torch, by KERAS_BACKEND"),
        ("openvino", None, False, "warn", installed.other_backend()),
        (None, "openvino", False, "warn", installed.other_backend()),
        ("openvino", "jax", True, "ok", "openvino, by KERAS_BACKEND: kerasvino"),
        (None, "openvino", True, "ok", "kerasvino"),
    ],
)
def test_selection(monkeypatch, tmp_path, variable, file, enabled, level, text):
    if variable:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    if file:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": file}))
    if enabled:
        (tmp_path / sites.FILE).write_text(sites.content())
        monkeypatch.setattr(sites, "in_effect", lambda: [str(tmp_path / sites.FILE)])
    (selected,) = found(doctor.selection, "selected")
    assert selected.level == level
    assert text in selected.text
    assert bool(selected.remedy) == (level != "ok")
    assert found(doctor.selection, "enabled")[0].level == ("ok" if enabled else "note")


def test_a_file_of_another_version(monkeypatch, tmp_path):
    (tmp_path / sites.FILE).write_text("import old")
    monkeypatch.setattr(sites, "in_effect", lambda: [str(tmp_path / sites.FILE)])
    (enabled,) = found(doctor.selection, "enabled")
    assert (enabled.level, enabled.remedy) == ("warn", "python -m kerasvino enable")


# -- devices


def test_devices():
    (cpu,) = found(doctor.openvino_devices, "cpu:0")
    assert devices.core().get_property("CPU", "FULL_DEVICE_NAME").strip() in cpu.text
    assert "FP32" in cpu.text


def test_no_device(monkeypatch):
    class Core:
        available_devices = ()

    monkeypatch.setattr(devices, "core", Core)
    (none,) = found(doctor.openvino_devices, "devices")
    assert none.level == "FAIL"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"sse2"}, [("warn", "cpu")]),
        ({"sse2", "avx2"}, [("ok", "cpu")]),
        ({"sse2", "avx2", "avx512f", "avx512_bf16"}, [("ok", "cpu"), ("note", "bfloat16")]),
        ({"asimd"}, []),
        (None, []),
    ],
)
def test_cpu_features(monkeypatch, flags, expected):
    monkeypatch.setattr(machine, "cpu_flags", lambda: flags)
    rest = [f for f in doctor.openvino_devices() if f.subject in ("cpu", "bfloat16")]
    assert [(f.level, f.subject) for f in rest] == expected


def test_flags_are_read(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu sse2 avx2\n\nprocessor\t: 1\nflags\t: x\n")
    assert machine.cpu_flags(str(path)) == {"fpu", "sse2", "avx2"}
    path.write_text("Features\t: fp asimd\n")
    assert machine.cpu_flags(str(path)) == {"fp", "asimd"}
    assert machine.cpu_flags(str(tmp_path / "none")) is None


def test_devices_that_only_the_kernel_sees(tmp_path):
    (tmp_path / "dri").mkdir()
    (tmp_path / "dri" / "card0").touch()
    assert machine.devices_without_driver(["cpu:0"], str(tmp_path)) == []
    (tmp_path / "dri" / "renderD128").touch()
    (tmp_path / "accel").mkdir()
    (tmp_path / "accel" / "accel0").touch()
    assert machine.devices_without_driver(["cpu:0"], str(tmp_path)) == ["gpu", "npu"]
    assert machine.devices_without_driver(["cpu:0", "gpu:0"], str(tmp_path)) == ["npu"]


# -- settings


def test_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("KERASVINO_PRECISION", "bf16")
    monkeypatch.setenv("KERASVINO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KERASVINO_DEVCE", "gpu")
    assert "precision bf16" in found(doctor.settings, "settings")[0].text
    assert "KERASVINO_DEVICE" in found(doctor.settings, "KERASVINO_DEVCE")[0].remedy
    assert found(doctor.settings, "cache")[0].text == (
        f"{tmp_path / 'cache'}: 0 models, 0.0 MB of at most 10737.4 MB"
    )
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{'a' * 32}.blob").write_bytes(bytes(2_500_000))
    (tmp_path / "cache" / "mine.blob").write_bytes(bytes(9))
    assert ": 1 models, 2.5 MB of" in found(doctor.settings, "cache")[0].text


def test_every_setting_that_is_not_accepted_is_shown(monkeypatch):
    monkeypatch.setenv("KERASVINO_EAGER", "sometimes")
    monkeypatch.setenv("KERASVINO_CHECK_NUMERICS", "perhaps")
    monkeypatch.setenv("KERASVINO_DEVCE", "gpu")
    config._environment.cache_clear()
    findings = found(doctor.settings)
    assert [finding.level for finding in findings] == ["FAIL", "FAIL", "warn"]
    assert findings[0].text == (
        "KERASVINO_CHECK_NUMERICS='perhaps'; accepted: True, False; in the environment 1 or 0."
    )
    assert findings[1].text == "KERASVINO_EAGER='sometimes'; accepted: host, compiled."


def test_a_wrong_variable_is_no_crash(tmp_path):
    done = whole(tmp_path, KERASVINO_EAGER="sometimes")
    assert done.returncode == 1
    assert "FAIL keras       cannot be imported: KERASVINO_EAGER='sometimes'; acc" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_not_accepted(monkeypatch):
    monkeypatch.setenv("KERASVINO_EAGER", "sometimes")
    (broken,) = found(doctor.settings)
    assert broken.level == "FAIL"
    assert "sometimes" in broken.text


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERASVINO_CACHE_DIR", str(tmp_path / "file" / "cache"))
    (cache,) = found(doctor.settings, "cache")
    assert cache.level == "warn"
    assert "cannot be used: Not a directory; models are compiled by each process" in cache.text
    assert "to another folder, or to nothing" in cache.remedy


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_cache_folder_is_none(monkeypatch, value):
    monkeypatch.setenv("KERASVINO_CACHE_DIR", value)
    (cache,) = found(doctor.settings, "cache")
    assert cache.text.startswith("off")


# -- processors and memory


@pytest.mark.parametrize(
    ("variable", "value", "warned"),
    [("OMP_NUM_THREADS", "5", True), ("OMP_NUM_THREADS", "4", False),
     ("KERASVINO_THREADS", "64", True), ("OPENBLAS_NUM_THREADS", "all", False)],
)  # fmt: skip
def test_too_many_threads(monkeypatch, variable, value, warned):
    monkeypatch.setattr(machine, "cpus", lambda: (4, 4))
    monkeypatch.setenv(variable, value)
    assert [f.level for f in found(doctor.resources, variable)] == ["warn"] * warned


def test_the_quota_of_a_container(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    path = tmp_path / "cpu.max"
    for text, granted in (("150000 100000\n", 2), ("max 100000\n", 16), ("9900000 100000", 16)):
        path.write_text(text)
        assert machine.cpus(str(path)) == (16, granted)
    assert machine.cpus(str(tmp_path / "none")) == (16, 16)
    monkeypatch.setattr(machine, "cpus", lambda: (16, 2))
    (cpus,) = found(doctor.resources, "cpus")
    assert (cpus.level, cpus.remedy) == ("warn", "KERASVINO_THREADS=2")


def test_memory(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:    4194304 kB\n")
    assert machine.available_memory(str(meminfo), str(tmp_path)) == (4 << 30, "machine")
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("900000000\n")
    little = machine.available_memory(str(meminfo), str(tmp_path))
    assert little == (100_000_000, "container")
    monkeypatch.setattr(machine, "available_memory", lambda: little)
    (memory,) = found(doctor.resources, "memory")
    assert memory.level == "warn"
    assert "0.1 GiB" in memory.text
    monkeypatch.setattr(machine, "available_memory", lambda: (2 << 30, "machine"))
    assert found(doctor.resources, "memory")[0].level == "ok"
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    assert not found(doctor.resources, "memory")


# -- a model


def test_a_model_with_wrong_numbers_is_noticed(monkeypatch):
    monkeypatch.setattr(keras.Sequential, "predict", lambda self, x, verbose: x[:, :3] + 10)
    (model,) = found(doctor.model, "a model")
    assert model.level == "FAIL"
    assert "wrong numbers" in model.text
