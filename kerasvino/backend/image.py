"""Keras's image contract."""
