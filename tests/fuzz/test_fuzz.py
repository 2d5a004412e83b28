"""A few hundred cases of the fuzzer, always the same, and that it would find a fault."""

import numpy as np
import pytest
from hypothesis import strategies as st
from keras import ops

from tests.fuzz import limits, operations, run
from tests.fuzz.arrays import Array, arrays
from tests.fuzz.cases import replay
from tests.fuzz.operation import Operation


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seed", [1, 2])
def test_no_disagreement(seed):
    counts, findings = run.fuzz(150, seed)
    assert sum(counts.values()) == 150
    assert len(counts) > 100
    wrong = [str(f) for f in findings if f.kind != "refused"]
    assert not wrong, "\n".join(wrong)


def test_the_table_is_large():
    assert len(operations.OPERATIONS) > 200


@pytest.fixture
def faulty(monkeypatch):
    """An operation whose compiled form is something else, and NumPy's, too."""

    def call(x):
        return x + 1 if x.is_symbolic else x

    row = Operation(
        "abs faulty", arrays(0, 2, ("int32",), "finite").map(lambda a: ([a], {})), call, np.negative
    )
    monkeypatch.setitem(operations.OPERATIONS, row.name, row)
    return row


def test_a_fault_is_found(faulty):
    findings = replay(faulty.name, [Array((2, 3), "int32", "finite", 1)], {})
    assert [f.kind for f in findings] == ["compiled", "NumPy"]
    assert "replay('abs faulty'" in str(findings[0])
    _, findings = run.fuzz(50, 1, [faulty.name])
    assert len(findings) > 20


@pytest.mark.parametrize("known", [False, True])
def test_a_refusal_of_the_graph_alone_is_found(monkeypatch, known):
    row = Operation("abs refusing", st.just(([], {})), lambda x: ops.zeros(int(x)))
    monkeypatch.setitem(operations.OPERATIONS, row.name, row)
    if known:
        monkeypatch.setattr(limits, "_REFUSED", [(row.name, "traced tensor", "a test")])
    for dynamic, kind in [(False, "compiled"), (True, "refused" if known else "compiled")]:
        findings = replay(row.name, [Array((), "int32", "indices", 1)], {}, dynamic)
        assert [f.kind for f in findings] == [kind]


def test_a_summary_names_what_was_found(faulty, capsys):
    counts, findings = run.fuzz(25, 1, [faulty.name])
    assert run.report(counts, findings, []) == 1
    assert "disagreements:" in capsys.readouterr().out
    assert run.report(counts, [], []) == 0
    assert run.report(counts, [], ["a crash"]) == 1
