"""`python -m kerasvino doctor`."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import NamedTuple

import kerasvino
from kerasvino import children
from kerasvino._version import __version__
from kerasvino.activate import BACKEND, NAMES, VARIABLE, VERSIONS, SelectionError, activate
from kerasvino.cli import autoload, installed, machine, sites

__all__ = ["CHECKS", "Finding", "add_arguments", "run"]

OK, NOTE, WARNING, BROKEN = "ok", "note", "warn", "FAIL"
PACKAGES = ("openvino", "numpy", "scipy", "ml_dtypes")
LITTLE_MEMORY = 1 << 30


class Finding(NamedTuple):
    """One line of the report: how bad it is, what it is about, what was found, what helps."""

    level: str
    subject: str
    text: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Prints what each check finds, with remedies; the exit code is 1 where something is broken."""
    levels = []
    for check in CHECKS:
        for finding in check():
            levels.append(finding.level)
            print(f"{finding.level:<5}{finding.subject:<11} {finding.text}", flush=True)
            if finding.remedy:
                print(f"{'':<16} -> {finding.remedy}", flush=True)
    broken, warnings = levels.count(BROKEN), levels.count(WARNING)
    said = f"{warnings} warning{'s' * (warnings != 1)}" if warnings else "no warnings"
    print(f"\n{f'{broken} broken' if broken else 'Nothing is broken'}, {said}.")
    return int(bool(broken))


# -- what is installed


def versions() -> Iterator[Finding]:
    """The versions of what must be there."""
    yield Finding(OK, "python", f"{platform.python_version()} in {sys.prefix}")
    yield Finding(OK, "kerasvino", f"{__version__} in {kerasvino.__path__[0]}")
    required = _requirements()
    holders = installed.keras()
    for package in (*(holders or ["keras"]), *PACKAGES):
        wanted = required.get("keras" if package in holders else package, "")
        install = f"pip install '{package}{wanted}'"
        found = installed.version(package)
        if found is None:
            yield Finding(BROKEN, package, "is not installed", install)
        elif _fits(found, wanted):
            yield Finding(OK, package, found)
        else:
            yield Finding(BROKEN, package, f"{found}, and kerasvino needs {wanted}", install)
    if len(holders) > 1:
        yield Finding(
            WARNING, "keras", f"is installed twice, by {' and '.join(holders)}, over each other",
            f"pip uninstall {' '.join(holders)}, and install one of them again",
        )  # fmt: skip
    for package in ("openvino-nightly", "openvino-dev"):
        if found := installed.version(package):
            yield Finding(
                WARNING, package, f"{found} overlaps with openvino", f"pip uninstall {package}"
            )
    if found := installed.version(installed.OFFICIAL):
        yield Finding(NOTE, installed.OFFICIAL, f"{found}; with kerasvino it is not loaded")


def _requirements() -> dict[str, str]:
    """The versions that kerasvino asks for, by package."""
    found = {"keras": VERSIONS.removeprefix("keras ")}
    try:
        lines = metadata.requires("kerasvino") or []
    except metadata.PackageNotFoundError:  # a source tree on the path
        return found
    from packaging.requirements import Requirement

    for line in lines:
        one = Requirement(line)
        if one.marker is None:
            found[one.name] = str(one.specifier)
    return found


def _fits(version: str, wanted: str) -> bool:
    if not wanted:
        return True
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


# -- which backend Keras takes


def selection() -> Iterator[Finding]:
    """The backend that `import keras` takes, and why."""
    files = sites.in_effect()
    if any(sites.read(path) != sites.content() for path in files):
        yield Finding(
            WARNING, "enabled", f"by {', '.join(files)}, which another version wrote",
            "python -m kerasvino enable",
        )  # fmt: skip
    elif files:
        yield Finding(OK, "enabled", f"by {', '.join(files)}")
    else:
        yield Finding(NOTE, "enabled", "no; programs that import kerasvino do not need it")
    backend, reason = autoload.selected()
    text = f"{backend}, by {reason}"
    inherited = backend == children.NAME and children.is_prepared()
    if inherited or (backend in NAMES and files):
        yield Finding(OK, "selected", f"{text}: kerasvino")
    elif backend == children.NAME:
        yield Finding(
            WARNING, "selected", f"{text}, which Keras refuses unless kerasvino comes first",
            "import kerasvino before keras, or python -m kerasvino enable",
        )  # fmt: skip
    elif backend == BACKEND:
        other = f"{installed.other_backend()}, unless kerasvino comes first"
        yield Finding(
            WARNING, "selected", f"{text}: {other}",
            "import kerasvino before keras, or python -m kerasvino enable",
        )  # fmt: skip
    elif reason == VARIABLE:
        yield Finding(
            BROKEN, "selected", f"{text}: `import kerasvino` refuses to run beside it",
            f"unset {VARIABLE}, or set it to {BACKEND}",
        )  # fmt: skip
    else:
        remedy = f"set {VARIABLE}={BACKEND}" if files else "import kerasvino before keras"
        yield Finding(NOTE, "selected", f"{text}, in programs without kerasvino", remedy)


