"""The only layer that compiles models or runs inference."""

from kerasvino.runtime import config

__all__ = ["config"]
