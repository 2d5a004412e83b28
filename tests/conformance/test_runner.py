"""The runner as a whole: on a small tree of test files, and on files of Keras's."""

import json
import re
from pathlib import Path

import pytest

from tests.conformance import exclusions, options, runner
from tests.conformance.plugin import one_line

with_tests = pytest.mark.skipif(
    not any(options.keras_source().rglob("*_test.py")),
    reason="this wheel of Keras has no tests: its nightly is built without them",
)

MIXED = """
import unittest
import pytest
from conftest import skip_if_backend
from keras import backend

class Mixed(unittest.TestCase):
    def test_passes(self):
        pass

    def test_fails(self):
        self.assertEqual("one\\ntwo", "one\\nthree")

    def test_sub(self):
        with self.subTest(name="bad"):
            self.fail("\\033[1min a\\033[0m\\nsubtest")

    @skip_if_backend("openvino", "by name")
    def test_named(self):
        pass

    @pytest.mark.requires_trainable_backend
    def test_trains(self):
        pass

    @pytest.mark.multi_device
    def test_devices(self):
        pass

    def test_branch(self):
        if backend.backend() == "openvino":
            self.skipTest("by name")

    def test_excluded(self):
        self.fail("must not run")

    def test_slow(self):
        import time
        time.sleep(20)

    @pytest.mark.xfail(strict=True, reason="known")
    def test_expected(self):
        self.fail("as expected")
"""

BROKEN = "import no_such_module\n"

