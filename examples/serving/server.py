"""A small HTTP server of one Keras model: `python server.py model.keras`.

`POST /predict` with {"inputs": ...} answers {"outputs": ...}; `GET /health` answers when the model
is ready. It needs nothing but kerasvino and Python's own library, and serves requests from many
threads, which a compiled model may. Stop it with Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import functools
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kerasvino  # noqa: F401 - before keras: selects the backend

import keras  # isort: skip
import numpy as np

LARGEST = 64 * 2**20  # bytes of a request


class Server(ThreadingHTTPServer):
    """Holds the model for its handlers."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], model: keras.Model):
        self.model = model
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection, kept open between requests."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # of a connection that says nothing

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, {"status": "ready"})
        else:
            self._answer(404, {"error": "there are GET /health and POST /predict"})

    def do_POST(self) -> None:
        if self.path != "/predict":
            self._refuse(404, "there are GET /health and POST /predict")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self._refuse(411, "a Content-Length is needed")
            return
        if int(length) > LARGEST:
            self._refuse(413, f"a request has at most {LARGEST} bytes")
            return
        try:
            given = json.loads(self.rfile.read(int(length)))
            inputs = arrays(given["inputs"], self.server.model)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            self._answer(400, {"error": f"{type(error).__name__}: {error}"})
            return
        outputs = self.server.model.predict_on_batch(inputs)
        self._answer(200, {"outputs": keras.tree.map_structure(lambda x: x.tolist(), outputs)})

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True  # what was sent is not read
        self._answer(status, {"error": message})

    def _answer(self, status: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing of each request."""


def arrays(given, model):
    """The inputs as arrays of the model's dtypes: one, a list, or a dict by name.

    Raises:
        ValueError: they do not fit the model.
    """
    taken = inputs_of(model)
    several = isinstance(taken, (list, dict))
    specs = taken if several else [taken]
    names = list(specs) if isinstance(specs, dict) else range(len(specs))
    if several and (not isinstance(given, type(taken)) or len(given) != len(names)):
        raise ValueError(f"the model takes {len(names)} inputs, as {type(taken).__name__}")
    values = [given[name] for name in names] if several else [given]
    found = [one(value, specs[name]) for name, value in zip(names, values, strict=True)]
    if len({len(array) for array in found}) > 1:
        raise ValueError("the inputs have different lengths")
    if isinstance(taken, dict):
        return dict(zip(names, found, strict=True))
    return found if several else found[0]


def inputs_of(model):
    """What the model was made of: one input, a list, or a dict."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def one(value, spec):
    array = np.asarray(value, spec.dtype)
    wanted = tuple(spec.shape)
    fits = len(array.shape) == len(wanted) and all(
        length in (None, got) for length, got in zip(wanted, array.shape, strict=True)
    )
    if not fits or array.size == 0:
        raise ValueError(f"an input has shape {array.shape}; the model takes {wanted}")
    return array


def zeros(batch, spec):
    return np.zeros([batch, *(1 if n is None else n for n in spec.shape[1:])], spec.dtype)


def warmed(path: str, batches: list[int]) -> keras.Model:
    """The model, compiled for batches of these lengths."""
    model = keras.saving.load_model(path, compile=False)
    for batch in batches:
        model.predict_on_batch(
            keras.tree.map_structure(functools.partial(zeros, batch), inputs_of(model))
        )
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--batches", type=int, nargs="+", default=[1], help="compiled at the start")
    parser.add_argument(
        "--only-compile", action="store_true", help="fill the cache (KERASVINO_CACHE_DIR), and end"
    )
    arguments = parser.parse_args()
    model = warmed(arguments.model, arguments.batches)
    if arguments.only_compile:
        return
    server = Server((arguments.host, arguments.port), model)
    stop = lambda *_: threading.Thread(target=server.shutdown).start()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"Serving on http://{arguments.host}:{server.server_address[1]}", flush=True)
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
