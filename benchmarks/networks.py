"""Networks beside those of keras.applications: name -> (shape of a sample, builder)."""

from __future__ import annotations

__all__ = ["CUSTOM"]


def unet(keras):
    """Three levels of two convolutions, 128 x 128 images, masks of two classes."""
    layers = keras.layers
    x = image = keras.Input((128, 128, 3))
    skips = []
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(256, 3, padding="same", activation="relu")(x)
    for filters, skip in zip((128, 64, 32), skips[::-1], strict=True):
        x = layers.Conv2DTranspose(filters, 2, strides=2)(x)
        x = layers.Concatenate()([x, skip])
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    return keras.Model(image, layers.Conv2D(2, 1)(x))


def _block(keras, x, heads, width, hidden):
    layers = keras.layers
    attended = layers.MultiHeadAttention(heads, width // heads)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    y = layers.Dense(width)(layers.Dense(hidden, activation="gelu")(x))
    return layers.LayerNormalization()(layers.Add()([x, y]))


def encoder(keras):
    """A transformer encoder of six layers, 256 wide, over 128 tokens."""
    x = tokens = keras.Input((128, 256))
    for _ in range(6):
        x = _block(keras, x, 8, 256, 1024)
    return keras.Model(tokens, x)


def vit(keras):
    """Patches of 16 x 16 of a 224 x 224 image, six encoder layers 192 wide, 1,000 classes."""
    layers = keras.layers
    image = keras.Input((224, 224, 3))
    x = layers.Conv2D(192, 16, strides=16)(image)
    x = layers.Reshape((196, 192))(x)
    for _ in range(6):
        x = _block(keras, x, 3, 192, 768)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, layers.Dense(1000)(x))


def recurrent(keras):
    """LSTM of 128 units, then a bidirectional GRU of 64, over 100 steps of 32 features."""
    layers = keras.layers
    steps = keras.Input((100, 32))
    x = layers.LSTM(128, return_sequences=True)(steps)
    x = layers.Bidirectional(layers.GRU(64))(x)
    return keras.Model(steps, layers.Dense(10)(x))


CUSTOM = {
    "UNet": ((128, 128, 3), unet),
    "Encoder": ((128, 256), encoder),
    "ViT": ((224, 224, 3), vit),
    "LSTM+BiGRU": ((100, 32), recurrent),
}
