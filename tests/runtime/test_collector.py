"""The garbage collector waits while programs are made, and goes on afterwards."""

import gc

import numpy as np
import pytest

from kerasvino.runtime.collector import paused_collector
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor


def test_tracing_and_compiling_set_off_no_collection():
    started, during = [], []

    def noted(phase, info):
        started.append(info["generation"])

    def many(x):
        during.append(len(started))
        held = [[] for _ in range(200_000)]  # noqa: F841 - each counts as an allocation
        during.append(len(started))
        return [x]

    x = Tensor(np.ones(2, "float32"))
    gc.callbacks.append(noted)
    try:
        Function(many)(x)
        assert during[0] == during[1]
        before = len(started)
        held = [[] for _ in range(200_000)]
        assert len(started) > before and held
    finally:
        gc.callbacks.remove(noted)


def test_errors_and_calls_within_leave_it_as_it_was():
    with pytest.raises(KeyError), paused_collector():
        with paused_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with paused_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
