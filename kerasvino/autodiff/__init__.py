"""Reverse-mode differentiation over the records that tensors carry."""

from kerasvino.autodiff import control_flow_gradient  # noqa: F401 - fills in the rules of If and Loop
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
