"""Training of five models by `model.fit`, ours beside JAX, TensorFlow and torch through Keras.

    python benchmarks/fit.py [--models mlp,cnn] [--roles kerasvino,jax,tensorflow,torch]
                             [--rounds 5] [--json docs/fit.json] [--plot docs/fit.png]
                             [--curve 50]

Every role trains in a process of its own, a round of `--steps` steps at a time, in turns. The first
round, which traces and compiles, is a figure of its own; of the others the median counts. Data are
random and in memory, every batch is full, and weights start alike in distribution only.

`--curve N` also trains N steps from the same weights on the same ten batches in every role, and
prints the losses. Roles that end in `-mixed` have the dtype policy mixed_bfloat16.
"""

from __future__ import annotations

import pathlib
import random
import resource
import sys
import time

import numpy as np
from _common import (
    PAUSE,
    ROLES,
    Worker,
    choice,
    import_keras,
    median,
    paired_ratio,
    parser,
    report,
    serve,
)

DEFAULT_ROLES = ("kerasvino", "jax", "tensorflow", "torch")
# Model -> batch size
BATCHES = {"mlp": 128, "cnn": 64, "transformer": 64, "lstm": 64, "resnet50": 16}
TOKENS, VOCABULARY, WIDTH, HEADS = 64, 5000, 128, 4


def mlp(keras):
    """784-512-512-10 with Adam."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(512, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(10),
        ]
    )
    return model, lambda r, n: (r.normal(size=(n, 784)), r.integers(0, 10, n))


def cnn(keras):
    """Four 3x3 convolutions on 32x32x3, with batch normalization, pooling and dropout."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for filters in (32, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(10))
    return model, lambda r, n: (r.normal(size=(n, 32, 32, 3)), r.integers(0, 10, n))


def transformer(keras):
    """Two pre-norm blocks, 128 wide, over 64 of 5,000 tokens; predicts each next token."""
    layers = keras.layers
    tokens = keras.Input((TOKENS,), dtype="int32")
    x = layers.Embedding(VOCABULARY, WIDTH)(tokens)
    # of the input: of a constant, the embedding would be looked up once, while the model is built
    places = keras.ops.zeros_like(tokens) + keras.ops.arange(TOKENS, dtype="int32")
    x = x + layers.Embedding(TOKENS, WIDTH)(places)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)
        x = x + layers.Dropout(0.1)(y)
        y = layers.LayerNormalization()(x)
        y = layers.Dense(WIDTH)(layers.Dense(4 * WIDTH, activation="gelu")(y))
        x = x + layers.Dropout(0.1)(y)
    logits = layers.Dense(VOCABULARY)(layers.LayerNormalization()(x))

    def data(r, n):
        text = r.integers(0, VOCABULARY, (n, TOKENS + 1))
        return text[:, :-1], text[:, 1:]

    return keras.Model(tokens, logits), data


