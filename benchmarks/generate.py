"""Text generation side by side: ours, the other backends of Keras, openvino_genai, OpenVINO alone.

    python benchmarks/generate.py [--networks GPT2-45M,Qwen3-107M] [--roles kerasvino,bundled,ir]
        [--rounds 5] [--new 112] [--contexts 128,1024] [--json FILE] [--plot FILE]

Each role is a process of its own with the same weights; they take turns in rounds, so that noise of
the machine falls on all, and the ratio of a pair of rounds has a 95% interval. Keras's backends run
KerasHub's `generate`. `ir` is the network written by hand as a stateful OpenVINO graph, with a loop
over tokens in Python; `genai` is openvino_genai on that graph.

Measured are: `--new` tokens after a prompt of 16, greedy; the first call, which compiles; the time
to the first token; the time of a token behind `--contexts` tokens, as the difference of two calls;
the peak of the resident memory after the rounds. Tokens are compared with those of Keras on torch.

Roles compute in float32, the bundled backend too, whose `generate` asks for it. Those with `-bf16`
in their names compute in bfloat16, and are to be compared with each other.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from _common import (
    PAUSE,
    ROLES,
    Worker,
    choice,
    environment,
    import_keras,
    interval,
    machine,
    median,
    paired_ratio,
    parser,
    report,
    serve,
)
from language_models import NETWORKS, PROMPT, TOKENS, build, inputs, load

DEFAULT_ROLES = ("kerasvino", "bundled", "torch", "jax", "ir", "genai", "kerasvino-bf16", "ir-bf16")
STEPS = 24  # tokens behind a context that are timed


# -- in a worker


class KerasTask:
    """KerasHub's `generate` on a backend of Keras."""

    def __init__(self, role: str):
        import_keras(role)
        if role == "bundled-bf16":
            _compile_in_bf16()

    def load(self, network: str, folder: str) -> None:
        self.network, self.task = network, build(network)
        load(self.task, folder)

    def generate(self, length: int, new: int) -> list[int]:
        given = inputs(self.network, length, length + new)
        made = self.task.generate(given, stop_token_ids=None)
        return np.asarray(made["token_ids"])[0, length:].tolist()


def _compile_in_bf16() -> None:
    """KerasHub asks the plugin for float32: says bfloat16 instead."""
    import openvino

    original = openvino.Core.compile_model

    def compile_model(self, model, device="AUTO", config=None, **more):
        hint = {"INFERENCE_PRECISION_HINT": "bf16"}
        return original(self, model, device, (config or {}) | hint, **more)

    openvino.Core.compile_model = compile_model


def _settings(role: str) -> dict[str, str]:
    precision = "bf16" if role.endswith("bf16") else "f32"
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "KV_CACHE_PRECISION": precision,
    }


class Ir:
    """The graph written by hand."""

    def __init__(self, role: str):
        self.settings = _settings(role)

    def load(self, network: str, folder: str) -> None:
        import openvino

        self.network = network
        path = pathlib.Path(folder, "openvino_model.xml")
        compiled = openvino.Core().compile_model(path, "CPU", self.settings)
        self.request = compiled.create_infer_request()

    def generate(self, length: int, new: int) -> list[int]:
        from stateful_ir import generate

        prompt = inputs(self.network, length, length)["token_ids"][0]
        return generate(self.request, prompt.tolist(), new)[0]


class GenAI:
    """openvino_genai on that graph."""

    def __init__(self, role: str):
        self.settings = _settings(role)

    def load(self, network: str, folder: str) -> None:
        import openvino_genai

        self.network = network
        # its other backend rewrites graphs for paged attention, and fails on this one
        settings = self.settings | {"ATTENTION_BACKEND": "SDPA"}
        self.pipeline = openvino_genai.LLMPipeline(folder, "CPU", **settings)

    def generate(self, length: int, new: int) -> list[int]:
        import openvino
        import openvino_genai

        ids = inputs(self.network, length, length)["token_ids"].astype(np.int64)
        given = openvino_genai.TokenizedInputs(
            openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))
        )
        wanted = self.pipeline.get_generation_config()
        wanted.stop_token_ids = {0}
        wanted.max_new_tokens, wanted.ignore_eos, wanted.do_sample = new, True, False
        return list(self.pipeline.generate(given, wanted).tokens[0])


class Job:
    """A role in its process."""

    def __init__(self, role: str):
        kind = {"ir": Ir, "genai": GenAI}.get(role.removesuffix("-bf16"), KerasTask)
        self.engine = kind(role)
        self._known: set[tuple[int, int]] = set()

    def prepare(self, network: str, folder: str, new: int) -> dict:
        """Builds the network and generates once, and compares the tokens."""
        start = time.perf_counter()
        self.engine.load(network, folder)
        built = time.perf_counter()
        tokens = self.engine.generate(PROMPT, new)
        first = time.perf_counter() - built
        expected = json.loads(pathlib.Path(folder, TOKENS).read_text())
        same = next(
            (n for n, (a, b) in enumerate(zip(tokens, expected, strict=True)) if a != b),
            len(tokens),
        )
        self._known.add((PROMPT, new))
        return {"build seconds": built - start, "first call seconds": first, "same tokens": same}

    def time(self, length: int, new: int, calls: int = 1) -> list[float]:
        """Seconds of each call. What was not called before is called once more at first."""
        if (length, new) not in self._known:
            self.engine.generate(length, new)
            self._known.add((length, new))
        found = []
        for _ in range(calls):
            start = time.perf_counter()
            self.engine.generate(length, new)
            found.append(time.perf_counter() - start)
        return found

    def memory(self) -> float:
        """Largest resident memory of this process so far, in MiB."""
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(role: str) -> None:
    job = Job(role)
    serve(lambda do, **request: getattr(job, do)(**request))


