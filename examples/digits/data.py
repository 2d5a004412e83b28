"""scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels, ten classes."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT = 360
SEED = 0


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images of shape (1797, 8, 8, 1), float32 in [0, 1], and their labels, int32."""
    digits = load_digits()
    images = (digits.images / 16).astype("float32")[..., np.newaxis]
    return images, digits.target.astype("int32")


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training images and of the held-out ones, the classes in proportion."""
    indices = np.arange(len(labels))
    return train_test_split(indices, test_size=HELD_OUT, random_state=SEED, stratify=labels)
