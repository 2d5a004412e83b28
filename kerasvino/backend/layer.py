"""The base class that Keras gives its layers under this backend."""

__all__ = ["OpenvinoLayer"]


class OpenvinoLayer:
    """No layer state of our own: variables tell the trace what they do."""
