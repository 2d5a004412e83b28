"""Two processes that train together end where one ends on the same global batches."""

import functools
import pickle
import tempfile

import keras
import numpy as np
import pytest

from tests.distribution import cases, worker
from tests.distribution.processes import log, ran, started

pytest.importorskip("torch.distributed")


@functools.cache
def together(name):
    with tempfile.TemporaryDirectory() as folder:
        return ran(name, folder)


def _compare(name, case):
    (weights, logs), (others, logs_of_other) = (found[case] for found in together(name))
    for one, other in zip(weights, others, strict=True):
        assert one.tobytes() == other.tobytes()
    assert logs == logs_of_other
    expected, expected_logs = cases.trained(case)
    moved = max(abs(a - b).max() for a, b in zip(expected, _initial(case), strict=True) if a.size)
    assert moved > 1e-2  # there was something to be seen
    for one, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-6)
    assert logs.keys() == expected_logs.keys()
    for log_name, value in expected_logs.items():
        np.testing.assert_allclose(logs[log_name], value, rtol=1e-5)


@pytest.mark.parametrize("case", cases.FEW)
def test_weights_and_logs_are_those_of_one_process(case):
    _compare("few", case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in cases.CASES if case not in cases.FEW])
def test_weights_and_logs_are_those_of_one_process_in_more_cases(case):
    _compare("rest", case)


def _initial(case):
    keras.utils.clear_session()
    keras.utils.set_random_seed(7)
    several, one = cases.CASES[case]
    return (one or several)()[0].get_weights()


def test_unlike_numbers_of_samples_and_batches(tmp_path):
    found = ran("uneven", tmp_path)
    expected = worker.uneven(0, 1)
    for eagerly in (False, True):
        (logs, weights, rows), (logs_of_other, others, rows_of_other) = (f[eagerly] for f in found)
        assert logs == logs_of_other
        assert (rows, rows_of_other) == (12, 11)
        for one, other in zip(weights, others, strict=True):
            assert one.tobytes() == other.tobytes()
        for name, values in expected[eagerly][0].items():
            np.testing.assert_allclose(logs[name], values, rtol=2e-6)


def test_a_process_is_killed_and_training_goes_on_from_the_checkpoint(tmp_path):
    processes = started("killed", tmp_path, 2)
    codes = [process.wait(150) for process in processes]
    assert codes == [0, -9], log(tmp_path, 0)
    assert "DistributedError" in log(tmp_path, 0)
    _, waited = pickle.loads((tmp_path / "0").read_bytes())
    assert waited < 60
    expected, _ = worker.checkpointed(0, 1)
    for weights, waited in ran("resumed", tmp_path):
        assert waited is None
        for one, wanted in zip(weights, expected, strict=True):
            np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_process_that_is_late_stops_the_others(tmp_path):
    (_, waited), (_, of_late) = ran("late", tmp_path, KERASVINO_COLLECTIVE_TIMEOUT="5")
    assert 4 < waited < 15
    assert of_late is not None  # it finds the others gone
