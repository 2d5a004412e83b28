"""The recording of bits: the same twice, and it sees a change of the host form or of the graph."""

import numpy as np
import pytest

from kerasvino.nodes.lowering import ov
from kerasvino.primitives.core import PRIMITIVES
from tests.primitives.record import record


def _changed(before, after):
    return {key for key in before if before[key] != after[key]}


@pytest.fixture(scope="module")
def before():
    return record(["tanh"], run=False)


def test_twice_the_same(before):
    assert {key.split()[-1] for key in before} == {"host", "graph"}
    assert record(["tanh"], run=False) == before


def test_only_changed_graphs_are_run(before):
    known = dict(before)
    del known["tanh-0-float32 lower graph"]
    found = record(["tanh"], known=known)
    assert [key for key in found if key.endswith(" run")] == ["tanh-0-float32 lower run"]


def test_a_change_on_the_host(before, monkeypatch):
    monkeypatch.setattr(PRIMITIVES["tanh"], "impl", lambda x: np.nextafter(np.tanh(x), x * 0))
    changed = _changed(before, record(["tanh"], run=False))
    assert changed
    assert all(key.endswith(" host") for key in changed)


def test_a_change_of_the_graph(before, monkeypatch):
    monkeypatch.setattr(PRIMITIVES["tanh"], "lower", lambda x: ov.tanh(ov.add(x, x)))
    changed = _changed(before, record(["tanh"], run=False))
    assert changed
    assert all(key.endswith(" graph") for key in changed)
