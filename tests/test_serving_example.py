"""examples/serving: the server answers, refuses what does not fit, and stops when it is told to."""

import concurrent.futures
import http.client
import importlib.util
import json
import pathlib
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

FOLDER = pathlib.Path(__file__).parents[1] / "examples" / "serving"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A running server, its port, and its model."""
    path = tmp_path_factory.mktemp("served") / "model.keras"
    x = first = layers.Input((3,), name="first")
    second = layers.Input((None, 2), name="second")
    x = layers.Concatenate()([layers.Dense(4)(x), layers.GlobalMaxPooling1D()(second)])
    model = keras.Model([first, second], {"a": layers.Dense(2)(x), "b": layers.Dense(1)(x)})
    model.save(path)
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "server.py"), str(path), "--port", "0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = process.stdout.readline()
    yield process, int(re.search(r":(\d+)$", line)[1]), model
    process.kill()
    process.communicate()


def asked(port, body, path="/predict", method="POST", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_requests_from_many_threads(served):
    _, port, model = served
    random = np.random.default_rng(0)
    inputs = [
        [random.normal(size=(n, 3)).round(3), random.normal(size=(n, n + 1, 2)).round(3)]
        for n in (1, 2, 3, 1, 2, 3, 1, 1)
    ]
    bodies = [{"inputs": [x.tolist() for x in pair]} for pair in inputs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: asked(port, body), bodies))
    for pair, (status, answer) in zip(inputs, answers, strict=True):
        assert status == 200, answer
        expected = model.predict_on_batch([x.astype("float32") for x in pair])
        for name in ("a", "b"):
            np.testing.assert_allclose(answer["outputs"][name], expected[name], 1e-4, 1e-5)
    assert asked(port, None, "/health", "GET") == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "JSONDecodeError"),
        (b"[" * 100_000, 400, "RecursionError"),
        ([1], 400, "TypeError"),
        ({"input": 1}, 400, "KeyError: 'inputs'"),
        ({"inputs": [[1, 2, 3]]}, 400, "the model takes 2 inputs, as list"),
        ({"inputs": [[[1, 2]], [[[1, 2]]]]}, 400, "has shape (1, 2); the model takes (None, 3)"),
        ({"inputs": [[[1, 2, "x"]], [[[1, 2]]]]}, 400, "could not convert string"),
        ({"inputs": [[[1, 2, 3]] * 2, [[[1, 2]]]]}, 400, "different lengths"),
        ({"inputs": [[], []]}, 400, "has shape (0,)"),
    ],
)
def test_what_does_not_fit_is_refused(served, body, status, error):
    _, port, _ = served
    found, answer = asked(port, body)
    assert (found, error in answer["error"]) == (status, True), answer


def test_other_requests(served):
    _, port, _ = served
    assert asked(port, None, "/", "GET")[0] == 404
    assert asked(port, b"1", "/other")[0] == 404
    assert asked(port, None, headers={"Content-Length": "999999999999"})[0] == 413
    assert asked(port, None, headers={"Content-Length": "-1"})[0] == 411


def test_it_stops_when_it_is_told_to(served):
    process, _, _ = served
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == (0 if sys.platform != "win32" else 1)


def test_the_image_compiles_as_the_server_does(tmp_path, monkeypatch):
    """The step of the Dockerfile that fills the cache, and a start that finds it filled."""
    keras.Sequential([layers.Input((3,)), layers.Dense(2)]).save(tmp_path / "model.keras")
    monkeypatch.setenv("KERASVINO_CACHE_DIR", str(tmp_path / "cache"))
    text = (FOLDER / "Dockerfile").read_text()
    (step,) = re.findall(r"^RUN python (server.py .*)$", text, re.MULTILINE)
    command = [sys.executable, *step.replace("server.py", str(FOLDER / "server.py")).split()]
    subprocess.run(command, cwd=tmp_path, check=True)
    blobs = {path.name: path.stat().st_ino for path in (tmp_path / "cache").glob("*.blob")}
    assert len(blobs) == 2  # of batches of 1 and of 8
    subprocess.run(command, cwd=tmp_path, check=True)
    assert {p.name: p.stat().st_ino for p in (tmp_path / "cache").glob("*.blob")} == blobs


def test_the_server_is_imported_without_starting_it():
    spec = importlib.util.spec_from_file_location("server", FOLDER / "server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = keras.Model({"x": (x := layers.Input((2,), name="x"))}, layers.Dense(1)(x))
    assert module.arrays({"x": [[1, 2]]}, model)["x"].dtype == "float32"
    with pytest.raises(KeyError):
        module.arrays({"y": [[1, 2]]}, model)
