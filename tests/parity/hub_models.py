"""Small networks of KerasHub: predictions, two steps of training, and the weights after them.

    KERAS_BACKEND=jax python tests/parity/hub_models.py results.npz

`test_keras_hub` runs it so for reference, and calls `results` on kerasvino.
"""

import sys

import numpy as np


def networks():
    """Name -> (model, inputs, number of classes): text with a mask, and images two ways."""
    from keras_hub import models

    rng = np.random.default_rng(0)
    tokens = {
        "token_ids": rng.integers(0, 50, (4, 12)).astype("int32"),
        "segment_ids": rng.integers(0, 2, (4, 12)).astype("int32"),
        "padding_mask": np.repeat([[1, 0]], (8, 4), axis=1).repeat(4, axis=0).astype("int32"),
    }
    bert = models.BertBackbone(
        vocabulary_size=50, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32,
        max_sequence_length=12, dropout=0.0,
    )  # fmt: skip
    resnet = models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2], block_type="basic_block",
        image_shape=(24, 24, 3),
    )  # fmt: skip
    vit = models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=4, num_layers=2, num_heads=2, hidden_dim=16,
        mlp_dim=32, dropout_rate=0.0, attention_dropout=0.0,
    )  # fmt: skip
    for name, task, backbone, x, options in (
        ("bert", models.BertTextClassifier, bert, tokens, {"dropout": 0.0}),
        (
            "resnet",
            models.ResNetImageClassifier,
            resnet,
            rng.normal(size=(4, 24, 24, 3)).astype("f4"),
            {},
        ),
        ("vit", models.ViTImageClassifier, vit, rng.normal(size=(4, 16, 16, 3)).astype("f4"), {}),
    ):
        model = task(backbone=backbone, num_classes=3, preprocessor=None, **options)
        yield name, model, x


def randomise(model) -> None:
    """Weights that do not depend on a backend's own random numbers."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        values = rng.normal(0, 0.05, variable.shape)
        if any(part in variable.path for part in ("gamma", "scale", "variance")):
            values = np.abs(1 + values)
        variable.assign(values)


def results() -> dict[str, np.ndarray]:
    import keras

    found = {}
    for name, model, x in networks():
        randomise(model)
        labels = np.arange(4) % 3
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss, metrics=["accuracy"])
        found[f"{name} before"] = model.predict(x, batch_size=4, verbose=0)
        history = model.fit(x, labels, batch_size=4, epochs=2, shuffle=False, verbose=0).history
        found[f"{name} losses"] = np.array(history["loss"])
        found[f"{name} after"] = model.predict(x, batch_size=4, verbose=0)
        for number, weight in enumerate(model.get_weights()):
            found[f"{name} weight {number}"] = weight
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
