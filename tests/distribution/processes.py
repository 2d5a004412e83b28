"""Starts the processes of a test and collects what they return."""

import os
import pathlib
import pickle
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def environment(**more):
    """That of a process with one thread which runs this tree."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS", "PYTEST"))}
    return {
        **kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERASVINO_THREADS": "1", "KERASVINO_COLLECTIVE_TIMEOUT": "100", **more,
    }  # fmt: skip


def started(name, folder, size, **more):
    """The processes of `worker.NAME`, running."""
    port = str(free_port())
    command = [sys.executable, "-m", "tests.distribution.worker", name, str(folder)]
    processes = []
    for rank in range(size):
        output = open(pathlib.Path(folder, f"{rank}.log"), "w")  # noqa: SIM115 - the child's
        with output:
            processes.append(
                subprocess.Popen(
                    [*command, str(rank), str(size), port], env=environment(**more), cwd=ROOT,
                    stdout=output, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
    return processes


def results(processes, folder, limit=150):
    """What each returned, when all have ended well."""
    deadline = time.monotonic() + limit
    try:
        for rank, process in enumerate(processes):
            code = process.wait(max(0.1, deadline - time.monotonic()))
            assert code == 0, log(folder, rank)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [
        pickle.loads(pathlib.Path(folder, str(rank)).read_bytes()) for rank in range(len(processes))
    ]


def log(folder, rank):
    return pathlib.Path(folder, f"{rank}.log").read_text()[-3000:]


def ran(name, folder, size=2, **more):
    return results(started(name, folder, size, **more), folder)
