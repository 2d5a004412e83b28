"""Scopes: names of layers, devices; and the dtype of random seeds."""

from __future__ import annotations

from keras.src.backend.common.name_scope import current_path, name_scope

from kerasvino.primitives.errors import register_path
from kerasvino.runtime import config

__all__ = ["device_scope", "name_scope", "random_seed_dtype"]


def device_scope(device_name):
    """Context manager: programs compiled inside run on `device_name`.

    Raises:
        ValueError: the device is not present; the message lists those that are.
    """
    return config.using(device=device_name)


def random_seed_dtype() -> str:
    return "uint32"


register_path(current_path)
