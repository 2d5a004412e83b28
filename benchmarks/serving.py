"""Requests of many shapes from many threads: how many a second, how late, in how much memory?

    python benchmarks/serving.py [--roles kerasvino,bundled,jax,torch] [--requests 20000]
        [--others MLP=20000,MobileNetV3Small=400] [--networks MLP] [--http MLP] [--json FILE]

Each backend serves each network in a process of its own: 8 threads take the requests from one queue
and call `predict_on_batch`, with batches of 1 to 32 (images: 1 to 8) and texts of 4 to 64 tokens.
Some results are compared with those of the same requests one after the other. A backend that fails
under threads is asked again with a lock around the call ("in turns"). `--others` is for the slow
ones: the number of their requests. `--http` serves one
network by uvicorn with two worker processes, asked over the loopback by as many threads.

Ends with code 1 when kerasvino gave a wrong result or an error, or grew by more than the limit from
the 1,000th request on.
"""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
from _common import (
    PAUSE,
    ROLES,
    Worker,
    build,
    choice,
    environment,
    images,
    import_keras,
    parser,
    report,
    serve,
)

MEBIBYTE = 2**20
THREADS = 8
COUNTED_FROM = 1000  # requests, after which memory is said to grow
CHECKED = 97  # one of so many results is looked at again
MOST_TOKENS, WORDS = 64, 1000
# What backends raise when several threads call one model.
FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def mlp(keras):
    """Three Dense layers of 256 over 64 features."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((64,)), *(layers.Dense(256, "relu") for _ in range(2)), layers.Dense(10)]
    )


def transformer(keras):
    """A text classifier of any length: two encoder blocks, 128 wide."""
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(WORDS, 128)(tokens)
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 32)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(128)(layers.Dense(512, "gelu")(x)))
    return keras.Model(tokens, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


NETWORKS = {
    "MLP": (mlp, 32),
    "MobileNetV3Small": (lambda keras: build(keras, "MobileNetV3Small", 224), 8),
    "Transformer": (transformer, 8),
}


class Requests:
    """The requests of a network, the same ones in each process.

    Args:
        network: its name.
        count: how many there are.
    """

    def __init__(self, network: str, count: int):
        random = np.random.default_rng(0)
        most = NETWORKS[network][1]
        self._rows = random.integers(1, most + 1, count)
        self._lengths = random.integers(4, MOST_TOKENS + 1, count)
        if network == "Transformer":
            self._pool = random.integers(0, WORDS, (2 * most, MOST_TOKENS)).astype("int32")
        elif network == "MLP":
            self._pool = random.normal(size=(2 * most, 64)).astype("float32")
        else:
            self._pool = images(2 * most, 224)
        self._cut = network == "Transformer"

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> np.ndarray:
        rows = self._rows[number]
        start = number % (len(self._pool) - rows + 1)
        found = self._pool[start : start + rows]
        return found[:, : self._lengths[number]] if self._cut else found


def run(call, requests: Requests, resident) -> dict:
    """Answers all requests by `call(array)` on threads; what came of it.

    Args:
        call: gives the result as an array; one thing for each thread is `call.of_thread()`, if it
            has that.
        requests: what is asked.
        resident: gives the bytes of memory in use.
    """
    count, lock = len(requests), threading.Lock()
    numbers = iter(range(count))
    seconds, results, errors = np.zeros(count), {}, []
    memory = []

    def work():
        ask = call.of_thread() if hasattr(call, "of_thread") else call
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            if number == min(COUNTED_FROM, count // 2):
                memory.append(resident())
            start = time.perf_counter()
            try:
                result = ask(requests[number])
            except FAILURES as error:
                seconds[number] = np.nan
                errors.append(f"{type(error).__name__}: {error}".splitlines()[0][:120])
            else:
                seconds[number] = time.perf_counter() - start
                if number % CHECKED == 0:
                    results[number] = result

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - start
    memory.append(resident())
    ask = call.of_thread() if hasattr(call, "of_thread") else call
    wrong = sum(not same(result, ask, requests[number]) for number, result in results.items())
    return {
        "requests": count,
        "per_second": (count - len(errors)) / wall,
        "p50_ms": float(np.nanpercentile(seconds, 50) * 1e3),
        "p99_ms": float(np.nanpercentile(seconds, 99) * 1e3),
        "longest_ms": float(np.nanmax(seconds) * 1e3),
        "mebibytes": [value / MEBIBYTE for value in memory],
        "checked": len(results),
        "wrong": int(wrong),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
    }


def same(result: np.ndarray, ask, request) -> bool:
    """Whether asking once more, alone, gives the result that it had given under threads.

    That may have been another request's, of another length; and a model may be broken since.
    """
    try:
        alone = ask(request)
    except FAILURES:
        return False
    return result.shape == alone.shape and np.allclose(result, alone, rtol=1e-3, atol=1e-4)


def worker(role: str) -> None:
    """Serves one network in this process."""
    keras = import_keras(role)

    def answer(network, count, in_turns):
        keras.utils.set_random_seed(0)
        model = NETWORKS[network][0](keras)
        requests = Requests(network, count)
        model.predict_on_batch(requests[0])  # built and, on some backends, traced
        lock = threading.Lock()

        def call(x):
            if not in_turns:
                return model.predict_on_batch(x)
            with lock:
                return model.predict_on_batch(x)

        return run(call, requests, lambda: psutil.Process().memory_info().rss)

    serve(answer)


# -- over HTTP


class Http:
    """Asks the application of `serving_app` for results."""

    def __init__(self, port: int):
        self._port = port

    def of_thread(self):
        """A connection of this thread, as a function of the array."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)

        def ask(array):
            head = {"shape": json.dumps(array.shape), "dtype": str(array.dtype)}
            connection.request("POST", "/", np.ascontiguousarray(array).tobytes(), head)
            response = connection.getresponse()
            data = response.read()
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {data[:100].decode()}")
            return np.frombuffer(data, "float32").reshape(json.loads(response.headers["shape"]))

        return ask


