"""Keras's linalg contract."""