def processes() -> Iterator[Finding]:
    """Whether child processes of a process on kerasvino run on it too."""
    said = "of a process on kerasvino run on it too"
    if os.pathsep in children.FOLDER:
        yield Finding(
            WARNING, "children", f"do not: {children.FOLDER} has a {os.pathsep!r}, which separates "
            "the folders of PYTHONPATH", "python -m kerasvino enable",
        )  # fmt: skip
    elif sys.flags.ignore_environment:
        yield Finding(
            NOTE, "children", f"{said}, but not those of this Python: -E and -I hide PYTHONPATH",
            "python -m kerasvino enable",
        )  # fmt: skip
    else:
        yield Finding(OK, "children", f"{said}, by {VARIABLE} and PYTHONPATH")


# -- devices and what they can do


def openvino_devices() -> Iterator[Finding]:
    """The devices that OpenVINO finds, with what the CPU computes fast."""
    try:
        devices = importlib.import_module("kerasvino.runtime.devices")
        core, names = devices.core(), devices.devices()
    except (ImportError, RuntimeError) as error:
        yield Finding(BROKEN, "openvino", f"cannot be loaded: {error}", "reinstall openvino")
        return
    if not names:
        yield Finding(BROKEN, "devices", "OpenVINO finds none", "reinstall openvino")
    for name, device in zip(names, core.available_devices, strict=True):
        full = core.get_property(device, "FULL_DEVICE_NAME").strip()
        can = ", ".join(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))
        yield Finding(OK, name, f"{full} ({can})")
    for kind in machine.devices_without_driver(names):
        yield Finding(
            NOTE, kind, f"is there, but OpenVINO cannot use it: no driver of Intel's for {kind}s",
            "https://docs.openvino.ai/2026/get-started/install-openvino/configurations.html",
        )  # fmt: skip
    flags = machine.cpu_flags()
    if flags is None or not flags & {"sse2", "asimd"}:
        return
    has = [name for name, flag in machine.FEATURES.items() if flag in flags]
    if "sse2" in flags and "avx2" not in flags:
        yield Finding(WARNING, "cpu", "has no AVX2: OpenVINO takes its slow kernels")
    elif has:
        yield Finding(OK, "cpu", ", ".join(has))
    if "avx512_bf16" in flags or "amx_bf16" in flags:
        yield Finding(
            NOTE, "bfloat16", "is computed fast here; kerasvino stays with float32 unless asked",
            "KERASVINO_PRECISION=bf16 where less exact numbers do",
        )  # fmt: skip
    yield _int8()


def _int8() -> Finding:
    """How products of models quantized to int8 are computed, as a small one tells."""
    narrow = importlib.import_module("kerasvino.runtime.narrow")
    try:
        found = narrow.has_int8_kernels("CPU")
    except RuntimeError as error:
        return Finding(WARNING, "int8", f"a product of 8-bit integers does not run: {error}")
    if found:
        return Finding(OK, "int8", "quantized activations are multiplied by int8 kernels")
    return Finding(
        NOTE, "int8", "no instructions that multiply bytes: activations quantized to int8 are "
        "computed in float32, exactly; weights stay in 8 bits",
    )  # fmt: skip


# -- settings


