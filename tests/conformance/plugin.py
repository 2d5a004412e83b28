"""The pytest plugin of a conformance run: activates the backend, then records every test.

It is given its settings as the JSON file that the environment variable KERASVINO_CONFORMANCE
names, and appends what happens to one file a process in the folder `records`, a JSON object a
line. A test is written when it starts and when it ends, so that a process that dies (a crash in
native code) leaves the name of the test that it died in.
"""

import faulthandler
import importlib
import json
import os
import re
import signal
import sys
import time
import types
from contextlib import contextmanager
from pathlib import Path

import pytest

from .neutralise import MARK, MODULE_FLAG, NeutralisingFinder

SETTINGS = "KERASVINO_CONFORMANCE"
TRAINABLE = "needs a backend that trains (--trainable runs it)"
# KerasHub's marks, and why a test that has one is left out, whatever the backend.
HUB_MARKS = {
    "extra_large": "loads presets from the network",
    "kaggle_key_required": "needs a key of Kaggle's",
    "tf_only": "is for the TensorFlow backend only",
}

if os.environ.get(SETTINGS):
    settings = json.loads(Path(os.environ[SETTINGS]).read_text(encoding="utf-8"))
    if settings["backend"] == "kerasvino":
        importlib.import_module("kerasvino")  # before keras: this activates the backend


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires_trainable_backend: the test trains")
    config.addinivalue_line("markers", "multi_device: the test needs several devices")
    for mark in ("large", *HUB_MARKS):
        config.addinivalue_line("markers", f"{mark}: of KerasHub")
    config.addinivalue_line("markers", f"{MARK}: a skip or branch on the name was undone")
    recorder = Recorder(config, settings)
    config.pluginmanager.register(recorder, "kerasvino-recorder")


def compute_in_float32() -> None:
    """Has a core that a test makes compute in float32, unless the test says otherwise.

    Processors with bf16 compute in it by default, and Keras's tests of the OpenVINO export then
    miss their tolerance of 1e-3 now and then, whatever the backend.
    """
    import openvino

    class Core(openvino.Core):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    openvino.Core = Core


# What the names of a backend's modules begin with.
HOMES = {
    "kerasvino": ("kerasvino.",),
    "openvino": ("keras.src.backend.openvino.", "keras_openvino."),
    "numpy": ("keras.src.backend.numpy.",),
    "jax": ("keras.src.backend.jax.",),
    "torch": ("keras.src.backend.torch.",),
}


def check_backend(wanted: str) -> None:
    home = importlib.import_module("keras.src.backend").compute_output_spec.__module__
    if not home.startswith(HOMES[wanted]):
        raise pytest.UsageError(
            f"This run is for the {wanted} backend, but Keras runs on {home}. Check that `import "
            "kerasvino` activates it, or, for --peer and --compare, run `python -m kerasvino "
            "disable` first."
        )


