"""Reverse-mode differentiation over the records that tensors carry."""

from kerasvino.autodiff.recording import Recording, leave, suspended
from kerasvino.autodiff.reverse import NotDifferentiableError, pullback, release, watch

__all__ = [
    "NotDifferentiableError",
    "Recording",
    "leave",
    "pullback",
    "release",
    "suspended",
    "watch",
]
