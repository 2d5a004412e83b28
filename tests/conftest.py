"""Selects the backend before any test imports Keras."""

import os
from pathlib import Path

import pytest

# Two test workers share the machine; OpenVINO would start a thread per core in each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import kerasvino  # noqa: F401

# These need no Keras, or only what two versions of it share. `make test-nightly` leaves them out.
ONCE = (
    "conformance", "fuzz", "graph", "nodes", "openvino_traps", "primitives",
    "parity/test_applications.py", "ray/test_cluster.py", "test_demo.py", "test_examples.py",
    "test_packaging.py",
)  # fmt: skip
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    once = [_HERE / name for name in ONCE]
    for item in items:
        if any(item.path.is_relative_to(place) for place in once):
            item.add_marker(pytest.mark.once)