def over_http(network: str, count: int, workers: int = 2) -> dict:
    """As `run`, by uvicorn with so many worker processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = pathlib.Path(__file__).parent
    command = [sys.executable, "-m", "uvicorn", "serving_app:app", "--app-dir", str(folder)]
    command += ["--workers", str(workers), "--port", str(port), "--log-level", "warning"]
    env = environment("kerasvino") | {"SERVING_NETWORK": network}
    env["PYTHONPATH"] += os.pathsep + str(folder)
    server = subprocess.Popen(command, env=env)
    try:
        call = Http(port)
        _wait_for(call, Requests(network, 1)[0], server)

        def resident():
            children = psutil.Process(server.pid).children(recursive=True)
            return sum(child.memory_info().rss for child in children)

        return run(call, Requests(network, count), resident)
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(call: Http, array: np.ndarray, server: subprocess.Popen, most: float = 120) -> None:
    end = time.monotonic() + most
    while server.poll() is None and time.monotonic() < end:
        try:
            call.of_thread()(array)
        except ConnectionError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("uvicorn does not answer; is it installed?")


# -- the table


def _counts(text: str) -> dict[str, int]:
    """`--requests`: one number for all networks, or `NAME=number` for some of them."""
    if text.isdigit():
        return dict.fromkeys(NETWORKS, int(text))
    pairs = dict(part.split("=") for part in text.split(","))
    choice(",".join(pairs), NETWORKS)
    return dict.fromkeys(NETWORKS, 20_000) | {name: int(n) for name, n in pairs.items()}


def _row(name: str, network: str, found: dict | str) -> list[str]:
    if isinstance(found, str):
        return [network, name, found, *[""] * 6]
    first, last = found["mebibytes"]
    figures = [f"{found[key]:.1f}" for key in ("per_second", "p50_ms", "p99_ms")]
    memory = [f"{first:.0f}", f"{last:.0f}", f"{last - first:+.0f}"]
    failed = f"{found['errors']} errors, {found['wrong']} of {found['checked']} wrong"
    return [network, name, f"{found['requests']:,}", *figures, *memory, failed]


def _served(role: str, network: str, count: int, in_turns: bool) -> dict | str:
    """What `run` found in a process of its own, or how that died."""
    process = Worker(__file__, role)
    try:
        return process.ask(network=network, count=count, in_turns=in_turns)
    except RuntimeError as error:
        return str(error)
    finally:
        process.close()
        time.sleep(PAUSE)


def main() -> int:
    arguments = parser(__doc__.splitlines()[0], ("kerasvino", "bundled", "jax", "torch"))
    arguments.add_argument("--requests", type=_counts, default=_counts("20000"))
    arguments.add_argument("--others", type=_counts, help="requests to the other backends")
    arguments.add_argument(
        "--networks", type=lambda text: choice(text, NETWORKS), default=list(NETWORKS)
    )
    arguments.add_argument("--http", choices=list(NETWORKS), help="also by uvicorn, this network")
    arguments.add_argument("--limit", type=float, default=64, help="MiB that kerasvino may grow")
    options = arguments.parse_args()
    if options.role:
        worker(options.role)
        return 0
    rows, data, fine = [], [], True

    def keep(name, network, found, ours):
        nonlocal fine
        rows.append(_row(name, network, found))
        data.append({"network": network, "by": name, "found": found})
        print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
        if options.json:  # a long run that is stopped leaves what it found
            options.json.write_text(json.dumps({"results": data}, indent=1) + "\n")
        if ours:
            fine &= not isinstance(found, str) and not found["errors"] and not found["wrong"]
            fine &= found["mebibytes"][-1] - found["mebibytes"][0] <= options.limit

    for network in options.networks:
        for role in options.roles:
            ours = role == "kerasvino"
            count = (options.requests if ours else options.others or options.requests)[network]
            found = _served(role, network, count, in_turns=False)
            keep(ROLES[role][2], network, found, ours)
            if not ours and (isinstance(found, str) or found["errors"]):
                found = _served(role, network, count, in_turns=True)
                keep(f"{ROLES[role][2]}, in turns", network, found, ours)
    if options.http:
        found = over_http(options.http, options.requests[options.http])
        keep("kerasvino, uvicorn, 2 workers", options.http, found, True)
    columns = [
        "network", "served by", "requests", "requests/s", "p50, ms", "p99, ms",
        f"MiB at {COUNTED_FROM:,}", "at the end", "growth", "failed",
    ]  # fmt: skip
    report(f"{THREADS} threads, mixed shapes", columns, rows, options.json, data)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
