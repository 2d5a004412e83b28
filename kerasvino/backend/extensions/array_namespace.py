"""`x.__array_namespace__()`, by which libraries find the array API standard's functions for x."""

from __future__ import annotations

from kerasvino.tensor import register_method


def __array_namespace__(x, *, api_version=None):
    """The functions of the Python array API standard for tensors."""
    from kerasvino.backend import array_api  # loaded where somebody asks

    return array_api.namespace(api_version)


register_method("__array_namespace__", __array_namespace__)
