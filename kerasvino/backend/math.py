"""Keras's math contract."""
