"""Selects the backend before any test imports Keras."""

import os

# Two test workers share the machine; OpenVINO would start a thread per core in each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import kerasvino  # noqa: F401
