"""Scopes: names of layers, devices; and the dtype of random seeds."""

from __future__ import annotations

from kerasvino.backend.keras_private import current_path
from kerasvino.backend.keras_private import name_scope as keras_name_scope
from kerasvino.backend.ops.core.error_messages import attribute
from kerasvino.primitives.operation_errors import register_path
from kerasvino.runtime import config

__all__ = ["device_scope", "name_scope", "random_seed_dtype"]


class name_scope(keras_name_scope):
    """Keras's scope of a layer's name; errors that leave it name the layer."""

    def __exit__(self, kind, error, traceback):
        if error is not None:
            attribute(error, current_path())
        return super().__exit__(kind, error, traceback)


def device_scope(device_name):
    """Context manager: programs compiled inside run on `device_name`.

    Raises:
        ValueError: the device is not present; the message lists those that are.
    """
    return config.using(device=device_name)


def random_seed_dtype() -> str:
    return "uint32"


register_path(current_path)
