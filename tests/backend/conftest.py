"""What several tests of the backend share."""

import pytest
from keras import layers

from kerasvino.backend import keras_private


@pytest.fixture
def wholes(monkeypatch):
    """Names of the layers whose whole `__call__` runs."""
    assert keras_private.imitated("call") is not None  # before it is patched, which would count
    found = []
    build = layers.Layer._maybe_build

    def noted(layer, spec):
        found.append(layer.name)
        return build(layer, spec)

    monkeypatch.setattr(layers.Layer, "_maybe_build", noted)
    return found
