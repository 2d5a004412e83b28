"""The demo's second half: trains under kerasvino, from scratch and by LoRA on a frozen network."""

from __future__ import annotations

import pathlib
import time

import numpy as np
from data import SEED, load, split

HERE = pathlib.Path(__file__).parent
REQUIRED_ACCURACY = 0.97
BATCH = 64


def accuracy(model, images: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(model.predict(images, verbose=0).argmax(-1) == labels))


def compiled(keras, model, rate: float, steps: int):
    """`model`, ready to be trained for `steps` steps at a rate that falls from `rate` to 0."""
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def from_scratch(keras, epochs: int = 30) -> tuple[dict, float, float]:
    """Trains the convolutional network; returns its history, accuracy, and images per second."""
    from train import plain

    keras.utils.set_random_seed(SEED)
    images, labels = load()
    training, held_out = split(labels)
    steps = epochs * -(-len(training) // BATCH)
    model = compiled(keras, plain(), 2e-3, steps)
    held = images[held_out], labels[held_out]
    model.fit(images[training], labels[training], BATCH, 1, verbose=2, validation_data=held)
    start = time.perf_counter()
    history = model.fit(
        images[training], labels[training], BATCH, epochs, initial_epoch=1, verbose=2,
        validation_data=held,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    rate = (epochs - 1) * len(training) / seconds
    return history.history, accuracy(model, *held), rate


def by_lora(keras, epochs: int = 25, rank: int = 8) -> tuple[float, float, int, int]:
    """Teaches the network that JAX trained digits turned by a right angle, its weights frozen.

    Returns the accuracy on turned held-out digits before and after, and the numbers of trained and
    of all parameters.
    """
    keras.utils.set_random_seed(SEED)
    images, labels = load()
    training, held_out = split(labels)
    turned = np.ascontiguousarray(np.rot90(images, axes=(1, 2)))
    model = keras.saving.load_model(HERE / "cnn_jax.keras")
    before = accuracy(model, turned[held_out], labels[held_out])
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D)):
            layer.enable_lora(rank)
            if layer.bias is not None:
                layer.bias.trainable = False
        else:
            layer.trainable = False
    frozen = [v.numpy() for v in model.non_trainable_variables]
    compiled(keras, model, 1e-2, epochs * -(-len(training) // BATCH))
    model.fit(turned[training], labels[training], BATCH, epochs, verbose=0)
    for old, variable in zip(frozen, model.non_trainable_variables, strict=False):
        if variable.name != "seed_generator_state" and not np.array_equal(old, variable.numpy()):
            raise RuntimeError(f"{variable.path} is frozen, and training changed it.")
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    after = accuracy(model, turned[held_out], labels[held_out])
    return before, after, trained, model.count_params()


def plot(history: dict, path: pathlib.Path) -> bool:
    """Draws the curves of a training into a PNG; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return False
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5))
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        epochs = np.arange(2, len(history[name]) + 2)
        axis.plot(epochs, history[name], label="training")
        axis.plot(epochs, history[f"val_{name}"], label="held out")
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle("Handwritten digits, trained with Keras on kerasvino")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    return True


def run(keras, picture: pathlib.Path) -> list[str]:
    """Trains both, prints what came of it, and returns what is wrong with it."""
    print("\nTraining a convolutional network from scratch:")
    history, reached, rate = from_scratch(keras)
    print(f"accuracy on the held-out images {reached:.4f}, {rate:,.0f} images/s in training")
    if plot(history, picture):
        print(f"its curves: {picture}")
    else:
        print("its curves are drawn where matplotlib is installed: pip install 'kerasvino[demo]'")
    before, after, trained, total = by_lora(keras)
    print(
        f"\nLoRA, {trained:,} parameters beside {total - trained:,} frozen ones, on digits turned "
        f"by a right angle: accuracy {before:.4f} before, {after:.4f} after"
    )
    return [
        f"{name}: accuracy {value:.4f} is under {REQUIRED_ACCURACY}"
        for name, value in (("trained from scratch", reached), ("tuned by LoRA", after))
        if value < REQUIRED_ACCURACY
    ]
