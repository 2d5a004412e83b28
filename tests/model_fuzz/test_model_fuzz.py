"""A few cases of the fuzzer of models, always the same, and that it would find a fault."""

import collections
import dataclasses

import keras
import numpy as np
import pytest

from kerasvino.runtime import specialisation
from tests.model_fuzz import run
from tests.model_fuzz.changes import CHANGES
from tests.model_fuzz.comparison import difference
from tests.model_fuzz.drawing import draw
from tests.model_fuzz.looks import LOOKS, OFTEN
from tests.model_fuzz.plan import Case, Input, Plan
from tests.model_fuzz.session import Finding, Session
from tests.model_fuzz.shrink import shrunk

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

DENSE = Plan("sequential", (Input("vector"),), "float32", (("dense", 1), ("softmax", 1)), 7)


def of(*actions):
    return Case(DENSE, tuple((name, index) for index, name in enumerate(actions)))


@pytest.mark.parametrize("number", range(1_000_000, 1_000_010))
def test_no_disagreement(number):
    counts, findings = run.fuzz([number], seconds=0)
    assert not findings, f"{findings[0]}\nreplay({findings[0].case})"
    assert sum(counts.values()) >= 4


def test_300_cases_look_in_each_way_after_each_change():
    pairs = collections.Counter()
    for number in range(1_000_000, 1_000_300):
        change = None
        for name, _ in draw(number).actions:
            change = name if name in CHANGES else change
            pairs[change, name] += name in LOOKS
    rare = [
        (change, look)
        for change in CHANGES
        for look in ("predict", "evaluate", "call", "jit")
        if not pairs[change, look]
    ]
    assert not rare
    assert all(any(pairs[change, look] for change in CHANGES) for look in LOOKS)


def test_a_seed_gives_the_same_case():
    assert draw(5) == draw(5) != draw(6)


def test_every_look_and_change_can_be_done():
    done = set()
    forms = {
        "sequential": ("dense", "tabled", "adapted norm"),
        "subclassed": ("dense", "tabled", "adapted norm"),
        "functional": ("dense", "tabled", "adapted norm", "inner sequence"),
    }
    for form, steps in forms.items():
        plan = Plan(form, (Input("vector"),), "float32", tuple((n, 3) for n in steps), 2)
        for name in CHANGES:
            if CHANGES[name].needs in (None, form, *steps) and name not in done:
                counts = collections.Counter()
                run.check(Case(plan, ((name, 1), ("predict_eagerly", 1))), counts)
                done |= {change for change, _ in counts}
    assert set(CHANGES) <= done


# -- faults


@pytest.mark.parametrize("look", ["predict", "predict_on_batch", "evaluate", "jit"])
def test_a_program_with_old_weights_is_found(monkeypatch, look):
    monkeypatch.setattr(
        specialisation.Specialisation, "is_stale", lambda entry: entry.program is None
    )
    findings = run.check(of(look, look, "set_weights", look))
    assert [(f.look, f.change, f.kind) for f in findings] == [(look, "set_weights", "differs")]


def test_an_error_is_found(monkeypatch):
    def refused(self, *args, **kwargs):
        raise ValueError("no predictions today")

    monkeypatch.setattr(keras.Sequential, "predict_on_batch", refused)
    (finding,) = run.check(of("predict_on_batch"))
    assert (finding.kind, finding.what) == ("raises ValueError", "no predictions today")


def test_what_raises_eagerly_too_is_not_a_fault():
    session = Session(of(), "")

    def raising():
        raise ValueError("one")

    session.check(raising, raising)
    assert not session.findings
    session.check(lambda: 1.0, raising)
    assert [f.kind for f in session.findings] == ["accepts what raises ValueError"]