def lstm(keras):
    """64 units over 50 steps of 32 features."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((50, 32)), layers.LSTM(64), layers.Dense(10)])
    return model, lambda r, n: (r.normal(size=(n, 50, 32)), r.integers(0, 10, n))


def resnet50(keras):
    """ResNet50 at 96x96."""
    model = keras.applications.ResNet50(
        weights=None, input_shape=(96, 96, 3), classes=10, classifier_activation=None
    )
    return model, lambda r, n: (r.normal(size=(n, 96, 96, 3)), r.integers(0, 10, n))


MODELS = {f.__name__: f for f in (mlp, cnn, transformer, lstm, resnet50)}


def work(role: str) -> None:
    keras = import_keras(role)
    if role.endswith("-mixed"):
        keras.config.set_dtype_policy("mixed_bfloat16")
    state = {}

    def prepare(model: str, steps: int):
        """Builds, compiles, and trains the first round."""
        # `keras.utils.set_random_seed` would import every framework that is installed
        random.seed(0)
        start = time.perf_counter()
        network, make = MODELS[model](keras)
        network.compile(
            optimizer=keras.optimizers.Adam(1e-3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        built = time.perf_counter()
        x, y = make(np.random.default_rng(0), BATCHES[model] * steps)
        x = x.astype("float32") if x.dtype.kind == "f" else x.astype("int32")
        options = {"batch_size": BATCHES[model], "shuffle": False, "verbose": 0}
        state["fit"] = lambda: network.fit(x, y.astype("int32"), **options).history["loss"][-1]
        first = state["fit"]()
        return {
            "build seconds": built - start,
            "first seconds": time.perf_counter() - built,
            "loss": first,
        }

    def curve(model: str, steps: int) -> list[float]:
        """Losses of steps from weights that are the same for all roles; dropout's draws are not."""
        network, make = MODELS[model](keras)
        network.compile(
            optimizer=keras.optimizers.Adam(1e-3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        random = np.random.default_rng(0)
        for variable in network.trainable_variables:
            if len(variable.shape) > 1:
                scale = np.sqrt(1 / np.prod(variable.shape[:-1]))
                variable.assign(random.normal(0, scale, variable.shape).astype("float32"))
        size = BATCHES[model]
        x, y = make(random, size * 10)
        x = x.astype("float32") if x.dtype.kind == "f" else x.astype("int32")
        places = [slice(i % 10 * size, (i % 10 + 1) * size) for i in range(steps)]
        return [float(network.train_on_batch(x[p], y[p].astype("int32"))) for p in places]

    def answer(measure: bool = False, peak: bool = False, curved: bool = False, **request):
        if curved:
            return curve(**request)
        if peak:
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        if not measure:
            return prepare(**request)
        wall, processor = time.perf_counter(), time.process_time()
        loss = state["fit"]()
        return [time.perf_counter() - wall, time.process_time() - processor, loss]

    serve(answer)


def measure(model: str, options) -> dict[str, dict]:
    """Role -> figures of one model. Left out: roles that fail, with their error printed."""
    workers, found = [], {}
    for role in options.roles:
        worker = Worker(__file__, role)
        try:
            found[role] = worker.ask(model=model, steps=options.steps) | {"rounds": []}
        except RuntimeError as error:
            print(f"{model}: {error}")
        else:
            workers.append(worker)
    for _ in range(options.rounds):
        for worker in workers:
            time.sleep(PAUSE)
            found[worker.role]["rounds"].append(worker.ask(measure=True))
    samples = BATCHES[model] * options.steps
    for worker in workers:
        figures = found[worker.role]
        figures["peak bytes"] = worker.ask(peak=True)
        if options.curve:
            figures["curve"] = worker.ask(curved=True, model=model, steps=options.curve)
        worker.close()
        figures["samples per second"] = samples / median([[r[0]] for r in figures["rounds"]])
        figures["processor ms per step"] = (
            median([[r[1]] for r in figures["rounds"]]) / options.steps * 1e3
        )
        figures["loss at last"] = figures["rounds"][-1][2]
    return found


def rows_of(model: str, found: dict[str, dict]) -> list[list[str]]:
    """Lines of the table, one for each role."""
    ours = found.get("kerasvino")
    lines = []
    for role, figures in found.items():
        ratio = "-"
        if ours and role != "kerasvino":
            turns = [[r[0]] for r in figures["rounds"]], [[r[0]] for r in ours["rounds"]]
            ratio = f"{paired_ratio(*turns):.2f}"
        lines.append(
            [
                f"{model}, batch {BATCHES[model]}",
                ROLES[role][2],
                f"{figures['samples per second']:.0f}",
                ratio,
                f"{figures['processor ms per step']:.1f}",
                f"{figures['first seconds']:.1f}",
                f"{figures['peak bytes'] / 2**20:.0f}",
                f"{figures['loss at last']:.3f}",
            ]
        )
    return lines


def curves(model: str, found: dict[str, dict]) -> None:
    """Prints losses of each role, and how far they are from those of the first one."""
    first = np.array(next(iter(found.values()))["curve"])
    shown = [0, len(first) // 4, len(first) // 2, len(first) - 1]
    for role, figures in found.items():
        losses = np.array(figures["curve"])
        apart = np.abs(losses - first).max() / first.max()
        values = ", ".join(f"{losses[i]:.4f}" for i in shown)
        steps = ", ".join(str(i + 1) for i in shown)
        print(f"{model}, {ROLES[role][2]}: losses of steps {steps}: {values}; apart {apart:.4f}")


def plot(data: list[dict], path: pathlib.Path) -> None:
    """Bars of samples per second relative to the fastest role of each model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    roles = [r for r in ROLES if any(r in entry["roles"] for entry in data)]
    figure, axes = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    width = 0.8 / len(roles)
    for index, role in enumerate(roles):
        heights = []
        for entry in data:
            speeds = {r: f["samples per second"] for r, f in entry["roles"].items()}
            heights.append(speeds.get(role, 0) / max(speeds.values()))
        places = np.arange(len(data)) + (index - (len(roles) - 1) / 2) * width
        axes.bar(places, heights, width, label=ROLES[role][2])
    axes.set_xticks(range(len(data)), [entry["model"] for entry in data])
    axes.set_ylabel("samples/s, fastest = 1")
    axes.set_title("Training by fit, after the first epoch")
    axes.legend(ncols=len(roles), loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    arguments = parser(__doc__.splitlines()[0], DEFAULT_ROLES)
    arguments.add_argument("--models", type=lambda text: choice(text, MODELS))
    arguments.add_argument("--steps", type=int, default=10, help="steps of an epoch")
    arguments.add_argument("--curve", type=int, default=0, help="steps to compare the losses of")
    arguments.add_argument("--plot", type=pathlib.Path, help="draw the figures into this file")
    options = arguments.parse_args()
    if options.role:
        work(options.role)
        return
    rows, data = [], []
    for model in options.models or MODELS:
        found = measure(model, options)
        for line in rows_of(model, found):
            rows.append(line)
            print(*line, flush=True)
        if options.curve:
            curves(model, found)
        data.append({"model": model, "batch": BATCHES[model], "roles": found})
    columns = [
        "model", "backend", "samples/s", "time / ours", "CPU ms/step", "first epoch, s",
        "peak MiB", "last loss",
    ]  # fmt: skip
    report("Training by fit, medians of epochs", columns, rows, options.json, data)
    if options.plot:
        plot(data, options.plot)


if __name__ == "__main__":
    main()