# -- in the parent


def measure(network: str, options, folder: str) -> dict[str, dict]:
    """Role -> figures of one network. Left out: roles that fail, with their error printed."""
    subprocess.run(
        [
            sys.executable, pathlib.Path(__file__).with_name("language_models.py"), network, folder,
            str(options.new),
        ],
        env=environment("torch"), check=True, timeout=1800,
    )  # fmt: skip
    found, workers = {}, []
    for role in options.roles:
        worker = Worker(__file__, role)
        try:
            found[role] = worker.ask(do="prepare", network=network, folder=folder, new=options.new)
        except RuntimeError as error:
            print(f"{network}: {error}", flush=True)
        else:
            workers.append(worker)

    def turns(count: int, length: int, new: int, calls: int = 1) -> dict[str, list]:
        times: dict[str, list] = {worker.role: [] for worker in workers}
        for _ in range(count):
            for worker in workers:
                time.sleep(PAUSE)
                times[worker.role].append(
                    worker.ask(do="time", length=length, new=new, calls=calls)
                )
        return times

    for role, rounds in turns(options.rounds, PROMPT, options.new).items():
        found[role]["rounds"] = rounds
    for worker in workers:
        found[worker.role]["memory"] = worker.ask(do="memory")
    for role, rounds in turns(options.rounds, PROMPT, 1, 3).items():
        found[role]["first token"] = median(rounds)
    for context in options.contexts:
        short, long = (turns(options.rounds, context, new) for new in (1, 1 + STEPS))
        for role in found:
            found[role][f"token behind {context}"] = (
                median(long[role]) - median(short[role])
            ) / STEPS
    for worker in workers:
        worker.close()
    summarise(found, options.new)
    return found


def summarise(found: dict[str, dict], new: int) -> None:
    """Adds tokens a second, and how they compare with ours of the same precision."""
    for role, figures in found.items():
        figures["tokens a second"] = new / median(figures["rounds"])
        ours = found.get("kerasvino-bf16" if role.endswith("bf16") else "kerasvino")
        if ours is not None and ours is not figures:
            figures["ratio"] = paired_ratio(figures["rounds"], ours["rounds"])
            figures["interval"] = interval(figures["rounds"], ours["rounds"])


def row_of(network: str, role: str, figures: dict, options) -> list[str]:
    ratio = "-"
    if "ratio" in figures:
        ratio = "{:.2f}x {:.2f}-{:.2f}".format(figures["ratio"], *figures["interval"])
    same = figures["same tokens"]
    return [
        network,
        ROLES[role][2],
        f"{figures['tokens a second']:.1f}",
        ratio,
        f"{figures['first call seconds']:.2f} s",
        f"{figures['first token'] * 1e3:.0f} ms",
        *(f"{figures[f'token behind {context}'] * 1e3:.1f} ms" for context in options.contexts),
        f"{figures['memory']:.0f} MiB",
        "all" if same == options.new else f"first {same}",
    ]


def plot(data: list[dict], path: pathlib.Path) -> None:
    """Bars of tokens a second, one panel for each network."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(data), figsize=(6 * len(data), 4), squeeze=False)
    for axis, entry in zip(axes[0], data, strict=True):
        roles = list(entry["roles"])
        heights = [entry["roles"][role]["tokens a second"] for role in roles]
        colors = ["tab:blue" if role.startswith("kerasvino") else "tab:gray" for role in roles]
        axis.barh([ROLES[role][2] for role in roles], heights, color=colors)
        axis.invert_yaxis()
        axis.set_xlabel("tokens a second")
        axis.set_title(entry["network"])
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    arguments = parser(__doc__.splitlines()[0], DEFAULT_ROLES)
    arguments.add_argument(
        "--networks",
        type=lambda text: choice(text, NETWORKS),
        default=["GPT2-45M", "Qwen3-107M"],
    )
    arguments.add_argument("--new", type=int, default=112, help="tokens after the prompt")
    arguments.add_argument(
        "--contexts", type=lambda text: [int(n) for n in text.split(",") if n], default=[128, 1024]
    )
    arguments.add_argument("--plot", type=pathlib.Path, help="write a picture to this file")
    options = arguments.parse_args()
    if options.role:
        work(options.role)
        return
    rows, data = [], []
    for network in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(network, options, folder)
        data.append({"network": network, "roles": found})
        rows += [row_of(network, role, figures, options) for role, figures in found.items()]
        if options.json:
            options.json.write_text(json.dumps({"machine": machine(), "results": data}))
    columns = [
        "network", "role", "tokens/s", "time / ours", "first call", "first token",
        *(f"token at {context}" for context in options.contexts), "memory", "tokens as torch",
    ]  # fmt: skip
    report(f"Generation of {options.new} tokens, medians", columns, rows, options.json, data)
    if options.plot:
        plot(data, options.plot)


if __name__ == "__main__":
    main()
