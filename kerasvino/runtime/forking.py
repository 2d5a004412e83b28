"""OpenVINO in a process that is forked.

A fork copies the memory of a process, and of its threads only the one that forks. A program whose
threads have stayed behind would wait for them for ever. So in a child:

- Nothing of the parent's is used: there is another core, and programs are compiled anew when they
  are called. They are told apart by `generation()`.
- Nothing of the parent's is destroyed, since that waits for the threads, too.
- No threads of the parent's are taken up again: OpenVINO keeps those of programs that are gone for
  the next one. It forgets them when a plugin is unloaded, which is done before a fork.

Locks inside OpenVINO, which a thread of the parent's may hold for ever, cannot be helped. So a fork
waits a moment for runs and compilations of other threads to end, lets none begin meanwhile, and
waits until OpenVINO's own threads sleep. If they do not, the child refuses to run programs.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import openvino

from kerasvino.errors import ForkError
from kerasvino.graph import state

__all__ = [
    "begin", "check", "check_generation", "compiling", "end", "generation", "keep",
    "on_new_process",
]  # fmt: skip

# How long a fork waits for other threads, in seconds.
LONGEST_WAIT = 1.0

_INSTEAD = (
    'Start processes by multiprocessing.get_context("spawn") or "forkserver", or fork before the '
    "first model runs (docs/serving.md)."
)

_generation = 0
_gate = threading.Lock()  # held for the time of a fork
_active: dict[int, weakref.ref | None] = {}  # runs under way; None for those of a waiting thread
_quiet = True  # whether nothing was under way when this process was forked
_in_use = False  # whether anything has been compiled in this process
_of_parent = False  # whether it had been in the parent
_kept: weakref.WeakSet[Any] = weakref.WeakSet()
_renewals: list[Callable[[], None]] = []


def generation() -> int:
    """How often the process was forked to become this one, since OpenVINO was loaded."""
    return _generation


def keep(thing: Any) -> Any:
    """Says that a core or a compiled model must not be destroyed in a forked child."""
    _kept.add(thing)
    return thing


def on_new_process(renew: Callable[[], None]) -> Callable[[], None]:
    """Has a function called in each forked child, to drop what it cannot use."""
    _renewals.append(renew)
    return renew


def begin(request: openvino.InferRequest, *, waits: bool) -> None:
    """Says that a request runs; `waits`: on this thread, which calls `end` when it returns."""
    with _gate:
        _active[id(request)] = None if waits else weakref.ref(request)


def end(request: openvino.InferRequest) -> None:
    """Says that a run is over."""
    _active.pop(id(request), None)


def infer(compiled: openvino.CompiledModel, arrays: Sequence[Any]) -> Any:
    """What a compiled model gives for these arrays, run on this thread, by a request of its own."""
    request = compiled.create_infer_request()
    begin(request, waits=True)
    try:
        return request.infer(list(arrays))
    finally:
        end(request)


@contextmanager
def compiling() -> Iterator[None]:
    """Around what compiles or loads a model."""
    global _in_use
    token: list = []
    with _gate:
        _active[id(token)] = None
        _in_use = True
    try:
        yield
    finally:
        _active.pop(id(token), None)


def check(device: str) -> None:
    """Refuses to compile in a child that would wait for ever.

    Raises:
        ForkError: the parent was compiling or running at the time of the fork, or had loaded
            OpenVINO and the device is another one than the CPU.
    """
    if not _quiet:
        raise ForkError(
            "This process was forked while another thread of its parent ran or compiled a program, "
            f"which OpenVINO does not survive. {_INSTEAD}"
        )
    if _of_parent and device != "CPU":
        raise ForkError(
            f"This process was forked from one that had used OpenVINO, and the device {device} "
            f"cannot be used in both. {_INSTEAD}"
        )


def check_generation(of_program: int) -> None:
    """Refuses a program or a run of the process that this one was forked from.

    Raises:
        ForkError: it is one.
    """
    if of_program != _generation:
        raise ForkError(
            f"A run that was begun before this process was forked cannot end in it. {_INSTEAD}"
        )


# -- the fork


def _before() -> None:
    global _forker, _quiet_at_fork
    if not _in_use:
        return
    _gate.acquire()
    _forker = threading.get_ident()
    deadline = time.monotonic() + LONGEST_WAIT
    _quiet_at_fork = _comes_to_rest(deadline)
    _forget_idle_threads()
    _quiet_at_fork = _quiet_at_fork and _native_threads_sleep(deadline)


_quiet_at_fork = True
_forker = 0  # the thread that holds the gate


def _comes_to_rest(deadline: float) -> bool:
    """Whether all runs and compilations have ended in time."""
    while not all(map(_has_ended, list(_active.values()))):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _has_ended(run: weakref.ref | None) -> bool:
    if run is None:
        return False
    request = run()
    try:
        return request is None or request.wait_for(0)
    except RuntimeError:  # the run has failed, which its own thread will be told
        return True


def _forget_idle_threads() -> None:
    """Has OpenVINO drop the threads of programs that are gone.

    It does so whenever a plugin of the CPU is unloaded, if only that of a new core.
    """
    core = openvino.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")
    core.unload_plugin("CPU")


def _native_threads_sleep(deadline: float) -> bool:
    """Whether the threads that are not Python's fall asleep in time.

    OpenVINO's go on looking for work for a moment after a run. The lock that one of them takes
    meanwhile would stay locked in the child.
    """
    if not os.path.isdir(_TASKS):  # another system than Linux
        return True
    while any(map(_is_awake, set(os.listdir(_TASKS)) - _python_threads())):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


_TASKS = "/proc/self/task"


def _python_threads() -> set[str]:
    return {str(thread.native_id) for thread in threading.enumerate()} | {str(os.getpid())}


def _is_awake(task: str) -> bool:
    try:
        with open(f"{_TASKS}/{task}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"R", b"D")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return False


def _in_parent() -> None:
    global _forker
    if _forker == threading.get_ident():
        _forker = 0
        _gate.release()


def _in_child() -> None:
    global _gate, _forker, _generation, _quiet, _in_use, _of_parent
    _gate, _forker = threading.Lock(), 0
    if not _in_use:
        return
    running = [run() for run in list(_active.values()) if run is not None]
    for thing in [*_kept, *running]:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))  # never destroyed, not even at exit
    _active.clear()
    _generation += 1
    _quiet, _in_use, _of_parent = _quiet and _quiet_at_fork, False, True
    state.bump()  # programs look whether they are current
    for renew in _renewals:
        renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