DEADLY = """
import os, signal, time

def test_1_passes():
    pass

def test_2_crashes():
    os.abort()

def test_3_hangs_in_native_code():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)

def test_4_passes():
    pass
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    source = tmp_path / "src"
    (source / "ops").mkdir(parents=True)
    for name, text in (("mixed", MIXED), ("broken", BROKEN), ("deadly", DEADLY)):
        (source / "ops" / f"{name}_test.py").write_text(text)
    monkeypatch.setattr(options, "keras_source", lambda: source)
    monkeypatch.setattr(runner, "GRACE", 1.0)
    return source


def excluding(monkeypatch, *tests):
    entries = [
        exclusions.Exclusion(test, exclusions.MODES, exclusions.FORMS, "our reason")
        for test in tests
    ]
    monkeypatch.setattr(exclusions, "read", lambda: entries)


def outcomes(file):
    (run,) = json.loads(file.read_text())["runs"]
    return run, {test["id"].rpartition("::")[2]: test for test in run["tests"]}


def test_every_outcome(tree, tmp_path, monkeypatch, capsys):
    gone = "ops/mixed_test.py::Mixed::test_gone"
    excluding(monkeypatch, "ops/mixed_test.py::Mixed::test_excluded", gone)
    files = [f"--{name}={tmp_path / name}" for name in ("json", "failures", "write")]
    arguments = ["ops/mixed_test.py", "ops/broken_test.py", "--timeout", "2", *files]
    assert runner.main(arguments) == 1
    run, tests = outcomes(tmp_path / "json")
    assert {name: test["outcome"] for name, test in tests.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_sub": "failed",
        "test_named": "passed",
        "test_trains": "skipped",
        "test_devices": "skipped",
        "test_branch": "passed",
        "test_excluded": "excluded",
        "test_slow": "failed",
        "test_expected": "skipped",
        "ops/broken_test.py": "error",
    }
    assert sorted(n for n, t in tests.items() if t["neutralised"]) == ["test_branch", "test_named"]
    assert run["unknown"] == [gone]
    assert tests["test_excluded"]["message"] == "our reason"
    assert tests["test_expected"]["message"] == "expected failure: known"
    assert tests["test_sub"]["message"].startswith("AssertionError: in a subtest (mixed_test.py:")
    assert "timed out: longer than 2 s" in tests["test_slow"]["message"]
    message = tests["ops/broken_test.py"]["message"]
    assert message == "ModuleNotFoundError: No module named 'no_such_module'"
    failures = (tmp_path / "failures").read_text().splitlines()
    assert len(failures) == 4 and all(line.count("\t") == 2 for line in failures)
    assert "| ops (2 files) | 3 | 3 | 1 | 0 | 3 | 1 | 2 |" in (tmp_path / "write").read_text()
    assert f"unknown test in exclusions.toml: {gone}" in capsys.readouterr().out


def test_keep_skips_and_only(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(exclusions, "read", list)  # ours are of tests of Keras
    named, trains = (f"ops/mixed_test.py::Mixed::test_{name}" for name in ("named", "trains"))
    (tmp_path / "only").write_text(f"{named}\thost\tan error\n{trains}\n")
    arguments = ["--only", str(tmp_path / "only"), "--keep-skips", "--trainable"]
    assert runner.main([*arguments, f"--json={tmp_path / 'json'}"]) == 0
    _, tests = outcomes(tmp_path / "json")
    assert {name: test["outcome"] for name, test in tests.items()} == {
        "test_named": "skipped",
        "test_trains": "passed",
    }


def test_the_suite(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "COMPILED", ("layers/core",))
    for name, test in (("layers/core", "core"), ("layers", "outer"), ("applications", "large")):
        (tree / name).mkdir(parents=True, exist_ok=True)
        (tree / name / f"{test}_test.py").write_text("def test_it():\n    pass\n")
    (tree / "ops" / "broken_test.py").unlink()
    (tree / "ops" / "deadly_test.py").unlink()
    runner.main([f"--json={tmp_path / 'json'}", "--timeout", "2"])
    host, compiled = json.loads((tmp_path / "json").read_text())["runs"]
    ids = {test["id"] for test in host["tests"]}
    assert {id.partition("::")[0] for id in ids} == {
        "layers/core/core_test.py", "layers/outer_test.py", "ops/mixed_test.py",
    }  # fmt: skip
    assert "ops/mixed_test.py::Mixed::test_trains" not in ids
    assert [test["id"] for test in compiled["tests"]] == ["layers/core/core_test.py::test_it"]


def test_goes_on_after_a_death(tree, tmp_path):
    arguments = ["ops/deadly_test.py", "--timeout", "1", f"--json={tmp_path / 'json'}"]
    assert runner.main(arguments) == 1
    _, tests = outcomes(tmp_path / "json")
    assert [test["outcome"] for test in tests.values()] == ["passed", "failed", "failed", "passed"]
    assert "process died: Fatal Python error: Aborted" in tests["test_2_crashes"]["message"]
    assert "timed out in native code" in tests["test_3_hangs_in_native_code"]["message"]


WHERE = """
from keras import backend

def test_fails_everywhere():
    assert False

def test_fails_here():
    assert getattr(backend, "backend")() == "numpy"

def test_passes():
    assert getattr(backend, "backend")() == "openvino"
"""


def test_a_failure_is_told_from_one_that_other_backends_have(tree, tmp_path, monkeypatch):
    excluding(monkeypatch)
    (tree / "ops" / "where_test.py").write_text(WHERE)
    files = [f"--{name}={tmp_path / name}" for name in ("json", "failures", "write")]
    arguments = ["ops/where_test.py", "--compare", "numpy", "--trainable", *files]
    assert runner.main(arguments) == 1
    _, tests = outcomes(tmp_path / "json")
    assert {name: (test["outcome"], test["peers"]) for name, test in tests.items()} == {
        "test_fails_everywhere": ("upstream", ["numpy"]),
        "test_fails_here": ("failed", []),
        "test_passes": ("passed", []),
    }
    assert "where_test.py::test_fails_here\t" in (tmp_path / "failures").read_text()
    text = (tmp_path / "write").read_text()
    assert "| 1 | `ops/where_test.py::test_fails_everywhere` | numpy | " in text
    assert "| ops (1 file) | 1 | 1 | 0 | 1 | 0 |" in text
    assert runner.main(["ops/where_test.py::test_fails_here", "--peer", "numpy"]) == 0


COUNTING = """
import pathlib
import pytest

