"""A forked child runs programs, or says at once why not; it never waits for ever."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import kerasvino
from kerasvino import locks
from kerasvino.runtime import forking
from tests.runtime import fork_cases

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
ROOT = Path(kerasvino.__path__[0]).parent
RUN = """
import sys
import kerasvino
sys.modules["tensorflow"] = None  # importing it, which Keras tries, takes seconds
from tests.runtime import fork_cases
fork_cases.main()
"""


@pytest.fixture(scope="module")
def seen():
    """What `fork_cases` saw, in a process of its own; each child has a time limit."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("parent", fork_cases.USES)
@pytest.mark.parametrize("child", fork_cases.IN_CHILD)
def test_after_any_use_of_a_model_a_child_uses_it(seen, parent, child):
    assert seen["pairs"][parent][child] is True


REFUSED = "or fork before the first model runs (docs/serving.md)."
THREAD = "ForkError: This process was forked while another thread of its parent ran or compiled"
DEVICE = "ForkError: This process was forked from one that had used OpenVINO, and the device AUTO"


def test_children_and_grandchildren_train_convolutions(seen):
    assert seen["convolutions"] == [True, [True, True], True]


def test_threads_that_the_parent_left_behind_are_not_taken_up(seen):
    assert seen["dropped"] == [True, True, True]


def test_a_child_ends_as_any_process(seen):
    assert seen["exits"] == 7


def test_the_parent_keeps_its_programs(seen):
    assert seen["parent goes on"] is True


def test_a_child_forked_beside_a_running_thread_says_so(seen):
    said, parent = seen["beside a thread"]
    assert said.startswith(THREAD) and said.endswith(REFUSED)
    assert parent is True


def test_a_fork_waits_for_the_runs_of_other_threads(seen):
    assert seen["waits for a thread"] == [True, True]


def test_a_run_of_the_parent_does_not_end_in_the_child(seen):
    assert seen["inside predict"] == [3, True]  # a ForkError


def test_other_devices_are_refused(seen):
    said, on_cpu = seen["other device"]
    assert said.startswith(DEVICE) and said.endswith(REFUSED)
    assert on_cpu is True


def test_eager_programs_and_compiled_functions(seen):
    assert seen["eager"] == [27.0, 27.0, 27.0]
    assert seen["jit"] == [3.0, 2.0]  # the child has a copy of the variable


def test_processes_that_load_a_data_set(seen):
    assert seen["workers of a data set"] is True


def test_every_case_is_asked_about(seen):
    assert seen.keys() == fork_cases.CASES.keys()


@pytest.mark.parametrize("kind", [locks.lock, locks.rlock])
def test_locks_are_free_in_a_child(kind):
    held = kind()
    with_it, over = threading.Event(), threading.Event()

    def hold():
        with held:
            with_it.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    with_it.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if held.acquire(timeout=1) else 1)
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert held.acquire(timeout=1)


def test_an_rlock_stays_with_the_thread_that_forks():
    held = locks.rlock()
    with held:
        child = os.fork()
        if child == 0:
            held.release()  # an error where it is not held
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_are_waited_for_until_they_sleep(monkeypatch, tmp_path):
    """As Linux shows them: id (name) state …; a name may hold anything."""

    def task(number, state):
        (tmp_path / str(number)).mkdir(exist_ok=True)
        draft = tmp_path.with_suffix(".draft")
        draft.write_text(f"{number} (a) R (b) {state} 1 2")
        draft.replace(tmp_path / str(number) / "stat")  # at once, as the system does

    monkeypatch.setattr(forking, "_TASKS", str(tmp_path))
    task(os.getpid(), "R")  # Python's own are not waited for
    task(threading.main_thread().native_id, "R")
    task(7, "S")
    assert forking._native_threads_sleep(0)
    task(8, "R")
    start = time.monotonic()
    assert not forking._native_threads_sleep(start + 0.05)
    assert time.monotonic() >= start + 0.05
    timer = threading.Timer(0.02, task, (8, "S"))
    timer.start()
    assert forking._native_threads_sleep(time.monotonic() + 10)
    timer.join()


def test_nothing_is_under_way_after_calls():
    import keras
    import numpy as np

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = np.ones((40, 3), "float32")
    model.predict(x, batch_size=4, verbose=0)
    model.predict(((x[:4],) for _ in range(3)), steps=3, verbose=0)
    forking._active.clear()  # what other tests have dropped
    model.predict(x, batch_size=4, verbose=0)
    model.predict(((x[:4],) for _ in range(3)), steps=3, verbose=0)
    assert not forking._active


SERVER = """
import os, signal, sys
import kerasvino
sys.modules["tensorflow"] = None
import keras
import numpy as np

bind, loglevel, control_socket_disable = "unix:socket", "critical", True
preload_app = True
x = np.ones((8, 3), "float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")])

def predict():
    return model.predict(((x,) for _ in range(3)), steps=3, verbose=0).sum()

predict()  # before the workers are forked

def post_worker_init(worker):
    signal.alarm(60)
    print(os.getpid() != os.getppid(), predict(), predict(), flush=True)
    os.kill(os.getppid(), signal.SIGTERM)

def app(environ, start_response):
    raise AssertionError("nobody asks")
"""


@pytest.mark.skipif(not importlib.util.find_spec("gunicorn"), reason="gunicorn is not installed")
def test_a_preloaded_worker_of_gunicorn_predicts(tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--config", "server.py", "server:app"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.stdout == "True 144.0 144.0\n", done.stderr
