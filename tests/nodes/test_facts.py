"""The table of facts: its kinds are OpenVINO's, and each fact is one that somebody reads."""

import openvino.opset16 as ov
import pytest

from kerasvino.nodes.facts import FACTS, FRESH, IN_PLACE, READS, VIEW, facts
from kerasvino.runtime import rows

KNOWN = {name.replace("_", "") for name in dir(ov)} | {"if"}


@pytest.mark.parametrize("kind", FACTS)
def test_a_kind_is_an_operation_of_openvino(kind):
    assert kind.lower() in KNOWN


@pytest.mark.parametrize("kind", FACTS)
def test_facts_are_of_those_that_are_read(kind):
    found = facts(kind)
    assert found.rows is None or found.rows in rows._RULES
    assert found.memory in (None, FRESH, IN_PLACE, READS, VIEW)
    assert found.cost in (None, "nothing", "elements", "product", "convolution", "steps", "body")
    assert (found.gates > 0) == (found.cost == "steps")
    assert found.cost == "convolution" or not (found.groups or found.backward)


def test_every_rule_of_rows_is_some_kind_s():
    assert {found.rows for found in FACTS.values()} - {None} == set(rows._RULES)


def test_nothing_is_assumed_of_an_unknown_kind():
    found = facts("Einsum")
    assert (found.rows, found.memory, found.fold, found.bodies) == (None, None, None, 0)
    assert found.cost == "elements"