@pytest.mark.parametrize("name", ["passes", "skips", "fails"])
def test_it(name):
    with pathlib.Path({file!r}).open("a") as out:
        print(name, file=out)
    if name == "skips":
        pytest.skip("because")
    assert name == "passes"
"""


def test_what_is_kept_is_not_run_again(tree, tmp_path, monkeypatch):
    excluding(monkeypatch)
    out = tmp_path / "out"
    (tree / "ops" / "counting_test.py").write_text(COUNTING.format(file=str(out)))
    arguments = ["ops/counting_test.py", f"--keep={tmp_path / 'kept'}"]
    for _ in range(2):
        assert runner.main([*arguments, f"--json={tmp_path / 'json'}"]) == 1
        run, _ = outcomes(tmp_path / "json")
        (row, _) = run["files"]
        assert (row["passed"], row["skipped"], row["failed"]) == (1, 1, 1)
    assert out.read_text().split() == ["passes", "skips", "fails", "fails"]


CHECKOUT = """
import keras

def test_it_is_the_checkout_that_runs():
    assert keras.__version__.endswith(".99")
    assert keras.src.backend.compute_output_spec.__module__.startswith("kerasvino.")
"""


def test_a_checkout_of_keras(tmp_path, monkeypatch):
    excluding(monkeypatch)
    installed = options.keras_source()
    checkout = tmp_path / "checkout"
    source = checkout / "keras" / "src"
    (source / "new").mkdir(parents=True)
    for folder, own in ((installed.parent, source.parent), (installed, source)):
        for file in folder.iterdir():
            if file.name not in ("src", "version.py", "__pycache__"):
                (own / file.name).symlink_to(file)
    version = (installed / "version.py").read_text()
    (source / "version.py").write_text(re.sub(r'(= "\d+\.\d+)[^"]*"', r'\1.99"', version))
    (source / "new" / "it_test.py").write_text(CHECKOUT)
    files = [f"--{name}={tmp_path / name}" for name in ("json", "write")]
    assert runner.main(["--source", str(checkout), "new", *files]) == 0
    _, tests = outcomes(tmp_path / "json")
    assert [test["outcome"] for test in tests.values()] == ["passed"]
    text = (tmp_path / "write").read_text()
    assert "## The pluggable layout" in text and "--source KERAS_SOURCE new\n" in text
    assert re.search(r"keras 3\.\d+\.99, openvino", text)
    assert str(tmp_path) not in text


HUB = """
import keras
import keras_hub
import pytest

def test_it_is_the_checkout_that_runs():
    assert keras_hub.__version__.endswith(".99")
    assert keras.src.backend.compute_output_spec.__module__.startswith("kerasvino.")

@pytest.mark.large
def test_what_takes_long():
    pass

@pytest.mark.extra_large
def test_presets():
    raise AssertionError
