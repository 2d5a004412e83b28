"""Reverse-mode differentiation over the records that tensors carry."""

from kerasvino.autodiff.reverse import pullback, watch

__all__ = ["pullback", "watch"]
