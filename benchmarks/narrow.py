"""Narrow numbers side by side: float32, bfloat16, weights and activations of 8 bits, of 4 bits.

    python benchmarks/narrow.py [--networks Dense4096,Dense2048] [--kinds f32,int8,int4]
        [--batches 1,128] [--rounds 5] [--json FILE]

Each kind is a process of its own with the same weights; they take turns in rounds, so that noise of
the machine falls on all. Kinds of ours are a precision, a mode of `model.quantize`, the settings
`weights` and `activations`, or `kerasvino.quantize` ("calibrated"). Peers: Keras's bundled OpenVINO
backend with `model.quantize`, OpenVINO with weights compressed or the model calibrated by NNCF, and
torch's dynamic quantization of the same layers. A peer that is not installed is left out.

Images that a model is calibrated with are random, as its weights are.

The columns: time of a call and how many times as fast as ours in float32, the first call, memory on
top of what the process has with the model built and saved and a small model run, the size of the
saved file (of a calibrated model: of its exported weights), the largest error against float32
relative to the largest output, and the kernels.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time

import numpy as np
from _common import (
    PAUSE,
    Worker,
    choice,
    import_keras,
    median,
    paired_ratio,
    parser,
    relative_difference,
    report,
    serve,
    time_calls,
)

MEBIBYTE = 2**20
PRODUCTS = ("FullyConnected", "MatMul", "Convolution")
CALIBRATED = "calibrated"
SAMPLES = 32  # that models are calibrated with


def _dense(keras, width: int, count: int):
    inner = [keras.layers.Dense(width, activation="relu") for _ in range(count - 1)]
    return keras.Sequential([keras.Input((width,)), *inner, keras.layers.Dense(width)])


def _encoder(keras):
    layers = keras.layers
    x = tokens = keras.Input((64, 512))
    for _ in range(6):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(8, 64)(x, x))
        y = layers.Dense(512)(layers.Dense(2048, activation="relu")(x))
        x = layers.LayerNormalization()(x + y)
    return keras.Model(tokens, x)


def _application(name: str):
    """A network of keras.applications, without weights that were trained."""
    return lambda keras: getattr(keras.applications, name)(weights=None)


# name: how it is built, whether it is layers of Dense alone
NETWORKS = {
    "Dense2048": (lambda keras: _dense(keras, 2048, 3), True),
    "Dense4096": (lambda keras: _dense(keras, 4096, 2), True),
    "One4096": (lambda keras: _dense(keras, 4096, 1), True),
    "Encoder512": (_encoder, False),
    "ResNet50": (_application("ResNet50"), False),
    "MobileNetV3Small": (_application("MobileNetV3Small"), False),
    "EfficientNetB0": (_application("EfficientNetB0"), False),
}
OF_IMAGES = ("ResNet50", "MobileNetV3Small", "EfficientNetB0")

# name: role of the process, settings of ours, mode and attributes of the quantization config
KINDS = {
    "f32": ("kerasvino", {}, None),
    "bf16": ("kerasvino", {"precision": "bf16"}, None),
    "int8": ("kerasvino", {}, ("Int8", {})),
    "int8 weights": ("kerasvino", {}, ("Int8", {"activation_quantizer": None})),
    "int8 weights dynamic": (
        "kerasvino", {"activations": "dynamic"}, ("Int8", {"activation_quantizer": None}),
    ),
    "int4": ("kerasvino", {}, ("Int4", {})),
    "int4 channels": ("kerasvino", {}, ("Int4", {"block_size": -1})),
    "float8": ("kerasvino", {}, ("Float8", {})),
    "weights=int8": ("kerasvino", {"weights": "int8"}, None),
    "weights=int8 dynamic": ("kerasvino", {"weights": "int8", "activations": "dynamic"}, None),
    "weights=int4": ("kerasvino", {"weights": "int4"}, None),
    "calibrated": ("kerasvino", {}, CALIBRATED),
    "bundled f32": ("bundled", {}, None),
    "bundled int8": ("bundled", {}, ("Int8", {})),
    "NNCF int8": ("raw", {}, "INT8_SYM"),
    "NNCF int4": ("raw", {}, "INT4_ASYM"),
    "NNCF calibrated": ("raw", {}, CALIBRATED),
    "torch f32": ("torch", {}, None),
    "torch int8": ("torch", {}, "dynamic"),
}  # fmt: skip


# -- in a worker


class Job:
    """A network of one kind in a worker."""

    def __init__(self, role: str):
        self.role = role
        self.keras = import_keras(role)

    def prepare(self, kind: str, network: str, batch: int, folder: str) -> dict:
        """Builds the network and calls it once; leaves its result in `folder`."""
        _, settings, quantization = KINDS[kind]
        if settings:
            import kerasvino

            kerasvino.config.set(**settings)
        small = _dense(self.keras, 128, 1)
        small.predict_on_batch(np.ones((batch, 128), "float32"))
        model = NETWORKS[network][0](self.keras)
        random = np.random.default_rng(0)
        for weight in model.weights:
            drawn = random.normal(size=tuple(weight.shape)).astype("float32")
            if network not in OF_IMAGES:
                weight.assign(drawn / np.float32(np.sqrt(weight.shape[0])))
            elif len(weight.shape) > 1:  # normalizations keep what they begin with
                weight.assign(drawn * np.float32(np.sqrt(2 / np.prod(weight.shape[:-1]))))
        self.samples = random.normal(size=(SAMPLES, *model.input_shape[1:])).astype("float32")
        self.x = np.resize(self.samples, (batch, *model.input_shape[1:]))
        self.predict, path = self.made(model, quantization, folder)
        gc.collect()
        before = memory()
        start = time.perf_counter()
        result = self.predict(self.x)
        first = time.perf_counter() - start
        gc.collect()
        np.save(os.path.join(folder, f"{kind}.npy"), np.asarray(result))
        return {
            "first call": first,
            "memory": memory() - before,
            "file": None if path is None else os.path.getsize(path) / MEBIBYTE,
            "kernels": self.kernels(model) if self.role == "kerasvino" else "",
        }

    def made(self, model, quantization, folder: str):
        """What predicts, and the file that the model was saved in, if any."""
        if self.role == "raw":
            calibrate = self.samples if quantization == CALIBRATED else None
            return of_nncf(model, quantization, self.x, calibrate, folder)
        if self.role == "torch":
            return of_torch(model, quantization), None
        if quantization == CALIBRATED:
            import kerasvino

            kerasvino.quantize(model, self.samples, verbose=False)
            path = os.path.join(folder, f"{os.getpid()}.xml")
            model.export(path, format="openvino", verbose=False)
            return model.predict_on_batch, path.replace(".xml", ".bin")
        if quantization is not None:
            name, attributes = quantization
            config = getattr(self.keras.quantizers, f"{name}QuantizationConfig")(**attributes)
            model.quantize(config=config)
        path = os.path.join(folder, f"{os.getpid()}.keras")
        model.save(path)
        return model.predict_on_batch, path

    def kernels(self, model) -> str:
        """Of the products: the kernels that run them, with the type of their weights."""
        from kerasvino.export.ov_model import traced
        from kerasvino.export.signature import signature_of
        from kerasvino.runtime import config
        from kerasvino.runtime.compiling import compile_graph

        graph = traced(model, signature_of(model, None))
        compiled = compile_graph(graph, config.get(), graph.foldable())
        infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
        keys = ("layerType", "primitiveType", "runtimePrecision")
        named = [[str(info[key].astype(str)) for key in keys] for info in infos]
        products = {f"{kernel} {kind}" for layer, kernel, kind in named if layer in PRODUCTS}
        return ", ".join(sorted(products))

    def time(self, calls: int) -> list[float]:
        return time_calls(lambda: self.predict(self.x), calls)


def memory() -> float:
    import psutil

    return psutil.Process().memory_info().rss / MEBIBYTE


def of_nncf(model, mode: str, x: np.ndarray, samples: np.ndarray | None, folder: str):
    """The network by OpenVINO alone, quantized by NNCF, and the file of its weights.

    Its weights are compressed and no activation rounded, or it is calibrated with `samples`.
    """
    import nncf
    import openvino
    import torch

    nncf.set_log_level("ERROR")
    with torch.no_grad():
        traced = torch.jit.trace(model, torch.from_numpy(x), check_trace=False)
        converted = openvino.convert_model(traced, example_input=x, input=[x.shape])
    if samples is not None:
        rows = [samples[i % len(samples) :][:1] for i in range(len(samples))]
        converted.reshape([-1, *x.shape[1:]])
        converted = nncf.quantize(converted, nncf.Dataset(rows), subset_size=len(rows))
        path = os.path.join(folder, f"{os.getpid()}.xml")
        openvino.save_model(converted, path, compress_to_fp16=False)
        # what its user would compile it with: the plugin's own choice for all the rest
        request = openvino.Core().compile_model(converted, "CPU").create_infer_request()
        return _predicting(request), path.replace(".xml", ".bin")
    four = {"group_size": 128, "ratio": 1.0, "all_layers": True}  # the last one, too
    more = four if mode.startswith("INT4") else {}
    converted = nncf.compress_weights(
        converted, mode=getattr(nncf.CompressWeightsMode, mode), **more
    )
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    request = openvino.Core().compile_model(converted, "CPU", exact).create_infer_request()
    return _predicting(request), None


def _predicting(request):
    def predict(x):
        request.infer([x], share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    return predict


def of_torch(model, quantization):
    """The Dense layers as torch's, quantized dynamically or not."""
    import torch

    parts: list = []
    for layer in model.layers:
        linear = torch.nn.Linear(layer.kernel.shape[0], layer.units)
        with torch.no_grad():
            linear.weight.copy_(layer.kernel.value.T)
            linear.bias.copy_(layer.bias.value)
        parts.append(linear)
        if layer.activation.__name__ == "relu":
            parts.append(torch.nn.ReLU())
    network = torch.nn.Sequential(*parts).cpu().eval()
    if quantization is not None:
        network = torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear})

    def predict(x):
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    return predict