def test_the_reference_leaves_a_model_as_it_was():
    session = Session(Case(dataclasses.replace(DENSE, steps=(("counting", 1),)), ()), "")
    x = np.ones((2, 5), "float32")
    before = session.state()
    first = session.predictions([x, x], before)
    np.testing.assert_allclose(first[2:] - first[:2], 0.1, rtol=1e-5)
    assert [a is b for (_, a), (_, b) in zip(before, session.state(), strict=True)]
    np.testing.assert_array_equal(session.predictions([x, x], before), first)


@pytest.mark.parametrize(
    ("found", "expected", "rough", "wrong"),
    [
        ([1.0, 2.0], [1.0, 2.0001], (), False),
        ([1.0, 2.0], [1.0, 2.01], (), True),
        ([1.0, 2.0], [1.0, 2.01], ("mixed_float16",), False),
        ([1.0, np.nan], [1.0, np.nan], (), False),
        ([1.0, np.nan], [1.0, 2.0], ("mixed_bfloat16",), True),
        ([np.inf, 2.0], [np.inf, 2.0], (), False),
        ([np.inf, 2.0], [-np.inf, 2.0], (), True),
        ([1.0], [1.0, 2.0], (), True),
        ([1.0] * 20 + [1.05], [1.0] * 21, ("int8",), False),
        ([1.05] * 20 + [1.0], [1.0] * 21, ("int8",), True),
    ],
)
def test_what_agrees(found, expected, rough, wrong):
    found, expected = np.asarray(found, "float32"), np.asarray(expected, "float32")
    assert (difference(found, expected, rough) is not None) == wrong
    assert difference([found], found, ()) is not None
    assert difference(found, found.astype("float64"), ()) is not None


# -- what is printed


def test_a_case_is_made_smaller():
    def fails(case):
        names = [name for name, _ in case.actions]
        steps = [name for name, _ in case.plan.steps]
        return "softmax" in steps and names.count("predict") == 2 and "assign" in names

    plan = Plan(
        "functional", (Input("vector", True), Input("series", True, "float64")), "mixed_bfloat16",
        (("dense", 1), ("softmax", 2), ("dense", 3), ("add", 4)), 7,
    )  # fmt: skip
    names = ["predict", "call", "assign", "jit", "clone", "predict", "train"]
    found = shrunk(Case(plan, tuple((name, 1) for name in names)), fails)
    assert found == Case(
        Plan("functional", (Input("vector"),), "float32", (("softmax", 2),), 7),
        (("predict", 1), ("assign", 1), ("predict", 1)),
    )


def test_a_summary_names_what_was_found(capsys):
    finding = Finding("predict", "pop", "differs", "off by 1", of("predict", "pop", "predict"), 17)
    counts = collections.Counter({("pop", "predict"): 3, ("none", OFTEN[0]): 2})
    assert run.report(5, counts, [finding, finding], []) == 1
    printed = capsys.readouterr().out
    assert "predict after pop: differs: off by 1" in printed
    assert f"replay({finding.case!r})" in printed
    assert "disagreements: 2" in printed
    assert run.report(5, counts, [], []) == 0
    assert run.report(5, counts, [], ["a crash"]) == 1


def test_the_cases_after_a_crash_are_run(monkeypatch):
    asked = []

    def child(options, numbers):
        asked.append(numbers)
        crashed = 1_000_002 if 1_000_002 in numbers else None
        return crashed, -11, (collections.Counter(), [])

    monkeypatch.setattr(run, "_child", child)
    assert run.main(["--cases", "5", "--slice", "4", "--seed", "1"]) == 1
    assert asked == [
        range(1_000_000, 1_000_004), range(1_000_003, 1_000_004), range(1_000_004, 1_000_005),
    ]  # fmt: skip


def test_cases_run_in_a_process_of_their_own(capfd):
    assert run.main(["--cases", "1", "--seed", "1"]) == 0
    printed = capfd.readouterr().out
    assert "cases 1000000 to 1000000: 0 failed" in printed
    assert "\n1 cases, " in printed
