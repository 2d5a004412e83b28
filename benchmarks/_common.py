"""What the benchmarks share: one worker process per backend, the networks, and the tables.

A worker runs the benchmark's own script with `--role`. It answers requests, one JSON object a
line, so that the parent can take turns among the workers: noise of the machine then falls on all.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # for those who import this from elsewhere
from networks import CUSTOM

# Seconds between the turns of two workers: threads of some libraries go on spinning for a while.
PAUSE = 0.3
ROOT = pathlib.Path(__file__).parent.parent

# Role -> (value of KERAS_BACKEND, whether kerasvino takes its place, what the tables call it)
ROLES = {
    "kerasvino": ("openvino", True, "kerasvino"),
    "bundled": ("openvino", False, "bundled OpenVINO"),
    "numpy": ("numpy", False, "Keras NumPy"),
    "torch": ("torch", False, "Keras torch"),
    "jax": ("jax", False, "Keras JAX"),
    "tensorflow": ("tensorflow", False, "Keras TensorFlow"),
    "kerasvino-auto": ("openvino", True, "kerasvino, the plugin's precision"),
    "bundled-f32": ("openvino", False, "bundled OpenVINO in f32"),
    "raw": ("torch", False, "OpenVINO NHWC"),
    "raw-nchw": ("torch", False, "OpenVINO NCHW"),
    "onnxruntime": ("torch", False, "ONNX Runtime"),
    # of `fit.py`: with the dtype policy mixed_bfloat16
    "kerasvino-mixed": ("openvino", True, "kerasvino, mixed_bfloat16"),
    "torch-mixed": ("torch", False, "Keras torch, mixed_bfloat16"),
    "jax-mixed": ("jax", False, "Keras JAX, mixed_bfloat16"),
    "tensorflow-mixed": ("tensorflow", False, "Keras TensorFlow, mixed_bfloat16"),
    # of `generate.py`
    "kerasvino-bf16": ("openvino", True, "kerasvino in bf16"),
    "bundled-bf16": ("openvino", False, "bundled OpenVINO in bf16"),
    "ir": ("numpy", False, "IR written by hand"),
    "ir-bf16": ("numpy", False, "IR written by hand, bf16"),
    "genai": ("numpy", False, "openvino_genai"),
    "genai-bf16": ("numpy", False, "openvino_genai in bf16"),
}

# What `KERASVINO_PRECISION` says where it is not left to the default.
OUR_PRECISIONS = {"kerasvino-auto": "auto", "kerasvino-bf16": "bf16"}

# keras.applications with the edge of the images they were published for
NETWORKS = {
    "ResNet50": 224,
    "MobileNetV3Small": 224,
    "EfficientNetB0": 224,
    "EfficientNetV2B0": 224,
    "DenseNet121": 224,
    "ConvNeXtTiny": 224,
    "InceptionV3": 299,
    "Xception": 299,
    "VGG16": 224,
    "NASNetMobile": 224,
    "ResNet50V2": 224,
    "MobileNet": 224,
    "MobileNetV2": 224,
    "InceptionResNetV2": 299,
}


# Where the weights and reference outputs of a network come from: torch, unless Keras refuses to
# build it there.
REFERENCE_BACKENDS = {"NASNetMobile": "jax"}
WEIGHTS = "model.weights.h5"


def environment(role: str) -> dict[str, str]:
    """The environment of a worker: the role's backend, and nothing of ours from the caller's."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("KERASVINO_")}
    env["KERAS_BACKEND"] = ROLES[role][0]
    env["PYTHONPATH"] = str(ROOT)
    env["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Installed packages are compiled when they are installed; this tree is in its first process.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    if role in OUR_PRECISIONS:
        env["KERASVINO_PRECISION"] = OUR_PRECISIONS[role]
    return env


def import_keras(role: str):
    """Keras on the backend of `role`, checked to be the one that is meant."""
    backend, ours, _ = ROLES[role]
    named = os.environ.get("KERAS_BACKEND", backend)
    if ours:
        import kerasvino  # noqa: F401
    import keras

    if keras.backend.backend() != named:
        raise RuntimeError(f"{role}: Keras runs on {keras.backend.backend()}, not on {named}.")
    if backend == "openvino":
        loaded = sys.modules["keras.src.backend.openvino"].__name__
        if role == "bundled-f32":
            _compile_in_f32()
        if loaded.startswith("kerasvino.") != ours:
            raise RuntimeError(
                f"{role}: the OpenVINO backend is {loaded}. "
                "If kerasvino is enabled for this environment, run `python -m kerasvino disable`."
            )
    return keras


def _compile_in_f32() -> None:
    """Makes `openvino.compile_model` keep to float32: the bundled backend has no setting for it."""
    import openvino

    original = openvino.compile_model

    def compile_model(model, device="AUTO", config=None, **more):
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        return original(model, device, hint | (config or {}), **more)

    openvino.compile_model = compile_model


class Worker:
    """A process that runs `script --role role` and answers requests."""

    def __init__(self, script: str, role: str, env: dict[str, str] | None = None):
        self.role = role
        self._process = subprocess.Popen(
            [sys.executable, script, "--role", role],
            env=environment(role) | (env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request):
        """The worker's answer to `request`. Raises RuntimeError when the worker has died."""
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            answer = ""
        else:
            answer = self._process.stdout.readline()
        if not answer:
            code = self._process.wait()
            raise RuntimeError(f"The worker {self.role!r} ended with code {code} at {request}.")
        return json.loads(answer)

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def serve(answer: Callable[..., object]) -> None:
    """Answers requests from standard input until it ends. Other output goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        replies.write(json.dumps(answer(**json.loads(line))) + "\n")
        replies.flush()


def time_calls(call: Callable[[], object], samples: int, at_least: float = 0.0) -> list[float]:
    """Seconds per call of `samples` timings, each repeating the call for `at_least` seconds."""
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    repeats = max(1, round(at_least / max(once, 1e-9)))
    found = []
    for _ in range(samples):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        found.append((time.perf_counter() - start) / repeats)
    return found


def paired_ratio(ours: list[list[float]], other: list[list[float]]) -> float:
    """The median, over the rounds, of the ratio of the two medians of a round."""
    return statistics.median(
        statistics.median(a) / statistics.median(b) for a, b in zip(ours, other, strict=True)
    )


def interval(ours: list[list[float]], other: list[list[float]], draws: int = 2000):
    """The 95% interval of `paired_ratio`: bootstrap over the pairs of rounds, percentile."""
    ratios = np.array(
        [statistics.median(a) / statistics.median(b) for a, b in zip(ours, other, strict=True)]
    )
    picks = np.random.default_rng(0).integers(0, len(ratios), (draws, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return float(low), float(high)


def median(rounds: list[list[float]]) -> float:
    return statistics.median(value for samples in rounds for value in samples)


def build(keras, network: str, size: int):
    """An untrained network that returns logits, in Keras's image data format."""
    if network in CUSTOM:
        return CUSTOM[network][1](keras)
    shape = (size, size, 3)
    if keras.config.image_data_format() == "channels_first":
        shape = (3, size, size)
    constructor = getattr(keras.applications, network)
    return constructor(weights=None, input_shape=shape, classifier_activation=None)


def samples(network: str, edge: int, count: int, seed: int = 1) -> np.ndarray:
    """Inputs for a network: images of `edge` for keras.applications, else of its own shape."""
    if network not in CUSTOM:
        return images(count, edge, seed)
    random = np.random.default_rng(seed)
    return random.normal(size=(count, *CUSTOM[network][0])).astype("float32")


def images(count: int, size: int, seed: int = 1) -> np.ndarray:
    """Random images of shape (count, size, size, 3), float32 in [0, 255): coloured tiles, noise.

    Of noise alone, deep features hardly differ from image to image.
    """
    random = np.random.default_rng(seed)
    tiles = random.uniform(0, 255, (count, 5, 5, 3))
    tile = np.arange(size) * 5 // size
    noise = random.uniform(0, 255, (count, size, size, 3))
    return (0.8 * tiles[:, tile][:, :, tile] + 0.2 * noise).astype("float32")


def randomise(keras, model, x: np.ndarray, seed: int = 7) -> None:
    """Gives every weight a value that matters, such that the outputs depend on the image.

    Networks as they are constructed hide errors: moving means are 0, variances and scales are 1,
    and ConvNeXt's layer scales are so small that its blocks contribute nothing. Signals that grow
    or vanish from layer to layer hide them too: the moving statistics are first set to those of
    the batch `x`, and then moved away from them.
    """
    random = np.random.default_rng(seed)
    rules = {
        "kernel": lambda shape: random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape),
        "depthwise": lambda shape: random.normal(0, np.sqrt(2 / np.prod(shape[:2])), shape),
        "offset": lambda shape: random.normal(0, 0.1, shape),
        "scale": lambda shape: random.uniform(0.5, 1.5, shape),
    }
    keys = {"bias": "offset", "beta": "offset", "gamma": "scale", "layer_scale": "scale"}
    keys |= {"mean": "offset", "variance": "scale"}  # of a Normalization layer, as its count
    for layer in model.layers:
        for variable in layer.weights:
            name = variable.path.rsplit("/", 1)[-1]
            if name == "count" or name.startswith("moving_"):
                continue
            if name.endswith("kernel"):
                depthwise = name.startswith("depthwise") or "Depthwise" in type(layer).__name__
                rule = rules["depthwise" if depthwise else "kernel"]
            else:
                rule = rules[keys["layer_scale" if "layer_scale" in variable.path else name]]
            variable.assign(rule(tuple(variable.shape)).astype("float32"))

    normalizations = [
        layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for layer in normalizations:
        layer.momentum = 0.0
    model(x, training=True)
    for layer in normalizations:
        mean = keras.ops.convert_to_numpy(layer.moving_mean)
        variance = keras.ops.convert_to_numpy(layer.moving_variance)
        offset = random.normal(0, 0.1, mean.shape) * np.sqrt(variance)
        layer.moving_mean.assign((mean + offset).astype("float32"))
        scale = random.uniform(0.8, 1.25, mean.shape)
        layer.moving_variance.assign((variance * scale).astype("float32"))


def reference(
    network: str, edge: int, count: int, folder: pathlib.Path
) -> tuple[np.ndarray, np.ndarray]:
    """Images of shape (count, edge, edge, 3) and their logits by Keras on torch or JAX.

    Computed in a process of its own. Leaves the weights in folder / WEIGHTS.
    """
    role = REFERENCE_BACKENDS.get(network, "torch")
    script = pathlib.Path(__file__).with_name("reference.py")
    subprocess.run(
        [sys.executable, script, network, str(edge), str(count), folder],
        # One thread: those of torch's pool wait for each other where the cores are shared.
        env=environment(role) | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=1800,
    )
    with np.load(folder / "reference.npz") as found:
        return found["x"], found["logits"]


def relative_difference(value: np.ndarray, reference: np.ndarray) -> float:
    """max |value - reference| / max |reference|; infinite where a value is not finite."""
    if value.shape != reference.shape:
        raise ValueError(f"Shapes differ: {value.shape} against {reference.shape}.")
    difference = np.max(np.abs(value.astype("float64") - reference)) / np.max(np.abs(reference))
    return float(difference) if np.isfinite(difference) else float("inf")


def parser(description: str, roles: tuple[str, ...]) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--roles", type=lambda text: choice(text, ROLES), default=list(roles))
    found.add_argument("--rounds", type=int, default=5, help="turns that the roles take")
    found.add_argument("--json", type=pathlib.Path, help="write the figures to this file")
    found.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    return found


def choice(text: str, accepted) -> list[str]:
    """A comma-separated option. Raises argparse.ArgumentTypeError for what is not in `accepted`."""
    found = text.split(",")
    unknown = [name for name in found if name not in accepted]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}; accepted: {', '.join(accepted)}")
    return found


def machine() -> dict[str, object]:
    """What the figures depend on."""
    from importlib.metadata import version

    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **{name: version(name) for name in ("keras", "openvino", "numpy")},
    }


def report(title: str, columns: list[str], rows: list[list[str]], path: pathlib.Path | None, data):
    """Prints a table with the machine below it; writes `data` to `path` as JSON when asked to."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    facts = machine()
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
    if path:
        path.write_text(json.dumps({"machine": facts, "results": data}, indent=1) + "\n")