def settings() -> Iterator[Finding]:
    """The settings from the environment, and the cache."""
    try:
        config = importlib.import_module("kerasvino.runtime.config")
    except ImportError:  # as was said of the devices
        return
    wrong = config.refused()
    for problem in wrong:
        yield Finding(BROKEN, "settings", problem, "correct or unset the variable")
    for name in config.unknown():
        yield Finding(WARNING, name, "is no setting", f"there are: {config.known()}")
    if wrong:
        return
    found = config.get()
    values = [f"{name} {value}" for name, value in vars(found).items() if value is not None]
    values.append(f"eager {'compiled' if config.eager_compiled() else 'host'}")
    yield Finding(OK, "settings", ", ".join(values))
    if found.cache_dir is None:
        yield Finding(
            NOTE, "cache", "off; KERASVINO_CACHE_DIR=FOLDER keeps compiled models on disk"
        )
    else:
        yield _cache(found.cache_dir, found.cache_size)


def _cache(folder: str, size: int | None) -> Finding:
    blobs = importlib.import_module("kerasvino.runtime.blobs")
    place = folder
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    try:
        found = blobs.contents(folder) if place == folder else []
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Finding(
            WARNING, "cache", f"{folder} cannot be used: {error.strerror}; models are compiled "
            "by each process", "set KERASVINO_CACHE_DIR to another folder, or to nothing",
        )  # fmt: skip
    models = sum(path.endswith(".blob") for _, _, path in found)
    held = f"{sum(count for _, count, _ in found) / 1e6:.1f} MB"
    most = "any number" if size is None else f"{size / 1e6:.1f} MB"
    return Finding(OK, "cache", f"{folder}: {models} models, {held} of at most {most}")


# -- processors and memory


def resources() -> Iterator[Finding]:
    """Whether threads and memory fit the machine."""
    allowed, granted = machine.cpus()
    if granted < allowed:
        yield Finding(
            WARNING, "cpus", f"{allowed} are seen, and the container may use {granted} of them: "
            "threads get in each other's way", f"KERASVINO_THREADS={granted}",
        )  # fmt: skip
    else:
        yield Finding(OK, "cpus", f"{allowed} for this process")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "KERASVINO_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > granted:
            yield Finding(
                WARNING, name, f"is {value}, with {granted} processors to run on",
                f"unset it, or set it to {granted} or less",
            )  # fmt: skip
    memory = machine.available_memory()
    if memory is not None:
        free, whose = memory
        text = f"{free / (1 << 30):.1f} GiB can be had of the {whose}"
        if free < LITTLE_MEMORY:
            yield Finding(
                WARNING, "memory", f"{text}; compiling a large model takes twice its weights",
                "close other programs, or raise the container's limit",
            )  # fmt: skip
        else:
            yield Finding(OK, "memory", text)


# -- does it run


def model() -> Iterator[Finding]:
    """Keras as it is configured, and a model that runs."""
    named = os.environ.pop(VARIABLE, None)
    try:
        activate(overrule=True)
        keras = importlib.import_module("keras")
    except (ImportError, SelectionError, ValueError) as error:  # the last of a setting
        yield Finding(BROKEN, "keras", f"cannot be imported: {error}")
        return
    finally:
        if named is not None:
            os.environ[VARIABLE] = named
    floatx = keras.config.floatx()
    if floatx == "float64":
        yield Finding(
            WARNING, "floatx", "is float64, which compiled graphs compute in float32",
            'set "floatx": "float32" in keras.json',
        )  # fmt: skip
    elif floatx != "float32":
        yield Finding(NOTE, "floatx", f"is {floatx}")
    yield _runs(keras)


def _runs(keras) -> Finding:  # type: ignore[no-untyped-def]
    import numpy as np

    dense = keras.layers.Dense(3, dtype="float32")
    network = keras.Sequential([keras.layers.Input((4,)), dense, keras.layers.ReLU()])
    x = np.linspace(-1, 1, 8, dtype="float32").reshape(2, 4)
    try:
        result = network.predict(x, verbose=0)
    except (OSError, RuntimeError, ValueError) as error:
        return Finding(BROKEN, "a model", f"does not run: {error}")
    expected = np.maximum(x @ np.asarray(dense.kernel) + np.asarray(dense.bias), 0)
    off = float(np.abs(result - expected).max())
    if off > 0.02:
        return Finding(BROKEN, "a model", f"gives wrong numbers, off by {off:.2g}")
    whose = type(keras.ops.ones(1)).__module__.partition(".")[0]
    text = f"runs on {keras.backend.backend()} by {whose}, off by {off:.1g} at most"
    return Finding(OK, "a model", text)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    versions,
    selection,
    processes,
    openvino_devices,
    settings,
    resources,
    model,
)