# -- in the parent


def measure(network: str, batch: int, options) -> dict[str, dict]:
    """Kind -> figures. Left out: kinds that do not run here, with their error printed."""
    found: dict[str, dict] = {}
    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            role = KINDS[kind][0]
            if role == "torch" and not NETWORKS[network][1]:
                continue
            worker = Worker(__file__, role)
            try:
                found[kind] = worker.ask(
                    do="prepare", kind=kind, network=network, batch=batch, folder=folder
                )
            except RuntimeError as error:
                print(f"{network}, {kind}: {error}")
                continue
            workers[kind] = worker
            result = np.load(os.path.join(folder, f"{kind}.npy"))
            if kind == options.kinds[0]:
                reference = result
            found[kind] |= {"error": relative_difference(result, reference), "rounds": []}
        for _ in range(options.rounds):
            for kind, worker in workers.items():
                time.sleep(PAUSE)
                found[kind]["rounds"].append(worker.ask(do="time", calls=options.calls))
        for worker in workers.values():
            worker.close()
    base = found[options.kinds[0]]["rounds"]
    for figures in found.values():
        figures["milliseconds"] = median(figures["rounds"]) * 1e3
        figures["speed"] = 1 / paired_ratio(figures["rounds"], base)
    return found


def row_of(network: str, batch: int, kind: str, figures: dict) -> list[str]:
    file = figures["file"]
    return [
        f"{network}, batch {batch}, {kind}",
        f"{figures['milliseconds']:.2f}",
        f"{figures['speed']:.2f}",
        f"{figures['first call']:.2f}",
        f"{figures['memory']:.0f}",
        "-" if file is None else f"{file:.0f}",
        f"{figures['error']:.0e}",
        figures["kernels"],
    ]


def main() -> int:
    arguments = parser(__doc__.splitlines()[0], ())
    arguments.add_argument(
        "--networks", type=lambda text: choice(text, NETWORKS), default=list(NETWORKS)
    )
    arguments.add_argument("--kinds", type=lambda text: choice(text, KINDS), default=list(KINDS))
    arguments.add_argument(
        "--batches", type=lambda text: [int(n) for n in text.split(",")], default=[1, 128]
    )
    arguments.add_argument("--calls", type=int, default=5, help="predictions in a turn")
    options = arguments.parse_args()
    if options.role:
        job = Job(options.role)
        serve(lambda do, **request: getattr(job, do)(**request))
        return 0
    rows, data = [], []
    for network in options.networks:
        for batch in options.batches:
            found = measure(network, batch, options)
            rows += [row_of(network, batch, kind, figures) for kind, figures in found.items()]
            data.append({"network": network, "batch": batch, "kinds": found})
    columns = [
        "Times ours in float32", "ms", "speed", "first s", "MiB", "file MiB", "error", "kernels"
    ]  # fmt: skip
    report("Narrow numbers, medians", columns, rows, options.json, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
