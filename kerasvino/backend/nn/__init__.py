"""Keras's nn contract, in files by subject."""
