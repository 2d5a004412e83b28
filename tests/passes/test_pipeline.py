"""The pipeline is data: neither the order of imports nor who imports changes it."""

import json
import pkgutil
import random
import subprocess
import sys

import pytest

import kerasvino
from kerasvino.passes import pipeline

IMPORT = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
from kerasvino.passes import pipeline
print(json.dumps([step.name for step in pipeline.PASSES]))
"""


def modules():
    """Of the layers that can be imported without a backend being chosen."""
    found = []
    for layer in ("graph", "nodes", "primitives", "passes", "autodiff", "runtime"):
        folder = f"{kerasvino.__path__[0]}/{layer}"
        found += [m.name for m in pkgutil.walk_packages([folder], f"kerasvino.{layer}.")]
    return sorted(found)


@pytest.mark.parametrize("seed", range(3))
def test_another_order_of_imports_gives_the_same_pipeline(seed):
    names = modules()
    assert "kerasvino.passes.normalizations" in names
    random.Random(seed).shuffle(names)
    found = subprocess.run(
        [sys.executable, "-c", IMPORT, json.dumps(names)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) == [step.name for step in pipeline.PASSES]


def test_every_pass_is_listed_once_with_a_reason():
    names = [step.name for step in pipeline.PASSES]
    assert len(set(names)) == len(names)
    assert all(step.rules and step.reason for step in pipeline.PASSES)