class Recorder:
    def __init__(self, config: pytest.Config, settings: dict):
        self.settings = settings
        self.worker = hasattr(config, "workerinput")
        self.controller = not self.worker and config.getoption("dist", "no") != "no"
        records = Path(settings["records"])
        self.file = (records / f"{os.getpid()}.jsonl").open("a", encoding="utf-8", buffering=1)
        self.dump = (records / f"{os.getpid()}.dump").open("w", encoding="utf-8")
        self.running: dict | None = None  # the record of the test that is running
        if not self.controller:
            faulthandler.enable(self.dump)
            self._prepare(config)

    def _prepare(self, config: pytest.Config) -> None:
        if self.settings["neutralise"]:
            source, helpers = Path(self.settings["source"]), self.settings["trainable"]
            NeutralisingFinder(source, helpers, config, self.reached).install()
        sys.modules["conftest"] = conftest_module(self.settings["neutralise"])
        compute_in_float32()
        check_backend(self.settings["backend"])

    def write(self, event: str, **fields) -> None:
        self.file.write(json.dumps({"event": event, **fields}) + "\n")

    def reached(self, value: bool) -> bool:
        """Called where a test function has a neutralised comparison; gives its value back."""
        if self.running is not None:
            self.running["neutralised"] = True
        return value

    # Collection

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config, items):
        ids = {item.nodeid for item in items}
        excluded, whole = self.settings["excluded"], tuple(self.settings["whole"])
        files = {id.partition("::")[0] for id in ids}
        for test in sorted(set(excluded) - ids):
            if test.startswith(whole) and test.partition("::")[0] in files:
                self.write("unknown", id=test)
        only, done = self.settings["only"], set(self.settings["done"])
        wanted = (ids if only is None else ids & set(only)) - done
        config.hook.pytest_deselected(items=[i for i in items if i.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]
        for item in items:
            reason = self._skip(item)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))

    def _skip(self, item) -> str | None:
        if item.nodeid in self.settings["excluded"]:
            return self.settings["excluded"][item.nodeid]
        if item.get_closest_marker("requires_trainable_backend") and not self.settings["trainable"]:
            return TRAINABLE
        if item.get_closest_marker("multi_device"):
            return "needs several devices"
        return next((why for m, why in HUB_MARKS.items() if item.get_closest_marker(m)), None)

    def pytest_collectreport(self, report):
        if self.controller or report.passed:
            return
        fields = {"id": report.nodeid, "outcome": "error", "message": "", "traceback": ""}
        if report.skipped:
            fields |= {"outcome": "skipped", "message": skip_reason(report)}
        else:
            fields |= {"message": last_line(report), "traceback": report.longreprtext[-8000:]}
        self.write("file", seconds=0.0, neutralised=False, **fields)

    # Tests

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        if self.controller:
            return (yield)
        marked = item.get_closest_marker(MARK) or getattr(item.module, MODULE_FLAG, False)
        self.running = {"id": item.nodeid, "outcome": "passed", "message": "", "traceback": ""}
        self.running["neutralised"] = bool(marked)
        self.write("start", id=item.nodeid)
        start = time.perf_counter()
        limit = self.settings["hard_timeout"]
        faulthandler.dump_traceback_later(limit, exit=True, file=self.dump)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()
            if item.nodeid in self.settings["excluded"]:
                self.running["outcome"] = "excluded"
            self.write("test", seconds=time.perf_counter() - start, **self.running)
            self.running = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        with time_limit(self.settings["timeout"]):
            return (yield)

    def pytest_runtest_logreport(self, report):
        test = self.running
        if test is None or test["outcome"] in ("failed", "error"):
            return
        if report.failed:
            test["outcome"] = "failed" if report.when == "call" else "error"
            test["message"] = last_line(report)
            test["traceback"] = report.longreprtext[-8000:]
        elif report.skipped:
            test["outcome"], test["message"] = "skipped", skip_reason(report)

    def pytest_sessionfinish(self, exitstatus):
        if not self.worker:
            self.write("finished", status=int(exitstatus))


@contextmanager
def time_limit(seconds: float):
    """Fails the test when its Python code runs longer. Native code that does not return is ended
    with its process, by faulthandler, at the hard limit."""

    def expired(signum, frame):
        pytest.fail(f"timed out: longer than {seconds:g} s")

    if not hasattr(signal, "SIGALRM"):  # Windows: faulthandler alone
        yield
        return
    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def conftest_module(neutralise: bool) -> types.ModuleType:
    """The top-level `conftest` that Keras's test files import `skip_if_backend` from.

    With `neutralise` it skips nothing: for "openvino" it gives the mark that counts the test.
    """

    def skip_if_backend(given_backend, reason):
        if given_backend == "openvino" and neutralise:
            return getattr(pytest.mark, MARK)
        running = importlib.import_module("keras.src.backend").backend()
        return pytest.mark.skipif(given_backend == running, reason=reason)

    module = types.ModuleType("conftest")
    module.skip_if_backend = skip_if_backend  # type: ignore[attr-defined]
    return module


def skip_reason(report) -> str:
    if hasattr(report, "wasxfail"):
        return f"expected failure: {report.wasxfail}".rstrip(": ")
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ").strip()
    return str(report.longrepr)


def last_line(report) -> str:
    """The error on one line: its type and message, and where it was raised."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:  # no traceback of ours: a collection error, a strict xfail
        lines = [line for line in report.longreprtext.splitlines() if line.strip()]
        return one_line(lines[-1].removeprefix("E ")) if lines else "no message"
    return f"{one_line(crash.message)} ({place(report)})"


def place(report) -> str:
    """File and line of the innermost frame in a test, in Keras or in the backend."""
    entries = report.longrepr.reprtraceback.reprentries
    frames = [entry.reprfileloc for entry in entries if getattr(entry, "reprfileloc", None)]
    crash = report.longrepr.reprcrash
    for frame in reversed(frames):
        path = Path(frame.path)
        if path.name.endswith("_test.py"):
            return f"{path.name}:{frame.lineno}"
        package = re.match(
            r".*\b((keras|keras_hub|kerasvino)/(?!src/test)[\w/]+\.py)$", path.as_posix()
        )
        if package:
            return f"{package[1]}:{frame.lineno}"
    return f"{Path(crash.path).name}:{crash.lineno}"


def one_line(text: str) -> str:
    """The beginning of `text` without line ends, Keras's terminal colours and absolute paths."""
    text = re.sub("\x1b\\[[0-9;]*m", "", text)
    text = re.sub(r"/[^\s'\"()]*/(keras|keras_hub|kerasvino)/", r"\1/", text)
    return " ".join(text.split())[:400]
