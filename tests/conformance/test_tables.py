import io
import json
import re
import subprocess

import pytest
from rich.console import Console

from tests.conformance import results, tables
from tests.conformance.results import Run, Test


def some_tests():
    return [
        Test("ops/a_test.py::A::test_1", "passed", 1.0, True),
        Test("ops/a_test.py::A::test_2", "failed", 2.0, False, "ValueError: a | b (a.py:1)"),
        Test("ops/b_test.py::B::test_1", "skipped", 0.1, False, "no sparse tensors."),
        Test("ops/b_test.py::B::test_2", "skipped", 0.1, False, "no sparse  tensors Received: 1"),
        Test("ops/b_test.py::B::test_3", "excluded", 0.0, False, "complex numbers"),
        Test("ops/c_test.py", "error", 0.0, False, "ImportError: no module"),
    ]


def test_counts():
    rows = results.per_file(some_tests())
    assert [row.file for row in rows] == ["ops/a_test.py", "ops/b_test.py", "ops/c_test.py"]
    total = results.total(some_tests())
    counts = (total.passed, total.failed, total.error, total.skipped, total.excluded)
    assert counts == (1, 1, 1, 2, 1)
    assert (total.neutralised, total.seconds) == (1, 3.2)
    assert results.skip_groups(some_tests()) == [("no sparse tensors", 2, 1)]


@pytest.mark.parametrize(
    ("run", "ok"),
    [
        (Run("host", []), True),
        (Run("host", some_tests()[:1]), True),
        (Run("host", some_tests()[1:2], status=1), False),
        (Run("host", some_tests()[5:], status=1), False),
        (Run("host", [], unknown=["ops/a_test.py::A::test_9"]), False),
        (Run("host", [], status=4), False),
    ],
)
def test_ok(run, ok):
    assert run.ok is ok


def test_markdown():
    runs = [Run("compiled", some_tests(), seconds=61, workers=2)]
    text = tables.section(runs, "python -m it", checkout=None)
    assert text.startswith("## The installed Keras\n")
    assert f"\n\n{tables.versions(None)}\n\n### KERASVINO_EAGER=compiled\n" in text
    assert "1 min 1 s in 2 processes" in text
    assert "| ops (3 files) | 1 | 1 | 1 | 0 | 2 | 1 | 1 | 3.2 |" in text
    assert "| **total** | **1** | **1** | **1** | **0** | **2** | **1** | **1** | **3.2** |" in text
    assert "| 2 | 1 | no sparse tensors |" in text
    assert "| ops/b_test.py::B::test_3 | complex numbers |" in text
    assert "ValueError: a \\| b (a.py:1)" in text
    assert "    python -m it\n" in text
    body = [line for line in text.splitlines() if line.startswith("| ")]
    widths = {line.replace("\\|", "").count("|") for line in body if "ops (" in line}
    assert widths == {10}


def test_a_document_keeps_its_other_sections(tmp_path):
    def git(*arguments):
        as_someone = ("-c", "user.name=a", "-c", "user.email=b")
        subprocess.run(["git", "-C", tmp_path, *as_someone, *arguments], check=True)

    file = tmp_path / "keras" / "src" / "version.py"
    file.parent.mkdir(parents=True)
    file.write_text('__version__ = "3.16.0"\n')
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    run = [Run("host", [])]
    text = tables.document("", tables.section(run, "old", tmp_path))
    assert "keras 3.16.0 (commit " in text
    text = tables.document(text, tables.section(run, "of the wheel", None))
    text = tables.document(text, tables.section(run, "new", tmp_path))
    file.write_text('__version__ = "3.17.0"\n')
    text = tables.document(text, tables.section(run, "changed", tmp_path))
    assert re.findall("(?m)^# .*|^## .*|^    .*", text) == [
        "# Conformance",
        "## The installed Keras", "    of the wheel",
        "## The pluggable layout", "    new",
        "## The pluggable layout, with changes", "    changed",
    ]  # fmt: skip
    assert "with changes in:\n\n- `keras/src/version.py`\n" in text


def test_failures_of_other_backends_are_grouped_by_error():
    names = [f"ops/{file}_test.py::test_{i}" for file in "ab" for i in range(3)]
    many = [Test(n, "upstream", 0.0, False, f"it (a_test.py:{i})", "", ("jax",))
            for i, n in enumerate(names)]  # fmt: skip
    one = Test("ops/c_test.py::test_it", "upstream", 0.0, False, "other", "", ("numpy", "jax"))
    text = tables.section([Run("host", [*many, one])], "it", None)
    assert "| 6 | ops/a_test.py (3), ops/b_test.py (3) | jax | it |\n" in text
    assert "| 1 | `ops/c_test.py::test_it` | numpy, jax | other |\n" in text
    assert Run("host", [*many, one]).ok


def test_large_files_have_a_row_of_their_own():
    large = [Test(f"ops/a_test.py::test_{i}", "passed", 0.0, False) for i in range(results.ALONE)]
    deep = [Test(f"layers/x/{name}_test.py::t", "passed", 0.0, False) for name in ("y/z", "w")]
    rows = results.per_folder([*large, *deep, *some_tests()[2:]])
    found = [(row.file, row.passed, row.skipped) for row in rows]
    assert found == [
        ("layers/x (2 files)", 2, 0), ("ops (2 files)", 0, 2), ("ops/a_test.py", 100, 0),
    ]  # fmt: skip


def test_rare_reasons_are_counted_together():
    reasons = ["often"] * 3 + ["one", "two", "two"]
    tests = [Test(f"a::{i}", "skipped", 0.0, False, reason) for i, reason in enumerate(reasons)]
    assert results.skip_groups(tests) == [
        ("2 other reasons, of fewer than 3 tests each", 3, 1), ("often", 3, 1),
    ]  # fmt: skip


def test_terminal_names_twenty_failures():
    out = io.StringIO()
    failed = [Test(f"ops/a_test.py::A::test_{i}[x]", "failed", 0.0, False) for i in range(25)]
    tables.show(Run("host", failed), Console(file=out, width=120))
    assert out.getvalue().count("failed ops/a_test.py::A::test_") == 20
    assert "test_19[x]" in out.getvalue()
    assert "and 5 more" in out.getvalue()


def test_records_of_a_dead_process(tmp_path):
    test = {"event": "test", "outcome": "passed", "seconds": 1.0, "neutralised": False}
    records = [{"event": "start", "id": "a"}, {**test, "id": "a"}, {"event": "start", "id": "b"}]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "7.jsonl").write_text(lines + '{"event": "te')
    (tmp_path / "7.dump").write_text("Fatal Python error: Segmentation fault\n\nThread\n")
    tests, unknown, finished = results.collect(tmp_path)
    assert tests["a"].outcome == "passed"
    assert tests["b"].outcome == "failed"
    assert tests["b"].message == "the process died: Fatal Python error: Segmentation fault"
    assert (unknown, finished) == ([], False)