"""


def test_a_checkout_of_keras_hub(tmp_path, monkeypatch):
    excluding(monkeypatch)
    installed = Path(pytest.importorskip("keras_hub").__file__).parent
    checkout = tmp_path / "checkout"
    source = checkout / "keras_hub" / "src"
    (source / "samplers").mkdir(parents=True)
    for folder, own in ((installed, source.parent), (installed / "src", source)):
        for file in folder.iterdir():
            if file.name not in ("src", "samplers", "version.py", "__pycache__"):
                (own / file.name).symlink_to(file)
    for file in (installed / "src" / "samplers").glob("*.py"):
        (source / "samplers" / file.name).symlink_to(file)
    (source.parent / "samplers").symlink_to(installed / "samplers")
    version = (installed / "src" / "version.py").read_text()
    (source / "version.py").write_text(re.sub(r'(= "\d+\.\d+)[^"]*"', r'\1.99"', version))
    (source / "samplers" / "it_test.py").write_text(HUB)
    (source / "samplers" / "it_tokenizer_test.py").write_text("raise AssertionError")
    files = [f"--{name}={tmp_path / name}" for name in ("json", "write")]
    assert runner.main(["--hub", str(checkout), *files]) == 0
    run, tests = outcomes(tmp_path / "json")
    assert run["mode"] == "host"
    found = {id.rpartition("_")[2]: test["outcome"] for id, test in tests.items()}
    assert found == {"runs": "passed", "long": "passed", "presets": "skipped"}
    text = (tmp_path / "write").read_text()
    assert "## KerasHub" in text and "--hub KERAS_HUB_SOURCE\n" in text
    assert re.search(r"keras(-nightly)? 3\.\d+.*, keras-hub 0\.\d+\.99, openvino", text)
    assert str(tmp_path) not in text


PRECISION = """
import numpy as np
import openvino
from openvino import opset16 as ov

def compiled(**options):
    x = ov.parameter([2], np.float32)
    model = openvino.Model([ov.relu(x)], [x], "relu")
    return openvino.Core().compile_model(model, "CPU", options)

def test_default():
    assert compiled().get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32

def test_what_the_test_asks_for():
    hint = compiled(EXECUTION_MODE_HINT="ACCURACY", NUM_STREAMS="2").get_property("NUM_STREAMS")
    assert str(hint) == "2"
"""


def test_cores_of_tests_compute_in_float32(tree, tmp_path, monkeypatch):
    excluding(monkeypatch)
    (tree / "ops" / "precision_test.py").write_text(PRECISION)
    assert runner.main(["ops/precision_test.py", f"--json={tmp_path / 'json'}"]) == 0
    _, tests = outcomes(tmp_path / "json")
    assert [test["outcome"] for test in tests.values()] == ["passed", "passed"]


@with_tests
def test_files_of_keras(tmp_path):
    files = ["ops/einops_test.py", "backend/common/name_scope_test.py"]
    assert runner.main([*files, f"--json={tmp_path / 'json'}"]) in (0, 1)
    run, tests = outcomes(tmp_path / "json")
    einops, names, total = sorted(run["files"], key=lambda row: row["file"] != "ops/einops_test.py")
    assert einops["neutralised"] == 3
    assert names["passed"] >= 4 and names["failed"] == names["error"] == 0
    assert total["passed"] + total["failed"] == len(tests)


def test_one_line():
    text = "E: \x1b[1mno\x1b[0m\n  name (/home/me/.venv/keras/src/ops.py)"
    assert one_line(text) == "E: no name (keras/src/ops.py)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["ops/nunpy_test.py"], "did you mean ops/numpy_test.py", marks=with_tests),
        (["/ops"], "there is no /ops"),
        (["--source", "/no/such/folder"], "no checkout of Keras"),
        (["--hub", "/no/such/folder"], "no checkout of KerasHub"),
        (["--hub", "a", "--source", "b"], "name one of them"),
        pytest.param(
            ["ops/core_test.py", "-k", "no_such_test_name", "--peer", "numpy"],
            "deselected",
            marks=with_tests,
        ),
    ],
)
def test_usage(arguments, message, capsys):
    assert runner.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_command_leaves_outputs_out():
    arguments = ["ops", "--write", "a.md", "--json=b", "--eager", "both", "--source=/home/me/keras"]
    arguments += ["--keep", "kept"]
    left = ["ops", "--eager", "both", "--source", "KERAS_SOURCE", "--keep", "RECORDS"]
    assert options.without_outputs(arguments) == left


@with_tests
def test_exclusions_name_files_of_keras():
    source = options.keras_source()
    for entry in exclusions.read():
        assert (source / entry.test.partition("::")[0]).is_file()
