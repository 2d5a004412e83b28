"""Trains the two classifiers that the demo loads. It was run once, and its files are committed.

    KERAS_BACKEND=jax python examples/digits/train.py      # a plain network: cnn_jax.keras
    KERAS_BACKEND=torch python examples/digits/train.py    # a residual one: cnn_torch.keras

Beside each model a .npz records what the training backend computes on the held-out images: their
indices, the logits, and the accuracy.
"""

from __future__ import annotations

import pathlib
import sys

import keras
import numpy as np
from data import SEED, load, split
from keras import layers

HERE = pathlib.Path(__file__).parent
REQUIRED_ACCURACY = 0.97


def plain() -> keras.Model:
    """Convolution, batch normalization, pooling, dense."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, name="logits"),
        ],
        name="cnn_jax",
    )


def residual() -> keras.Model:
    """Separable and depthwise convolutions with residual connections, and global pooling."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(32, 3, padding="same", use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("silu")(x)

    # a separable block with a shortcut
    y = layers.SeparableConv2D(32, 3, padding="same", use_bias=False)(x)
    y = layers.BatchNormalization()(y)
    y = layers.Activation("silu")(y)
    y = layers.SeparableConv2D(32, 3, padding="same", use_bias=False)(y)
    y = layers.BatchNormalization()(y)
    x = layers.add([x, y])

    # inverted bottlenecks: expand, filter depthwise, project; the first one halves the image
    for strides, filters in ((2, 48), (1, 48)):
        y = layers.Conv2D(4 * filters, 1, use_bias=False)(x)
        y = layers.BatchNormalization()(y)
        y = layers.Activation("silu")(y)
        y = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(y)
        y = layers.BatchNormalization()(y)
        y = layers.Activation("silu")(y)
        y = layers.Conv2D(filters, 1, use_bias=False)(y)
        y = layers.BatchNormalization()(y)
        x = layers.add([x, y]) if strides == 1 else y

    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3)(x)
    return keras.Model(image, layers.Dense(10, name="logits")(x), name="cnn_torch")


ARCHITECTURES = {"jax": plain, "torch": residual}


def main() -> None:
    backend = keras.backend.backend()
    if backend not in ARCHITECTURES:
        sys.exit(f"Set KERAS_BACKEND to {' or '.join(ARCHITECTURES)}; it is {backend}.")
    keras.utils.set_random_seed(SEED)
    images, labels = load()
    training, held_out = split(labels)

    model = ARCHITECTURES[backend]()
    epochs, batch_size = 60, 64
    steps = epochs * -(-len(training) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(images[training], labels[training], batch_size, epochs, verbose=2)

    logits = model.predict(images[held_out], verbose=0)
    accuracy = float(np.mean(logits.argmax(-1) == labels[held_out]))
    print(f"{model.name}: {model.count_params():,} parameters, accuracy {accuracy:.4f}")
    if accuracy < REQUIRED_ACCURACY:
        sys.exit(f"An accuracy under {REQUIRED_ACCURACY} is not worth shipping; nothing is saved.")

    # Without the optimizer's state: the demo only predicts, and the file is a third as large.
    inference = keras.Model(model.inputs, model.outputs, name=model.name)
    inference.save(HERE / f"{model.name}.keras")
    np.savez_compressed(
        HERE / f"{model.name}.npz",
        backend={"jax": "JAX", "torch": "torch"}[backend],
        held_out=held_out,
        logits=logits,
        accuracy=accuracy,
    )


if __name__ == "__main__":
    main()
